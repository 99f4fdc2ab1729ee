"""The figures of a study with two objectives: its front as it grew, and the hypervolume of the front by trial."""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

import plotly.graph_objects as go
from optuna.trial import FrozenTrial

from sweeper.report.accuracy_axis import NO_BREAK, log_ticks
from sweeper.report.page_figure import BLUE, GREY, ORANGE, PageFigure, arrange
from sweeper.report.study_view import PURPLE, StudyView, add_best, add_points, add_target, whole_ticks
from sweeper.study.front import WORST_ERROR, front_trials, log_hypervolume, worst_cost
from sweeper.study.goal import Goal

STAGES: Final = ((0.25, 0.25), (0.5, 0.5))
"""Shares of the completed trials after which the front is plotted too, and the opacity of each."""
FEW: Final = 8
"""With fewer completed trials, only the last front is plotted."""
MARGIN: Final = 1.15
"""Factor by which the axis of the cost reaches beyond its values."""


def front_figures(view: StudyView) -> list[PageFigure]:
    """Return the front and its hypervolume; one that cannot be plotted has the reason as its caption."""
    return [_front(view), _hypervolume(view)]


def _front(view: StudyView) -> PageFigure:
    goal = view.study.goal
    title = f"{view.scale.short.capitalize()} against {goal.unit}"
    sized = [trial for trial in view.study.completed if goal.cost_of(trial) is not None]
    if not sized:
        return PageFigure(name="front", title=title, caption="no trial is completed yet", plot=None, wide=True)
    plot = go.Figure()
    front = front_trials(sized, goal)
    for share, opacity in STAGES:
        early = front_trials(sized[: math.ceil(share * len(sized))], goal)
        if len(sized) >= FEW:
            _add_front(plot, view, early, name=f"after {share * 100:g}{NO_BREAK}%", opacity=opacity)
    _add_front(plot, view, front, name="front", width=2.5)
    add_points(plot, view, sized, [goal.cost_of(trial) for trial in sized])
    pruned = [trial for trial in view.pruned if goal.cost_of(trial) is not None]
    _add_pruned(plot, view, pruned)
    best = view.ranked[0]
    add_best(plot, view, goal.cost_of(best))
    add_target(plot, view)
    costs = [cost for trial in [*sized, *pruned] if (cost := goal.cost_of(trial)) is not None]
    limit = view.limit
    if limit is not None:
        costs.append(limit)
        _add_limit(plot, limit)
    arrange(plot, x=goal.unit, y=view.scale.title)
    plot.update_xaxes(**_cost_axis(min(costs), max(costs)))
    plot.update_yaxes(**view.value_axis([trial.values[0] for trial in sized]))
    many = f"{len(front)} of {len(sized)} completed trials are" if len(sized) > 1 else "The one completed trial is"
    caption = (
        f"{many} on the front: no other one is as accurate with as few {goal.unit}. "
        f"The smallest has {goal.cost_of(front[0]):,} {goal.unit} and {view.scale.text(front[0].values[0])}. "
        + ("Pruned trials, where the axis reaches them, are at their last epoch. " if pruned else "")
        + ("Dotted: the front after part of the trials." if len(sized) >= FEW else "")
    )
    return PageFigure(name="front", title=title, caption=caption.strip(), plot=plot, wide=True, height=26)


def _add_front(
    plot: go.Figure, view: StudyView, front: Sequence[FrozenTrial], *, name: str, opacity: float = 1, width: float = 1.5
) -> None:
    plot.add_scatter(
        x=[view.study.goal.cost_of(trial) for trial in front],
        y=[view.scale.place(trial.values[0]) for trial in front],
        mode="lines",
        line={"color": BLUE, "shape": "hv", "width": width, "dash": "solid" if opacity == 1 else "dot"},
        opacity=opacity,
        name=name,
        hoverinfo="skip",
    )


