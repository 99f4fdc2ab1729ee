"""The figures of a study's page: what the search reached, at which size, how trials learned, which parameters matter."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from optuna.trial import FrozenTrial

from sweeper.report.front_figures import front_figures
from sweeper.report.importance_figure import importance_figure
from sweeper.report.page_figure import BLUE, GREY, ORANGE, PageFigure, arrange
from sweeper.report.parameter_figures import parallel_figure, slice_figure
from sweeper.report.study_snapshot import StudySnapshot
from sweeper.report.study_view import (
    BAND,
    PURPLE,
    TOP,
    StudyView,
    add_best,
    add_points,
    add_target,
    parameters_of,
    quantiles,
    whole_ticks,
)
from sweeper.report.value_scale import scale_of
from sweeper.search.config_keys import EPOCHS
from sweeper.study.attributes import PARAMETERS, whole
from sweeper.study.front import pareto_front


def study_view(study: StudySnapshot, config: Mapping[str, Any]) -> StudyView:
    """Return what figures and table show of a study; `config` is its base config, flat, or empty if it is unknown."""
    target, budget = config.get("target"), config.get("budget.parameters")
    limit = config.get(f"budget.{study.goal.cost}")
    scale = scale_of(study, config)
    return StudyView(
        study=study,
        scale=scale,
        target=float(target) if isinstance(target, int | float) and scale.images is not None else None,
        budget=budget if isinstance(budget, int) else None,
        epochs=whole(config.get(EPOCHS)),
        limit=limit if isinstance(limit, int) else None,
        names=short_names(dict.fromkeys(key for trial in study.trials for key in trial.params)),
        is_ours=bool(config) or any(PARAMETERS in trial.user_attrs for trial in study.trials),
    )


def study_figures(view: StudyView) -> list[PageFigure]:
    """Return a study's figures: history, accuracy against parameters, importances, learning curves, parameters.

    With two objectives the front and its hypervolume take the place of the first two. One that cannot be plotted has
    the reason as its caption.
    """
    return [
        *(front_figures(view) if view.study.goal.cost is not None else (_history(view), _pareto(view))),
        importance_figure(view),
        _curves(view),
        parallel_figure(view),
        slice_figure(view),
    ]


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Return each key's short name: ``block1.0`` for a width, else its last part, or the full key if names would clash.

    >>> short_names(["model.groups.block1.channels.0", "optimizer.lr"])
    {'model.groups.block1.channels.0': 'block1.0', 'optimizer.lr': 'lr'}
    """
    short = {key: re.sub(r"^model\.groups\.(\w+)\.channels\.(\d+)$", r"\1.\2", key) for key in keys}
    short = {key: name if name != key else key.rpartition(".")[2] for key, name in short.items()}
    taken = Counter(short.values())
    return {key: name if taken[name] == 1 else key for key, name in short.items()}


def _history(view: StudyView) -> PageFigure:
    """Return the value of each trial and the best so far, by trial number."""
    title = "Optimization history"
    completed = view.study.completed
    if not completed:
        return PageFigure(name="history", title=title, caption="no trial is completed yet", plot=None, wide=True)
    best = view.ranked[0]
    plot = go.Figure()
    add_points(plot, view, completed, [trial.number for trial in completed])
    last = [trial.intermediate_values[max(trial.intermediate_values)] for trial in view.pruned]
    if view.pruned:
        plot.add_scatter(
            x=[trial.number for trial in view.pruned],
            y=[view.scale.place(value) for value in last],
            customdata=[trial.number for trial in view.pruned],
            text=[
                f"{view.label(trial, value)}, pruned after {view.step} {max(trial.intermediate_values)}"
                for trial, value in zip(view.pruned, last, strict=True)
            ],
            hovertemplate="%{text}<extra></extra>",
            mode="markers",
            name="pruned",
            marker={"color": PURPLE, "symbol": "x", "size": 7, "opacity": 0.75},
        )
    steps = _best_so_far(view)
    plot.add_scatter(
        x=[number for number, _ in steps],
        y=[view.scale.place(value) for _, value in steps],
        mode="lines",
        line={"color": ORANGE, "shape": "hv", "width": 2},
        name="best so far",
        hoverinfo="skip",
    )
    add_best(plot, view, best.number)
    add_target(plot, view)
    arrange(plot, x="trial", y=view.scale.title)
    last_number = view.study.trials[-1].number
    plot.update_xaxes(range=[-0.5 - last_number / 50, last_number + 0.5 + last_number / 50], zeroline=False)
    plot.update_xaxes(**whole_ticks(0, last_number))
    plot.update_yaxes(**view.value_axis([*(trial.values[0] for trial in completed), *last]))
    pruned = f", {len(view.pruned)} pruned" if view.pruned else ""
    caption = (
        f"{_count(len(completed), 'completed trial')}{pruned}; the best is trial {best.number} with "
        f"{view.scale.text(best.values[0])}. Click a point to see its row in the table."
    )
    return PageFigure(name="history", title=title, caption=caption, plot=plot, wide=True)


