"""Summaries agree with the module that is built from the same plan; budget errors and findings are right about both."""

import math
import re
from dataclasses import replace
from typing import Any, cast, get_args

import pytest
import torch
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sweeper.config.composition import compose
from sweeper.config.model import Activation, ConvKind, GroupConf, HeadConf, ModelConf, Norm, PoolKind
from sweeper.config.schema import BudgetConf
from sweeper.design import analyze, analyze_within_budget
from sweeper.errors import BudgetError, ConfigError
from sweeper.network.budget import check_budget, scaled, within_budget
from sweeper.network.build import ACTIVATIONS, SqueezeExcite, build
from sweeper.network.diagnosis import diagnose
from sweeper.network.layers import Conv
from sweeper.network.layers.convolution import (
    ACTIVATION_PARAMETERS,
    CONVOLUTIONS,
    NORM_PARAMETERS,
    PlainConv,
    SeparableConv,
)
from sweeper.network.layers.pooling import POOLINGS
from sweeper.network.plan import Plan, make_plan
from sweeper.network.summary import Summary, summarize

IMAGE = (1, 28, 28)
CLASSES = 10

groups = st.builds(
    GroupConf,
    channels=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    kernel_size=st.none() | st.integers(1, 5),
    padding=st.none() | st.integers(0, 3),
    pool=st.none() | st.integers(1, 3),
    dropout=st.none() | st.sampled_from([0.0, 0.1, 0.5]),
    dropout_kind=st.none() | st.sampled_from(["channel", "element"]),
    bias=st.none() | st.booleans(),
    norm=st.none() | st.sampled_from(["batch", "none"]),
    activation=st.none() | st.sampled_from(get_args(Activation)),
    order=st.none() | st.sampled_from(["conv_norm_act", "conv_act_norm"]),
    conv=st.none() | st.sampled_from(get_args(ConvKind)),
    stride=st.none() | st.integers(1, 2),
    residual=st.none() | st.booleans(),
    squeeze_excite=st.none() | st.integers(0, 4),
    pool_kind=st.none() | st.sampled_from(get_args(PoolKind)),
)
models = st.builds(
    ModelConf,
    kernel_size=st.integers(1, 5),
    padding=st.integers(0, 2),
    pool=st.integers(1, 2),
    dropout=st.sampled_from([0.0, 0.1]),
    dropout_kind=st.sampled_from(["channel", "element"]),
    bias=st.booleans(),
    norm=st.sampled_from(["batch", "none"]),
    activation=st.sampled_from(["relu", "gelu"]),
    order=st.sampled_from(["conv_norm_act", "conv_act_norm"]),
    conv=st.sampled_from(get_args(ConvKind)),
    residual=st.booleans(),
    squeeze_excite=st.integers(0, 2),
    pool_kind=st.sampled_from(get_args(PoolKind)),
    groups=st.dictionaries(st.sampled_from(["a", "b", "c"]), groups, min_size=1, max_size=3),
    head=st.builds(HeadConf, name=st.just("gap"), bias=st.booleans()),
)
shapes = st.tuples(st.integers(1, 3), st.integers(8, 30), st.integers(8, 30))


def _summarized(model: ModelConf, shape: tuple[int, int, int]) -> tuple[Plan, Summary]:
    try:
        plan = make_plan(model, input_shape=shape, classes=CLASSES)
        return plan, summarize(plan)
    except ConfigError:
        return reject()


def test_reference_network_is_the_notebooks() -> None:
    """model=notebook has 13 layers, 9,736 parameters, and the notebook's shapes, counts and receptive fields."""
    design = analyze(compose(["model=notebook"]))
    rows = design.summary.layers
    assert design.summary.parameters == 9736
    assert [row.kind for row in rows].count("conv") == 10
    assert len(rows) == 13
    assert [row.receptive_field for row in rows] == [3, 5, 7, 8, 8, 12, 16, 18, 18, 26, 34, 42, 42]
    assert [row.output_shape for row in rows[:3]] == [(10, 28, 28), (16, 28, 28), (16, 28, 28)]
    assert [row.output_shape for row in rows[-4:]] == [(10, 5, 5), (16, 3, 3), (16, 1, 1), (10,)]
    modules = [m for m in build(design.plan).modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    counts = [sum(p.numel() for p in m.parameters()) for m in modules]
    assert counts[:5] == [100, 20, 1456, 32, 2320]
    kinds = [type(m).__name__ for m in build(design.plan).get_submodule("block1.0").children()]
    assert kinds == ["Conv2d", "ReLU", "BatchNorm2d", "Dropout2d"]


@pytest.mark.parametrize(
    ("model", "parameters"), [("compact", 7578), ("deep", 9744), ("gap", 8910), ("notebook", 9736), ("quick", 9848)]
)
def test_every_model_fits_the_default_budget(model: str, parameters: int) -> None:
    """Each model has the number of parameters that its file states, less than 10,000."""
    assert analyze_within_budget(compose([f"model={model}"])).summary.parameters == parameters


def test_gap_model_keeps_several_channels_in_its_transitions() -> None:
    """model=gap improves on the notebook: it has no single-channel map, so dropout erases hardly any image."""
    design = analyze(compose(["model=gap"]))
    assert not [finding for finding in design.findings if finding.rule == "erased_signal"]
    assert all(layer.out_channels > 1 for layer in design.plan.layers if isinstance(layer, Conv))


@settings(max_examples=40)
@given(models, shapes)
def test_summary_agrees_with_the_module(model: ModelConf, shape: tuple[int, int, int]) -> None:
    """Shapes, parameters and MACs in closed form equal those of the torch module."""
    plan, summary = _summarized(model, shape)
    network = build(plan).eval()
    assert sum(p.numel() for p in network.parameters()) == summary.parameters

    outputs: dict[str, tuple[int, ...]] = {}
    for name, module in network.named_modules():
        module.register_forward_hook(
            lambda _module, _input, output, name=name: outputs.__setitem__(name, tuple(output.shape[1:]))
        )
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.rand(1, *shape))
    for layer in summary.layers:
        assert outputs[layer.name] == layer.output_shape
        own = network.get_submodule(layer.name).parameters()
        assert sum(p.numel() for p in own) == layer.parameters
    assert counter.get_total_flops() == 2 * summary.macs  # torch counts a multiply and an add as two


