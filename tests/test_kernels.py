"""The kernels' arithmetic at its limits: values far from zero, of any size, and not finite."""

from collections import OrderedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sweeper.network.cpu.fused import ConvUnit, MaxPool

extremes = st.fixed_dictionaries(
    {
        "mean": st.sampled_from([0.0, 1.0, -7.0, 9.0, 100.0, -1e3, 1e4, 1e6, 1e8]),
        "deviation": st.sampled_from([1e-3, 1.0, 30.0, 1e6, 1e12]),
        "relu_first": st.booleans(),
        "seed": st.integers(0, 99),
    }
)


def _unit(*, relu_first: bool) -> ConvUnit:
    """A unit whose convolution copies its input, so that the norm sees the values of the test."""
    norm, activation = ("norm", nn.BatchNorm2d(3)), ("activation", nn.ReLU())
    parts = OrderedDict[str, nn.Module](conv=nn.Conv2d(3, 3, 1))
    parts.update([activation, norm] if relu_first else [norm, activation])
    with torch.no_grad():
        nn.init.dirac_(parts["conv"].get_parameter("weight"))
        nn.init.zeros_(parts["conv"].get_parameter("bias"))
        norm[1].weight.copy_(torch.tensor([0.5, -1.5, 2.0]))
        norm[1].bias.copy_(torch.tensor([0.3, 0.1, -0.2]))
    return ConvUnit(parts)


def _step(unit: nn.Sequential, images: Tensor) -> dict[str, Tensor]:
    """What one training step computes from these values."""
    images = images.clone().requires_grad_()
    out = unit(images)
    weights = torch.arange(out.numel(), dtype=out.dtype).cos().view_as(out)
    (out * weights).sum().backward()
    assert images.grad is not None
    norm = unit.get_submodule("norm")
    return {
        "output": out.detach(),
        "input": images.grad,
        "scale": norm.get_parameter("weight").grad,
        "shift": norm.get_parameter("bias").grad,
        "mean": norm.get_buffer("running_mean"),
        "variance": norm.get_buffer("running_var"),
    }


def _error(found: Tensor, exact: Tensor) -> float:
    """The largest distance from the exact values, as a fraction of the largest of them."""
    return float((found.double() - exact).abs().max() / exact.abs().max().clamp(min=1e-30))


@given(settings=extremes)
def test_values_far_from_zero_are_normalized_as_exactly_as_by_torch(settings: dict[str, float]) -> None:
    """In float32 every result is as close to float64's as torch's is, wherever the values lie and however large.

    What is close: 3 times torch's own error, and 1e-4 of the largest value where torch is closer still.
    """
    generator = torch.Generator().manual_seed(int(settings["seed"]))
    images = torch.randn(8, 3, 6, 7, generator=generator) * settings["deviation"] + settings["mean"] * torch.rand(
        1, 3, 1, 1, generator=generator
    )
    unit = _unit(relu_first=bool(settings["relu_first"]))
    modules = nn.Sequential(OrderedDict(_unit(relu_first=bool(settings["relu_first"])).named_children()))
    exact = _step(
        nn.Sequential(OrderedDict(_unit(relu_first=bool(settings["relu_first"])).named_children())).double(),
        images.double(),
    )
    ours, theirs = _step(unit, images), _step(modules, images)
    for name, values in exact.items():
        if name != "input" or values.abs().max() > 1e-30:
            assert _error(ours[name], values) <= 3 * _error(theirs[name], values) + 1e-4, name


@pytest.mark.parametrize("bias", [1e3, 1e4, -1e5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_large_bias_does_not_change_what_is_normalized(bias: float, dtype: torch.dtype) -> None:
    """Batch norm removes a constant; only the digits that the constant itself costs are lost."""
    unit = _unit(relu_first=False).to(dtype)
    images = torch.randn(16, 3, 12, 12, dtype=dtype, generator=torch.Generator().manual_seed(0))
    expected = unit(images)
    with torch.no_grad():
        unit.get_parameter("conv.bias").fill_(bias)
    spacing = torch.finfo(dtype).eps * abs(bias)
    assert (unit(images) - expected).abs().max() <= 4 * spacing


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("relu_first", [True, False])
def test_values_that_are_not_finite_spread_as_in_torch(value: float, relu_first: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    """One such value makes its channel's output and running statistics what torch makes of them."""
    images = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    images[1, 2, 3, 4] = value
    ours, theirs = _unit(relu_first=relu_first), _unit(relu_first=relu_first)
    modules = nn.Sequential(OrderedDict(theirs.named_children()))
    torch.testing.assert_close(ours(images), modules(images), equal_nan=True)
    torch.testing.assert_close(dict(ours.named_buffers()), dict(modules.named_buffers()), equal_nan=True)


@given(
    size=st.integers(1, 3),
    seed=st.integers(0, 99),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_pooling_passes_nan_as_torch_does(size: int, seed: int, dtype: torch.dtype) -> None:
    """A window with NaN gives NaN, and its last NaN has the gradient; infinities are values like others."""
    generator = torch.Generator().manual_seed(seed)
    choices = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, 1.0]).to(dtype)
    images = choices[torch.randint(0, 5, (2, 3, 7, 6), generator=generator)]
    steps = []
    for pool in (MaxPool(size), nn.MaxPool2d(size)):
        leaf = images.contiguous(memory_format=torch.channels_last).requires_grad_()
        out = pool(leaf)
        steps.append((out, *torch.autograd.grad(out, leaf, torch.ones_like(out))))
    for mine, torchs in zip(*steps, strict=True):
        assert torch.equal(mine.isnan(), torchs.isnan())
        assert torch.equal(mine.nan_to_num(), torchs.nan_to_num())
