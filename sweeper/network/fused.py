"""A convolution, its batch norm, ReLU and channel dropout trained as one operation: the same numbers, fewer passes.

torch's own kernels go over a small network's maps a channel at a time. With 10 channels last in memory that is 10 numbers
in a row, fewer than a vector register holds, and a batch norm costs more than its convolution. Here a map's rows are
taken whole: `width * channels` numbers, each column with its own statistics, which are then joined.
"""

import functools
from typing import Any, Final

import torch
from torch import Tensor, nn

aten: Final = torch.ops.aten

FUSE_ABOVE: Final = 50_000
"""Numbers in a batch's map from which the one operation pays: below, its set-up costs more than its passes spare."""
BITS: Final = {torch.bfloat16: torch.int16, torch.float32: torch.int32, torch.float64: torch.int64}
"""Whole numbers of the same size. A floating-point number is below zero exactly if its bits, read as one, are; and
all bits off is 0.0. torch's kernels for them take a quarter of the time of those for bfloat16."""


class ConvUnit(nn.Sequential):
    """`conv`, `norm`, `activation` (in either order) and perhaps `dropout`: as torch has them, and faster in training.

    Made of torch's modules, whose parameters and buffers it uses. On a CPU, in training mode and for large maps it
    computes them as one operation; otherwise, and with `fused` unset, one after the other.
    """

    fused: bool = True
    """Whether the one operation is used where it pays."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Sequential's name for it
        """Map ``[n, c, h, w]`` to ``[n, c', h', w']``, channels last in memory."""
        conv, norm, dropout = self._modules["conv"], self._modules["norm"], self._modules.get("dropout")
        assert isinstance(conv, nn.Conv2d)
        if not (self.fused and self.training and input.device.type == "cpu" and _size(conv, input) > FUSE_ABOVE):
            return super().forward(input)  # type: ignore[no-any-return, no-untyped-call]  # torch leaves it untyped
        assert isinstance(norm, nn.BatchNorm2d)
        names = list(self._modules)
        return _ConvUnit.apply(  # type: ignore[no-any-return]  # torch leaves it untyped
            input,
            conv.weight,
            conv.bias,
            norm.weight,
            norm.bias,
            norm,
            conv.padding,
            names.index("activation") < names.index("norm"),
            dropout.p if isinstance(dropout, nn.Dropout2d) else 0.0,
        )


class _ConvUnit(torch.autograd.Function):
    """Maps are held as rows ``[n * h, w * c]``: a row's pixels side by side, all channels of each."""

    @staticmethod
    def forward(
        ctx: Any,
        input_nchw: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        gamma_c: Tensor,
        beta_c: Tensor,
        norm: nn.BatchNorm2d,
        padding: tuple[int, int],
        activation_first: bool,
        dropout: float,
    ) -> Tensor:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input_nchw.dtype
        bits, keep = BITS[dtype], 1 - dropout
        input_nchw, kernel = input_nchw.to(dtype), weight.to(dtype)
        map_nchw = torch.conv2d(input_nchw, kernel, None if bias is None else bias.to(dtype), padding=padding)
        n, c, h, w = map_nchw.shape
        rows = map_nchw.permute(0, 2, 3, 1).reshape(n * h, w * c)
        if activation_first:
            rows.view(bits).clamp_min_(0)
        mean_c, variance_c = _statistics(rows, w)
        _remember(norm, mean_c, variance_c, n * h * w)
        # Dropout's factor 1 / (1 - p) goes into the norm's own; ReLU, between them or not, lets it through.
        gain_c, shift_c = (gamma_c / keep, beta_c / keep) if dropout else (gamma_c, beta_c)
        columns = _repeat(torch.stack((gain_c, shift_c, mean_c, variance_c)), w)
        out = _normalise(rows, columns, norm.eps)
        if not activation_first:
            out.view(bits).clamp_min_(0)
        kept = None
        if dropout:
            # All bits on where a channel is kept. Drawn as Dropout2d draws, one for each image and channel.
            kept = _repeat(torch.empty(n, 1, c).bernoulli_(keep).to(bits).neg_(), w)
            out.view(bits).view(n, h, w * c).bitwise_and_(kept)
        ctx.save_for_backward(
            input_nchw, kernel, rows, gain_c, mean_c, variance_c, columns, kept if activation_first else out
        )
        ctx.facts = (map_nchw.shape, bits, activation_first, keep, norm.eps, padding, weight.dtype, bias is not None)
        return out.view(n, h, w, c).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, grad_nchw: Tensor) -> tuple[Tensor | None, ...]:
        input_nchw, kernel, rows, gain_c, mean_c, variance_c, columns, mask = ctx.saved_tensors
        (n, c, h, w), bits, activation_first, keep, eps, padding, weight_dtype, has_bias = ctx.facts
        grad = grad_nchw.permute(0, 2, 3, 1).reshape(n * h, w * c)
        if not activation_first:  # what ReLU or dropout made 0, in one
            grad = aten.threshold_backward(grad.view(bits), mask.view(bits), 0).view(rows.dtype)
        elif mask is not None:
            grad = torch.bitwise_and(grad.view(bits).view(n, h, w * c), mask).view(rows.dtype).view(n * h, w * c)
        grad, dot_c, total_c = _norm_backward(grad, rows, columns, gain_c, mean_c, torch.rsqrt(variance_c + eps), eps)
        if activation_first:
            grad_bits = grad.view(bits)
            aten.threshold_backward.grad_input(grad_bits, rows.view(bits), 0, grad_input=grad_bits)
        grad_input, grad_weight, grad_bias = aten.convolution_backward(
            grad.view(n, h, w, c).permute(0, 3, 1, 2),
            input_nchw,
            kernel,
            (c,),
            (1, 1),
            padding,
            (1, 1),
            False,
            (0, 0),
            1,
            (ctx.needs_input_grad[0], True, has_bias),
        )
        return (
            grad_input,
            grad_weight.to(weight_dtype),
            grad_bias.to(weight_dtype) if has_bias else None,
            dot_c / keep if keep < 1 else dot_c,
            total_c / keep if keep < 1 else total_c,
            *(None,) * 4,
        )


