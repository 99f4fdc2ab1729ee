"""What a figure on a page is, and what all of them share."""

from dataclasses import dataclass
from typing import Final

import plotly.graph_objects as go

# Light enough for a dark page, dark enough for a light one.
# As everywhere in this program, and in its PNG files: blue is training, orange is validation.
BLUE: Final = "#2f81d6"
ORANGE: Final = "#e0702a"
GREEN: Final = "#2da44e"
GREY: Final = "#8b949e"
EARLY_TO_LATE: Final = [[0.0, "#7fb2e5"], [1.0, "#c4501b"]]


@dataclass(frozen=True, kw_only=True)
class PageFigure:
    """A figure on a page."""

    name: str
    """Its id."""
    title: str
    caption: str
    """What it shows, or why there is none."""
    figure: go.Figure | None
    wide: bool = False
    """Whether it takes the page's whole width."""
    least_width: int = 0
    """Pixels; on a narrower screen it scrolls in its frame."""


def arrange(figure: go.Figure, *, x: str | None = None, y: str | None = None) -> None:
    """Leave colours to the page, and the room to what is drawn."""
    figure.update_layout(
        template=None, title=None, width=None, height=None, margin={"l": 48, "r": 24, "t": 36, "b": 60}
    )
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    if x is not None:
        figure.update_xaxes(title=x)
    if y is not None:
        figure.update_yaxes(title=y)
