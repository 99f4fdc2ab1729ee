"""Figures of a study, drawn by Optuna where it draws them; each with a sentence that says what it shows."""

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
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from plotly.colors import sample_colorscale

from sweeper.report.page_figure import BLUE, EARLY_TO_LATE, GREY, ORANGE, PageFigure, arrange
from sweeper.study.trials import PARAMETERS, REJECTED

VALUE_WIDTH: Final = 120
"""Pixels that one value's axis needs: where there are many, their figure scrolls in its frame."""
LINES: Final = 200
"""Trials in one figure of parallel coordinates: more are a carpet."""
FEWEST: Final = 2
"""Whole trials that Optuna's comparisons of trials need."""


def study_figures(study: optuna.Study, *, target: float | None, budget: int | None) -> list[PageFigure]:
    """Draw a study: its course, accuracy against parameters, what matters, where it is best."""
    shown = _for_people(study)
    whole = [trial for trial in shown.trials if trial.state is TrialState.COMPLETE]
    return [
        _history(shown, whole, target),
        _pareto(whole, shown.direction, target=target, budget=budget),
        _compared(
            "importances",
            "What matters most",
            whole,
            lambda: visualization.plot_param_importances(shown, target_name="accuracy"),
            f"The share of the differences between {len(whole)} whole trials that each value explains (fANOVA).",
        ),
        _curves(shown),
        _compared(
            "parallel",
            "All values at once",
            whole,
            lambda: _parallel(shown, whole),
            f"A line for each whole trial{f', the best {LINES} of them' if len(whole) > LINES else ''}: "
            "the better, the more orange.",
            wide=True,
        ),
        _compared(
            "slices",
            "Each value by itself",
            whole,
            lambda: visualization.plot_slice(shown, target_name="validation accuracy"),
            "Validation accuracy over each value; the later the trial, the more orange.",
            wide=True,
        ),
    ]


def _for_people(study: optuna.Study) -> optuna.Study:
    """Return a copy in memory, its values under short names, and without proposals that were never trained.

    Plotly reads labels as markup, so what is not ours is escaped.
    """
    copied = optuna.create_study(direction=study.direction)
    trials = study.get_trials(deepcopy=False)
    names = short_names({key for trial in trials for key in trial.params})
    for trial in trials:
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


