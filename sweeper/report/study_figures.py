"""The figures of a study's page, with captions. Most of the plots are Optuna's own."""

import html
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import optuna
import plotly.graph_objects as go
from optuna import visualization
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState
from plotly.colors import sample_colorscale

from sweeper.report.page_figure import BLUE, EARLY_TO_LATE, FEW_EPOCHS, GREY, ORANGE, PageFigure, arrange
from sweeper.report.study_snapshot import StudySnapshot
from sweeper.study.attributes import PARAMETERS, REJECTED

AXIS_WIDTH: Final = 120
"""Pixels per parameter axis. With many parameters the figure is wider than its frame and scrolls."""
MAX_LINES: Final = 200
"""Maximum number of trials in the parallel-coordinate plot: more lines hide each other."""
MIN_TRIALS: Final = 2
"""Number of completed trials that Optuna's comparison plots need."""


def study_figures(study: StudySnapshot, *, target: float | None, budget: int | None) -> list[PageFigure]:
    """Return a study's figures: history, accuracy against parameters, importances, learning curves, parameters."""
    trained = _trained(study)
    shown = StudySnapshot.of(trained)
    count = len(shown.completed)
    best = f", the best {MAX_LINES} of them" if count > MAX_LINES else ""
    return [
        _history(trained, shown, target),
        _pareto(shown, target=target, budget=budget),
        _comparison(
            "importances",
            "Parameter importances",
            shown,
            lambda: visualization.plot_param_importances(trained, target_name="accuracy"),
            f"The share of the variance between {count} completed trials that each parameter explains (fANOVA).",
        ),
        _curves(shown),
        _comparison(
            "parallel",
            "Parallel coordinates",
            shown,
            lambda: _parallel(shown),
            f"One line per completed trial{best}: the better the trial, the more orange its line.",
            wide=True,
        ),
        _comparison(
            "slices",
            "Slices",
            shown,
            lambda: visualization.plot_slice(trained, target_name="validation accuracy"),
            "Validation accuracy over each parameter: the later the trial, the more orange its point.",
            wide=True,
        ),
    ]


