"""What lies between a small network's convolutions, compiled by numba: each map is gone over a row at a time.

A map is held ``[n, h, w * c]``: a row's pixels side by side, all channels of each, so that an inner loop has hundreds of
numbers to fill vector registers with. torch's own kernels go over the channels of one pixel, of which there are ten.
What is compiled is only vectorised while indices are plain counters, and what a condition chooses from is loaded before.

numpy has no bfloat16: it comes as its bits, in uint16, and is computed with in float32. Sums are float32 within an image,
float64 over images.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

LANES = 64
"""Numbers to whose multiple a loop over columns is filled up where that is worth it: what is left over goes one by one."""

Function = TypeVar("Function", bound=Callable[..., Any])
Array = NDArray[Any]


def _compiled(function: Function) -> Function:
    """Compile at the first call, for its types; the result is kept beside this file or in the user's cache."""
    try:
        return njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})(function)  # type: ignore[return-value]  # it is called alike
    except RuntimeError:  # neither can be written to
        return njit(nogil=True, error_model="numpy", fastmath={"contract"})(function)  # type: ignore[return-value]  # likewise


@_compiled
def normalise(
    x: Array,
    out: Array,
    kept_nc: Array,
    facts_4c: Array,
    running_mean_c: Array,
    running_variance_c: Array,
    momentum: float,
    eps: float,
    relu_first: bool,
) -> None:
    """Fill `out` with x after ReLU and batch norm, or the other way round, times what dropout keeps of each channel.

    x and out are ``[n, h, w * c]``. The facts are the norm's gain and shift, and, filled in here, the batch's mean and one
    over its deviation. The running statistics are moved as torch does: the variance unbiased.
    """
    n, h, columns = x.shape
    c = kept_nc.shape[1]
    count = n * h * columns // c
    low, high = _floors(facts_4c, relu_first)
    sums, squares = _sums(x, low, facts_4c.dtype)
    for k in range(c):
        mean = sums[k::c].sum() / count
        variance = max(squares[k::c].sum() / count - mean * mean, 0.0)
        facts_4c[2, k], facts_4c[3, k] = mean, 1 / np.sqrt(variance + eps)
        running_mean_c[k] += momentum * (mean - running_mean_c[k])
        running_variance_c[k] += momentum * (variance * count / (count - 1) - running_variance_c[k])
    gains, shifts = _affine(facts_4c, columns)
    kept = np.empty_like(gains)
    for i in range(n):
        _repeat(kept_nc[i], kept)
        for y in range(h):
            for j in range(columns):
                r = max(_number(x[i, y, j]), low)
                out[i, y, j] = _stored(kept[j] * max(gains[j] * r + shifts[j], high), out[i, y, j])


@_compiled
def normalise_backward(
    x: Array, grad: Array, kept_nc: Array, facts_4c: Array, grads_3c: Array, relu_first: bool
) -> None:
    """Put the gradient of x in its place, given that of `out`; fill those of gain, shift and a bias added to x.

    With m numbers a channel and x̂ the normalised input (Ioffe and Szegedy, 2015, section 3):
    dx = gain / σ · (dy - Σdy / m - x̂ · Σ(dy · x̂) / m), here as dy, x and a constant, each with its factor.
    """
    n, h, columns = x.shape
    c = kept_nc.shape[1]
    count = n * h * columns // c
    low, high = _floors(facts_4c, relu_first)
    sums, dots = _gradient_sums(x, grad, kept_nc, facts_4c, low, high)
    gains, shifts = _affine(facts_4c, columns)
    slopes, constants, factors, biases = np.empty_like(gains), np.empty_like(gains), np.empty_like(gains), sums
    for k in range(c):
        gain, mean, inverse = facts_4c[0, k], facts_4c[2, k], facts_4c[3, k]
        total = sums[k::c].sum()
        dot = inverse * (dots[k::c].sum() - mean * total)
        grads_3c[0, k], grads_3c[1, k] = dot, total
        slopes[k::c] = -gain * inverse * inverse * dot / count
        constants[k::c] = gain * inverse * (inverse * dot * mean - total) / count
    zero = max(low, high)
    biases[:] = 0
    of_image = np.empty_like(gains)
    for i in range(n):
        _repeat(kept_nc[i], factors)
        for j in range(columns):
            factors[j] *= gains[j]
            of_image[j] = 0
        for y in range(h):
            for j in range(columns):
                v, g = _number(x[i, y, j]), _number(grad[i, y, j])
                r = max(v, low)
                g = g if gains[j] * r + shifts[j] > high else zero
                g = factors[j] * g + slopes[j] * r + constants[j]
                g = g if v > low else zero
                of_image[j] += g
                x[i, y, j] = _stored(g, x[i, y, j])
        for j in range(columns):
            biases[j] += of_image[j]
    for k in range(c):
        grads_3c[2, k] = biases[k::c].sum()


