"""Locks between processes, on files: the kernel releases a lock when its holder dies."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

POLL_SECONDS: Final = 0.002
"""Time between two tries to get a lock: about as long as a process holds it."""
_on_locked: Callable[[], None] | None = None


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait for the exclusive lock on a file and hold it. The file and its folder are created if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        _lock(file)
        yield


@contextmanager
def while_locked(call: Callable[[], None]) -> Iterator[None]:
    """Within the block, call this from time to time while this process waits for a lock: its holder may be stopped."""
    global _on_locked  # noqa: PLW0603 - locks are taken deep in libraries
    before, _on_locked = _on_locked, call
    try:
        yield
    finally:
        _on_locked = before


def _lock(file: IO[str]) -> None:
    if _on_locked is None:
        fcntl.flock(file, fcntl.LOCK_EX)
        return
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _on_locked()
            time.sleep(POLL_SECONDS)
        else:
            return


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock on a file; False for a file that does not exist."""
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
