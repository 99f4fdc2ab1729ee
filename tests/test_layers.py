"""Layers: pooling, shortcuts, separable convolutions, and what no network can have."""

import re
from dataclasses import replace
from typing import Any, cast, get_args

import pytest
import torch
from torch import nn

from sweeper.config.model import Activation, ConvKind, GroupConf, Norm, PoolKind
from sweeper.design import analyze
from sweeper.errors import ConfigError
from sweeper.network.build import ACTIVATIONS, build
from sweeper.network.layers import Conv
from sweeper.network.layers.convolution import (
    ACTIVATION_PARAMETERS,
    CONVOLUTIONS,
    NORM_PARAMETERS,
    PlainConv,
    SeparableConv,
)
from sweeper.network.layers.pooling import POOLINGS
from sweeper.network.plan import make_plan

from .composed import compose
from .networks import CLASSES, IMAGE


@pytest.mark.parametrize("pool_kind", get_args(PoolKind))
def test_pooling_keeps_a_constant(pool_kind: str) -> None:
    """A constant map stays constant up to its edges, whatever the pooling: what is beyond the edge does not count."""
    for size in (2, 3, 4):
        plan = analyze(
            compose(
                ["model=compact", f"model.pool_kind={pool_kind}", f"model.groups.block2.pool={size}", "model.padding=1"]
            )
        ).plan
        pool = build(plan).get_submodule("block2.pool")
        torch.testing.assert_close(
            pool(torch.full((1, 2, 13, 12), 3.0)), torch.full((1, 2, 13 // size, 12 // size), 3.0)
        )


def test_blur_pooling_is_dense_max_pooling_and_a_triangle_filter() -> None:
    """Away from the edges: maxima of 2×2 windows at every pixel, then [1, 2, 1] / 4 along both sides, every second."""
    plan = analyze(compose(["model=compact", "model.pool_kind=blur"])).plan
    image = torch.randn(1, 1, 12, 12)
    maxima = nn.functional.max_pool2d(image, 2, stride=1)
    taps = torch.tensor([1.0, 2.0, 1.0]) / 4
    expected = nn.functional.conv2d(maxima, torch.outer(taps, taps)[None, None], stride=2, padding=1)
    blurred = build(plan).get_submodule("block2.pool")(image)
    torch.testing.assert_close(blurred[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("kernel_size", [3, 4])
def test_a_shortcut_adds_the_centre_of_the_input(kernel_size: int, padding: int) -> None:
    """With a unit that gives zero, the output is the input: cropped or padded with zeros evenly, more channels zero."""
    group = GroupConf(channels=[5], kernel_size=kernel_size, padding=padding, residual=True)
    model = replace(compose(["model=compact"]).model, groups={"a": group})
    unit = build(make_plan(model, input_shape=(3, 10, 10), classes=CLASSES)).get_submodule("a.0").eval()
    for parameter in unit.parameters():
        nn.init.zeros_(parameter)
    image = torch.randn(2, 3, 10, 10)
    output = unit(image)
    grown = 2 * padding + 1 - kernel_size
    assert output.shape == (2, 5, 10 + grown, 10 + grown)
    assert output[:, 3:].abs().sum() == 0
    here = slice(max(0, -(grown // 2)), 10 - max(0, grown // 2 - grown))
    there = slice(max(0, grown // 2), 10 + grown - max(0, grown - grown // 2))
    assert torch.equal(output[:, :3, there, there], image[:, :, here, here])


def test_a_strided_or_narrowing_convolution_has_no_shortcut() -> None:
    """Shortcuts need no weights: they are only where the output has the input's pixels and all its channels."""
    group = GroupConf(channels=[8, 6, 6, 9], kernel_size=3, residual=True, stride=2)
    model = replace(compose(["model=compact"]).model, groups={"a": group})
    plan = make_plan(model, input_shape=IMAGE, classes=CLASSES)
    assert [layer.shortcut for layer in plan.layers if isinstance(layer, Conv)] == [False, False, True, True]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=notebook", "model.groups.transition1.residual=true"], "model.groups.transition1.residual=true needs"),
        (
            ["model.groups.block2.stride=4"],
            "block2.0 must have a stride of at most the side of its 3×3 kernel, but has 4",
        ),
        (["model.groups.block2.stride=0"], "model.groups.block2.stride must be at least 1, but got 0"),
        (["model.squeeze_excite=-1"], "model.squeeze_excite must be at least 0, but got -1"),
    ],
)
def test_impossible_layers_are_refused(overrides: list[str], message: str) -> None:
    """A shortcut that no convolution can have, a stride that skips pixels and values out of bounds: one line each."""
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        analyze(compose(overrides))
    assert "\n" not in str(error.value)


def test_a_model_wide_shortcut_that_no_group_can_have_is_refused() -> None:
    """The error names the model-wide key; a group's own false is respected. One convolution with a shortcut is enough."""
    narrowing = ["model.groups.block2.channels=[8,6,5,4]", "model.residual=true"]
    with pytest.raises(ConfigError, match=r"^model\.residual=true needs a convolution"):
        analyze(compose([*narrowing, "model.groups.block1.residual=false"]))
    plan = analyze(compose(narrowing)).plan
    assert [layer.name for layer in plan.layers if isinstance(layer, Conv) and layer.shortcut] == ["block1.0"]


def test_each_option_of_a_layer_is_a_layer_and_each_layer_has_a_module() -> None:
    """Every name that the config allows has a class of the plan; an unknown layer is an error in build too."""
    assert set(CONVOLUTIONS) == set(get_args(ConvKind))
    assert set(POOLINGS) == set(get_args(PoolKind))
    assert set(ACTIVATION_PARAMETERS) == set(ACTIVATIONS) == set(get_args(Activation))
    assert set(NORM_PARAMETERS) == set(get_args(Norm))
    known = analyze(compose(["model=compact"])).plan
    odd = [cast("Any", layer) for layer in known.layers]
    odd[0] = object()
    with pytest.raises(AssertionError, match="unreachable"):
        build(replace(known, layers=tuple(odd)))


def test_separable_kernels_of_one_pixel_are_a_plain_convolution() -> None:
    """Its kernels would be single weights, which the 1×1 convolution has anyway."""
    plan = analyze(compose(["model=notebook", "model.conv=separable"])).plan
    kinds = {layer.kernel_size: type(layer) for layer in plan.layers if isinstance(layer, Conv)}
    assert kinds == {3: SeparableConv, 1: PlainConv}
