"""The average of the weights, training.ema: it is that of torch, without bias, and what a run saves."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.swa_utils import AveragedModel, update_bn

from sweeper.data.splits import split
from sweeper.design import analyze
from sweeper.errors import ConfigError
from sweeper.network.build import build
from sweeper.run.experiment import run
from sweeper.training import device
from sweeper.training.averaging import WeightAverage
from sweeper.training.evaluate import evaluate
from sweeper.training.loop import fit, make_autocast
from sweeper.training.optim import Optimizer

from .composed import compose
from .trainings import SMALL, fitted, splits_of, tiny_splits


def _warmed_up(decay: float) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor | int], torch.Tensor]:
    """An averaging function for torch's AveragedModel: its first call copies, the n-th later one is capped."""

    def average(averaged: torch.Tensor, current: torch.Tensor, updates: torch.Tensor | int) -> torch.Tensor:
        n = int(updates)
        d = min(decay, (1 + n) / (10 + n))
        return d * averaged + (1 - d) * current

    return average


def test_the_average_is_that_of_torchs_averaged_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each epoch the network has the weights of an AveragedModel that was updated after every step, and the
    statistics of torch's update_bn on the epoch's images; the next epoch trains on from the last step's weights.
    """
    conf = device.resolve(compose([*SMALL, "training.ema=0.9", "training.batch_size=32"]))
    plain = replace(conf, training=replace(conf.training, ema=0.0))
    with device.reproducible(conf):
        ours, theirs = build(analyze(conf).plan), build(analyze(conf).plan)
        theirs.load_state_dict(ours.state_dict())
        theirs_by_torch = AveragedModel(theirs, avg_fn=_warmed_up(0.9))
        step = Optimizer.step

        def step_and_average(optimizer: Optimizer) -> float:
            lr = step(optimizer)
            theirs_by_torch.update_parameters(theirs)
            return lr

        images: list[torch.Tensor] = []
        theirs.register_forward_pre_hook(lambda _, inputs: images.append(inputs[0]) if theirs.training else None)
        with monkeypatch.context() as patch:
            patch.setattr(Optimizer, "step", step_and_average)
            stream = fit(theirs, tiny_splits(), plain)
            first = next(stream)
            averages = [copy.deepcopy(theirs_by_torch.module)]
            list(stream)
            averages.append(theirs_by_torch.module)
        epochs = []
        for at, record in enumerate(fit(ours, tiny_splits(), conf)):
            expected = averages[at]
            update_bn(images[4 * at : 4 * at + 4], expected)
            for name, value in expected.state_dict().items():
                if not name.endswith("num_batches_tracked"):
                    torch.testing.assert_close(ours.state_dict()[name], value, atol=1e-5, rtol=1e-4)
            epochs.append(record)
    assert epochs[0].train_loss == first.train_loss
    assert epochs[0].val_loss != first.val_loss
    score = evaluate(ours, tiny_splits().validation, autocast=make_autocast(conf))
    assert score.loss == epochs[-1].val_loss


@settings(max_examples=20)
@given(st.floats(0, 1, exclude_min=True, exclude_max=True), st.integers(1, 60))
def test_an_average_of_equal_weights_is_these_weights(decay: float, steps: int) -> None:
    """The average has no bias toward zero, and is a mean: it lies between the least and the greatest weights."""
    network = torch.nn.Linear(3, 2)
    weights = torch.full((8,), 5.0)
    average = WeightAverage(network, weights, decay)
    for _ in range(steps):
        average.update()
    average.apply([], autocast=torch.autocast("cpu", enabled=False))
    assert torch.equal(weights, torch.full((8,), 5.0))
    average.restore()
    for step in range(steps):
        weights.fill_(step)
        average.update()
    average.apply([], autocast=torch.autocast("cpu", enabled=False))
    assert 0 <= weights.min().item() <= weights.max().item() <= max(5, steps - 1)
    average.restore()
    assert weights[0].item() == steps - 1


def test_a_decay_too_high_for_few_steps_does_no_harm() -> None:
    """With a decay of 0.9999 and 80 steps the average is of the last steps, not of the first: it predicts as well."""
    plain, _ = fitted(compose([*SMALL, "training.epochs=8"]), splits_of(compose(SMALL)))
    averaged, _ = fitted(compose([*SMALL, "training.epochs=8", "training.ema=0.9999"]), splits_of(compose(SMALL)))
    assert averaged[-1].train_loss == plain[-1].train_loss
    assert averaged[-1].val_accuracy > plain[-1].val_accuracy - 0.02
    assert averaged[-1].val_accuracy > 0.8


def test_the_saved_weights_are_the_average(tmp_path: Path) -> None:
    """model.pt predicts what the last epoch's validation and the result say, and the run repeats to the bit."""
    overrides = ["data=mnist5k", "model=compact", "training.epochs=2", "training.ema=0.95", "data.validation_size=3500"]
    conf = compose([*overrides, "augment=affine", "augment.elastic=1", "augment.erasing=0.5", "model.dropout=0.1"])
    first, second = (run(conf, folder=tmp_path / name) for name in "ab")
    assert first.result.weights_sha256 == second.result.weights_sha256
    assert [epoch.val_loss for epoch in first.epochs] == [epoch.val_loss for epoch in second.epochs]
    network = build(analyze(first.conf).plan)
    network.load_state_dict(torch.load(tmp_path / "a" / "model.pt", weights_only=True))
    score = evaluate(network, split(first.conf.data).validation, autocast=make_autocast(first.conf))
    assert score.accuracy == first.value == first.result.val_accuracy
    with pytest.raises(ConfigError, match=r"training.ema must be in \[0, 1\), but got 1"):
        compose(["training.ema=1"])