def pareto_front(points: Sequence[tuple[int, float, int]], *, maximize: bool) -> list[tuple[int, float, int]]:
    """Return the points (parameters, value, number) than which no other is at least as good with no more parameters.

    By parameters; of equal points the one with the lowest number.
    """
    sign = -1 if maximize else 1
    front: list[tuple[int, float, int]] = []
    for point in sorted(points, key=lambda p: (p[0], sign * p[1], p[2])):
        if not front or sign * point[1] < sign * front[-1][1]:
            front.append(point)
    return front


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Return each key's short name: ``block1.0`` for a width, else its last part, else, where two share that, the key.

    >>> short_names(["model.groups.block1.channels.0", "optimizer.lr"])
    {'model.groups.block1.channels.0': 'block1.0', 'optimizer.lr': 'lr'}
    """
    short = {key: re.sub(r"^model\.groups\.(\w+)\.channels\.(\d+)$", r"\1.\2", key) for key in keys}
    short = {key: name if name != key else key.rpartition(".")[2] for key, name in short.items()}
    taken = Counter(short.values())
    return {key: name if taken[name] == 1 else key for key, name in short.items()}


def _plain(distribution: BaseDistribution) -> BaseDistribution:
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalDistribution([_escaped(choice) for choice in distribution.choices])
    return distribution


def _escaped(value: Any) -> Any:
    return html.escape(value) if isinstance(value, str) else value


def _history(study: optuna.Study, whole: list[FrozenTrial], target: float | None) -> PageFigure:
    title = "The course of the search"
    if not whole:
        return PageFigure(name="history", title=title, caption="No trial has finished yet.", figure=None, wide=True)
    figure = visualization.plot_optimization_history(study, target_name="validation accuracy")
    # Optuna counts the trials it was given; people know them by their own numbers.
    numbers = [trial.user_attrs["number"] for trial in study.trials]
    for trace in figure.data:
        trace.x = [numbers[int(at)] for at in trace.x]
    for trace, name in zip(figure.data, ("trial", "best so far"), strict=False):
        trace.name = name
    figure.update_traces(marker={"color": BLUE}, selector={"mode": "markers"})
    figure.update_traces(line={"color": ORANGE, "shape": "hv"}, selector={"mode": "lines"})
    if target is not None:
        figure.add_hline(
            target, line={"color": GREY, "dash": "dash"}, annotation_text="target", annotation_position="top left"
        )
    figure.update_yaxes(tickformat=".1%")
    arrange(figure, x="trial", y="validation accuracy")
    best = study.best_trial
    caption = f"{len(whole)} whole trials; the best is trial {best.user_attrs['number']} with {best.value:.2%}."
    return PageFigure(name="history", title=title, caption=caption, figure=figure, wide=True)


def _pareto(
    whole: list[FrozenTrial], direction: StudyDirection, *, target: float | None, budget: int | None
) -> PageFigure:
    """Accuracy against parameters; on the front no other trial has more accuracy with fewer parameters."""
    title = "Accuracy against parameters"
    points = [
        (t.user_attrs[PARAMETERS], t.values[0], t.user_attrs["number"]) for t in whole if PARAMETERS in t.user_attrs
    ]
    if not points:
        return PageFigure(
            name="pareto", title=title, caption="No whole trial says how many parameters it has.", figure=None
        )
    front = pareto_front(points, maximize=direction is StudyDirection.MAXIMIZE)
    rest = [point for point in points if point not in front]
    hover = "trial %{text}: %{y:.2%}, %{x:,} parameters<extra></extra>"
    figure = go.Figure()
    for name, shown, mode, colour in (
        ("trials", rest, "markers", BLUE),
        ("Pareto front", front, "lines+markers", ORANGE),
    ):
        figure.add_scatter(
            x=[point[0] for point in shown],
            y=[point[1] for point in shown],
            text=[str(point[2]) for point in shown],
            name=name,
            mode=mode,
            marker={"color": colour},
            line={"color": colour, "shape": "hv"},
            hovertemplate=hover,
        )
    if budget is not None:
        figure.add_vline(
            budget,
            line={"color": GREY, "dash": "dash"},
            annotation_text=f"budget {budget:,}",
            annotation_position="bottom left",
        )
    if target is not None:
        figure.add_hline(
            target, line={"color": GREY, "dash": "dash"}, annotation_text="target", annotation_position="top left"
        )
    figure.update_yaxes(tickformat=".1%")
    figure.update_xaxes(tickformat=",")
    arrange(figure, x="parameters", y="validation accuracy")
    smallest = f"the smallest on the front has {front[0][0]:,} parameters and {front[0][1]:.2%}"
    caption = f"{len(front)} of {len(points)} whole trials are on the front: none is better with fewer parameters; {smallest}."
    return PageFigure(name="pareto", title=title, caption=caption, figure=figure)


def _compared(
    name: str,
    title: str,
    whole: list[FrozenTrial],
    drawing: Callable[[], go.Figure],
    caption: str,
    *,
    wide: bool = False,
) -> PageFigure:
    """Draw what compares whole trials, if there is something to compare."""
    if len(whole) < FEWEST or len({trial.values[0] for trial in whole}) < FEWEST or not whole[0].params:
        why = f"It takes {FEWEST} whole trials that differ; there {'is 1' if len(whole) == 1 else f'are {len(whole)}'}."
        return PageFigure(name=name, title=title, caption=why, figure=None, wide=wide)
    with warnings.catch_warnings():
        # Of few trials no importance can be told well; the caption says how many there are.
        warnings.filterwarnings("ignore", category=UserWarning, module="optuna")
        figure = drawing()
    figure.update_traces(
        marker={"colorscale": EARLY_TO_LATE, "line": {"width": 0}, "showscale": False}, selector={"type": "scatter"}
    )
    figure.update_traces(marker={"color": BLUE}, selector={"type": "bar"})
    arrange(figure)
    figure.update_yaxes(tickformat=".1%", selector={"title.text": "validation accuracy"})
    figure.update_yaxes(title=None, selector={"title.text": "Hyperparameter"})
    figure.update_xaxes(title="share", selector={"title.text": "Hyperparameter Importance"})
    values = max(len(trial.params) for trial in whole)
    return PageFigure(
        name=name,
        title=title,
        caption=caption,
        figure=figure,
        wide=wide,
        least_width=VALUE_WIDTH * (values + 1) if wide else 0,
    )


def _parallel(study: optuna.Study, whole: list[FrozenTrial]) -> go.Figure:
    best = sorted(whole, key=lambda trial: trial.values[0], reverse=study.direction is StudyDirection.MAXIMIZE)
    few = optuna.create_study(direction=study.direction)
    few.add_trials(best[:LINES])
    figure = visualization.plot_parallel_coordinate(few, target_name="accuracy")
    # Optuna's own blues end in one that a dark page swallows. A line begins at its trial's value, from 0 to 1.
    for trace in figure.data:
        if trace.mode == "lines":
            good = trace.y[0] if study.direction is StudyDirection.MAXIMIZE else 1 - trace.y[0]
            (trace.line.color,) = sample_colorscale(EARLY_TO_LATE, [min(1.0, max(0.0, good))])
    figure.update_traces(showscale=False, selector={"type": "heatmap"})
    return figure


def _curves(study: optuna.Study) -> PageFigure:
    """Learning curves of all trials, in two traces however many they are: whole ones, and pruned ones in grey."""
    title = "Learning curves"
    figure, counts = go.Figure(), []
    for state, name, colour in ((TrialState.PRUNED, "pruned", GREY), (TrialState.COMPLETE, "whole", BLUE)):
        curves = [trial for trial in study.trials if trial.state is state and trial.intermediate_values]
        counts.append(f"{len(curves)} {name}")
        epochs: list[int | None] = []
        values: list[float | None] = []
        text: list[str] = []
        for trial in curves:
            steps = sorted(trial.intermediate_values)
            epochs += [*steps, None]
            values += [*(trial.intermediate_values[step] for step in steps), None]
            text += [f"trial {trial.user_attrs['number']}"] * (len(steps) + 1)
        figure.add_scatter(
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
    if not any(trace.x for trace in figure.data):
        return PageFigure(
            name="curves", title=title, caption="No trial has finished an epoch yet.", figure=None, wide=True
        )
    arrange(figure, x="epoch", y="validation accuracy")
    figure.update_yaxes(tickformat=".1%")
    if max(max(trial.intermediate_values, default=0) for trial in study.trials) < 16:
        figure.update_xaxes(dtick=1)
    caption = f"Validation accuracy by epoch: {' and '.join(counts)} trials."
    return PageFigure(name="curves", title=title, caption=caption, figure=figure, wide=True)
