"""What a plan alone shows: the thresholds of the rules of `sweeper.network.diagnosis`, and the facts they compare with."""

import numpy as np
import pytest

from sweeper.data.catalogue import DATASETS
from sweeper.data.files import read_files
from sweeper.design import analyze
from sweeper.network.diagnosis import Finding

from .composed import compose


def _rules(*overrides: str) -> dict[str, Finding]:
    return {finding.rule: finding for finding in analyze(compose(list(overrides))).findings}


@pytest.mark.parametrize(("values", "is_bottleneck"), [(2, True), (6, True), (8, False), (9, False), (10, False)])
@pytest.mark.parametrize(
    "network",
    [("model=notebook", "model.groups.block3.channels=[10,16,{}]"), ("model.groups.block2.channels=[9,9,9,{}]",)],
)
def test_too_few_values_for_the_classes_are_a_bottleneck(
    network: tuple[str, ...], values: int, *, is_bottleneck: bool
) -> None:
    """Six values before ten classes cost accuracy, eight do not; a head that averages sees a value per channel."""
    findings = analyze(compose([override.format(values) for override in network])).findings
    found = [finding.evidence for finding in findings if "values" in finding.evidence]
    assert found == ([{"values": values, "classes": 10}] if is_bottleneck else [])


def test_bottleneck_rule_both_ways() -> None:
    """The notebook's single-channel transitions are bottlenecks; the default network has none."""
    layers = {f.layers for f in analyze(compose(["model=notebook"])).findings if f.rule == "bottleneck"}
    assert layers == {("transition1.0",), ("transition2.0",)}
    assert "bottleneck" not in _rules()


def test_the_receptive_field_is_held_against_what_is_in_the_images() -> None:
    """A field of 22 pixels holds a whole digit of MNIST, so nothing is found; clothes fill the image."""
    assert "receptive_field" not in _rules("model=quick")
    found = _rules("model=quick", "data=fashion_mnist")["receptive_field"]
    assert found.evidence == {"receptive_field": 22, "content": 28, "image": 28}
    assert _rules("model=compact")["receptive_field"].evidence["content"] == 20
    assert "receptive_field" not in _rules("model=notebook", "data=fashion_mnist")


def test_a_note_advises_nothing_and_names_no_digit() -> None:
    """A larger field was measured to be worse, so no change is advised; the words fit any images."""
    message = _rules("model=quick", "data=fashion_mnist")["receptive_field"].message
    assert not any(word in message for word in ("Add ", "Widen", "digit"))


def test_the_content_of_the_installed_digits_is_the_catalogues() -> None:
    """The longer side of the rectangle around each digit, measured, is 20 pixels at most."""
    images_nhw = read_files(compose(["data=mnist5k"]).data, "train").images_nhw
    sides = []
    for axis in (1, 2):
        lines_nl = np.asarray((images_nhw > 0).any(axis))
        sides.append(lines_nl.shape[1] - lines_nl.argmax(1) - lines_nl[:, ::-1].argmax(1))
    assert int(np.maximum(*sides).max()) == DATASETS.facts("mnist5k").content == DATASETS.facts("mnist").content
