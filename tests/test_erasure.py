"""A signal that dropout erases: the share of images that survive, as computed and as it happens in training."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from sweeper.config.model import ModelConf
from sweeper.design import analyze
from sweeper.network.build import build
from sweeper.network.diagnosis import diagnose
from sweeper.network.layers import Conv

from .composed import compose
from .networks import IMAGE, models, summarized


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


@settings(max_examples=60)
@given(models)
def test_survival_is_a_probability_and_the_ceiling_is_above_it(model: ModelConf) -> None:
    """For any network, survival is in [0, 1], and guessing can only raise the accuracy above it."""
    plan, summary = summarized(model, IMAGE)
    for finding in diagnose(plan, summary, majority_share=0.1):
        assert finding.layers
        if finding.rule == "erased_signal":
            survival = finding.evidence["survival"]
            assert 0 <= survival <= finding.evidence["training_accuracy_ceiling"] <= 1
