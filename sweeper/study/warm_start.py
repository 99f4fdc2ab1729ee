"""Which trials of other studies a search starts from: those whose values it would have measured itself.

They are no trials of the search. The sampler alone sees them, and the best of them is trained here as one of the first points: so counts, best trial, page
and confirmation are this study's own.
"""

import functools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.config.loading import dotted
from sweeper.errors import CompositionError, StudyError
from sweeper.search.conditions import is_active
from sweeper.search.definition import Search
from sweeper.search.space import Params, contains, describe
from sweeper.study.attributes import DUPLICATE
from sweeper.study.goal import Goal
from sweeper.terminal.console import make_console
from sweeper.terminal.formats import counted

WARM_START: Final = "warm_start"
"""User attribute of a study: by the name of another study, how many of its trials fit of how many, and these."""
FREE: Final = ("seed", "target", "data.root", "device", "precision", "threads", "budget.parameters", "budget.macs")
"""Keys that may differ: they do not change what a trial measures, but by noise."""
REASONS: Final = 3
"""Maximum number of reasons that are shown."""
Saved = dict[str, dict[str, Any]]
"""The content of the attribute."""


@dataclass(frozen=True, kw_only=True)
class OtherStudy:
    """A study that a search may start from."""

    name: str
    goal: Goal
    search: Mapping[str, Any]
    """The content of its search.yaml; empty if unknown."""
    trials: Sequence[FrozenTrial]


ReadOther = Callable[[str], OtherStudy]
"""Reads the study with a name, or in a folder. Raises `StudyError` if there is none."""


class WarmStart:
    """The warm start of one search."""

    def __init__(self, search: Search, goal: Goal, names: Sequence[str], read: ReadOther | None) -> None:
        """Start `search` from the studies with these names. Raises `StudyError` for a grid, and without a reader."""
        self._search, self._goal, self._names, self._read = search, goal, names, read
        if names and search.is_grid:
            raise StudyError(
                "hydra.sweeper.warm_start needs a sampler, but a grid runs every point: search an interval, or leave it out"
            )
        if names and read is None:
            raise StudyError("hydra.sweeper.warm_start reads studies of sweeper's own command line: leave it out")

    def check(self) -> None:
        """Raise `StudyError` if no trial of one of the studies fits. Before a new study is created, so that none is left."""
        for other in self._others:
            self._fitting(other)

    @functools.cached_property
    def _others(self) -> list[OtherStudy]:
        return [self._read(name) for name in self._names] if self._read is not None else []

    def seeds(self, study: optuna.Study) -> list[FrozenTrial]:
        """Return the trials that the study's sampler knows beside its own: saved in the study, or read and saved now.

        They have numbers below 0. Says how many trials fit. Raises `StudyError` if none of a study does.
        """
        saved: Saved = study.user_attrs.get(WARM_START, {})
        new: Saved = {}
        for other in self._others:
            if other.name not in saved:
                new[other.name], line = self._fitting(other)
                make_console().print(line, soft_wrap=True)
        if new:
            saved = {**saved, **json.loads(json.dumps(new))}
            study.set_user_attr(WARM_START, saved)
        found = [seed for each in saved.values() for seed in each["seeds"]]
        return [self._as_trial(seed, number - len(found)) for number, seed in enumerate(found)]

    def _as_trial(self, seed: Mapping[str, Any], number: int) -> FrozenTrial:
        trial = create_trial(
            values=seed["values"],
            params=seed["params"],
            distributions={key: self._search.space.distributions[key] for key in seed["params"]},
            constraints=seed["constraints"] or None,
        )
        trial.number = number
        return trial

    def _fitting(self, other: OtherStudy) -> tuple[dict[str, Any], str]:
        """Return the record of the trials that fit, and a line that says how many do, and why others do not."""
        completed = [t for t in other.trials if t.state is TrialState.COMPLETE and DUPLICATE not in t.user_attrs]
        seeds: list[dict[str, Any]] = []
        reasons: Counter[str] = Counter()
        for trial in completed:
            try:
                seeds.append(self._seed(other, trial))
            except _DoesNotFit as reason:
                reasons[str(reason)] += 1
        why = "; ".join(f"{count}: {reason}" for reason, count in reasons.most_common(REASONS))
        why = f" ({why})" if why else ""
        of = f"{counted(len(completed), 'completed trial')} of study {other.name}"
        if not seeds:
            raise StudyError(
                f"hydra.sweeper.warm_start needs trials that fit this search, but of {of} none does{why}: leave it out, or name "
                "another study"
            )
        return {"of": len(completed), "seeds": seeds}, f"warm start: {len(seeds)} of {of} fit{why}"

    def _seed(self, other: OtherStudy, trial: FrozenTrial) -> dict[str, Any]:
        """Return the record of a trial. Raises `_DoesNotFit`."""
        if (self._goal.directions, self._goal.cost) != (other.goal.directions, other.goal.cost):
            raise _DoesNotFit("it is after another goal")
        if not all(math.isfinite(value) for value in trial.values):
            raise _DoesNotFit("its value is not finite")
        params = _point(self._search, _values(other, trial))
        difference = next(_differences(self._search, other, trial), None)
        if difference is not None:
            raise _DoesNotFit(difference)
        return {
            "trial": trial.number,
            "params": params,
            "values": list(trial.values),
            "constraints": _constraints(self._search, params),
        }


