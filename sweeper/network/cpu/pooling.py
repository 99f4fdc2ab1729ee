"""Max pooling, forward and backward, compiled by numba. Feature maps are laid out as in `kernels`."""

import numpy as np

from sweeper.network.cpu.compiled import Array, compiled, number


@compiled
def max_pool(x: Array, out: Array, argmax: Array, size: int) -> None:
    """Write each window's largest value to `out`, and its position in the window, row by row, to `argmax`.

    Of equal values the first wins, of NaN the last. `x` is ``[n, h, w * c]``; `out` and `argmax` are ``[n, h // size, w // size, c]``.
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
                    # As in torch, a NaN is larger than everything, also than an earlier NaN.
                    larger = (number(v) > number(best)) | (number(v) != number(v))
                    top[j] = v if larger else best
                    position[j] = here if larger else before
            for z in range(w):
                for k in range(c):
                    out[i, y, z, k], argmax[i, y, z, k] = windows[z, k], positions[z, k]


@compiled
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