def pareto_front(points: Sequence[tuple[int, float, int]], *, maximize: bool) -> list[tuple[int, float, int]]:
    """Return the Pareto front of the points (parameters, value, trial number): fewer parameters, better value.

    It is in order of parameters. Of equal points it has the one with the lowest number.
    """
    sign = -1 if maximize else 1
    front: list[tuple[int, float, int]] = []
    for point in sorted(points, key=lambda p: (p[0], sign * p[1], p[2])):
        if not front or sign * point[1] < sign * front[-1][1]:
            front.append(point)
    return front


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Return each key's short name: ``block1.0`` for a width, else its last part, or the full key if names would clash.

    >>> short_names(["model.groups.block1.channels.0", "optimizer.lr"])
    {'model.groups.block1.channels.0': 'block1.0', 'optimizer.lr': 'lr'}
    """
    short = {key: re.sub(r"^model\.groups\.(\w+)\.channels\.(\d+)$", r"\1.\2", key) for key in keys}
    short = {key: name if name != key else key.rpartition(".")[2] for key, name in short.items()}
    taken = Counter(short.values())
    return {key: name if taken[name] == 1 else key for key, name in short.items()}


def _trained(study: StudySnapshot) -> optuna.Study:
    """Return an in-memory study with copies of the trained trials, whose parameters have short names.

    Plotly interprets labels as markup, so text from the study is escaped. Optuna numbers the copies from 0; the
    attribute `number` has the original number.
    """
    copied = optuna.create_study(direction=study.direction)
    names = short_names({key for trial in study.trials for key in trial.params})
    for trial in study.trials:
        if REJECTED in trial.user_attrs or not trial.state.is_finished():
            continue
        copied.add_trial(
            optuna.trial.create_trial(
                state=trial.state,
                values=trial.values if trial.state is not TrialState.FAIL else None,
                params={html.escape(names[key]): _escaped(value) for key, value in trial.params.items()},
                distributions={html.escape(names[key]): _plain(kind) for key, kind in trial.distributions.items()},
                user_attrs={**trial.user_attrs, "number": trial.number},
                intermediate_values=trial.intermediate_values,
            )
        )
    return copied


def _plain(distribution: BaseDistribution) -> BaseDistribution:
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalDistribution([_escaped(choice) for choice in distribution.choices])
    return distribution


def _escaped(value: Any) -> Any:
    return html.escape(value) if isinstance(value, str) else value


def _history(trained: optuna.Study, shown: StudySnapshot, target: float | None) -> PageFigure:
    """Return the accuracy of each trial and the best so far, by original trial number."""
    title = "Optimization history"
    if shown.best is None:
        return PageFigure(name="history", title=title, caption="No trial is completed yet.", plot=None, wide=True)
    plot = visualization.plot_optimization_history(trained, target_name="validation accuracy")
    numbers = [trial.user_attrs["number"] for trial in shown.trials]
    for trace in plot.data:
        trace.x = [numbers[int(index)] for index in trace.x]
    for trace, name in zip(plot.data, ("trial", "best so far"), strict=False):
        trace.name = name
    plot.update_traces(marker={"color": BLUE}, selector={"mode": "markers"})
    plot.update_traces(line={"color": ORANGE, "shape": "hv"}, selector={"mode": "lines"})
    if target is not None:
        _add_target(plot, target)
    plot.update_yaxes(tickformat=".1%")
    arrange(plot, x="trial", y="validation accuracy")
    caption = (
        f"{len(shown.completed)} completed trials; the best is trial {shown.best.user_attrs['number']} "
        f"with {shown.best.values[0]:.2%}."
    )
    return PageFigure(name="history", title=title, caption=caption, plot=plot, wide=True)


def _pareto(shown: StudySnapshot, *, target: float | None, budget: int | None) -> PageFigure:
    """Return accuracy against parameters, with the Pareto front."""
    title = "Accuracy against parameters"
    points = [
        (trial.user_attrs[PARAMETERS], trial.values[0], trial.user_attrs["number"])
        for trial in shown.completed
        if PARAMETERS in trial.user_attrs
    ]
    if not points:
        caption = "No completed trial has a parameter count."
        return PageFigure(name="pareto", title=title, caption=caption, plot=None)
    front = pareto_front(points, maximize=shown.maximize)
    rest = [point for point in points if point not in front]
    plot = go.Figure()
    for name, of_trace, mode, colour in (
        ("trials", rest, "markers", BLUE),
        ("Pareto front", front, "lines+markers", ORANGE),
    ):
        plot.add_scatter(
            x=[point[0] for point in of_trace],
            y=[point[1] for point in of_trace],
            text=[str(point[2]) for point in of_trace],
            name=name,
            mode=mode,
            marker={"color": colour},
            line={"color": colour, "shape": "hv"},
            hovertemplate="trial %{text}: %{y:.2%}, %{x:,} parameters<extra></extra>",
        )
    if budget is not None:
        plot.add_vline(
            budget,
            line={"color": GREY, "dash": "dash"},
            annotation_text=f"budget {budget:,}",
            annotation_position="bottom left",
        )
    if target is not None:
        _add_target(plot, target)
    plot.update_yaxes(tickformat=".1%")
    plot.update_xaxes(tickformat=",")
    arrange(plot, x="parameters", y="validation accuracy")
    caption = (
        f"{len(front)} of {len(points)} completed trials are on the Pareto front: no other trial is better with fewer "
        f"parameters. The smallest on the front has {front[0][0]:,} parameters and {front[0][1]:.2%}."
    )
    return PageFigure(name="pareto", title=title, caption=caption, plot=plot)


def _comparison(
    name: str, title: str, shown: StudySnapshot, build: Callable[[], go.Figure], caption: str, *, wide: bool = False
) -> PageFigure:
    """Return one of Optuna's comparison plots of completed trials; without a plot if too few trials differ."""
    completed = shown.completed
    if (
        len(completed) < MIN_TRIALS
        or len({trial.values[0] for trial in completed}) < MIN_TRIALS
        or not completed[0].params
    ):
        why = f"This needs {MIN_TRIALS} completed trials that differ; the study has {len(completed)} completed."
        return PageFigure(name=name, title=title, caption=why, plot=None, wide=wide)
    with warnings.catch_warnings():
        # Optuna warns that importances of few trials are unreliable; the caption has their number.
        warnings.filterwarnings("ignore", category=UserWarning, module="optuna")
        plot = build()
    plot.update_traces(
        marker={"colorscale": EARLY_TO_LATE, "line": {"width": 0}, "showscale": False}, selector={"type": "scatter"}
    )
    plot.update_traces(marker={"color": BLUE}, selector={"type": "bar"})
    arrange(plot)
    plot.update_yaxes(tickformat=".1%", selector={"title.text": "validation accuracy"})
    plot.update_yaxes(title=None, selector={"title.text": "Hyperparameter"})
    plot.update_xaxes(title="share", selector={"title.text": "Hyperparameter Importance"})
    axes = 1 + max(len(trial.params) for trial in completed)
    return PageFigure(
        name=name, title=title, caption=caption, plot=plot, wide=wide, least_width=AXIS_WIDTH * axes if wide else 0
    )


