"""CPU kernels compiled by numba: batch norm with ReLU and dropout, and max pooling.

A feature map has the shape ``[n, h, w * c]``. Loops run over whole rows: hundreds of values to fill vector registers
with. torch's kernels loop over the channels of one pixel, about ten here.
LLVM vectorises these loops only if indices are plain counters and both values of a conditional are loaded before it.

numpy has no bfloat16: bfloat16 bits are passed as uint16, and arithmetic is float32. Sums are float32 within an image,
float64 over images.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])
Array = NDArray[Any]


def _compiled(function: Function) -> Function:
    """Compile at the first call, for its argument types. numba caches the code next to this file or for the user."""
    try:
        return njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})(function)  # type: ignore[return-value]  # same signature
    except RuntimeError:  # neither place is writable
        return njit(nogil=True, error_model="numpy", fastmath={"contract"})(function)  # type: ignore[return-value]  # likewise


@_compiled
def normalise(
    x: Array,
    out: Array,
    kept_nc: Array,
    norm_4c: Array,
    running_mean_c: Array,
    running_variance_c: Array,
    momentum: float,
    eps: float,
    relu_first: bool,
) -> None:
    """Write ReLU, batch norm (in either order) and dropout of `x` to `out`, and update the running statistics.

    `x` and `out` are ``[n, h, w * c]``. `kept_nc` holds each channel's dropout factor, 0 or 1 / (1 - p). The rows of
    `norm_4c` are the norm's scale and shift, which are read, and the batch's mean and 1 / standard deviation, which are
    written. As in torch, the running variance is unbiased.
    """
    n, h, columns = x.shape
    c = kept_nc.shape[1]
    count = n * h * columns // c
    low, high = _floors(norm_4c, relu_first)
    sums, squares = _sums(x, low, norm_4c.dtype)
    for k in range(c):
        mean = sums[k::c].sum() / count
        variance = max(squares[k::c].sum() / count - mean * mean, 0.0)
        norm_4c[2, k], norm_4c[3, k] = mean, 1 / np.sqrt(variance + eps)
        running_mean_c[k] += momentum * (mean - running_mean_c[k])
        running_variance_c[k] += momentum * (variance * count / (count - 1) - running_variance_c[k])
    scales, shifts = _affine(norm_4c, columns)
    kept = np.empty_like(scales)
    for i in range(n):
        _repeat(kept_nc[i], kept)
        for y in range(h):
            for j in range(columns):
                r = max(_number(x[i, y, j]), low)
                out[i, y, j] = _stored(kept[j] * max(scales[j] * r + shifts[j], high), out[i, y, j])


@_compiled
def normalise_backward(
    x: Array, grad: Array, kept_nc: Array, norm_4c: Array, grads_3c: Array, relu_first: bool
) -> None:
    """Overwrite `x` with its gradient, given `grad`, the gradient of `out`; write those of scale, shift and bias.

    `grads_3c` receives them in this order. The bias is that of the convolution before, which is part of `x`. With m
    values per channel and x̂ the normalized input (Ioffe and Szegedy, 2015, section 3): dx = scale / σ · (dy - Σdy / m
    - x̂ · Σ(dy · x̂) / m), computed as a weighted sum of dy, x and a constant.
    """
    n, h, columns = x.shape
    c = kept_nc.shape[1]
    count = n * h * columns // c
    low, high = _floors(norm_4c, relu_first)
    sums, dots = _gradient_sums(x, grad, kept_nc, norm_4c, low, high)
    scales, shifts = _affine(norm_4c, columns)
    slopes, constants, factors, biases = np.empty_like(scales), np.empty_like(scales), np.empty_like(scales), sums
    for k in range(c):
        scale, mean, inverse = norm_4c[0, k], norm_4c[2, k], norm_4c[3, k]
        total = sums[k::c].sum()
        dot = inverse * (dots[k::c].sum() - mean * total)
        grads_3c[0, k], grads_3c[1, k] = dot, total
        slopes[k::c] = -scale * inverse * inverse * dot / count
        constants[k::c] = scale * inverse * (inverse * dot * mean - total) / count
    zero = max(low, high)
    biases[:] = 0
    image_biases = np.empty_like(scales)
    for i in range(n):
        _repeat(kept_nc[i], factors)
        for j in range(columns):
            factors[j] *= scales[j]
            image_biases[j] = 0
        for y in range(h):
            for j in range(columns):
                v, g = _number(x[i, y, j]), _number(grad[i, y, j])
                r = max(v, low)
                g = g if scales[j] * r + shifts[j] > high else zero
                g = factors[j] * g + slopes[j] * r + constants[j]
                g = g if v > low else zero
                image_biases[j] += g
                x[i, y, j] = _stored(g, x[i, y, j])
        for j in range(columns):
            biases[j] += image_biases[j]
    for k in range(c):
        grads_3c[2, k] = biases[k::c].sum()


@_compiled
def max_pool(x: Array, out: Array, argmax: Array, size: int) -> None:
    """Write each window's largest value to `out`, and its position in the window, row by row, to `argmax`.

    Of equal values the first wins. `x` is ``[n, h, w * c]``; `out` and `argmax` are ``[n, h // size, w // size, c]``.
    """
    n, h, w, c = out.shape
    columns = x.shape[2]
    top, position = np.empty(columns, x.dtype), np.empty(columns, np.uint8)
    windows, positions = top[: w * size * c].reshape(w, size * c), position[: w * size * c].reshape(w, size * c)
    for i in range(n):
        for y in range(h):
            row = x[i, y * size]
            for j in range(columns):
                top[j], position[j] = row[j], 0
            for q in range(1, size * size):
                # Every column is compared with one to its right, even if only one in `size` pixels starts a window.
                row, here = x[i, y * size + q // size, q % size * c :], np.uint8(q)
                for j in range(len(row)):
                    v, best, before = row[j], top[j], position[j]
                    larger = _number(v) > _number(best)
                    top[j] = v if larger else best
                    position[j] = here if larger else before
            for z in range(w):
                for k in range(c):
                    out[i, y, z, k], argmax[i, y, z, k] = windows[z, k], positions[z, k]


@_compiled
def max_pool_backward(grad: Array, argmax: Array, grad_x: Array, size: int) -> None:
    """Write the gradient of `x`: `grad`, that of `out`, at each window's largest value, zero elsewhere."""
    n, h, w, c = grad.shape
    columns = grad_x.shape[2]
    zero = grad.dtype.type(0)
    row, position = np.zeros(columns, grad.dtype), np.zeros(columns, np.uint8)
    windows, positions = row[: w * size * c].reshape(w, size, c), position[: w * size * c].reshape(w, size, c)
    for i in range(n):
        grad_x[i, h * size :] = 0
        for y in range(h):
            for z in range(w):
                for q in range(size):
                    for k in range(c):
                        windows[z, q, k], positions[z, q, k] = grad[i, y, z, k], argmax[i, y, z, k] - np.uint8(q)
            for q in range(size):
                first = np.uint8(q * size)
                for j in range(columns):
                    g = row[j]
                    grad_x[i, y * size + q, j] = g if position[j] == first else zero


@_compiled
def _sums(x: Array, low: Any, dtype: Any) -> tuple[Array, Array]:
    """Return each column's sum of max(x, low), and of its square: ``[w * c]``, float64."""
    n, h, columns = x.shape
    sums, squares = np.zeros(columns), np.zeros(columns)
    image_sums, image_squares = np.empty(columns, dtype), np.empty(columns, dtype)
    for i in range(n):
        image_sums[:], image_squares[:] = 0, 0
        for y in range(h):
            for j in range(columns):
                r = max(_number(x[i, y, j]), low)
                image_sums[j] += r
                image_squares[j] += r * r
        for j in range(columns):
            sums[j] += image_sums[j]
            squares[j] += image_squares[j]
    return sums, squares


@_compiled
def _gradient_sums(x: Array, grad: Array, kept_nc: Array, norm_4c: Array, low: Any, high: Any) -> tuple[Array, Array]:
    """Return each column's sum of the gradients at the norm's output, and of their products with its input."""
    n, h, columns = x.shape
    sums, dots = np.zeros(columns), np.zeros(columns)
    scales, shifts = _affine(norm_4c, columns)
    kept, image_sums, image_dots = np.empty_like(scales), np.empty_like(scales), np.empty_like(scales)
    zero = max(low, high)
    for i in range(n):
        image_sums[:], image_dots[:] = 0, 0
        for y in range(h):
            for j in range(columns):
                g = _number(grad[i, y, j])
                r = max(_number(x[i, y, j]), low)
                g = g if scales[j] * r + shifts[j] > high else zero
                image_sums[j] += g
                image_dots[j] += g * r
        _repeat(kept_nc[i], kept)
        for j in range(columns):
            sums[j] += kept[j] * image_sums[j]
            dots[j] += kept[j] * image_dots[j]
    return sums, dots


@_compiled
def _affine(norm_4c: Array, columns: int) -> tuple[Array, Array]:
    """Return the norm as one multiplication and one addition: each column's factor and summand."""
    scales, shifts = np.empty(columns, norm_4c.dtype), np.empty(columns, norm_4c.dtype)
    factor_c = norm_4c[0] * norm_4c[3]
    _repeat(factor_c, scales)
    _repeat(norm_4c[1] - factor_c * norm_4c[2], shifts)
    return scales, shifts


@_compiled
def _repeat(values_c: Array, columns: Array) -> None:
    """Repeat the channels' values for every pixel of a row."""
    pixels = columns.reshape(-1, len(values_c))
    for p in range(len(pixels)):
        for k in range(len(values_c)):
            pixels[p, k] = values_c[k]


@_compiled
def _floors(like: Array, relu_first: bool) -> tuple[Any, Any]:
    """Return the lower bounds of a value before and after the norm: 0 on the side of the ReLU, else minus infinity."""
    zero, unbounded = like.dtype.type(0), like.dtype.type(-np.inf)
    return (zero, unbounded) if relu_first else (unbounded, zero)


def _number(stored: Any) -> Any:
    """Convert a stored value to a number: bfloat16 bits to float32, other types unchanged."""


def _stored(number: Any, like: Any) -> Any:
    """Convert a number to the type of `like`: float32 to bfloat16 bits, rounded to nearest even; else unchanged."""


@overload(_number, strict=False)
def _number_of(stored: Any) -> Any:
    if stored == types.uint16:
        return lambda stored: np.uint32(np.uint32(stored) << 16).view(np.float32)
    return lambda stored: stored


@overload(_stored, strict=False)
def _stored_of(number: Any, like: Any) -> Any:  # noqa: ARG001 - an overload must keep the argument names
    if like == types.uint16:

        def rounded(number: Any, like: Any) -> Any:  # noqa: ARG001 - likewise
            bits = np.float32(number).view(np.uint32)
            return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + np.uint32((bits >> 16) & 1)) >> 16)

        return rounded
    return lambda number, like: number  # noqa: ARG005 - likewise
