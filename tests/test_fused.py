"""The hand-written CPU kernels compute what torch's modules compute: outputs, gradients and running statistics."""

import copy
import json
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sweeper.data.splits import split
from sweeper.design import analyze
from sweeper.network.build import build
from sweeper.network.cpu.fast_paths import NO_FAST_PATHS
from sweeper.network.cpu.fused import ConvUnit, MaxPool
from sweeper.network.heads import ConvHead, GapHead
from sweeper.network.layers import Conv
from sweeper.training import device
from sweeper.training.loop import fit

from .composed import compose
from .processes import environment

if TYPE_CHECKING:
    from sweeper.records import BatchProgress

CURVE = Path(__file__).with_name("loss_curve.json")
CURVE_TOLERANCE = 5e-3
"""Relative. Other instruction sets (SSE4.1, AVX2, AVX-512) move the curve by up to 0.37 %, a missing Nesterov momentum by 1.5 %."""

units = st.fixed_dictionaries(
    {
        "n": st.integers(2, 4),
        "channels_in": st.integers(1, 3),
        "channels_out": st.integers(1, 5),
        "size": st.integers(3, 6),
        "kernel_size": st.sampled_from([1, 3]),
        "padding": st.integers(0, 1),
        "bias": st.booleans(),
        "activation_first": st.booleans(),
        "dropout": st.sampled_from([0.0, 0.3]),
    }
)


def _unit(
    channels_in: int,
    channels_out: int,
    kernel_size: int,
    padding: int,
    *,
    bias: bool,
    activation_first: bool,
    dropout: float,
) -> ConvUnit:
    norm, activation = ("norm", nn.BatchNorm2d(channels_out)), ("activation", nn.ReLU())
    nn.init.uniform_(norm[1].weight, -1, 2)
    nn.init.uniform_(norm[1].bias)
    parts = OrderedDict[str, nn.Module](
        conv=nn.Conv2d(channels_in, channels_out, kernel_size, padding=padding, bias=bias)
    )
    parts.update([activation, norm] if activation_first else [norm, activation])
    if dropout:
        parts["dropout"] = nn.Dropout2d(dropout)
    return ConvUnit(parts)


def _modules_of(unit: ConvUnit) -> nn.Sequential:
    """The unit's own modules, which torch applies one after the other."""
    return nn.Sequential(OrderedDict(unit.named_children()))


def _step(unit: nn.Sequential, images: Tensor, direction: Tensor) -> dict[str, Tensor]:
    """Everything a training step of a copy of the unit computes."""
    unit, images = copy.deepcopy(unit), images.clone().requires_grad_()
    torch.manual_seed(0)
    out = unit(images)
    (out * direction).sum().backward()
    gradients = {name: p.grad for name, p in unit.named_parameters() if p.grad is not None}
    assert images.grad is not None
    return {"output": out, "input": images.grad, **gradients, **dict(unit.named_buffers())}


@given(settings=units)
def test_a_unit_trains_as_its_modules_do(settings: dict[str, int]) -> None:
    """Output, gradients and running statistics equal those of torch's modules.

    Dropout has the same draws. Everything is float64, so that a wrong formula cannot hide in rounding.
    """
    n, size = settings.pop("n"), settings.pop("size")
    with torch.random.fork_rng():
        torch.manual_seed(sum(settings.values()) + n + size)
        unit = _unit(**settings).double()  # type: ignore[arg-type]  # Hypothesis draws each with its own type
        images = torch.randn(n, settings["channels_in"], size, size, dtype=torch.float64)
        direction = torch.randn_like(unit.eval()(images))
        unit.train()
        ours = _step(unit, images, direction)
        theirs = _step(_modules_of(unit), images, direction)
    assert ours.keys() == theirs.keys()
    for name in theirs:  # pytest shows the name of the one that differs
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize(
    ("activation_first", "channels", "padding"),
    [(False, 10, 1), (True, 10, 0), (True, 1, 1)],
)
def test_a_unit_in_bf16_rounds_no_worse_than_its_modules(
    activation_first: bool,  # noqa: FBT001 - pytest passes it by name
    channels: int,
    padding: int,
) -> None:
    """Under autocast its distance from the float32 result is at most 1.5 times that of torch's modules."""
    if not device.has_bf16("cpu"):
        pytest.skip("this processor has no bf16")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        unit = _unit(channels, 16, 3, padding, bias=True, activation_first=activation_first, dropout=0.1)
        images = torch.randn(16, channels, 28, 28).contiguous(memory_format=torch.channels_last)
        direction = torch.randn(16, 16, 26 + 2 * padding, 26 + 2 * padding)
        exact = _step(_modules_of(unit), images, direction)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            ours = _step(unit, images, direction)
            theirs = _step(_modules_of(unit), images, direction)
    for name in ("output", "input", "conv.weight", "norm.weight", "norm.bias", "norm.running_var"):
        distances = [(step[name].float() - exact[name]).norm().item() for step in (ours, theirs)]
        assert distances[0] <= 1.5 * distances[1], name


