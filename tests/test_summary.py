"""Summaries agree with the module that is built from the same plan: shapes, parameters, MACs, receptive fields."""

import pytest
import torch
from hypothesis import assume, given, settings
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sweeper.config.model import ModelConf
from sweeper.design import analyze, analyze_within_budget
from sweeper.network.build import SqueezeExcite, build
from sweeper.network.layers import Conv

from .composed import compose
from .networks import models, shapes, summarized


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
    plan, summary = summarized(model, shape)
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
    plan, summary = summarized(model, (1, 120, 120))
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
    plan, summary = summarized(model, (1, 120, 120))
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
