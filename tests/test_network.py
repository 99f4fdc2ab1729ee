"""Summaries agree with the module that is built from the same plan; budget errors and findings are right about both."""

import math
from typing import Any, get_args

import pytest
import torch
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sweeper.config.composition import compose
from sweeper.config.model import Activation, ConvKind, GroupConf, HeadConf, ModelConf, PoolKind
from sweeper.config.schema import BudgetConf
from sweeper.design import analyze, analyze_within_budget
from sweeper.errors import BudgetError, ConfigError
from sweeper.network.budget import check_budget, scaled, within_budget
from sweeper.network.build import SqueezeExcite, build
from sweeper.network.diagnosis import diagnose
from sweeper.network.plan import Conv, Plan, make_plan
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


@settings(max_examples=60)
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


@settings(max_examples=40)
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


@settings(max_examples=40)
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


def test_erased_signal_is_what_happens_in_training() -> None:
    """In the notebook's network in training mode, the share of images that survive is the predicted one."""
    torch.manual_seed(0)
    plan = analyze(compose(["model=notebook"])).plan
    network = build(plan).train()
    survived = torch.ones(4000, dtype=torch.bool)

    def record_survivors(_module: nn.Module, _input: tuple[torch.Tensor], output: torch.Tensor) -> None:
        survived.logical_and_(output.flatten(1).abs().sum(1) > 0)

    for name in ("transition1", "transition2"):
        network.get_submodule(f"{name}.0").register_forward_hook(record_survivors)
    with torch.no_grad():
        network(torch.rand(4000, 1, 28, 28))
    # Four standard deviations of a share of 0.81 among 4,000.
    assert survived.float().mean().item() == pytest.approx(0.81, abs=4 * math.sqrt(0.81 * 0.19 / 4000))


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
