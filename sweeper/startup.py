"""How slow imports such as torch's become faster: without garbage collection, since what they create is kept."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Disable garbage collection in the block, and exempt what the block created from later collections.

    torch alone creates half a million objects: importing what a run needs takes 1.6 s this way, 2.0 s otherwise.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
