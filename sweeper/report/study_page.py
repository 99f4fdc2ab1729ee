"""A study's page: its best trial, figures, a table of all trials, rejected proposals and the search space."""

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

from sweeper.config.loading import dotted
from sweeper.reading.locations import read_yaml
from sweeper.report.page import render
from sweeper.report.record import reproduce_command
from sweeper.report.study_figures import short_names, study_figures
from sweeper.report.study_snapshot import StudySnapshot
from sweeper.search.space import describe, read_space
from sweeper.study.attributes import DUPLICATE, FAILED, MACS, PARAMETERS, REJECTED, RULE
from sweeper.study.folder import StudyFolder, trial_folder
from sweeper.study.live_table import format_params
from sweeper.study.owner import is_owned
from sweeper.study.storage import redacted
from sweeper.study.summary import state_of
from sweeper.terminal.console import display_path

STATES: Final = {
    "complete": "done",
    "pruned": "pruned",
    "rejected": "rejected",
    "failed": "failed",
    "retried": "retried",
    "running": "running",
    "waiting": "waiting",
}
"""The page's names of the states of `state_of`, in the order in which it shows their counts."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of the table of trials."""

    text: str
    value: float | None = None
    """The sort key in a numeric column; None for an empty cell."""
    number: bool = False
    """Whether the column is numeric."""


def write_study_page(study: optuna.Study, *, folder: Path, url: str) -> Path:
    """Write a study's page into its folder; return its path. Raises `StudyError` if it cannot be written."""
    files = StudyFolder(folder)
    files.write_report(lambda: study_page(StudySnapshot.of(study), folder=folder, url=url, page=files.report))
    return files.report


def load() -> None:
    """Import all modules a page needs by rendering one: plotly and Optuna import most with their first figure."""
    study = optuna.create_study(storage=InMemoryStorage())
    for value in (0.0, 1.0):
        distributions: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}
        study.add_trial(create_trial(value=value, params={"x": value}, distributions=distributions))
    study_page(StudySnapshot.of(study), folder=None, url="", page=Path())


def study_page(study: StudySnapshot, *, folder: Path | None, url: str, page: Path) -> str:
    """Return a study's page as HTML; its links are relative to `page`, the file it will be written to."""
    trials = study.trials
    saved = _saved_search(folder)
    base = saved.get("base")
    values = dict(dotted(base)) if isinstance(base, dict) else {}
    target, budget = _number(values.get("target")), _number(values.get("budget.parameters"))
    states = Counter(state_of(trial) for trial in trials)
    names = short_names(dict.fromkeys(key for trial in trials for key in trial.params))
    rejected = [trial for trial in trials if REJECTED in trial.user_attrs]
    rules = Counter(str(trial.user_attrs.get(RULE)) for trial in rejected)
    examples = {str(trial.user_attrs.get(RULE)): trial.user_attrs[REJECTED] for trial in reversed(rejected)}
    return render(
        "study.html",
        kind="Study",
        title=study.name,
        status=f"{len(trials)} trial{'s' if len(trials) != 1 else ''}; {_running(trials)}.",
        figures=study_figures(study, target=target, budget=None if budget is None else int(budget)),
        best=_best(study.best, folder, target),
        target=None if target is None else f"{target:.2%}",
        counts={name: states[key] for key, name in STATES.items()},
        columns=[{"name": name, "number": name not in {"state", "note"}} for name in _columns(names)],
        trials=[_row(trial, names, folder, page) for trial in trials],
        states=sorted({STATES.get(state, state) for state in states}),
        rejected=[{"rule": rule, "count": count, "example": examples[rule]} for rule, count in rules.most_common()],
        space=[(key, describe(distribution)) for key, distribution in _space(saved, trials).items()],
        fixed=saved.get("fixed", []),
        storage=redacted(url),
        folder=None if folder is None else str(display_path(folder)),
    )


def _running(trials: Sequence[FrozenTrial]) -> str:
    """Return a phrase with the numbers of running and of interrupted trials."""
    running = [trial for trial in trials if trial.state is TrialState.RUNNING]
    lost = sum(not is_owned(trial) for trial in running)
    parts = []
    if len(running) > lost:
        parts.append(f"{len(running) - lost} running when this was written")
    if lost:
        parts.append(
            f"{lost} interrupted with {'its' if lost == 1 else 'their'} process: the search's command retries them"
        )
    return ", ".join(parts) or "none is running"


def _saved_search(folder: Path | None) -> dict[str, Any]:
    """Return the content of search.yaml; empty if it is missing or damaged."""
    saved = None if folder is None else read_yaml(StudyFolder(folder).search)
    return saved if isinstance(saved, dict) else {}


def _space(saved: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Return the search space from search.yaml, or from the trials if it has none."""
    of_trials = {key: distribution for trial in trials for key, distribution in trial.distributions.items()}
    return read_space(saved) or of_trials


def _best(trial: FrozenTrial | None, folder: Path | None, target: float | None) -> dict[str, Any] | None:
    if trial is None:
        return None
    run = None if folder is None else trial_folder(folder, trial)
    return {
        "number": trial.number,
        "accuracy": f"{trial.values[0]:.2%}",
        "met": target is not None and trial.values[0] >= target,
        "parameters": f"{trial.user_attrs.get(PARAMETERS, 0):,}",
        "params": format_params(trial.params),
        "command": reproduce_command(run.path) if run is not None and run.config.exists() else None,
    }


def _columns(names: Mapping[str, str]) -> list[str]:
    return ["trial", "state", "accuracy", "parameters", "MACs", "epochs", "time", *names.values(), "note"]


def _row(trial: FrozenTrial, names: Mapping[str, str], folder: Path | None, page: Path) -> dict[str, Any]:
    reported = trial.intermediate_values
    value = trial.values[0] if trial.values else reported[max(reported)] if reported else None
    seconds = trial.duration.total_seconds() if trial.duration else None
    attributes = trial.user_attrs
    run = None if folder is None else trial_folder(folder, trial)
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
        "href": os.path.relpath(run.path, page.parent) + "/" if run is not None and run.path.is_dir() else None,
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
