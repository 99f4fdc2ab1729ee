"""The rules of a run's epochs: a collapse, a decline, accuracy that varies or still rises; how often each errs by chance."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from sweeper.report.analysis import next_command, observe
from sweeper.report.epoch_rules import decline, oscillation, still_improving
from sweeper.report.observation import Observation
from sweeper.report.record import RunRecord, find_baseline

from .runs import make_record

IMAGES, FRAGILE, HARD = 5000, 80, 25
TRIALS = 400
# MNIST, 10,000 training images, model=compact, seed 1, a constant 0.3: as measured.
COLLAPSED = [0.80168, 0.93736, 0.94518, 0.67632, 0.95992, 0.8461]


def _rules(record: RunRecord) -> dict[str, Observation]:
    return {observation.rule: observation for observation in observe(record, find_baseline(record))}


def test_a_collapsed_last_epoch_is_not_called_a_small_network() -> None:
    """The learning rate is blamed and the schedule changed; no rule says under-fitting or advises other widths."""
    record = make_record(
        "model=compact", "scheduler=constant", "optimizer.lr=0.3", val=COLLAPSED, train_eval=0.8521, images=50_000,
        lr=[0.3] * 6,
    )  # fmt: skip
    found = _rules(record)
    assert set(found) == {"collapse"}
    for words in (
        "95.99 %",
        "84.61 %",
        "11.38 points",
        "85.21 %",
        "neither over-fitted nor too small",
        "100 % of its peak",
    ):
        assert words in found["collapse"].text
    assert "scheduler=onecycle" in next_command(record, list(found.values()))


def test_a_steady_fall_is_told_apart_by_the_training_images() -> None:
    """Where training images are classified ever better the network over-fits; where they are not, the rate is too high."""
    falling = [0.97, 0.985, 0.97, 0.96, 0.95]
    over = _rules(make_record(val=falling, train_eval=0.999))
    assert "fell in each of the last 3 epochs" in over["decline"].text
    assert "augment=affine" in over["decline"].command
    assert "over_fitting" not in over
    # No change is known to help an augmented run that falls: other seeds show whether it is the run's own.
    augmented = _rules(make_record("augment=affine", val=falling, train_eval=0.999))
    assert augmented["decline"].command.endswith("seed=1,2,3,4,5")
    high = _rules(make_record("scheduler=constant", val=falling, train_eval=0.95))
    assert "scheduler=onecycle" in high["collapse"].command
    assert "decline" not in high
    annealed = _rules(make_record(val=falling, train_eval=0.95, lr=[0.1, 0.2, 0.1, 0.01, 0.001]))
    assert "optimizer.lr=0.1" in annealed["collapse"].command


def test_a_schedule_that_ends_low_may_vary_before() -> None:
    """The middle of a schedule varies in every run, and the last epoch does not depend on it."""
    varying = [0.97, 0.99, 0.96, 0.985, 0.97, 0.991]
    assert "oscillation" in _rules(make_record("scheduler=constant", val=varying))
    assert "oscillation" not in _rules(make_record(val=varying, lr=[0.1, 0.2, 0.2, 0.1, 0.05, 0.0001]))


@pytest.fixture(scope="module")
def share() -> Callable[..., float]:
    """The share of simulated runs in which a rule fires: a function of the rule and of each epoch's true accuracy.

    In each epoch 25 images are wrong and 80 fragile ones right half the time, more or less often as `shifts` say.
    """
    bases = {n: make_record("scheduler=constant", "optimizer.lr=0.1", val=[0.9] * n, train_eval=0.9) for n in (2, 5, 6)}

    def fired(rule: Callable[[RunRecord], Iterator[Observation]], shifts: Sequence[float], *, paired: bool) -> float:
        generator, base, count = np.random.default_rng(1), bases[len(shifts)], 0
        for _ in range(TRIALS):
            right = [generator.random(FRAGILE) < 0.5 + shift * IMAGES / FRAGILE for shift in shifts]
            changed = [None, *(int((a != b).sum()) if paired else None for a, b in itertools.pairwise(right))]
            epochs = [
                replace(epoch, val_accuracy=1 - (HARD + FRAGILE - int(r.sum())) / IMAGES, val_changed=c)
                for epoch, r, c in zip(base.epochs, right, changed, strict=True)
            ]
            count += any(rule(replace(base, epochs=tuple(epochs))))
        return count / TRIALS

    return fired


def test_chance_alone_rarely_passes_for_an_effect(share: Callable[..., float]) -> None:
    """Of epochs that are equally good, no rule finds fault with more than about 5 %; unpaired, with next to none."""
    for rule, epochs in ((still_improving, 2), (oscillation, 5), (decline, 6)):
        assert share(rule, [0.0] * epochs, paired=True) <= 0.07
        assert share(rule, [0.0] * epochs, paired=False) <= 0.01


def test_paired_epochs_show_what_unpaired_ones_hide(share: Callable[..., float]) -> None:
    """A gain of 0.30 points, a variation of 0.15 and a collapse by 0.60 of 5,000 images; unpaired, the first two are lost."""
    gain, varying, collapse = [0, 0.003], [0.0015, -0.0015, 0.0015, -0.0015, 0.0015], [0] * 5 + [-0.006]
    assert share(still_improving, gain, paired=True) >= 0.5
    assert share(still_improving, gain, paired=False) <= 0.25
    assert share(oscillation, varying, paired=True) >= 0.8
    assert share(oscillation, varying, paired=False) <= 0.2
    assert share(decline, collapse, paired=True) >= 0.7
