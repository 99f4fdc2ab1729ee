"""A page's figure, and the colours and layout that all figures share."""

from dataclasses import dataclass
from typing import Final

import plotly.graph_objects as go

# Readable on a dark and on a light page. Blue is training and orange is validation, as in the PNG files.
BLUE: Final = "#2f81d6"
ORANGE: Final = "#e0702a"
GREEN: Final = "#2da44e"
GREY: Final = "#8b949e"
EARLY_TO_LATE: Final = [[0.0, "#7fb2e5"], [1.0, "#c4501b"]]

FEW_EPOCHS: Final = 16
"""With fewer epochs than this, the axis has a tick at every epoch."""


@dataclass(frozen=True, kw_only=True)
class LegendEntry:
    """One line of a plot: how it looks, and its name."""

    name: str
    colour: str
    dash: str = "none"
    """The lengths of an SVG line's dashes and gaps."""
    width: float = 2


@dataclass(frozen=True, kw_only=True)
class PageFigure:
    """A figure on a page."""

    name: str
    """The HTML id."""
    title: str
    caption: str
    """The text below the plot, or the reason why there is no plot."""
    plot: go.Figure | None
    wide: bool = False
    """Whether the figure has the page's full width."""
    least_width: int = 0
    """Minimum width in pixels; on a narrower screen the plot scrolls inside its frame."""
    legend: tuple["LegendEntry", ...] = ()
    """The legend below the plot, for a plot that has none of its own."""
    height: float = 0
    """Height of the plot in rem; 0 for the style sheet's."""


def arrange(plot: go.Figure, *, x: str | None = None, y: str | None = None) -> None:
    """Set the shared layout and the axis titles, in place. The page's script sets the theme's colours."""
    plot.update_layout(template=None, title=None, width=None, height=None, margin={"l": 48, "r": 24, "t": 36, "b": 60})
    plot.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})
    plot.update_xaxes(automargin=True)
    plot.update_yaxes(automargin=True)
    if x is not None:
        plot.update_xaxes(title=x)
    if y is not None:
        plot.update_yaxes(title={"text": y, "standoff": 8})