def _parallel(shown: StudySnapshot) -> go.Figure:
    best = sorted(shown.completed, key=lambda trial: trial.values[0], reverse=shown.maximize)
    few = optuna.create_study(direction=shown.direction)
    few.add_trials(best[:MAX_LINES])
    plot = visualization.plot_parallel_coordinate(few, target_name="accuracy")
    # Optuna's darkest blue is invisible on a dark page. A line's first y is its trial's value, scaled to 0..1.
    for trace in plot.data:
        if trace.mode == "lines":
            goodness = trace.y[0] if shown.maximize else 1 - trace.y[0]
            (trace.line.color,) = sample_colorscale(EARLY_TO_LATE, [min(1.0, max(0.0, goodness))])
    plot.update_traces(showscale=False, selector={"type": "heatmap"})
    return plot


def _curves(shown: StudySnapshot) -> PageFigure:
    """Return the learning curves, in two traces so that the page stays fast: pruned trials grey, completed blue."""
    title = "Learning curves"
    plot, counts = go.Figure(), []
    for state, name, colour in ((TrialState.PRUNED, "pruned", GREY), (TrialState.COMPLETE, "completed", BLUE)):
        curves = [trial for trial in shown.trials if trial.state is state and trial.intermediate_values]
        counts.append(f"{len(curves)} {name}")
        epochs: list[int | None] = []
        values: list[float | None] = []
        text: list[str] = []
        for trial in curves:
            steps = sorted(trial.intermediate_values)
            epochs += [*steps, None]  # None ends a trial's line
            values += [*(trial.intermediate_values[step] for step in steps), None]
            text += [f"trial {trial.user_attrs['number']}"] * (len(steps) + 1)
        plot.add_scatter(
            x=epochs,
            y=values,
            text=text,
            name=name,
            mode="lines+markers",
            opacity=0.6,
            marker={"size": 4},
            line={"color": colour, "width": 1},
            hovertemplate="%{text}, epoch %{x}: %{y:.2%}<extra></extra>",
        )
    if not any(trace.x for trace in plot.data):
        caption = "No trial has finished an epoch yet."
        return PageFigure(name="curves", title=title, caption=caption, plot=None, wide=True)
    arrange(plot, x="epoch", y="validation accuracy")
    plot.update_yaxes(tickformat=".1%")
    if max(max(trial.intermediate_values, default=0) for trial in shown.trials) < FEW_EPOCHS:
        plot.update_xaxes(dtick=1)
    caption = f"Validation accuracy by epoch: {' and '.join(counts)} trials."
    return PageFigure(name="curves", title=title, caption=caption, plot=plot, wide=True)


def _add_target(plot: go.Figure, target: float) -> None:
    plot.add_hline(
        target, line={"color": GREY, "dash": "dash"}, annotation_text="target", annotation_position="top left"
    )
