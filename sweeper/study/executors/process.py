"""Starts child processes that ignore Ctrl-C: it reaches the whole process group; the coordinator handles it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess


def start_ignoring_sigint(process: BaseProcess) -> None:
    """Start a process with SIGINT blocked from its first instruction on."""
    # Otherwise process.start() starts the tracker with the first process, and that unblocks the signal.
    resource_tracker.ensure_running()
    with sigint_blocked():
        process.start()


@contextmanager
def sigint_blocked() -> Iterator[None]:
    """Block SIGINT in this thread, and for good in processes that it starts meanwhile; a Ctrl-C is handled afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