@settings(max_examples=20)
@given(models)
def test_receptive_field_is_the_span_of_the_gradient(model: ModelConf) -> None:
    """The input pixels with a gradient from one output value span exactly the receptive field."""
    model.groups = {name: group for name, group in model.groups.items() if (group.pool or 1) < 3}
    assume(model.groups)
    plan, summary = _summarized(model, (1, 120, 120))
    last = summary.layers[-2]
    assume(last.receptive_field < 50)
    trunk = _positive(build(plan)[:-1])
    image = torch.ones(1, 1, 120, 120, requires_grad=True)
    output = trunk(image)
    row, column = output.shape[2] // 2, output.shape[3] // 2
    output[0, :, row, column].sum().backward()
    assert image.grad is not None
    touched = image.grad[0, 0].nonzero()
    spans = touched.max(0).values - touched.min(0).values + 1
    assert spans.tolist() == [last.receptive_field] * 2


@settings(max_examples=15)
@given(models)
def test_jump_is_the_distance_of_neighbouring_receptive_fields(model: ModelConf) -> None:
    """From one output value to its neighbour, the input pixels with a gradient move by the jump."""
    plan, summary = _summarized(model, (1, 120, 120))
    last = summary.layers[-2]
    assume(last.receptive_field < 50)
    assume(min(last.output_shape[1:]) >= 8)
    trunk = _positive(build(plan)[:-1])
    firsts = []
    for column in (last.output_shape[2] // 2, last.output_shape[2] // 2 + 1):
        image = torch.ones(1, 1, 120, 120, requires_grad=True)
        trunk(image)[0, :, last.output_shape[1] // 2, column].sum().backward()
        assert image.grad is not None
        firsts.append(int(image.grad[0, 0].nonzero().min(0).values[1]))
    assert firsts[1] - firsts[0] == last.jump


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


def _positive(trunk: nn.Sequential) -> nn.Sequential:
    """Give every path a positive gradient: average pooling for max pooling, no activation, positive weights.

    Squeeze-and-excitation is left out: its gates depend on the whole feature map.
    """
    for module in list(trunk.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride))
            elif isinstance(child, nn.ReLU | nn.LeakyReLU | nn.GELU | nn.SiLU | nn.PReLU | SqueezeExcite):
                setattr(module, name, nn.Identity())
    for parameter in trunk.parameters():
        parameter.data.abs_().add_(0.1)
    return trunk.eval()


@settings(max_examples=60)
@given(models, st.integers(1, 3000))
def test_budget_error_names_the_widest_scaling_that_fits(model: ModelConf, limit: int) -> None:
    """Over budget, the error states the count; the scaling it suggests fits, and the next wider one does not."""
    plan, summary = _summarized(model, IMAGE)
    budget = BudgetConf(parameters=limit, macs=None)
    if summary.parameters <= limit:
        check_budget(model, plan, summary, budget)
        assert within_budget(summary, budget)
        return
    with pytest.raises(BudgetError, match=f"model has {summary.parameters:,} parameters, the budget is {limit:,}") as e:
        check_budget(model, plan, summary, budget)
    text = str(e.value)
    if "scale all channels by" not in text:
        assert "even one channel" in text or "use one channel" in text
        return
    factor = float(text.partition("scale all channels by ")[2].partition(", rounded down")[0])

    def count(f: float) -> int:
        return summarize(make_plan(scaled(model, f), input_shape=IMAGE, classes=CLASSES)).parameters

    assert count(factor) <= limit < count(factor + 0.001)
    assert f"({count(factor):,} parameters)" in text


def test_a_budget_out_of_reach_names_the_limit_to_raise() -> None:
    """If no width fits, the advice is to raise the limit that even one channel exceeds, which may be the other one."""
    for limits, raised in (
        (["budget.parameters=20"], "raise budget.parameters, because even one channel per convolution has"),
        (
            ["budget.parameters=100", "budget.macs=5000"],
            "raise budget.macs, because even one channel per convolution has",
        ),
    ):
        with pytest.raises(BudgetError, match=f"^model has 7,578 parameters, the budget is [0-9]+: {raised}"):
            analyze_within_budget(compose(["model=compact", *limits]))


def test_budget_also_limits_macs() -> None:
    """budget.macs is enforced too, and the error is about MACs."""
    with pytest.raises(BudgetError, match="model has 949,696 MACs, the budget is 900,000"):
        analyze_within_budget(compose(["model=compact", "budget.macs=900000"]))


def test_a_count_equal_to_the_budget_is_within_it() -> None:
    """The budget itself is allowed, one parameter more is not."""
    assert analyze_within_budget(compose(["model=compact", "budget.parameters=7578"])).summary.parameters == 7578
    with pytest.raises(BudgetError):
        analyze_within_budget(compose(["model=compact", "budget.parameters=7577"]))


def _rules(*overrides: str) -> dict[str, Any]:
    return {finding.rule: finding for finding in analyze(compose(list(overrides))).findings}


def test_erased_signal_is_the_product_over_the_network() -> None:
    """81 % of images survive the notebook's two single-channel dropouts, so training accuracy stays below about 83 %."""
    finding = _rules("model=notebook")["erased_signal"]
    assert finding.layers == ("transition1.0", "transition2.0")
    assert finding.evidence["survival"] == pytest.approx(0.81, abs=1e-6)
    assert finding.evidence["training_accuracy_ceiling"] == pytest.approx(0.81 + 0.19 * 0.1124, abs=1e-6)
    assert "81.0 %" in finding.message
    assert "83.1 %" in finding.message


def test_erased_signal_is_silent_without_dropout_or_with_many_channels() -> None:
    """Without dropout, with wide layers, or with element-wise dropout on a large map there is no such finding."""
    assert "erased_signal" not in _rules("model=notebook", "model.dropout=0")
    assert "erased_signal" not in _rules("model=gap")
    assert "erased_signal" not in _rules("model=notebook", "model.dropout_kind=element")


NARROW = "model.groups.block1.channels=[1,1,1]"
"""Three more convolutions of one channel: dropout erases the image in each."""


@pytest.mark.parametrize(
    ("overrides", "survival"),
    [
        ([], 0.9**2),
        ([NARROW], 0.9**5),
        ([NARROW, "model.groups.block1.residual=true"], 0.9**2),
        ([NARROW, "model.conv=separable", "model.squeeze_excite=2"], 0.9**5),
    ],
)
def test_erased_signal_is_what_happens_in_training(overrides: list[str], survival: float) -> None:
    """In the notebook's network in training mode, the share of images that survive is the predicted one.

    A shortcut carries the signal past dropout; depthwise convolutions and gates change nothing.
    """
    torch.manual_seed(0)
    design = analyze(compose(["model=notebook", *overrides]))
    plan = design.plan
    found = [finding.evidence["survival"] for finding in design.findings if finding.rule == "erased_signal"]
    assert found == [pytest.approx(survival, abs=1e-6)]
    network = build(plan).train()
    for parameter in network.parameters():
        parameter.data.abs_()  # a single channel of negative weights is dead after its ReLU, without any dropout
    survived = torch.ones(2000, dtype=torch.bool)

    def record_survivors(_module: nn.Module, _input: tuple[torch.Tensor], output: torch.Tensor) -> None:
        survived.logical_and_(output.flatten(1).abs().sum(1) > 0)

    for layer in plan.layers:
        if isinstance(layer, Conv) and layer.out_channels == 1:
            network.get_submodule(layer.name).register_forward_hook(record_survivors)
    with torch.no_grad():
        network(torch.rand(2000, 1, 28, 28))
    deviation = math.sqrt(survival * (1 - survival) / 2000)
    assert survived.float().mean().item() == pytest.approx(survival, abs=4 * deviation)


def test_bottleneck_rule_both_ways() -> None:
    """The notebook's single-channel transitions are bottlenecks; the default network has none."""
    layers = {f.layers for f in analyze(compose(["model=notebook"])).findings if f.rule == "bottleneck"}
    assert layers == {("transition1.0",), ("transition2.0",)}
    assert "bottleneck" not in _rules()


@settings(max_examples=60)
@given(models)
def test_survival_is_a_probability_and_the_ceiling_is_above_it(model: ModelConf) -> None:
    """For any network, survival is in [0, 1], and guessing can only raise the accuracy above it."""
    plan, summary = _summarized(model, IMAGE)
    for finding in diagnose(plan, summary, majority_share=0.1):
        assert finding.layers
        if finding.rule == "erased_signal":
            survival = finding.evidence["survival"]
            assert 0 <= survival <= finding.evidence["training_accuracy_ceiling"] <= 1
