"""The figures of a study's parameters: parallel coordinates, and the value over each parameter."""

import html
import math
from collections.abc import Sequence
from typing import Any, Final

import plotly.graph_objects as go
from optuna.trial import FrozenTrial

from sweeper.report.accuracy_axis import AccuracyAxis
from sweeper.report.page_figure import BLUE, GREY, ORANGE, PageFigure, arrange
from sweeper.report.parameters import Parameter, parameters
from sweeper.report.study_view import BAND, HIGH, TOP, StudyView, add_best, add_points, quantiles
from sweeper.report.value_scale import round_ticks

AXIS_WIDTH: Final = 110
"""Pixels per axis of the parallel coordinates. With many parameters the figure scrolls inside its frame."""
PANELS: Final = 4
"""Panels side by side in the slices."""
PANEL_WIDTH: Final = 170
"""Minimum width of a panel, pixels."""
BINS: Final = 8
"""Number of intervals in which a panel shows the quantiles of many trials."""


def parallel_figure(view: StudyView) -> PageFigure:
    """Return parallel coordinates: a line per completed trial, of many trials the best ten over their quantiles."""
    title, shown = "Parallel coordinates", parameters(view)
    if not shown or len(view.ranked) < 2:
        why = f"{'no parameter varies' if len(view.ranked) > 1 else 'fewer than two trials are completed'}"
        return PageFigure(name="parallel", title=title, caption=why, plot=None, wide=True)
    plot = go.Figure()
    values, value_ticks = _value_shares(view)
    complete = [trial for trial in view.ranked if all(each.key in trial.params for each in shown)]
    axes = [(view.scale.short, value_ticks)] + [
        (each.name, [(each.share(value), label) for value, label in each.ticks()]) for each in shown
    ]
    lines_of_axes = [
        {"type": "line", "x0": at, "x1": at, "y0": -0.02, "y1": 1.02, "line": {"color": GREY, "width": 1}}
        for at in range(len(axes))
    ]
    labels: list[dict[str, Any]] = [
        {"x": at, "y": 1.09, "text": f"<b>{name}</b>", "showarrow": False} for at, (name, _) in enumerate(axes)
    ]
    labels += [
        {"x": at, "y": place, "text": text, "showarrow": False, "xanchor": "right", "xshift": -4, "name": "tick"}
        for at, (_, ticks) in enumerate(axes)
        for place, text in ticks
    ]
    plot.update_layout(shapes=lines_of_axes, annotations=labels)
    if view.are_many:
        columns = [[values[trial.number] for trial in view.ranked]]
        columns += [[each.share(v) for trial in view.ranked if (v := each.value(trial)) is not None] for each in shown]
        _add_spans(plot, [quantiles(column) for column in columns])
    lines = complete[1:TOP] if view.are_many else complete[1:]
    for trials, name, line, opacity in (
        (lines, f"best {TOP}" if view.are_many else "completed", {"color": BLUE, "width": 1.5}, 0.5),
        (complete[:1], f"best: trial {view.ranked[0].number}", {"color": ORANGE, "width": 3}, 1),
    ):
        _add_lines(plot, view, trials, shown, values, name=name, line=line, opacity=opacity)
    arrange(plot)
    plot.update_layout(margin={"b": 12})
    plot.update_xaxes(visible=False, range=[-0.75, len(shown) + 0.4])
    plot.update_yaxes(visible=False, range=[-0.06, 1.16])
    band = f" The bands hold 80 % of the trials; the lines are the best {TOP}." if view.are_many else ""
    caption = f"One line per completed trial, the best in orange.{band}"
    if view.are_many:
        caption = f"{len(view.ranked):,} completed trials: the bands hold 80 % of them, the lines are the best {TOP}."
    width = AXIS_WIDTH * (1 + len(shown))
    return PageFigure(name="parallel", title=title, caption=caption, plot=plot, wide=True, least_width=width)


