"""Defers Ctrl-C and SIGTERM: they may interrupt a sweep that waits for its jobs, never one that writes to its storage."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Self

TERMINATED: Final = 143
"""Exit status after SIGTERM: 128 plus its number, as in shells."""
DEFAULTS: Final[dict[signal.Signals, Callable[..., Any] | signal.Handlers]] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}
"""How Python handles the two signals unless the application changes it."""


class Interrupts:
    """A context manager that raises KeyboardInterrupt for both signals: within `allowed` at once, else at the next `check`.

    Raised at any other place, it could leave a lock held or be swallowed: Hydra unpickles a job's exception inside a
    bare ``except BaseException``. Only the main thread receives signals: a sweep in another thread changes no handler.
    """

    def __init__(self) -> None:
        """Create the handler; entering the context installs it."""
        self._is_pending = self._is_allowed = self._is_terminated = False
        self._watched: list[signal.Signals] = []
        self._process = os.getpid()

    def __enter__(self) -> Self:
        """Handle the signals that the application neither handles nor ignores itself."""
        if threading.current_thread() is threading.main_thread():
            self._watched = [number for number, default in DEFAULTS.items() if signal.getsignal(number) is default]
        for number in self._watched:
            signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Restore the default handlers. After SIGTERM, raise SystemExit with `TERMINATED` instead of KeyboardInterrupt."""
        for number in self._watched:
            signal.signal(number, DEFAULTS[number])
        if self._is_terminated and kind is KeyboardInterrupt:
            raise SystemExit(TERMINATED)

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self._is_pending:
            self._is_pending = False
            raise KeyboardInterrupt

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Within the block, raise KeyboardInterrupt as soon as a signal comes; after it, only `check` does.

        SIGTERM also waits for the end of `sigint_blocked`.
        """
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

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a fork of a job, which a pool of processes ends with SIGTERM
            signal.signal(number, DEFAULTS[signal.Signals(number)])
            signal.raise_signal(number)
            return
        self._is_pending = True
        self._is_terminated = self._is_terminated or number == signal.SIGTERM
        is_blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        if self._is_allowed and not is_blocked:
            raise KeyboardInterrupt