class _DoesNotFit(Exception):  # noqa: N818 - no error: most trials of a wider search do not
    """The reason why a trial is left out."""


def best_point(seeds: Sequence[FrozenTrial], goal: Goal) -> list[Params]:
    """Return the point of the best of these trials; none without any."""
    return [dict(min(seeds, key=goal.order).params)] if seeds else []


def describe_warm_start(saved: object) -> str:
    """Return a sentence with the studies that a search started from; empty if it started cold."""
    try:
        parts = [
            f"{len(each['seeds'])} of {counted(each['of'], 'trial')} of study {name}"
            for name, each in dict(saved).items()  # type: ignore[call-overload]  # a storage may hold anything
        ]
    except (TypeError, ValueError, KeyError):
        return ""
    return f"Warm start: the sampler knew {', '.join(parts)}; they are no trials of this study." if parts else ""


def _point(search: Search, there: Mapping[str, Any]) -> Params:
    """Return the point of a search that has the values of another config. Raises `_DoesNotFit`."""
    params: Params = {}
    for key, distribution in search.space.distributions.items():
        if not is_active(key, params):
            continue
        value = there.get(key.lstrip("+"))
        if value is None:
            raise _DoesNotFit(f"{key} has no value there")
        if not contains(distribution, value):
            raise _DoesNotFit(f"{key} is outside {describe(distribution)}")
        params[key] = value
    return params


def _constraints(search: Search, params: Params) -> dict[str, float]:
    """Return how far a point is over its limits. Raises `_DoesNotFit` if it is over any, or cannot be built."""
    if search.check is None:
        return {}
    try:
        feasibility = search.check.check(params)
    except CompositionError as error:
        raise _DoesNotFit(str(error)) from None
    if feasibility.reason is not None:
        raise _DoesNotFit(f"it is {feasibility.rule} here")
    return feasibility.constraints


def _differences(search: Search, other: OtherStudy, trial: FrozenTrial) -> Iterator[str]:
    """Yield what else differs in the two configs, one phrase each."""
    record = search.record()
    fixed = (other.search.get("fixed"), record["fixed"])
    if search.base is None and fixed[0] != fixed[1]:
        yield f"fixed overrides are {fixed[0]} there and {fixed[1]} here"
    if search.application is not None:
        yield from _differences_of_application(search, search.application, other, trial)
    here, there = _flat(record["base"]), _values(other, trial)
    searched, searched_there = (
        {key.lstrip("+") for key in keys} for keys in (search.space.distributions, trial.params)
    )
    for key in dict.fromkeys([*here, *there]):
        is_free = key in FREE or key in searched or key.startswith("logging.")
        if is_free or (search.base is None and key not in searched_there):
            continue
        if here.get(key) != there.get(key):
            yield f"{key} is {there.get(key)} there and {here.get(key)} here"


def _differences_of_application(
    search: Search, application: Mapping[str, Any], other: OtherStudy, trial: FrozenTrial
) -> Iterator[str]:
    """Yield what differs in two Hydra applications and in what neither search varies of their configs."""
    saved = other.search.get("application")
    saved = saved if isinstance(saved, Mapping) else {}
    if saved.get("name") != application["name"]:
        yield f"the application is {saved.get('name')} there and {application['name']} here"
    here, there = (json.loads(json.dumps(_flat(each.get("config")))) for each in (application, saved))
    # A group that is searched brings other keys with each of its options.
    searched = {
        part.replace("/", ".")
        for key in (*search.space.distributions, *trial.params)
        for part in key.lstrip("+").split("@")
    }
    for key in dict.fromkeys([*here, *there]):
        is_searched = any(key == one or key.startswith(f"{one}.") for one in searched)
        if not is_searched and here.get(key) != there.get(key):
            yield f"{key} is {there.get(key)} there and {here.get(key)} here"


def _values(other: OtherStudy, trial: FrozenTrial) -> dict[str, Any]:
    """Return the config of another study's trial by dotted key, each width by its index."""
    return {**_flat(other.search.get("base")), **{key.lstrip("+"): value for key, value in trial.params.items()}}


def _flat(base: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in dotted(base) if isinstance(base, Mapping) else ():
        if isinstance(value, list):
            found |= {f"{key}.{index}": each for index, each in enumerate(value)}
        else:
            found[key] = value
    return found
