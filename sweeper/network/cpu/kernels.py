"""Batch norm with ReLU and dropout, forward and backward, compiled by numba.

A feature map has the shape ``[n, h, w * c]``. Loops run over whole rows: hundreds of values to fill vector registers
with. torch's kernels loop over the channels of one pixel, about ten here.
LLVM vectorises these loops only if indices are plain counters and both values of a conditional are loaded before it.

Sums are float32 within an image, float64 over images.
"""

from typing import Any, Final

import numpy as np
from numba import types
from numba.extending import overload

from sweeper.network.cpu.compiled import Array, compiled, number, stored

FAR: Final = 8.0
"""A channel's mean is far from zero beyond this many standard deviations. Its digits then cancel in Σx² - (Σx)² / m, so
the moments are taken again in two passes, and values are centred before they are scaled. At this distance 1e-5 of a
variance is lost."""


@compiled
def normalise(
    x: Array,
    out: Array,
    kept_nc: Array,
    norm_5c: Array,
    running_mean_c: Array,
    running_variance_c: Array,
    momentum: float,
    eps: float,
    relu_first: bool,
) -> None:
    """Write ReLU, batch norm (in either order) and dropout of `x` to `out`, and update the running statistics.

    `x` and `out` are ``[n, h, w * c]``. `kept_nc` holds each channel's dropout factor, 0 or 1 / (1 - p). The rows of
    `norm_5c` are the norm's scale and shift, which are read, and the batch's mean, 1 / standard deviation, and what the
    rounded mean lacks, which are written. As in torch, the running variance is unbiased.
    """
    n, h, columns = x.shape
    c = kept_nc.shape[1]
    count = n * h * columns // c
    low, high = _floors(norm_5c, relu_first)
    mean_c, variance_c = _moments(x, low, norm_5c.dtype, c, eps)
    for k in range(c):
        mean, variance = mean_c[k], variance_c[k]
        norm_5c[2, k], norm_5c[3, k] = mean, 1 / np.sqrt(variance + eps)
        norm_5c[4, k] = mean - norm_5c[2, k]
        running_mean_c[k] += momentum * (mean - running_mean_c[k])
        running_variance_c[k] += momentum * (variance * count / (count - 1) - running_variance_c[k])
    if _is_far(norm_5c):
        _apply(x, out, kept_nc, norm_5c, _columns(norm_5c[2], columns), norm_5c[4], low, high)
    else:
        _apply(x, out, kept_nc, norm_5c, None, norm_5c[2], low, high)


@compiled
def normalise_backward(
    x: Array, grad: Array, kept_nc: Array, norm_5c: Array, grads_3c: Array, relu_first: bool
) -> None:
    """Overwrite `x` with its gradient, given `grad`, the gradient of `out`; write those of scale, shift and bias.

    `grads_3c` receives them in this order. The bias is that of the convolution before, which is part of `x`. With m
    values per channel and x̂ the normalized input (Ioffe and Szegedy, 2015, section 3): dx = scale / σ · (dy - Σdy / m
    - x̂ · Σ(dy · x̂) / m), computed as a weighted sum of dy, x and a constant.
    """
    low, high = _floors(norm_5c, relu_first)
    if _is_far(norm_5c):
        means = _columns(norm_5c[2], x.shape[2])
        _apply_backward(x, grad, kept_nc, norm_5c, grads_3c, means, norm_5c[4], low, high)
    else:
        _apply_backward(x, grad, kept_nc, norm_5c, grads_3c, None, norm_5c[2], low, high)


@compiled
def _apply(
    x: Array, out: Array, kept_nc: Array, norm_5c: Array, means: Array | None, rest_c: Array, low: Any, high: Any
) -> None:
    """Write the output of `normalise`.

    If a mean is far from zero, `means` are the columns' means, which are subtracted first, else None. `rest_c` is what
    then remains of each channel's mean.
    """
    n, h, columns = x.shape
    scales, shifts = _affine(norm_5c, rest_c, columns)
    kept = np.empty_like(scales)
    for i in range(n):
        _repeat(kept_nc[i], kept)
        for y in range(h):
            for j in range(columns):
                r = _centred(max(number(x[i, y, j]), low), means, j)
                out[i, y, j] = stored(kept[j] * max(scales[j] * r + shifts[j], high), out[i, y, j])


@compiled
def _apply_backward(
    x: Array,
    grad: Array,
    kept_nc: Array,
    norm_5c: Array,
    grads_3c: Array,
    means: Array | None,
    rest_c: Array,
    low: Any,
    high: Any,
) -> None:
    """Write the results of `normalise_backward`; `means` and `rest_c` as in `_apply`."""
    n, h, columns = x.shape
    c = kept_nc.shape[1]
    count = n * h * columns // c
    scales, shifts = _affine(norm_5c, rest_c, columns)
    sums, dots = _gradient_sums(x, grad, kept_nc, scales, shifts, means, low, high)
    slopes, constants, factors, biases = np.empty_like(scales), np.empty_like(scales), np.empty_like(scales), sums
    for k in range(c):
        scale, inverse, mean = norm_5c[0, k], norm_5c[3, k], rest_c[k]
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
                v, g = number(x[i, y, j]), number(grad[i, y, j])
                r = _centred(max(v, low), means, j)
                g = g if scales[j] * r + shifts[j] > high else zero
                g = factors[j] * g + slopes[j] * r + constants[j]
                g = g if v > low else zero
                image_biases[j] += g
                x[i, y, j] = stored(g, x[i, y, j])
        for j in range(columns):
            biases[j] += image_biases[j]
    for k in range(c):
        grads_3c[2, k] = biases[k::c].sum()