def _best_so_far(view: StudyView) -> list[tuple[int, float]]:
    """Return the trials that improved on all earlier ones, with their values, and the last trial."""
    steps: list[tuple[int, float]] = []
    for trial in view.study.completed:
        value = trial.values[0]
        is_better = not steps or (value > steps[-1][1] if view.study.maximize else value < steps[-1][1])
        if is_better:
            steps.append((trial.number, value))
    return [*steps, (view.study.trials[-1].number, steps[-1][1])]


def _pareto(view: StudyView) -> PageFigure:
    """Return accuracy against parameters, with the Pareto front."""
    title = f"{view.scale.short.capitalize()} against parameters"
    sized = {trial.number: (size, trial) for trial in view.ranked if (size := parameters_of(trial)) is not None}
    sizes = {size for size, _ in sized.values()}
    if len(sizes) < 2:
        why = "all trials have the same size" if sizes else "no completed trial has a size"
        return PageFigure(name="pareto", title=title, caption=why, plot=None)
    points = [(size, trial.values[0], trial.number) for size, trial in sized.values()]
    front = pareto_front(points, maximize=view.study.maximize)
    plot = go.Figure()
    plot.add_scatter(
        x=[point[0] for point in front],
        y=[view.scale.place(point[1]) for point in front],
        mode="lines",
        line={"color": BLUE, "shape": "hv", "width": 1.5},
        name="Pareto front",
        hoverinfo="skip",
    )
    add_points(plot, view, [trial for _, trial in sized.values()], [size for size, _ in sized.values()])
    best = view.ranked[0]
    if best.number in sized:
        add_best(plot, view, sized[best.number][0])
    reach = [*sizes]
    if view.budget is not None:
        reach.append(view.budget)
        plot.add_vline(
            view.budget,
            line={"color": GREY, "dash": "dash", "width": 1.5},
            annotation_text=f"budget {view.budget:,}",
            annotation_position="top left",
        )
    add_target(plot, view)
    arrange(plot, x="parameters", y=view.scale.title)
    space = 0.05 * (max(reach) - min(reach))
    plot.update_xaxes(range=[min(reach) - space, max(reach) + space], **whole_ticks(min(reach), max(reach)))
    plot.update_yaxes(**view.value_axis(point[1] for point in points))
    caption = (
        f"{len(front)} of {len(points)} completed trials are on the Pareto front: no other trial is better with fewer "
        f"parameters. The smallest on it has {front[0][0]:,} parameters and {view.scale.text(front[0][1])}."
    )
    return PageFigure(name="pareto", title=title, caption=caption, plot=plot)


