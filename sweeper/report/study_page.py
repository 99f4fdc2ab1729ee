"""A study's page: the best so far, figures, a table of all trials, what was rejected and why, what is searched."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.config.schema import dotted
from sweeper.reading.locations import read_yaml
from sweeper.report.page import render
from sweeper.report.record import reproduce_command
from sweeper.report.study_figures import short_names, study_figures
from sweeper.run.folder import RunFolder
from sweeper.search.space import describe, read_space
from sweeper.study.folder import StudyFolder
from sweeper.study.progress import format_params
from sweeper.study.storage import redacted
from sweeper.study.trials import DUPLICATE, FAILED, MACS, PARAMETERS, REJECTED, RULE, owner_lives, state_of
from sweeper.terminal.console import display_path

STATES: Final = {
    "complete": "done",
    "pruned": "pruned",
    "rejected": "rejected",
    "failed": "failed",
    "retried": "tried again",
    "running": "running",
    "waiting": "waiting",
}
"""What people call what the ledger counts."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of the table of trials."""

    text: str
    value: float | None = None
    """What it is sorted by, for a number."""
    number: bool = False


def write_study_page(study: optuna.Study, *, folder: Path, url: str) -> Path:
    """Write a study's page into its folder; return its path. Raises `StudyError` where it cannot be written."""
    files = StudyFolder(folder)
    files.write_report(lambda: study_page(study, folder=folder, url=url, page=files.report))
    return files.report


def load() -> None:
    """Load all that a page is drawn with, most of which plotly and Optuna load when they first draw."""
    study = optuna.create_study(storage=InMemoryStorage())
    for value in (0.0, 1.0):
        distributions: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}
        study.add_trial(create_trial(value=value, params={"x": value}, distributions=distributions))
    study_page(study, folder=None, url="", page=Path())


def study_page(study: optuna.Study, *, folder: Path | None, url: str, page: Path) -> str:
    """Return a study's page; links in it are relative to where `page` will lie."""
    trials = study.get_trials(deepcopy=False)
    described = _described(folder)
    base = described.get("base")
    values = dict(dotted(base)) if isinstance(base, dict) else {}
    target, budget = _number(values.get("target")), _number(values.get("budget.parameters"))
    states = Counter(state_of(trial) for trial in trials)
    names = short_names(dict.fromkeys(key for trial in trials for key in trial.params))
    rejected = [trial for trial in trials if REJECTED in trial.user_attrs]
    rules = Counter(str(trial.user_attrs.get(RULE)) for trial in rejected)
    examples = {str(trial.user_attrs.get(RULE)): trial.user_attrs[REJECTED] for trial in reversed(rejected)}
    running = [trial for trial in trials if trial.state is TrialState.RUNNING]
    gone = sum(not owner_lives(trial) for trial in running)
    standing = [
        *([f"{len(running) - gone} running when this was written"] if len(running) > gone else []),
        *([f"{gone} cut short with their process: the search's command tries them again"] if gone else []),
    ]
    return render(
        "study.html",
        kind="Study",
        title=study.study_name,
        status=f"{len(trials)} trial{'s' if len(trials) != 1 else ''}; {', '.join(standing) or 'none is running'}.",
        drawn=study_figures(study, target=target, budget=None if budget is None else int(budget)),
        best=_best(study, folder, target),
        target=None if target is None else f"{target:.2%}",
        counts={name: states[key] for key, name in STATES.items()},
        columns=[{"name": name, "number": name not in {"state", "note"}} for name in _columns(names)],
        trials=[_row(trial, names, folder, page) for trial in trials],
        states=sorted({STATES.get(state, state) for state in states}),
        rejected=[{"rule": rule, "count": count, "example": examples[rule]} for rule, count in rules.most_common()],
        space=[(key, describe(distribution)) for key, distribution in _searched(described, trials).items()],
        fixed=described.get("fixed", []),
        storage=redacted(url),
        folder=None if folder is None else str(display_path(folder)),
    )


def _described(folder: Path | None) -> dict[str, Any]:
    """What search.yaml says is searched; nothing where it is gone or damaged."""
    described = None if folder is None else read_yaml(StudyFolder(folder).search)
    return described if isinstance(described, dict) else {}


def _searched(described: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """What varies: as search.yaml says, else as the trials had it."""
    had = {key: distribution for trial in trials for key, distribution in trial.distributions.items()}
    return read_space(described) or had


def _best(study: optuna.Study, folder: Path | None, target: float | None) -> dict[str, Any] | None:
    whole = [trial for trial in study.get_trials(deepcopy=False) if trial.state is TrialState.COMPLETE]
    if not whole:
        return None
    best = (max if study.direction is optuna.study.StudyDirection.MAXIMIZE else min)(
        whole, key=lambda trial: trial.values[0]
    )
    run = None if folder is None else RunFolder(folder / str(best.user_attrs.get(DUPLICATE, best.number)))
    return {
        "number": best.number,
        "accuracy": f"{best.values[0]:.2%}",
        "met": target is not None and best.values[0] >= target,
        "parameters": f"{best.user_attrs.get(PARAMETERS, 0):,}",
        "params": format_params(best.params),
        "command": reproduce_command(run.path) if run is not None and run.config.exists() else None,
    }


def _columns(names: Mapping[str, str]) -> list[str]:
    return ["trial", "state", "accuracy", "parameters", "MACs", "epochs", "time", *names.values(), "note"]


def _row(trial: FrozenTrial, names: Mapping[str, str], folder: Path | None, page: Path) -> dict[str, Any]:
    reported = trial.intermediate_values
    value = trial.values[0] if trial.values else reported[max(reported)] if reported else None
    seconds = trial.duration.total_seconds() if trial.duration else None
    attributes = trial.user_attrs
    own = None if folder is None else folder / str(attributes.get(DUPLICATE, trial.number))
    cells = [
        Cell(text=STATES[state_of(trial)]),
        _cell(value, ".2%"),
        _cell(attributes.get(PARAMETERS), ","),
        _cell(attributes.get(MACS), ","),
        _cell(max(reported, default=None), ""),
        _cell(seconds if REJECTED not in attributes else None, ".1f", " s"),
        *(_param(trial.params.get(key)) for key in names),
        Cell(text=_note(attributes)),
    ]
    return {
        "number": trial.number,
        "state": STATES[state_of(trial)],
        "href": os.path.relpath(own, page.parent) + "/" if own is not None and own.is_dir() else None,
        "cells": cells,
    }


def _note(attributes: Mapping[str, Any]) -> str:
    if DUPLICATE in attributes:
        return f"repeats trial {attributes[DUPLICATE]}"
    return str(attributes.get(REJECTED) or attributes.get(FAILED) or "")


def _cell(value: float | None, form: str, unit: str = "") -> Cell:
    return Cell(text="" if value is None else f"{value:{form}}{unit}", value=value, number=True)


def _param(value: Any) -> Cell:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Cell(text="" if value is None else str(value), number=True)
    return _cell(value, ".4g" if isinstance(value, float) else "")


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
