"""The rules of a report: which run each applies to, what it suggests, and how noise is estimated."""

import math
import shlex
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.design import analyze_within_budget
from sweeper.report.analysis import observe
from sweeper.report.observation import Observation
from sweeper.report.record import Baseline, RunRecord
from sweeper.report.run_report import make_report
from sweeper.statistics import standard_error

from .composed import compose
from .runs import make_record


def _observed(record: RunRecord, first: RunRecord | None = None) -> dict[str, Observation]:
    """The observations by rule, compared with the first trial, or with the default config."""
    baseline = (
        Baseline(name="the default", conf=compose(), record=None)
        if first is None
        else Baseline(name="trial 0", conf=first.conf, record=first)
    )
    return {observation.rule: observation for observation in observe(record, baseline)}


CASES: dict[str, Callable[[], tuple[RunRecord, RunRecord]]] = {
    "erased_signal_ceiling": lambda: (
        make_record("model=notebook", val=[0.97, 0.985], train=[0.78, 0.8067], train_eval=0.984),
        make_record("model=gap", val=[0.97, 0.985], train=[0.78, 0.8067], train_eval=0.984),
    ),
    "erased_signal": lambda: (
        make_record("model=notebook", val=[0.3, 0.6], train=[0.2, 0.5]),
        make_record("model=notebook", "model.dropout=0", val=[0.3, 0.6], train=[0.2, 0.5]),
    ),
    "time_limit": lambda: (
        make_record("training.timeout=60", val=[0.90, 0.901], train_eval=0.902, planned=9),
        make_record("training.timeout=60", val=[0.90, 0.901], train_eval=0.902),
    ),
    "under_fitting": lambda: (
        make_record(val=[0.90, 0.901], train_eval=0.902),
        # Training accuracy is low with dropout on, but not with dropout off.
        make_record(val=[0.98, 0.985], train=[0.7, 0.8], train_eval=0.995),
    ),
    "over_fitting": lambda: (
        make_record(val=[0.96, 0.96], train_eval=0.999),
        make_record(val=[0.96, 0.96], train_eval=0.963),
    ),
    "bottleneck": lambda: (
        make_record("model=notebook", val=[0.9, 0.9]),
        make_record(val=[0.9, 0.9]),
    ),
    "collapse": lambda: (
        make_record("scheduler=constant", val=[0.97, 0.98, 0.85], train_eval=0.86),
        make_record("scheduler=constant", val=[0.97, 0.98, 0.9795], train_eval=0.98),
    ),
    "decline": lambda: (
        make_record(val=[0.97, 0.98, 0.96], train_eval=0.999),
        make_record(val=[0.96, 0.96, 0.96], train_eval=0.999),
    ),
    "oscillation": lambda: (
        make_record(val=[0.97, 0.99, 0.96, 0.99, 0.965, 0.99]),
        make_record(val=[0.97, 0.975, 0.98, 0.983, 0.987, 0.99]),
    ),
    "still_improving": lambda: (
        make_record(val=[0.95, 0.97, 0.985]),
        make_record(val=[0.95, 0.9849, 0.985]),
    ),
    "unused_budget": lambda: (
        make_record("model.groups.block2.channels=[4,4]", val=[0.95, 0.95], lr=[0.2, 0.001]),
        # At a learning rate that is high to the end, the network is not to blame.
        make_record("model.groups.block2.channels=[4,4]", val=[0.95, 0.95], lr=[0.2, 0.2]),
    ),
    "within_noise": lambda: (
        make_record(val=[0.98, 0.9905]),
        make_record(val=[0.98, 0.9990]),
    ),
}
"""By rule: a run that shows its case, and a similar one that does not."""


@pytest.mark.parametrize("rule", CASES)
def test_each_rule_finds_its_case_and_no_other(rule: str) -> None:
    """A rule applies to a run that shows its case, with numbers as evidence, and not to a similar run that does not."""
    shows, does_not = CASES[rule]()
    observation = _observed(shows)[rule]
    assert observation.evidence
    assert all(math.isfinite(number) for number in observation.evidence.values())
    assert rule not in _observed(does_not)