def _curves(view: StudyView) -> PageFigure:
    """Return the learning curves; of many trials their quantiles, and the best ten."""
    title = "Learning curves"
    learned = [trial for trial in view.ranked if trial.intermediate_values]
    steps = [step for trial in [*learned, *view.pruned] for step in trial.intermediate_values]
    if len(set(steps)) < 2:
        why = f"no trial has reported two {view.step}s" if steps else f"no trial has reported a {view.step}"
        return PageFigure(name="curves", title=title, caption=why, plot=None, wide=True)
    plot = go.Figure()
    if view.are_many:
        _add_bands(plot, view, learned)
    lines = learned[1:TOP] if view.are_many else learned[1:]
    name = f"best {TOP}" if view.are_many else "completed"
    _add_curves(plot, view, lines, name=name, line={"color": BLUE, "width": 1.5}, opacity=0.6)
    if view.are_many:
        _add_ends(plot, view)
    else:
        _add_curves(plot, view, view.pruned, name="pruned", line={"color": PURPLE, "width": 1.5}, opacity=0.6)
    if learned and learned[0] is view.ranked[0]:
        name = f"best: trial {learned[0].number}"
        _add_curves(plot, view, learned[:1], name=name, line={"color": ORANGE, "width": 3})
    add_target(plot, view)
    arrange(plot, x=view.step, y=view.scale.title)
    plot.update_xaxes(**whole_ticks(min(steps), max(steps)))
    values = [value for trial in [*learned, *view.pruned] for value in trial.intermediate_values.values()]
    plot.update_yaxes(**view.value_axis(values))
    counted = _count(len(learned), "completed trial") + (f" and {len(view.pruned)} pruned" if view.pruned else "")
    band = f" The band holds 80 % of the completed trials; the lines are the best {TOP}." if view.are_many else ""
    caption = f"{view.scale.title.capitalize()} by {view.step}: {counted}.{band}"
    return PageFigure(name="curves", title=title, caption=caption, plot=plot, wide=True)


def _add_curves(plot: go.Figure, view: StudyView, trials: Sequence[FrozenTrial], **settings: Any) -> None:
    """Add the trials' curves as one trace, so that the page stays fast."""
    epochs: list[int | None] = []
    places: list[float | None] = []
    text: list[str] = []
    numbers: list[int] = []
    for trial in trials:
        steps = sorted(trial.intermediate_values)
        values = [trial.intermediate_values[step] for step in steps]
        epochs += [*steps, None]  # None ends a trial's line
        places += [*(view.scale.place(value) if math.isfinite(value) else None for value in values), None]
        text += [f"trial {trial.number}: {view.scale.text(value)}" for value in values] + [""]
        numbers += [trial.number] * (len(steps) + 1)
    if trials:
        plot.add_scatter(
            x=epochs,
            y=places,
            text=text,
            customdata=numbers,
            mode="lines+markers",
            marker={"size": 4},
            hovertemplate=f"%{{text}} after {view.step} %{{x}}<extra></extra>",
            **settings,
        )


def _add_bands(plot: go.Figure, view: StudyView, trials: Sequence[FrozenTrial]) -> None:
    """Add the median and the band between the outer quantiles of the trials' values in each epoch."""
    by_epoch: dict[int, list[float]] = {}
    for trial in trials:
        for step, value in trial.intermediate_values.items():
            if math.isfinite(value):
                by_epoch.setdefault(step, []).append(view.scale.place(value))
    epochs = sorted(by_epoch)
    bands = [quantiles(by_epoch[epoch]) for epoch in epochs]
    shared = {"x": epochs, "hoverinfo": "skip"}
    edge = {"mode": "lines", "line": {"width": 0}}
    plot.add_scatter(**shared, **edge, y=[band[0] for band in bands], showlegend=False)
    plot.add_scatter(**shared, **edge, y=[band[2] for band in bands], fill="tonexty", fillcolor=BAND, name="80 %")
    plot.add_scatter(
        **shared, y=[band[1] for band in bands], mode="lines", line={"color": BLUE, "dash": "dot"}, name="median"
    )


def _add_ends(plot: go.Figure, view: StudyView) -> None:
    """Add the last epochs of the pruned trials."""
    ends = [(trial, max(trial.intermediate_values)) for trial in view.pruned]
    if not ends:
        return
    values = [trial.intermediate_values[step] for trial, step in ends]
    plot.add_scatter(
        x=[step for _, step in ends],
        y=[view.scale.place(value) for value in values],
        customdata=[trial.number for trial, _ in ends],
        text=[f"{view.label(trial, value)}, pruned" for (trial, _), value in zip(ends, values, strict=True)],
        hovertemplate="%{text}<extra></extra>",
        mode="markers",
        name="pruned",
        marker={"color": PURPLE, "symbol": "x", "size": 6, "opacity": 0.5},
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
