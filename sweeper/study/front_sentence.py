"""Decides how the result of a study with two objectives reads: the front, or the smallest network at the target."""

from collections.abc import Iterable
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from sweeper.search.config_keys import EPOCHS
from sweeper.study.attributes import whole
from sweeper.study.facts import StudyFacts
from sweeper.study.front import answer, front_trials
from sweeper.terminal.formats import percent, points, short_percent


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """The epochs of a study's completed and pruned trials."""

    planned: int
    """What they would have trained without pruning."""
    saved: int
    """What pruning left out."""

    @property
    def sentence(self) -> str:
        """For example ``Pruning saved 132 of 480 epochs (28 %).``; empty if nothing was pruned."""
        if not self.saved:
            return ""
        return f"Pruning saved {self.saved:,} of {self.planned:,} epochs ({100 * self.saved / self.planned:.0f} %)."


def count_epochs(trials: Iterable[FrozenTrial], epochs: int | None) -> Epochs:
    """Count the epochs of a study; `epochs` is what a trial trains unless that is searched, None if it is unknown."""
    planned = saved = 0
    for trial in trials:
        if trial.state in {TrialState.COMPLETE, TrialState.PRUNED} and trial.intermediate_values:
            trained = max(trial.intermediate_values)
            planned += max(trained, whole(trial.params.get(EPOCHS)) or epochs or trained)
            saved += saved_epochs(trial, epochs)
    return Epochs(planned=planned, saved=saved)


def saved_epochs(trial: FrozenTrial, epochs: int | None) -> int:
    """Return the number of epochs that a trial did not train because it was pruned."""
    if trial.state is not TrialState.PRUNED or not trial.intermediate_values:
        return 0
    trained = max(trial.intermediate_values)
    return max(0, (whole(trial.params.get(EPOCHS)) or epochs or trained) - trained)


def front_sentence(facts: StudyFacts, so_far: str) -> str:
    """Return the result in one sentence; `so_far` says how far an unfinished study is, and is empty for a finished one.

    The study has a completed trial.
    """
    early, ending = (" so far", f"; {so_far[0].lower()}{so_far[1:]}.") if so_far else ("", ".")
    if not facts.goal.smallest:
        return f"{_capital(_front(facts, early))}{ending}"
    best = answer(facts.trials, facts.goal)
    at = short_percent(facts.goal.target or 0)
    if best is None:
        return f"No network reaches {at}{early}: {points(_short(facts))} short{ending}"
    return f"Smallest at {at}{early}: {_cost(facts, best)}, trial {best.number}{ending}"


def front_details(facts: StudyFacts) -> list[str]:
    """Return what is behind the sentence: the answer at the target or the front, what best/ is, the epochs saved."""
    best = facts.summary.best
    assert best is not None
    found = answer(facts.trials, facts.goal)
    at = short_percent(facts.goal.target or 0)
    sentences = []
    if facts.goal.smallest:
        if found is not None:
            start = facts.start
            began = f"; the search began with {_cost(facts, start)}" if start is not None and start is not found else ""
            sentences.append(f"{percent(found.values[0])} {facts.metric}{began}.")
        sentences.append(f"{_capital(_front(facts))}.")
    elif found is not None:
        reached = f"{_cost(facts, found)}, {percent(found.values[0])} (trial {found.number})"
        sentences.append(f"Smallest at {at}: {reached}.")
    else:
        sentences.append(f"None reaches the target of {at}: {points(_short(facts))} short.")
    which = f"the smallest at {at}" if found is not None else "the most accurate"
    sentences.append(f"best/ is trial {best.number}, {which}.")
    sentences.append(count_epochs(facts.trials, whole(facts.base.get(EPOCHS))).sentence)
    return [sentence for sentence in sentences if sentence]


def _front(facts: StudyFacts, early: str = "") -> str:
    front = front_trials(facts.trials, facts.goal)
    if not front:
        return "no network has a size"
    ends = [f"{_cost(facts, trial)} and {percent(trial.values[0])}" for trial in (front[0], front[-1])]
    if len(front) == 1:
        return f"a front of one network{early}: {ends[0]}"
    return f"a front of {len(front)} networks{early}: from {ends[0]} to {ends[1]}"


def _short(facts: StudyFacts) -> float:
    assert facts.summary.best is not None
    return (facts.goal.target or 0) - float(facts.summary.best.values[0])


def _cost(facts: StudyFacts, trial: FrozenTrial) -> str:
    return f"{facts.goal.cost_of(trial):,} {facts.goal.unit}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
