"""What all kernels share: how they are compiled by numba, and how they read and write bfloat16.

numpy has no bfloat16: bfloat16 bits are passed as uint16, and arithmetic is float32. numba's cache does not notice a change
in a file that a kernel imports: delete `__pycache__` after a change here.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])
Array = NDArray[Any]


def compiled(function: Function) -> Function:
    """Compile at the first call, for its argument types. numba caches the code next to this file or for the user."""
    try:
        return njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})(function)  # type: ignore[return-value]  # same signature
    except RuntimeError:  # neither place is writable
        return njit(nogil=True, error_model="numpy", fastmath={"contract"})(function)  # type: ignore[return-value]  # likewise


def number(stored: Any) -> Any:
    """Convert a stored value to a number: bfloat16 bits to float32, other types unchanged."""


def stored(number: Any, like: Any) -> Any:
    """Convert a number to the type of `like`: float32 to bfloat16 bits, rounded to nearest even; else unchanged."""


@overload(number, strict=False)
def _number_of(stored: Any) -> Any:
    if stored == types.uint16:
        return lambda stored: np.uint32(np.uint32(stored) << 16).view(np.float32)
    return lambda stored: stored


@overload(stored, strict=False)
def _stored_of(number: Any, like: Any) -> Any:  # noqa: ARG001 - an overload must keep the argument names
    if like == types.uint16:

        def rounded(number: Any, like: Any) -> Any:  # noqa: ARG001 - likewise
            bits = np.float32(number).view(np.uint32)
            return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + np.uint32((bits >> 16) & 1)) >> 16)

        return rounded
    return lambda number, like: number  # noqa: ARG005 - likewise
