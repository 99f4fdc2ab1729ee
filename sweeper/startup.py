"""How a process loads what takes seconds: nothing of it is garbage, so none is looked for meanwhile."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Import without collections in between, and keep what was imported out of later ones.

    torch alone makes half a million objects: importing what a run needs takes 1.6 s so, and 2.0 s otherwise.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
