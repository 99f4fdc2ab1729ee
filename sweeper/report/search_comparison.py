"""Compares searches: which reached the best value, and at how many trials, epochs and seconds each had reached how much."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from optuna.trial import FrozenTrial, TrialState

from sweeper.errors import StudyError
from sweeper.report.study_view import StudyView, parameters_of
from sweeper.run.pairing import read_mistakes, runs_noise
from sweeper.study.attributes import REJECTED
from sweeper.study.folder import trial_folder
from sweeper.terminal.formats import counted, duration, points

SAME_IMAGES: Final = ("data.name", "data.validation", "data.validation_size", "data.split_seed")
"""Keys that decide on which images an accuracy is measured."""
UNTOLD: Final = ("data.root", "device", "precision", "threads", "seed", "target")
"""Keys whose difference is no property of a search, or shown elsewhere."""
LISTED: Final = 12
"""Maximum number of differing keys that are shown."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where a search stood when one of its trials had ended."""

    trials: int
    epochs: int
    seconds: float
    value: float
    """The best value so far."""


@dataclass(frozen=True, kw_only=True)
class ComparedSearch:
    """One search of a comparison."""

    name: str
    view: StudyView
    config: Mapping[str, Any]
    """Its base config with dotted keys; empty for another Hydra application."""
    folder: Path | None
    options: Mapping[str, Any]
    """The options `hydra.sweeper` of its last sweep; empty if unknown."""
    arguments: Sequence[str]
    """The arguments with which a command names it."""

    @property
    def best(self) -> FrozenTrial:
        """The trial with the best first value, the smallest of equals."""
        sign = -1 if self.view.study.maximize else 1
        size = {trial.number: parameters_of(trial) or 0 for trial in self.view.study.completed}
        return min(self.view.study.completed, key=lambda t: (sign * t.values[0], size[t.number], t.number))

    @cached_property
    def ended(self) -> list[FrozenTrial]:
        """The trials that trained and ended, in the order in which they did; those whose points were tried again too."""
        trials = [t for t in self.view.study.trials if t.state.is_finished() and REJECTED not in t.user_attrs]
        return sorted((t for t in trials if t.datetime_complete is not None), key=_ended_at)

    @cached_property
    def steps(self) -> list[Step]:
        """How the search went: one step for each of its trials, from the first that was completed on."""
        found: list[Step] = []
        better = max if self.view.study.maximize else min
        value, epochs = math.nan, 0
        for count, trial in enumerate(self.ended, 1):
            epochs += max(trial.intermediate_values, default=0)
            if trial.state is TrialState.COMPLETE:
                value = trial.values[0] if math.isnan(value) else better(value, trial.values[0])
            if not math.isnan(value):
                found.append(Step(trials=count, epochs=epochs, seconds=self._seconds_until(trial), value=value))
        return found

    def reached(self, value: float) -> Step | None:
        """Return the first step with at least this value; None if there is none."""
        is_there = (
            (lambda step: step.value >= value) if self.view.study.maximize else (lambda step: step.value <= value)
        )
        return next(filter(is_there, self.steps), None)

    @cached_property
    def _spans(self) -> list[tuple[float, float]]:
        """The times in which at least one trial ran, as seconds, without the pauses between them."""
        merged: list[tuple[float, float]] = []
        times = [(t.datetime_start, t.datetime_complete) for t in self.ended]
        for start, end in sorted((a.timestamp(), b.timestamp()) for a, b in times if a is not None and b is not None):
            if end < start:
                continue  # the clock was set back meanwhile
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def _seconds_until(self, trial: FrozenTrial) -> float:
        until = _ended_at(trial)
        return math.fsum(min(end, until) - start for start, end in self._spans if start < until)


def _ended_at(trial: FrozenTrial) -> float:
    assert trial.datetime_complete is not None
    return trial.datetime_complete.timestamp()


@dataclass(frozen=True, kw_only=True)
class SearchComparison:
    """Several searches, the best first."""

    searches: list[ComparedSearch]
    sentence: str
    """Which is best, and by how much."""
    details: str
    """What the comparison leaves open, and what each needed to reach what all have reached."""
    level: float
    """The value that all have reached."""
    differences: list[tuple[str, list[str]]]
    """Keys of the base configs and options that differ, with each search's value."""