@pytest.mark.parametrize("rule", CASES)
def test_each_observation_suggests_a_command_within_the_budget(rule: str) -> None:
    """A suggested command can be typed: Hydra composes it to a network within its budget, and it changes something."""
    record, _ = CASES[rule]()
    for observation in _observed(record).values():
        words = shlex.split(observation.command)
        assert words[:3] == ["python", "-m", "sweeper"]
        overrides = [word for word in words[3:] if word != "-m"]
        fixed = [word for word in overrides if not word.startswith("seed=1,")]
        conf = compose(fixed)
        analyze_within_budget(conf)
        assert conf != record.conf or fixed != overrides or "search=" in observation.command


@pytest.mark.parametrize("rule", CASES)
def test_a_report_shows_a_command_once(rule: str) -> None:
    """What is to try next, and what several observations suggest, stands there one time; texts stay."""
    record, _ = CASES[rule]()
    report = make_report(record)
    shown = [report.next, *(command for _, command in report.analysis if command)]
    assert len(shown) == len(set(shown))
    assert set(shown) >= {observation.command for observation in report.observations}
    if not record.has_dropout:
        assert not any("dropout off, accuracy" in observation.text for observation in report.observations)


def test_the_notebooks_ceiling_is_explained_with_its_numbers() -> None:
    """For the reference: two single-channel dropouts let 81 % of images through, which is not under-fitting."""
    record = make_record(
        "experiment=notebook", val=[0.97, 0.985], train=[0.78, 0.8067], train_eval=0.9841, images=10_000
    )
    text = _observed(record)["erased_signal_ceiling"].text
    for words in (
        "not under-fitting",
        "0.9 × 0.9 = 81.0 %",
        "transition1.0 and transition2.0",
        "83.1 %",
        "80.67 %",
        "98.41 %",
    ):
        assert words in text
    assert "under_fitting" not in _observed(record)


def test_a_small_network_under_fits_even_if_it_over_fits_a_little() -> None:
    """Training images far from the target come before a gap to validation images: widening was measured to help."""
    found = _observed(
        make_record("model.groups.block2.channels=[4,4]", val=[0.9, 0.924], train_eval=0.9483, images=1000)
    )
    assert "under_fitting" in found
    assert "over_fitting" not in found


def test_a_run_beyond_its_target_is_confirmed_next_unless_test_images_chose_it() -> None:
    """The next command is `confirm` with the run's folder; a run on test images, or one below its target, is changed."""
    met = make_record(val=[0.98, 0.999])
    assert make_report(met).next == f"python -m sweeper confirm {met.folder}"
    chosen = make_record("data.validation=test", "augment=affine", val=[0.98, 0.999])
    assert make_report(chosen).next == "python -m sweeper data.validation=test augment=affine seed=2"
    assert "confirm" not in make_report(make_record(val=[0.98, 0.98])).next
    assert make_report(make_record(val=[0.98, 0.9905])).next.endswith("seed=1,2,3,4,5")  # within noise


def test_a_gain_over_the_first_trial_is_compared_with_both_trials_noise() -> None:
    """A gain of half a point over the first trial is within the noise on 500 images, and not on 50,000."""
    first, later = make_record(val=[0.98, 0.98], images=500), make_record(val=[0.98, 0.985], images=500)
    assert "trial 0's 98.00 %" in _observed(later, first)["within_noise"].text
    many = [make_record(val=list(val), images=50_000) for val in ((0.98, 0.98), (0.98, 0.985))]
    assert "within_noise" not in _observed(many[1], many[0])


@given(accuracy=st.floats(0, 1), images=st.integers(1, 100_000))
def test_the_standard_error_shrinks_with_images_and_is_never_zero(accuracy: float, images: int) -> None:
    """Four times the images never have a larger standard error, and even 100 % has one."""
    assert 0 < standard_error(accuracy, 4 * images) <= standard_error(accuracy, images) <= 0.5
