"""Places accuracies on an axis: the error on a reversed log scale, labelled as accuracy, so no bad value flattens it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:  # PNG figures use the axis, and plotly takes a second to import
    import plotly.graph_objects as go

MARGIN: Final = 0.06
"""Empty space at both ends of the axis, as a fraction of its length."""
LEAST_RATIO: Final = 1.25
"""Smallest ratio between the axis's two ends, so that equal accuracies still get an axis."""
NOTE: Final = "The axis is logarithmic in the error."
"""A sentence for captions of figures with such an axis."""
TICKS: Final = (3, 13)
"""Smallest and largest number of ticks."""
MANTISSAS: Final = ((1.0, 2.0, 5.0), (1.0,), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
"""Errors that get a tick, up to a power of ten; the first series with a suitable number of ticks is used."""
NO_BREAK: Final = "\u00a0"
"""A space at which no line is broken."""
WIDE: Final = 5
"""Ratio of the largest to the smallest value from which on an axis of losses is logarithmic."""
NEAR: Final = 1.3
"""Factor within which a tick is too near to that of 100 %."""


@dataclass(frozen=True, kw_only=True)
class AccuracyAxis:
    """An axis of accuracies, as the errors that a log scale needs. Errors are fractions."""

    least: float
    """Half of one image: where an accuracy of 100 % is placed."""
    low: float
    """The smallest error on the axis, at its upper end."""
    high: float
    """The largest error on the axis, at its lower end."""
    ticks: tuple[float, ...]
    """The errors that get a tick."""

    @classmethod
    def of(cls, accuracies: Iterable[float], *, images: int) -> Self:
        """Return the axis of these accuracies, of which there is at least one, measured on at least `images` images."""
        least = 0.5 / max(images, 1)
        errors = [max(1 - accuracy, least) for accuracy in accuracies]
        low, high = min(errors), max(errors)
        stretch = max(1.0, math.sqrt(LEAST_RATIO * low / high))
        low, high = low / stretch, min(1.0, high * stretch)
        margin = (high / low) ** MARGIN
        low, high = low / margin, high * margin
        ticks = log_ticks(low, min(high, 1.0))
        if low <= least:
            ticks = (least, *(tick for tick in ticks if tick > NEAR * least))
        return cls(least=least, low=low, high=high, ticks=ticks)

    def place(self, accuracy: float) -> float:
        """Return an accuracy's position: its error, at least half an image."""
        return max(1 - accuracy, self.least)

    @property
    def labels(self) -> list[str]:
        """The accuracy at each tick."""
        shown = (1.0 if tick == self.least else 1 - tick for tick in self.ticks)
        return [f"{round(accuracy * 100, 8):g}{NO_BREAK}%" for accuracy in shown]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a plotly axis whose values come from `place`."""
        return {
            "type": "log",
            "range": [math.log10(self.high), math.log10(self.low)],
            "tickmode": "array",
            "tickvals": list(self.ticks),
            "ticktext": self.labels,
            "zeroline": False,
        }

    def add_line(self, plot: "go.Figure", accuracy: float, text: str, *, colour: str) -> None:
        """Add a dashed line with a label at an accuracy, such as the target, in place."""
        add_error_line(plot, self.place(accuracy), text, colour=colour)


def add_error_line(plot: "go.Figure", error: float, text: str, *, colour: str) -> None:
    """Add a dashed line with a label at an error on such an axis, in place."""
    line = {"color": colour, "dash": "dash", "width": 1.5}
    plot.add_shape(type="line", xref="paper", x0=0, x1=1, y0=error, y1=error, line=line)
    # Plotly takes a shape's position on a log axis as a value, but an annotation's as its logarithm.
    plot.add_annotation(
        text=text, xref="paper", x=0, y=math.log10(error), xanchor="left", yanchor="bottom", showarrow=False
    )


def is_wide(values: Sequence[float]) -> bool:
    """Whether positive values, such as losses, differ so much that their axis needs a log scale."""
    return min(values) > 0 and max(values) >= WIDE * min(values)


def log_ticks(low: float, high: float) -> tuple[float, ...]:
    """Return round numbers between two positive ones, for a log axis; for a short one in equal steps."""
    fewest, most = TICKS
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in MANTISSAS:
        ticks = [round(mantissa * 10.0**power, 12) for power in powers for mantissa in mantissas]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if fewest <= len(ticks) <= most:
            return tuple(ticks)
    unit = 10.0 ** math.floor(math.log10((high - low) / fewest))
    step = next(factor * unit for factor in (5, 2, 1) if (high - low) / (factor * unit) >= fewest or factor == 1)
    return tuple(round(count * step, 12) for count in range(math.ceil(low / step), math.floor(high / step) + 1))