def compare_searches(searches: Sequence[ComparedSearch]) -> SearchComparison:
    """Compare searches by their first objective. Raises `StudyError` for one without a result, or of another direction."""
    for each in searches:
        if not each.view.study.completed:
            raise StudyError(
                f"searches are compared by their completed trials, but study {each.name} has none: leave it out"
            )
    kinds = {(each.view.study.maximize, each.view.scale.title) for each in searches}
    if len(kinds) > 1:
        said = ", ".join(
            f"{each.name} {'maximizes' if each.view.study.maximize else 'minimizes'} its {each.view.scale.title}"
            for each in searches
        )
        raise StudyError(f"searches must be after the same to be compared, but {said}: compare others")
    sign = -1 if searches[0].view.study.maximize else 1
    ranked = sorted(searches, key=lambda each: (sign * each.best.values[0], each.name))
    level = ranked[-1].best.values[0]
    details = [_noise(ranked), _needed(ranked, level)]
    return SearchComparison(
        searches=ranked,
        sentence=_verdict(ranked),
        details=" ".join(sentence for sentence in details if sentence),
        level=level,
        differences=_differences(ranked),
    )


def _verdict(ranked: Sequence[ComparedSearch]) -> str:
    first, second = ranked[0], ranked[1]
    value, other = first.best.values[0], second.best.values[0]
    text = first.view.scale.text(value)
    if value == other:
        equal = [each.name for each in ranked if each.best.values[0] == value]
        return f"{' and '.join(equal)} reached the same: {text}."
    is_accuracy = first.view.scale.images is not None
    by = points(abs(value - other)) if is_accuracy else f"{abs(value - other):.4g}"
    is_ahead = "above" if first.view.study.maximize else "below"
    return f"{first.name} reached the best, {text} in trial {first.best.number}: {by} {is_ahead} {second.name}."


def _noise(ranked: Sequence[ComparedSearch]) -> str:
    """Return whether the best is ahead by more than noise, or why that is unknown; empty for equal or other values."""
    first, second = ranked[0], ranked[1]
    value, other = first.best.values[0], second.best.values[0]
    others = [each.name for each in ranked[1:] if _images_of(each) != _images_of(first)]
    if others and (first.config or second.config):
        return (
            f"{first.name} and {' and '.join(others)} were measured on other images: their values compare only roughly."
        )
    images = first.view.scale.images
    if images is None or value == other:
        return ""
    known = [read_mistakes(trial_folder(s.folder, s.best).path) if s.folder else None for s in (first, second)]
    chances = max(len(first.view.study.completed), len(second.view.study.completed))
    noise = runs_noise((value, other), (known[0], known[1]), images, chances=chances)
    how = "within" if noise.covers(value - other) else "more than"
    return f"That is {how} noise ({images:,} images, {noise.how})."


def _images_of(search: ComparedSearch) -> list[Any]:
    return [search.config.get(key) for key in SAME_IMAGES]


def _needed(ranked: Sequence[ComparedSearch], level: float) -> str:
    """Return what each search needed to reach what all have reached."""
    found = [(each, each.reached(level)) for each in ranked]
    if any(step is None for _, step in found):  # times are missing, as in another program's study
        return ""
    said = [f"{each.name} {needed(step, search=each)}" for each, step in found if step is not None]
    return f"To reach {ranked[0].view.scale.text(level)}, which all did: {', '.join(said)}."


def needed(step: Step, *, search: ComparedSearch) -> str:
    """Return what a search needed up to a step, in words."""
    epochs = f" of {counted(step.epochs, search.view.step)}" if search.steps[-1].epochs else ""
    return f"{counted(step.trials, 'trial')}{epochs} in {duration(step.seconds)}"


def _differences(ranked: Sequence[ComparedSearch]) -> list[tuple[str, list[str]]]:
    searched = {key.lstrip("+") for each in ranked for trial in each.view.study.trials for key in trial.params}
    keys = sorted({key for each in ranked for key in each.config} - {*UNTOLD, *searched})
    rows = [
        *((name, [_last_word(each.options.get(name)) for each in ranked]) for name in ("sampler", "pruner")),
        ("searched", [", ".join(each.view.names.values()) or "?" for each in ranked]),
        *((key, [str(each.config.get(key, "")) for each in ranked]) for key in keys),
    ]
    return [row for row in rows if len(set(row[1])) > 1][:LISTED]


def _last_word(config: Any) -> str:
    target = config.get("_target_") if isinstance(config, Mapping) else None
    return str(target).rpartition(".")[2] if target else "?"
