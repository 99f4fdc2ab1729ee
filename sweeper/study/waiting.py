"""What this process says and checks while a storage waits for its server. It imports no storage: every worker imports it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What happens while a storage of this process waits for its server."""

    on_begin: Callable[[str], None]
    """Receives one line, with the server's reason."""
    on_end: Callable[[str], None]
    """Receives one line when the server answers again."""
    check: Callable[[], None]
    """Called while waiting; may raise KeyboardInterrupt."""


_waiting = Waiting(on_begin=lambda _: None, on_end=lambda _: None, check=lambda: None)


def waiting() -> Waiting:
    """Return what happens while waiting: the same for all storages of this process, as a job in it opens one of its own."""
    return _waiting


@contextmanager
def while_waiting(
    on_begin: Callable[[str], None],
    on_end: Callable[[str], None] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Within the block, say when a server is waited for and when it answers again, and `check` whether to go on.

    Without `on_end`, `on_begin` says both.
    """
    global _waiting  # noqa: PLW0603 - see `waiting`
    before, _waiting = _waiting, Waiting(on_begin=on_begin, on_end=on_end or on_begin, check=check)
    try:
        yield
    finally:
        _waiting = before