@compiled
def _moments(x: Array, low: Any, dtype: Any, c: int, eps: float) -> tuple[Array, Array]:
    """Return each channel's mean and biased variance of max(x, low): ``[c]``, float64."""
    n, h, columns = x.shape
    count = n * h * columns // c
    sums, squares = np.zeros(columns), np.zeros(columns)
    image_sums, image_squares = np.empty(columns, dtype), np.empty(columns, dtype)
    for i in range(n):
        image_sums[:], image_squares[:] = 0, 0
        for y in range(h):
            for j in range(columns):
                r = max(number(x[i, y, j]), low)
                image_sums[j] += r
                image_squares[j] += r * r
        for j in range(columns):
            sums[j] += image_sums[j]
            squares[j] += image_squares[j]
    mean_c, variance_c, is_exact = np.empty(c), np.empty(c), True
    for k in range(c):
        mean = sums[k::c].sum() / count
        variance = max(squares[k::c].sum() / count - mean * mean, 0.0)
        mean_c[k], variance_c[k] = mean, variance
        is_exact &= mean * mean <= FAR * FAR * (variance + eps) and np.isfinite(variance)
    return (mean_c, variance_c) if is_exact else _moments_in_two_passes(x, low, c)


@compiled
def _moments_in_two_passes(x: Array, low: Any, c: int) -> tuple[Array, Array]:
    """Return what `_moments` returns for values of any size and distance from zero, in float64 throughout.

    The second pass also corrects the mean (Chan, Golub and LeVeque, 1983, "the corrected two-pass algorithm").
    """
    n, h, columns = x.shape
    count = n * h * columns // c
    mean_c, rest_c, variance_c = np.zeros(c), np.zeros(c), np.zeros(c)
    for i in range(n):
        for y in range(h):
            for j in range(columns):
                mean_c[j % c] += np.float64(max(number(x[i, y, j]), low))
    mean_c /= count
    for i in range(n):
        for y in range(h):
            for j in range(columns):
                distance = np.float64(max(number(x[i, y, j]), low)) - mean_c[j % c]
                rest_c[j % c] += distance
                variance_c[j % c] += distance * distance
    for k in range(c):
        rest = rest_c[k] / count if np.isfinite(rest_c[k]) else 0.0  # an infinite mean stays as it is
        mean_c[k], variance_c[k] = mean_c[k] + rest, variance_c[k] / count - rest * rest
    return mean_c, variance_c


@compiled
def _gradient_sums(
    x: Array, grad: Array, kept_nc: Array, scales: Array, shifts: Array, means: Array | None, low: Any, high: Any
) -> tuple[Array, Array]:
    """Return each column's sum of the gradients at the norm's output, and of their products with its centred input."""
    n, h, columns = x.shape
    sums, dots = np.zeros(columns), np.zeros(columns)
    kept, image_sums, image_dots = np.empty_like(scales), np.empty_like(scales), np.empty_like(scales)
    zero = max(low, high)
    for i in range(n):
        image_sums[:], image_dots[:] = 0, 0
        for y in range(h):
            for j in range(columns):
                g = number(grad[i, y, j])
                r = _centred(max(number(x[i, y, j]), low), means, j)
                g = g if scales[j] * r + shifts[j] > high else zero
                image_sums[j] += g
                image_dots[j] += g * r
        _repeat(kept_nc[i], kept)
        for j in range(columns):
            sums[j] += kept[j] * image_sums[j]
            dots[j] += kept[j] * image_dots[j]
    return sums, dots


@compiled
def _is_far(norm_5c: Array) -> bool:
    """Return whether a channel's mean is far from zero."""
    return bool((np.abs(norm_5c[2]) * norm_5c[3] > FAR).any())


@compiled
def _affine(norm_5c: Array, rest_c: Array, columns: int) -> tuple[Array, Array]:
    """Return the norm as one multiplication and one addition: each column's factor and summand."""
    factor_c = norm_5c[0] * norm_5c[3]
    return _columns(factor_c, columns), _columns(norm_5c[1] - factor_c * rest_c, columns)


@compiled
def _columns(values_c: Array, columns: int) -> Array:
    """Return the channels' values for every column of a row."""
    repeated = np.empty(columns, values_c.dtype)
    _repeat(values_c, repeated)
    return repeated


@compiled
def _repeat(values_c: Array, columns: Array) -> None:
    """Repeat the channels' values for every pixel of a row."""
    pixels = columns.reshape(-1, len(values_c))
    for p in range(len(pixels)):
        for k in range(len(values_c)):
            pixels[p, k] = values_c[k]


@compiled
def _floors(like: Array, relu_first: bool) -> tuple[Any, Any]:
    """Return the lower bounds of a value before and after the norm: 0 on the side of the ReLU, else minus infinity."""
    zero, unbounded = like.dtype.type(0), like.dtype.type(-np.inf)
    return (zero, unbounded) if relu_first else (unbounded, zero)


def _centred(value: Any, means: Any, column: Any) -> Any:
    """Subtract the column's mean, unless `means` is None."""


@overload(_centred, strict=False)
def _centred_of(value: Any, means: Any, column: Any) -> Any:  # noqa: ARG001 - an overload must keep the argument names
    if isinstance(means, types.NoneType):
        return lambda value, means, column: value  # noqa: ARG005 - likewise
    return lambda value, means, column: value - means[column]