def _value_shares(view: StudyView) -> tuple[dict[int, float], list[tuple[float, str]]]:
    """Return each completed trial's value between the worst, 0, and the best, 1, and the ticks of that axis."""
    scale = view.scale
    places = {trial.number: scale.place(trial.values[0]) for trial in view.ranked}
    # The band of many trials begins at a quantile: worse values are at the end of the axis.
    typical = [
        trial.values[0]
        for trial in (view.ranked[: round(len(view.ranked) * HIGH / 100)] if view.are_many else view.ranked)
    ]
    finite = [value for value in typical if math.isfinite(value)]
    low, high = min(finite, default=0), max(finite, default=1)
    if scale.images is None:
        worst, best = (low, high) if view.study.maximize else (high, low)
        length = best - worst or 1
        shares = {number: min(1.0, max(0.0, (place - worst) / length)) for number, place in places.items()}
        return shares, [((tick - worst) / length, f"{tick:.6g}") for tick in round_ticks(low, high)]
    axis = AccuracyAxis.of(finite, images=scale.images)
    worst, best = math.log(axis.high), math.log(axis.low)
    shares = {number: max(0.0, (math.log(place) - worst) / (best - worst)) for number, place in places.items()}
    ticks = zip(axis.ticks, axis.labels, strict=True)
    return shares, [((math.log(error) - worst) / (best - worst), label) for error, label in ticks]


def _add_lines(
    plot: go.Figure,
    view: StudyView,
    trials: Sequence[FrozenTrial],
    shown: Sequence[Parameter],
    values: dict[int, float],
    **settings: Any,
) -> None:
    xs: list[int | None] = []
    ys: list[float | None] = []
    text: list[str] = []
    numbers: list[int] = []
    for trial in trials:
        coordinates = [each.value(trial) for each in shown]
        shares = [None if v is None else each.share(v) for each, v in zip(shown, coordinates, strict=True)]
        xs += [*range(len(shown) + 1), None]
        ys += [*(None if y is None else round(y, 4) for y in [values[trial.number], *shares]), None]
        label = view.label(trial)
        text += [label, *(f"{label}<br>{each.name} {_shown(trial.params.get(each.key))}" for each in shown), ""]
        numbers += [trial.number] * (len(shown) + 2)
    if trials:
        plot.add_scatter(
            x=xs,
            y=ys,
            text=text,
            customdata=numbers,
            mode="lines+markers",
            marker={"size": 5},
            hovertemplate="%{text}<extra></extra>",
            **settings,
        )


def _shown(value: Any) -> str:
    return html.escape(f"{value:.4g}" if isinstance(value, float) else str(value))


def _add_spans(plot: go.Figure, spans: Sequence[tuple[float, float, float]]) -> None:
    """Add a band across all axes, between the outer quantiles of each."""
    shared = {"x": list(range(len(spans))), "hoverinfo": "skip"}
    edge = {"mode": "lines", "line": {"width": 0}}
    plot.add_scatter(**shared, **edge, y=[low for low, _, _ in spans], showlegend=False)
    plot.add_scatter(**shared, **edge, y=[high for _, _, high in spans], fill="tonexty", fillcolor=BAND, name="80 %")


def slice_figure(view: StudyView) -> PageFigure:
    """Return the values over each parameter, a panel for each; of many trials the quantiles and the best ten."""
    title, shown = "Slices", parameters(view)
    if not shown or len(view.ranked) < 2:
        why = "no parameter varies" if len(view.ranked) > 1 else "fewer than two trials are completed"
        return PageFigure(name="slices", title=title, caption=why, plot=None, wide=True)
    plot = go.Figure()
    columns = min(PANELS, len(shown))
    rows = math.ceil(len(shown) / columns)
    y_settings = view.scale.axis(_typical(view, shown))
    for index, each in enumerate(shown):
        suffix = str(index + 1) if index else ""
        axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
        _add_panel(plot, view, each, axes, legend=index == 0)
        row, column = divmod(index, columns)
        gap, space = 0.05 if columns > 1 else 0, 0.34 / rows if rows > 1 else 0
        width, height = (1 - gap * (columns - 1)) / columns, (1 - space * (rows - 1)) / rows
        left, bottom = column * (width + gap), (rows - 1 - row) * (height + space)
        x_axis = {
            **each.axis(),
            "domain": [left, left + width],
            "anchor": axes["yaxis"],
            "title": {"text": each.name, "standoff": 6},
        }
        y_axis = {
            **y_settings,
            "domain": [bottom, bottom + height],
            "anchor": axes["xaxis"],
            "showticklabels": column == 0,
        }
        plot.update_layout({f"xaxis{suffix}": x_axis, f"yaxis{suffix}": y_axis})
    arrange(plot)
    best = f"the bars hold 80 % of the trials, the points are the best {TOP}" if view.are_many else "a point per trial"
    caption = f"{view.scale.title.capitalize()} over each parameter: {best}."
    return PageFigure(
        name="slices",
        title=title,
        caption=caption,
        plot=plot,
        wide=True,
        least_width=PANEL_WIDTH * columns,
        height=max(18, 14 * rows),
    )


