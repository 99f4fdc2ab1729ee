"""Defers Ctrl-C: it may interrupt a sweep that waits for its jobs, never one that writes to its storage."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self


class Interrupts:
    """A context manager that raises KeyboardInterrupt for Ctrl-C: within `allowed` at once, else at the next `check`.

    Raised at any other place, it could leave a lock held or be swallowed: Hydra unpickles a job's exception inside a
    bare ``except BaseException``. Only the main thread receives signals: a sweep in another thread changes no handler.
    """

    def __init__(self) -> None:
        """Create the handler; entering the context installs it."""
        self._is_pending = self._is_allowed = self._is_watching = False

    def __enter__(self) -> Self:
        """Handle SIGINT, unless the application handles or ignores it itself."""
        is_main = threading.current_thread() is threading.main_thread()
        self._is_watching = is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._is_watching:
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the default handler."""
        if self._is_watching:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self._is_pending:
            self._is_pending = False
            raise KeyboardInterrupt

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Within the block, raise KeyboardInterrupt as soon as Ctrl-C is pressed; after it, only `check` does."""
        self._is_allowed = True
        try:
            self.check()
            yield
        except Exception:
            self._is_allowed = False
            self.check()  # a library may turn the interrupt into an error of its own
            raise
        finally:
            self._is_allowed = False

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        self._is_pending = True
        if self._is_allowed:
            raise KeyboardInterrupt
