"""The figure of parameter importances: medians with their spread, and in words which parameters stand out, if any."""

from collections.abc import Sequence

import plotly.graph_objects as go

from sweeper.report.importance import MIN_TRIALS, REPEATS, Importance, importances
from sweeper.report.page_figure import BLUE, GREY, PageFigure, arrange
from sweeper.report.study_view import StudyView


def importance_figure(view: StudyView) -> PageFigure:
    """Return the importance of each parameter with its spread; without a plot below `MIN_TRIALS` completed trials."""
    title, count = "Parameter importances", len(view.ranked)
    found = importances(view.study)
    if not found:
        few = f"{count} completed trial{'' if count == 1 else 's'} cannot tell so many values apart: {MIN_TRIALS} can"
        why = few if count < MIN_TRIALS else "no parameter, or no value, varies"
        return PageFigure(name="importances", title=title, caption=why, plot=None)
    shown = found[::-1]  # plotly's first bar is at the bottom
    plot = go.Figure(
        go.Bar(
            x=[100 * importance.median for importance in shown],
            y=[view.name(importance.key) for importance in shown],
            orientation="h",
            marker={"color": BLUE},
            error_x={
                "array": [100 * (importance.high - importance.median) for importance in shown],
                "arrayminus": [100 * (importance.median - importance.low) for importance in shown],
                "color": GREY,
                "thickness": 2,
                "width": 5,
            },
            text=[f"{100 * importance.low:.0f} to {100 * importance.high:.0f} %" for importance in shown],
            textposition="none",
            hovertemplate="%{y}: %{x:.0f} %, from %{text}<extra></extra>",
        )
    )
    arrange(plot, x="share of the importance")
    plot.update_xaxes(ticksuffix=" %", rangemode="tozero")
    plot.update_yaxes(type="category")
    most = _most_important(found)
    named = [view.names.get(importance.key, importance.key) for importance in most]
    result = (
        f"{' and '.join(named)} matter{'s' if len(named) == 1 else ''} most."
        if named
        else "The lines overlap: these trials do not show which parameter matters most."
    )
    caption = (
        f"How far each parameter separates the best quarter of {count} completed trials from all of them (PED-ANOVA). "
        f"Bars are medians of {REPEATS} resamples of the trials, lines hold 80 % of them. {result}"
    )
    return PageFigure(name="importances", title=title, caption=caption, plot=plot, height=max(16, 2 * len(found) + 6))


def _most_important(found: Sequence[Importance]) -> Sequence[Importance]:
    """Return the one to three parameters whose spread lies above that of all others; empty if there are none."""
    for count in range(1, min(3, len(found) - 1) + 1):
        if min(each.low for each in found[:count]) > max(each.high for each in found[count:]):
            return found[:count]
    return found if len(found) == 1 else []