@_compiled
def max_pool(x: Array, out: Array, chosen: Array, size: int) -> None:
    """Fill `out` with the largest number of each window, the first of equals, and `chosen` with its place in it.

    x is ``[n, h, w * c]``, the others ``[n, h // size, w // size, c]``.
    """
    n, h, w, c = out.shape
    columns = x.shape[2]
    top, place = np.empty(columns, x.dtype), np.empty(columns, np.uint8)
    windows, places = top[: w * size * c].reshape(w, size * c), place[: w * size * c].reshape(w, size * c)
    for i in range(n):
        for y in range(h):
            row = x[i, y * size]
            for j in range(columns):
                top[j], place[j] = row[j], 0
            for q in range(1, size * size):
                # All columns are compared with those to their right, though one in `size` pixels begins a window.
                row, here = x[i, y * size + q // size, q % size * c :], np.uint8(q)
                for j in range(len(row)):
                    v, best, before = row[j], top[j], place[j]
                    larger = _number(v) > _number(best)
                    top[j] = v if larger else best
                    place[j] = here if larger else before
            for z in range(w):
                for k in range(c):
                    out[i, y, z, k], chosen[i, y, z, k] = windows[z, k], places[z, k]


@_compiled
def max_pool_backward(grad: Array, chosen: Array, grad_x: Array, size: int) -> None:
    """Fill the gradient of x: that of `out` where a window's largest number was, and zeros."""
    n, h, w, c = grad.shape
    columns = grad_x.shape[2]
    zero = grad.dtype.type(0)
    row, place = np.zeros(columns, grad.dtype), np.zeros(columns, np.uint8)
    windows, places = row[: w * size * c].reshape(w, size, c), place[: w * size * c].reshape(w, size, c)
    for i in range(n):
        grad_x[i, h * size :] = 0
        for y in range(h):
            for z in range(w):
                for q in range(size):
                    for k in range(c):
                        windows[z, q, k], places[z, q, k] = grad[i, y, z, k], chosen[i, y, z, k] - np.uint8(q)
            for q in range(size):
                first = np.uint8(q * size)
                for j in range(columns):
                    g = row[j]
                    grad_x[i, y * size + q, j] = g if place[j] == first else zero


@_compiled
def convolve_transposed(grad: Array, taps_tc: Array, grad_x: Array, border: int) -> None:
    """Fill the gradient of x, a map of one channel ``[n, h, w]``, given that of its convolution, ``[n, h', w' * c]``.

    The kernel, ``[size * size, c]``, is turned round and laid over the gradient, framed by `border` zeros, column by column;
    the columns of a pixel's channels are summed last.
    """
    n, rows, columns = grad.shape
    _, h, w = grad_x.shape
    c = taps_tc.shape[1]
    size = rows + 2 * border + 1 - h
    last = size * size - 1
    wide = (w * c + LANES - 1) // LANES * LANES
    factors = np.zeros((size * size, wide), taps_tc.dtype)
    for t in range(size * size):
        _repeat(taps_tc[last - t], factors[t, : w * c])
    framed = np.zeros((rows + 2 * border, wide + (size - 1) * c), taps_tc.dtype)
    total = np.empty(wide, taps_tc.dtype)
    for i in range(n):
        for y in range(rows):
            inner = framed[y + border, border * c :]
            for j in range(columns):
                inner[j] = _number(grad[i, y, j])
        for y in range(h):
            total[:] = 0
            for t in range(size * size):
                shifted, factor = framed[y + t // size, t % size * c :], factors[t]
                for j in range(wide):
                    total[j] += factor[j] * shifted[j]
            for x in range(w):
                pixel = total[x * c]
                for k in range(1, c):
                    pixel += total[x * c + k]
                grad_x[i, y, x] = _stored(pixel, grad_x[i, y, x])


@_compiled
def _sums(x: Array, low: Any, dtype: Any) -> tuple[Array, Array]:
    """Return the sums of each column's numbers, `low` at least, and of their squares: ``[w * c]``, float64."""
    n, h, columns = x.shape
    sums, squares = np.zeros(columns), np.zeros(columns)
    of_image, squares_of_image = np.empty(columns, dtype), np.empty(columns, dtype)
    for i in range(n):
        of_image[:], squares_of_image[:] = 0, 0
        for y in range(h):
            for j in range(columns):
                r = max(_number(x[i, y, j]), low)
                of_image[j] += r
                squares_of_image[j] += r * r
        for j in range(columns):
            sums[j] += of_image[j]
            squares[j] += squares_of_image[j]
    return sums, squares


@_compiled
def _gradient_sums(x: Array, grad: Array, kept_nc: Array, facts_4c: Array, low: Any, high: Any) -> tuple[Array, Array]:
    """Return the sums of each column's gradients at the norm's output, and of those times its input."""
    n, h, columns = x.shape
    sums, dots = np.zeros(columns), np.zeros(columns)
    gains, shifts = _affine(facts_4c, columns)
    kept, of_image, dots_of_image = np.empty_like(gains), np.empty_like(gains), np.empty_like(gains)
    zero = max(low, high)
    for i in range(n):
        of_image[:], dots_of_image[:] = 0, 0
        for y in range(h):
            for j in range(columns):
                g = _number(grad[i, y, j])
                r = max(_number(x[i, y, j]), low)
                g = g if gains[j] * r + shifts[j] > high else zero
                of_image[j] += g
                dots_of_image[j] += g * r
        _repeat(kept_nc[i], kept)
        for j in range(columns):
            sums[j] += kept[j] * of_image[j]
            dots[j] += kept[j] * dots_of_image[j]
    return sums, dots


@_compiled
def _affine(facts_4c: Array, columns: int) -> tuple[Array, Array]:
    """Return each column's factor and summand that make up the norm."""
    gains, shifts = np.empty(columns, facts_4c.dtype), np.empty(columns, facts_4c.dtype)
    factor_c = facts_4c[0] * facts_4c[3]
    _repeat(factor_c, gains)
    _repeat(facts_4c[1] - factor_c * facts_4c[2], shifts)
    return gains, shifts


@_compiled
def _repeat(values_c: Array, columns: Array) -> None:
    """Fill a row's columns with each channel's value."""
    pixels = columns.reshape(-1, len(values_c))
    for p in range(len(pixels)):
        for k in range(len(values_c)):
            pixels[p, k] = values_c[k]


@_compiled
def _floors(like: Array, relu_first: bool) -> tuple[Any, Any]:
    """Return the least that ReLU, or its absence, leaves before the norm and after it."""
    zero, nothing = like.dtype.type(0), like.dtype.type(-np.inf)
    return (zero, nothing) if relu_first else (nothing, zero)


def _number(stored: Any) -> Any:
    """Return what is stored as something to compute with."""


def _stored(number: Any, like: Any) -> Any:
    """Return a number as it is stored, rounded to the nearest, of two the even one."""


@overload(_number, strict=False)
def _number_of(stored: Any) -> Any:
    if stored == types.uint16:
        return lambda stored: np.uint32(np.uint32(stored) << 16).view(np.float32)
    return lambda stored: stored


@overload(_stored, strict=False)
def _stored_of(number: Any, like: Any) -> Any:  # noqa: ARG001 - its names are those of what it stands for
    if like == types.uint16:

        def rounded(number: Any, like: Any) -> Any:  # noqa: ARG001 - likewise
            bits = np.float32(number).view(np.uint32)
            return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + np.uint32((bits >> 16) & 1)) >> 16)

        return rounded
    return lambda number, like: number  # noqa: ARG005 - likewise