def _size(conv: nn.Conv2d, images: Tensor) -> int:
    """Return how many numbers the convolution of these images gives."""
    less = conv.kernel_size[0] - 1 - 2 * int(conv.padding[0])
    return len(images) * conv.out_channels * (images.shape[2] - less) * (images.shape[3] - less)


def _statistics(rows: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return each channel's mean and (biased) variance: those of its columns, joined by the law of total variance."""
    dtype = torch.promote_types(rows.dtype, torch.float32)
    scratch = torch.empty(2, rows.shape[1], dtype=dtype)  # its type is that of the results
    means, variances = torch.batch_norm_update_stats(rows, scratch[0], scratch[1], momentum=0.0)
    between_c, mean_c = torch.var_mean(means.view(width, -1), 0, correction=0)
    return mean_c, between_c.add_(variances.view(width, -1).mean(0))


def _remember(norm: nn.BatchNorm2d, mean_c: Tensor, variance_c: Tensor, count: int) -> None:
    """Move the running statistics as torch does: the variance unbiased."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    norm.running_mean.lerp_(mean_c, norm.momentum)
    norm.running_var.lerp_(variance_c * (count / (count - 1)), norm.momentum)
    norm.num_batches_tracked.add_(1)


def _normalise(rows: Tensor, columns: Tensor, eps: float) -> Tensor:
    """Return each column less its mean, over its deviation, times its gain, plus its shift."""
    gain, shift, mean, variance = columns
    return torch.native_batch_norm(rows, gain, shift, mean, variance, training=False, momentum=0.0, eps=eps)[0]


def _norm_backward(
    grad: Tensor, rows: Tensor, columns: Tensor, gain_c: Tensor, mean_c: Tensor, inverse_c: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of a batch norm's input, gain and shift (Ioffe and Szegedy, 2015, section 3).

    With m numbers a channel and x̂ the normalised input:
    dx = gain / σ · (dy - Σdy / m - x̂ · Σ(dy · x̂) / m), here as dy, rows and a constant, each with its factor.
    """
    width, count = rows.shape[1] // len(mean_c), rows.numel() // len(mean_c)
    # In evaluation mode the kernel gives the two sums and nothing else.
    _, dot, total = aten.native_batch_norm_backward(
        grad, rows, None, columns[2], columns[3], None, None, False, eps, (False, True, True)
    )
    dot_c, total_c = dot.view(width, -1).sum(0), total.view(width, -1).sum(0)
    factor_c = gain_c * inverse_c
    share_c = factor_c / -count
    of_rows_c = share_c * inverse_c * dot_c
    constant_c = torch.addcmul(share_c * total_c, of_rows_c, mean_c, value=-1)
    zero_c, one_c = _zero_one(len(mean_c), mean_c.dtype)
    affine = _repeat(torch.stack((factor_c, constant_c, zero_c, one_c, of_rows_c)), width)
    grad_rows = _normalise(grad, affine[:4], 0.0)
    grad_rows.addcmul_(rows, affine[4].to(rows.dtype))
    return grad_rows, dot_c, total_c


def _repeat(values_c: Tensor, width: int) -> Tensor:
    """Return the last dimension `width` times over."""
    return values_c.index_select(-1, _repeated(values_c.shape[-1], width))


@functools.cache
def _repeated(channels: int, width: int) -> Tensor:
    return torch.arange(channels).repeat(width)


@functools.cache
def _zero_one(channels: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return torch.zeros(channels, dtype=dtype), torch.ones(channels, dtype=dtype)
