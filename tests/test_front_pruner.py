"""Pruning with two objectives: what it keeps and saves on recorded curves, and whom it prunes."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState

from sweeper.study.front import LEAST_ERROR, front_trials
from sweeper.study.front_pruner import FrontPruner
from sweeper.study.optuna_private import report, should_prune

from .fronts import FRONT, SMALLEST, SPACE, recorded_studies, study_of, trial

FIRST = 5
"""The first points of a search keep their places in a replay: every search begins with networks of several sizes."""


def _replay(trials: list[FrozenTrial]) -> tuple[list[FrozenTrial], int]:
    """Return the trials of a study that the pruner would have pruned, and the epochs that it would have saved."""
    study, pruned, saved = study_of([]), [], 0
    for full in trials:
        curve = full.intermediate_values
        for epoch in range(1, len(curve)):
            seen = (curve[step] for step in range(1, epoch + 1))
            if FrontPruner().prune(study, trial(full.number, 0, int(full.values[1]), *seen, pruned=True)):
                pruned.append(full)
                saved += len(curve) - epoch
                break
        else:
            study.add_trial(full)
    return pruned, saved


def test_pruning_keeps_the_front_and_saves_epochs() -> None:
    """In replays of recorded curves, at most a tenth of the trials on the final front are pruned, and epochs are saved."""
    lost = on_front = saved = epochs = 0
    for recorded in recorded_studies():
        for seed in range(8):
            later = random.Random(seed).sample(recorded[FIRST:], len(recorded) - FIRST)  # noqa: S311 - no secret
            front = front_trials(recorded, FRONT)
            pruned, epochs_saved = _replay([*recorded[:FIRST], *later])
            lost += sum(each in front for each in pruned)
            on_front += len(front)
            saved += epochs_saved
            epochs += sum(len(each.intermediate_values) for each in recorded)
    assert lost <= 0.1 * on_front
    assert saved >= 0.1 * epochs


def test_a_search_for_the_smallest_prunes_what_cannot_reach_the_target() -> None:
    """Once one is at the target, a trial that leads is pruned if its error could not shrink enough, by what others' did."""
    ahead = [trial(number, 0.9 + number / 1000, 500 + number, 0.8, 0.9 + number / 1000) for number in range(9)]
    running = trial(10, 0, 600, 0.85, pruned=True)
    assert not FrontPruner().prune(study_of(ahead, SMALLEST), running)
    ahead.append(trial(9, 0.99, 7000, 0.98, 0.99))
    assert not FrontPruner().prune(study_of(ahead, FRONT), running)
    assert FrontPruner().prune(study_of(ahead, SMALLEST), running)
    assert not FrontPruner().prune(study_of(ahead, SMALLEST), trial(10, 0, 600, 0.985, pruned=True))


def test_a_trial_is_pruned_only_for_smaller_ones_of_as_many_epochs() -> None:
    """Few trials prune nothing, nor do larger ones, another number of epochs, or a study where errors shrank by as much."""
    small = [trial(number, 0.98, 500 + number, 0.9, 0.98) for number in range(9)]
    running = trial(12, 0, 600, 0.88, pruned=True)
    rule = FrontPruner()
    assert rule.prune(study_of(small), running)
    assert not rule.prune(study_of(small[:8]), running)
    assert not rule.prune(study_of(small), trial(12, 0, 400, 0.88, pruned=True))
    assert not rule.prune(study_of(small), trial(12, 0, 600, 0.91, pruned=True))
    late = [trial(9 + step, 0.97, 520 + step, 0.7, 0.97) for step in range(2)]
    assert not rule.prune(study_of([*small, *late]), running)
    for other in small:
        other.distributions["training.epochs"] = IntDistribution(1, 9)
        other.params["training.epochs"] = 7
    assert not rule.prune(study_of(small), running)


@given(st.lists(st.tuples(st.floats(0.1, 0.99), st.floats(0.1, 0.99)), max_size=20), st.sampled_from([0.05, 0.1, 0.3]))
@settings(max_examples=25, deadline=None)
def test_an_epoch_prunes_at_most_the_spare_share_wrongly(curves: list[tuple[float, float]], spare: float) -> None:
    """Of any trials, each held against all others, at most the share `spare` is pruned that would have ended ahead."""
    trials = [trial(n, end, 500 + n, now, end) for n, (now, end) in enumerate(curves)]
    rule = FrontPruner(n_startup_trials=1, spare=spare)
    lost = 0
    for n, (now, _) in enumerate(curves):
        others = [*trials[:n], *trials[n + 1 :]]
        is_ahead = trials[n] in front_trials(trials, FRONT)
        lost += is_ahead and rule.prune(study_of(others), trial(n, 0, 500 + n, now, pruned=True))
    assert lost <= spare * len(trials)


def test_trials_report_and_are_pruned_where_optuna_refuses() -> None:
    """Optuna's report and should_prune raise for two objectives; ours save the curve, and ask the pruner."""
    ahead = [trial(number, 0.98, 500 + number, 0.9, 0.98) for number in range(9)]
    study = study_of(ahead, pruner=FrontPruner())
    running = study.ask(SPACE)
    running.set_user_attr("parameters", 600)
    with pytest.raises(NotImplementedError):
        running.report(0.5, 1)
    with pytest.raises(NotImplementedError):
        running.should_prune()
    report(running, 0.5, 1)
    assert should_prune(running)
    study.tell(running, state=TrialState.PRUNED)
    assert study.trials[-1].intermediate_values == {1: 0.5}


def test_a_perfect_accuracy_has_a_logarithm() -> None:
    """100 % counts as a small error: it is neither infinite nor an exception."""
    perfect = [trial(number, 1.0, 500 + number, 1.0, 1.0) for number in range(9)]
    assert not FrontPruner().prune(study_of(perfect), trial(9, 0, 400, 1.0, pruned=True))
    assert LEAST_ERROR > 0
