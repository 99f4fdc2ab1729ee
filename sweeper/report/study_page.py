"""A study's page: its result in one sentence, figures, a table of all trials, rejected proposals and the search space."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.data.openings import count_openings
from sweeper.reading.locations import read_yaml
from sweeper.report.confirmation_section import confirmation_section
from sweeper.report.front_table import front_table
from sweeper.report.page import render
from sweeper.report.page_figure import PageFigure
from sweeper.report.size_plot import size_plot
from sweeper.report.study_figures import study_figures, study_view
from sweeper.report.study_snapshot import StudySnapshot
from sweeper.report.study_table import STATES, trials_table
from sweeper.report.value_scale import flat_config
from sweeper.search.space import describe, read_space
from sweeper.study.attributes import REJECTED, RULE
from sweeper.study.folder import StudyFolder
from sweeper.study.headline import study_headline
from sweeper.study.live_table import format_params
from sweeper.study.restoring import describe_elsewhere
from sweeper.study.storage_url import redacted
from sweeper.study.summary import state_of
from sweeper.terminal.console import display_path


def write_study_page(study: optuna.Study, *, folder: Path, url: str, lost: frozenset[int]) -> Path:
    """Write a study's page into its folder; return its path. Raises `StudyError` if it cannot be written."""
    files = StudyFolder(folder)
    files.write_report(
        lambda: study_page(StudySnapshot.of(study, lost=lost), folder=folder, url=url, page=files.report)
    )
    return files.report


def load() -> None:
    """Import all modules a page needs by rendering one: plotly and Optuna import most with their first figure."""
    study = optuna.create_study(storage=InMemoryStorage())
    for value in range(20):
        distributions: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 20), "y": FloatDistribution(0, 20)}
        study.add_trial(create_trial(value=value, params={"x": value, "y": 20 - value}, distributions=distributions))
    study_page(StudySnapshot.of(study), folder=None, url="", page=Path())


def study_page(study: StudySnapshot, *, folder: Path | None, url: str, page: Path) -> str:
    """Return a study's page as HTML; its links are relative to `page`, the file it will be written to."""
    trials = study.trials
    saved, sweep = _saved(folder)
    config = flat_config(saved)
    headline = study_headline(trials, study.goal, folder=folder, search=saved or None, sweep=sweep, lost=study.lost)
    view = study_view(study, config)
    figures = study_figures(view)
    states = Counter(state_of(trial) for trial in trials)
    rejected = [trial for trial in trials if REJECTED in trial.user_attrs]
    rules = Counter(str(trial.user_attrs.get(RULE)) for trial in rejected)
    examples = {str(trial.user_attrs.get(RULE)): trial.user_attrs[REJECTED] for trial in reversed(rejected)}
    return render(
        "study.html",
        kind="Study",
        title=study.name,
        status=_running(study),
        confirmation=confirmation_section(folder),
        openings=_openings(folder, config),
        headline=headline,
        best=None if headline.best is None else (headline.best.number, format_params(headline.best.params)),
        figures=_paired([figure for figure in figures if figure.plot is not None]),
        left_out=_left_out(figures, has_completed=headline.best is not None, is_ours=view.is_ours),
        sizes=size_plot(study, config) if headline.best is None else None,
        counts=[(name, states[key]) for key, name in STATES.items() if states[key]],
        front=front_table(view, config),
        table=trials_table(view, folder=folder, page=page, is_ours=view.is_ours),
        rejected=[{"rule": rule, "count": count, "example": examples[rule]} for rule, count in rules.most_common()],
        space=[(key, describe(distribution)) for key, distribution in _space(saved, trials).items()],
        fixed=saved.get("fixed", []),
        elsewhere=describe_elsewhere(folder, [trial.number for trial in trials]),
        warm_start=study.warm_start,
        storage=redacted(url),
        folder=None if folder is None else str(display_path(folder)),
    )


def _openings(folder: Path | None, config: Mapping[str, Any]) -> str:
    """Return a sentence with the number of times that the study opened the test set; empty if that is unknown."""
    dataset = config.get("data.name")
    if folder is None or not isinstance(dataset, str):
        return ""
    sentence = count_openings(folder, dataset).describe("study")
    return f"{sentence[0].upper()}{sentence[1:]}."


def _left_out(figures: Sequence[PageFigure], *, has_completed: bool, is_ours: bool) -> str:
    """Return a sentence with the figures that cannot be plotted, and why; empty if there are none."""
    if not has_completed:
        return "Figures need a completed trial."
    reasons: dict[str, list[str]] = {}
    for figure in figures:
        # Trials of another application have neither sizes nor epochs to miss.
        if figure.plot is None and (is_ours or figure.name not in {"pareto", "curves"}):
            reasons.setdefault(figure.caption, []).append(figure.title.lower())
    missing = [f"{' and '.join(titles)} ({why})" for why, titles in reasons.items()]
    return f"Not plotted: {', '.join(missing)}." if missing else ""


def _paired(figures: list[PageFigure]) -> list[PageFigure]:
    """Return the figures; one that would stand alone in its row gets the page's full width."""
    narrow = [figure for figure in figures if not figure.wide]
    return [replace(figure, wide=True) if narrow == [figure] else figure for figure in figures]


def _running(study: StudySnapshot) -> str:
    """Return a sentence with the numbers of running and of interrupted trials; empty if there are none."""
    running = [trial for trial in study.trials if trial.state is TrialState.RUNNING]
    lost = sum(trial.number in study.lost for trial in running)
    parts = []
    if len(running) > lost:
        parts.append(f"{len(running) - lost} running when this was written")
    if lost:
        parts.append(
            f"{lost} interrupted with {'its' if lost == 1 else 'their'} process: the search's command retries them"
        )
    return f"{', '.join(parts)}." if parts else ""


def _saved(folder: Path | None) -> tuple[dict[str, Any], Any]:
    """Return the contents of search.yaml, empty if it is missing or damaged, and of multirun.yaml."""
    if folder is None:
        return {}, None
    files = StudyFolder(folder)
    saved = read_yaml(files.search)
    return saved if isinstance(saved, dict) else {}, read_yaml(files.multirun)


def _space(saved: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Return the search space from search.yaml, or from the trials if it has none."""
    of_trials = {key: distribution for trial in trials for key, distribution in trial.distributions.items()}
    return read_space(saved) or of_trials