def _add_panel(plot: go.Figure, view: StudyView, each: Parameter, axes: dict[str, str], *, legend: bool) -> None:
    """Add one parameter's points; of many trials the best ten, over the quantiles of each interval."""
    trials = [trial for trial in view.ranked if each.key in trial.params]
    if view.are_many:
        _add_quantiles(plot, view, each, trials, axes, legend=legend)
        trials = trials[:TOP]
    name = f"best {TOP}" if view.are_many else "completed"
    add_points(plot, view, trials, [each.value(t) for t in trials], **axes, name=name, showlegend=legend)
    if each.key in view.ranked[0].params:
        star = {"color": ORANGE, "size": 12, "symbol": "star", "line": {"color": "white", "width": 0.5}}
        add_best(plot, view, each.value(view.ranked[0]), **axes, showlegend=legend, marker=star)


def _add_quantiles(
    plot: go.Figure,
    view: StudyView,
    each: Parameter,
    trials: Sequence[FrozenTrial],
    axes: dict[str, str],
    *,
    legend: bool,
) -> None:
    xs, spans = _spans(view, each, trials)
    plot.add_scatter(
        x=xs,
        y=[middle for _, middle, _ in spans],
        error_y={
            "array": [high - middle for _, middle, high in spans],
            "arrayminus": [middle - low for low, middle, _ in spans],
            "color": "rgba(47,129,214,0.45)",
            "thickness": 6,
            "width": 0,
        },
        mode="markers",
        marker={"color": BLUE, "symbol": "line-ew-open", "size": 10},
        name="80 % and median",
        hoverinfo="skip",
        showlegend=legend,
        **axes,
    )


def _spans(
    view: StudyView, each: Parameter, trials: Sequence[FrozenTrial]
) -> tuple[list[float], list[tuple[float, float, float]]]:
    """Return a coordinate and the quantiles of the values, as places, for each interval of a parameter."""
    bins: dict[float, list[FrozenTrial]] = {}
    is_wide = each.kind == "number" or (each.kind == "whole" and each.high - each.low >= 2 * BINS)
    for trial in trials:
        value = each.value(trial)
        assert value is not None
        at = min(BINS - 1, math.floor(each.share(value) * BINS)) if is_wide else value
        bins.setdefault(at, []).append(trial)
    xs, spans = [], []
    for _, held in sorted(bins.items()):
        coordinates = sorted(value for trial in held if (value := each.value(trial)) is not None)
        xs.append(coordinates[len(coordinates) // 2])
        spans.append(quantiles([view.scale.place(trial.values[0]) for trial in held]))
    return xs, spans


def _typical(view: StudyView, shown: Sequence[Parameter]) -> list[float]:
    """Return the values that the slices show: of many trials the ends of their bars, and the best."""
    if not view.are_many or view.scale.images is None:
        return [trial.values[0] for trial in view.ranked]
    ends = [view.ranked[0].values[0], view.ranked[TOP - 1].values[0]]
    for each in shown:
        _, spans = _spans(view, each, [trial for trial in view.ranked if each.key in trial.params])
        ends += [1 - span[2] for span in spans]
    return ends
