"""Starts child processes that ignore Ctrl-C, which the coordinator handles, and kills those that they started."""

import os
import signal
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path


def start_ignoring_sigint(process: BaseProcess) -> None:
    """Start a spawned process with SIGINT blocked from its first instruction on.

    It does not import the program's main module, as spawned processes do: a script that calls us outside of
    ``if __name__ == "__main__"`` would start itself again. What jobs need of it is pickled by value.
    """
    # Otherwise process.start() starts the tracker with the first process, and that unblocks the signal.
    resource_tracker.ensure_running()
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        with sigint_blocked():
            process.start()
    finally:
        sys.modules["__main__"] = main


@contextmanager
def sigint_blocked() -> Iterator[None]:
    """Block SIGINT in this thread, and for good in processes that it starts meanwhile; a Ctrl-C is handled afterwards.

    SIGTERM waits too, see `Interrupts`. It is not blocked: processes started here would never receive it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def describe_exit(code: int | None) -> str:
    """Return how a process ended: the name of the signal that ended it, or its exit code.

    >>> describe_exit(-9), describe_exit(-11), describe_exit(3)
    ('exit code -9, SIGKILL', 'exit code -11, SIGSEGV', 'exit code 3')
    """
    try:
        return f"exit code {code}, {signal.Signals(-(code or 0)).name}"
    except ValueError:
        return f"exit code {code}"


def kill_descendants(pid: int) -> None:
    """Kill the processes that a process started, and theirs, while it lives: afterwards nobody knows whose they were."""
    for child in _children(pid):
        kill_descendants(child)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    """Return the children of a process; none on a kernel that does not list them."""
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            found += map(int, listed.read_text().split())
    return found
