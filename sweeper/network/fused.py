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

FOLD_ABOVE: Final = 100_000
"""Numbers in a map batch from which rows pay: below, joining the columns costs more than it spares."""
BITS: Final = {torch.bfloat16: torch.int16, torch.float32: torch.int32, torch.float64: torch.int64}
"""Whole numbers of the same size. A floating-point number is below zero exactly if its bits, read as one, are; and
all bits off is 0.0. torch's kernels for them take a quarter of the time of those for bfloat16."""


class ConvUnit(nn.Sequential):
    """`conv`, `norm`, `activation` (in either order) and perhaps `dropout`: as torch has them, and faster in training.

    Made of torch's modules, whose parameters and buffers it uses. On a CPU in training mode it computes them as one
    operation; otherwise, and with `fused` unset, one after the other.
    """

    fused: bool = True
    """Whether the one operation is used where it can be."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Sequential's name for it
        """Map ``[n, c, h, w]`` to ``[n, c', h', w']``, channels last in memory."""
        if not (self.fused and self.training and input.device.type == "cpu"):
            return super().forward(input)  # type: ignore[no-any-return, no-untyped-call]  # torch leaves it untyped
        conv, norm, dropout = self._modules["conv"], self._modules["norm"], self._modules.get("dropout")
        assert isinstance(conv, nn.Conv2d)
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
    """Maps are held as rows ``[n * h * w / fold, fold * c]``: `fold` pixels of all channels side by side."""

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
        bits = BITS[dtype]
        input_nchw, kernel = input_nchw.to(dtype), weight.to(dtype)
        map_nchw = torch.conv2d(input_nchw, kernel, None if bias is None else bias.to(dtype), padding=padding)
        n, c, h, w = map_nchw.shape
        fold = w if map_nchw.numel() > FOLD_ABOVE else 1
        rows = map_nchw.permute(0, 2, 3, 1).reshape(-1, fold * c)
        if activation_first:
            rows.view(bits).clamp_min_(0)
        # Dropout's factor 1 / (1 - p) goes into the norm's own; ReLU, between them or not, lets it through.
        keep = 1 - dropout
        gain_c, shift_c = (gamma_c / keep, beta_c / keep) if dropout else (gamma_c, beta_c)
        if fold == 1:
            assert norm.momentum is not None
            out, mean_c, inverse_c = torch.native_batch_norm(
                rows,
                gain_c,
                shift_c,
                norm.running_mean,
                norm.running_var,
                training=True,
                momentum=norm.momentum,
                eps=norm.eps,
            )
        else:
            mean_c, variance_c = _statistics(rows, w)
            _remember(norm, mean_c, variance_c, n * h * w)
            inverse_c = torch.rsqrt(variance_c + norm.eps)
            out = _affine(rows, inverse_c * gain_c, shift_c - mean_c * inverse_c * gain_c)
        norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]  # there with running statistics
        if not activation_first:
            out.view(bits).clamp_min_(0)
        kept = None
        if dropout:
            # All bits on where a channel is kept. Drawn as Dropout2d draws, one for each image and channel.
            kept = torch.empty(n, 1, c).bernoulli_(keep).to(bits).neg_()
            kept = _repeat(kept, fold)
            out.view(bits).view(n, -1, fold * c).bitwise_and_(kept)
        ctx.save_for_backward(
            input_nchw, kernel, rows, gamma_c, mean_c, inverse_c, *((kept,) if activation_first else (out,))
        )
        ctx.facts = (map_nchw.shape, fold, bits, activation_first, keep, padding, weight.dtype, bias is not None)
        return out.view(n, h, w, c).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, grad_nchw: Tensor) -> tuple[Tensor | None, ...]:
        input_nchw, kernel, rows, gamma_c, mean_c, inverse_c, mask = ctx.saved_tensors
        (n, c, h, w), fold, bits, activation_first, keep, padding, weight_dtype, has_bias = ctx.facts
        grad = grad_nchw.permute(0, 2, 3, 1).reshape(-1, fold * c)
        if not activation_first:  # what ReLU or dropout made 0, in one
            grad = aten.threshold_backward(grad.view(bits), mask.view(bits), 0).view(rows.dtype)
        elif mask is not None:
            grad = torch.bitwise_and(grad.view(bits).view(n, -1, fold * c), mask).view(rows.dtype).view_as(rows)
        gain_c = gamma_c / keep
        if fold == 1:
            grad, grad_gain_c, grad_shift_c = aten.native_batch_norm_backward(
                grad,
                rows,
                gain_c,
                None,
                None,
                mean_c,
                inverse_c,
                True,
                0.0,
                (True, True, True),
            )
        else:
            grad, grad_gain_c, grad_shift_c = _norm_backward(grad, rows, gain_c, mean_c, inverse_c, w)
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
            None if grad_bias is None else grad_bias.to(weight_dtype),
            grad_gain_c / keep,
            grad_shift_c / keep,
            *(None,) * 4,
        )


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
    assert norm.momentum is not None
    norm.running_mean.lerp_(mean_c, norm.momentum)
    norm.running_var.lerp_(variance_c * (count / (count - 1)), norm.momentum)


def _affine(rows: Tensor, gain_c: Tensor, shift_c: Tensor) -> Tensor:
    """Return ``rows * gain + shift``, in float32 whatever the rows are: a batch norm that has nothing to subtract."""
    columns = rows.shape[1]
    gain, shift = _repeat(torch.stack((gain_c, shift_c)), columns // len(gain_c))
    zero, one = _zero_one(columns, gain_c.dtype)
    return torch.native_batch_norm(rows, gain, shift, zero, one, training=False, momentum=0.0, eps=0.0)[0]


def _norm_backward(
    grad: Tensor, rows: Tensor, gain_c: Tensor, mean_c: Tensor, inverse_c: Tensor, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of a batch norm's input, gain and shift (Ioffe and Szegedy, 2015, section 3).

    With m numbers a channel and x̂ the normalised input:
    dx = gain / σ · (dy - Σdy / m - x̂ · Σ(dy · x̂) / m), here as dy, rows and a constant, each with its factor.
    """
    mean, inverse = _repeat(torch.stack((mean_c, inverse_c)), width)
    # In evaluation mode, whose variance is 1 / inverse², the kernel gives the two sums and nothing else.
    _, dot, total = aten.native_batch_norm_backward(
        grad,
        rows,
        None,
        mean,
        inverse.pow(-2),
        None,
        None,
        False,
        0.0,
        (False, True, True),
    )
    dot_c, total_c = torch.stack((dot, total)).view(2, width, -1).sum(1)
    count = rows.numel() // len(mean_c)
    factor_c = gain_c * inverse_c
    of_rows_c = factor_c * inverse_c * dot_c / -count
    constant_c = factor_c * total_c / -count - of_rows_c * mean_c
    grad_rows = _affine(grad, factor_c, constant_c)
    grad_rows.addcmul_(rows, _repeat(of_rows_c, width).to(rows.dtype))
    return grad_rows, dot_c, total_c


def _repeat(values_c: Tensor, fold: int) -> Tensor:
    """Return the last dimension `fold` times over."""
    return values_c if fold == 1 else values_c.index_select(-1, _repeated(values_c.shape[-1], fold))


@functools.cache
def _repeated(channels: int, fold: int) -> Tensor:
    return torch.arange(channels).repeat(fold)


@functools.cache
def _zero_one(columns: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return torch.zeros(columns, dtype=dtype), torch.ones(columns, dtype=dtype)