def _add_pruned(plot: go.Figure, view: StudyView, pruned: Sequence[FrozenTrial]) -> None:
    if not pruned:
        return
    last = [trial.intermediate_values[max(trial.intermediate_values)] for trial in pruned]
    plot.add_scatter(
        x=[view.study.goal.cost_of(trial) for trial in pruned],
        y=[view.scale.place(value) for value in last],
        customdata=[trial.number for trial in pruned],
        text=[
            f"{view.label(trial, value)}, pruned in epoch {max(trial.intermediate_values)}"
            for trial, value in zip(pruned, last, strict=True)
        ],
        hovertemplate="%{text}<extra></extra>",
        mode="markers",
        name="pruned",
        marker={"color": PURPLE, "symbol": "x", "size": 7, "opacity": 0.5},
    )


def _add_limit(plot: go.Figure, limit: int) -> None:
    line = {"color": GREY, "dash": "dash", "width": 1.5}
    plot.add_shape(type="line", yref="paper", y0=0, y1=1, x0=limit, x1=limit, line=line)
    # Plotly takes a shape's position on a log axis as a value, but an annotation's as its logarithm.
    plot.add_annotation(
        text=f"budget {limit:,}",
        yref="paper",
        y=0,
        x=math.log10(limit),
        xanchor="right",
        yanchor="bottom",
        showarrow=False,
    )


def _cost_axis(low: float, high: float) -> dict[str, Any]:
    low, high = max(1, low) / MARGIN, max(1, high) * MARGIN
    ticks = log_ticks(low, high)
    return {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickmode": "array",
        "tickvals": list(ticks),
        "ticktext": [f"{tick:,.0f}" for tick in ticks],
        "zeroline": False,
    }


def _hypervolume(view: StudyView) -> PageFigure:
    goal, completed = view.study.goal, view.study.completed
    title = "Hypervolume of the front"
    if len(completed) < 2:
        why = "fewer than two trials are completed"
        return PageFigure(name="hypervolume", title=title, caption=why, plot=None, wide=True)
    limit = view.limit
    worst = limit or worst_cost(completed, goal)
    steps = list(_hypervolumes(completed, goal, worst))
    epochs = _epochs(view.study.trials)
    last = view.study.trials[-1].number
    steps.append((last, steps[-1][1]))
    plot = go.Figure()
    plot.add_scatter(
        x=[number for number, _ in steps],
        y=[round(volume, 5) for _, volume in steps],
        customdata=[number for number, _ in steps],
        text=[f"{epochs[number]:,}" for number, _ in steps],
        mode="lines",
        line={"color": ORANGE, "shape": "hv", "width": 2},
        name="hypervolume",
        hovertemplate="%{y:.3f} after trial %{x} and %{text} epochs<extra></extra>",
    )
    arrange(plot, x="trial", y="hypervolume")
    plot.update_layout(showlegend=False)
    plot.update_xaxes(range=[-0.5, last + 0.5], zeroline=False, **whole_ticks(0, last))
    plot.update_yaxes(rangemode="tozero")
    of_cost = f"the budget of {limit:,}" if limit else f"the most of any trial, {worst:,.0f}"
    caption = (
        f"The area between the front and a reference point, {view.scale.text(1 - WORST_ERROR)} {view.scale.short} and "
        f"{of_cost} {goal.unit}, with decimal logarithms of error and {goal.unit}: {steps[-1][1]:.3f} after "
        f"{epochs[last]:,} trained epochs."
    )
    return PageFigure(name="hypervolume", title=title, caption=caption, plot=plot, wide=True)


def _epochs(trials: Sequence[FrozenTrial]) -> dict[int, int]:
    """Return by trial number the epochs that all trials up to it trained: what a hypervolume cost."""
    trained = accumulate(max(trial.intermediate_values, default=0) for trial in trials)
    return {trial.number: epochs for trial, epochs in zip(trials, trained, strict=True)}


def _hypervolumes(completed: Sequence[FrozenTrial], goal: Goal, worst: float) -> Iterator[tuple[int, float]]:
    """Yield the hypervolume after each trial that changed the front."""
    front: list[FrozenTrial] = []
    for trial in completed:
        grown = front_trials([*front, trial], goal)
        if trial in grown or not front:
            yield trial.number, log_hypervolume(grown, goal, worst)
        front = grown
