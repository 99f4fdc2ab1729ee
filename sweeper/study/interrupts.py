"""When Ctrl-C may interrupt a sweep: while it waits for its jobs, never while it writes to its storage."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self


class Interrupts:
    """Ctrl-C as a context manager. It raises KeyboardInterrupt within `allowed`, elsewhere at the next `check`.

    Raised in between, it may leave a lock held or be swallowed: Hydra unpickles a job's exception below a bare
    ``except BaseException``. Only the main thread gets signals: a sweep in another thread leaves them as they are.
    """

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._is_pending = self._is_allowed = self._is_watching = False

    def __enter__(self) -> Self:
        """Take over Ctrl-C, unless somebody else handles or ignores it."""
        is_main = threading.current_thread() is threading.main_thread()
        self._is_watching = is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._is_watching:
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        """Give Ctrl-C back."""
        if self._is_watching:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self._is_pending:
            self._is_pending = False
            raise KeyboardInterrupt

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Let Ctrl-C interrupt the block at once."""
        self._is_allowed = True
        try:
            self.check()
            yield
        finally:
            self._is_allowed = False
        self.check()

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        self._is_pending = True
        if self._is_allowed:
            raise KeyboardInterrupt