def test_nan_propagates() -> None:
    """A NaN passes through ReLU, norm and pooling as it does in torch, so that the loss shows it."""
    unit = _unit(1, 2, 3, 0, bias=True, activation_first=True, dropout=0.0)
    with torch.no_grad():
        next(unit.parameters()).fill_(-torch.nan)
    images = torch.randn(4, 1, 5, 5)
    assert MaxPool(3)(unit(images)).isnan().any()


@given(
    size=st.integers(1, 4),
    shape=st.tuples(st.just(2), st.integers(1, 17), st.integers(4, 9), st.integers(4, 9)),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 9),
)
def test_pooling_is_torchs_to_the_bit(
    size: int, shape: tuple[int, int, int, int], dtype: torch.dtype, seed: int
) -> None:
    """Output and gradient: of equal values the first has the gradient, and pixels left over at the edges have none."""
    n, channels, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(-3, 4, shape, generator=generator).to(dtype).contiguous(memory_format=torch.channels_last)
    direction = torch.randn(n, channels, height // size, width // size, generator=generator).to(dtype)
    steps = []
    for pool in (MaxPool(size), nn.MaxPool2d(size)):
        ours = images.clone().requires_grad_()
        out = pool(ours)
        steps.append((out, *torch.autograd.grad(out, ours, direction)))
    for mine, theirs in zip(*steps, strict=True):
        assert torch.equal(mine, theirs)


def test_one_image_raises_torchs_error() -> None:
    """Batch norm cannot use a single value per channel, which one image leaves on a 1×1 map; torch says so."""
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        _unit(1, 2, 3, 0, bias=True, activation_first=True, dropout=0.0)(torch.randn(1, 1, 3, 3))


def test_kernels_work_without_a_cache(tmp_path: Path) -> None:
    """Where numba can write no cache, neither next to the file nor in the user's folder, kernels are compiled in memory."""
    code = (
        "import numba.core.caching as caching; caching.CacheImpl._locator_classes = []\n"
        "import torch; from sweeper.network.cpu.fused import MaxPool\n"
        "assert MaxPool(2)(torch.arange(32.0).view(2, 1, 4, 4)).flatten().tolist() == [5, 7, 13, 15, 21, 23, 29, 31]"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), check=True)


@pytest.mark.parametrize("autocast", [False, True])
def test_scores_are_those_of_torchs_layers(autocast: bool) -> None:  # noqa: FBT001 - pytest passes it by name
    """The heads equal a 1×1 convolution, and a mean with a linear layer, in float32 even under bf16 autocast."""
    pixel, image = torch.randn(4, 3, 1, 1), torch.randn(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    conv, gap = ConvHead(3, 2, bias=True), GapHead(3, 2, bias=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        ours = conv(pixel), gap(image)
    torch.testing.assert_close(ours[0], conv.conv(pixel).flatten(1))
    torch.testing.assert_close(ours[1], gap.linear(image.mean((2, 3))))


@pytest.mark.parametrize("head", [ConvHead(3, 2, bias=True), GapHead(3, 2, bias=False)])
def test_hooks_of_a_heads_layer_are_called(head: ConvHead | GapHead) -> None:
    """A hook on the layer inside a head sees the layer's own output, and what it returns becomes the logits."""
    (layer,) = head.children()
    images = torch.randn(4, 3, 1, 1)
    expected = head(images)
    seen: list[Tensor] = []

    def double(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        seen.append(output)
        return 2 * output

    with layer.register_forward_hook(double):
        torch.testing.assert_close(head(images), 2 * expected)
    assert seen[0].shape == (torch.Size([4, 2, 1, 1]) if isinstance(layer, nn.Conv2d) else torch.Size([4, 2]))
    torch.testing.assert_close(head(images), expected)


def test_only_units_that_the_kernels_can_compute_are_fused() -> None:
    """Another activation, no norm, or element-wise dropout: torch's modules."""
    for overrides in (
        ["model.activation=gelu"],
        ["model.norm=none"],
        ["model.dropout=0.1", "model.dropout_kind=element"],
    ):
        network = build(analyze(compose(overrides)).plan)
        assert not any(isinstance(module, ConvUnit) for module in network.modules()), overrides
    plan = analyze(compose(["model.dropout=0.1"])).plan
    convolutions = sum(isinstance(layer, Conv) for layer in plan.layers)
    assert sum(isinstance(module, ConvUnit) for module in build(plan).modules()) == convolutions
    assert not any(isinstance(module, ConvUnit | MaxPool) for module in build(plan, NO_FAST_PATHS).modules())


def test_fp32_follows_the_stored_loss_curve() -> None:
    """The first epoch's running loss on the embedded digits is, to 0.5 %, the stored one of torch's own modules."""
    curve = json.loads(CURVE.read_text())
    conf = device.resolve(compose([*curve["overrides"], "device=cpu"]))
    seen: list[BatchProgress] = []
    with device.reproducible(conf):
        network = build(analyze(conf).plan)
        list(fit(network, split(conf.data), conf, on_batch=seen.append))
    assert [progress.loss for progress in seen] == pytest.approx(curve["loss"], rel=CURVE_TOLERANCE)
