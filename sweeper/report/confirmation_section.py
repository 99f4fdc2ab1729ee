"""The section of a study's page about its confirmation: the headline, a figure of intervals, the table, what to do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sweeper.confirm.headline import COLUMNS, HELP, Headline, headline, row, title
from sweeper.confirm.record import Confirmation
from sweeper.report.value_scale import round_ticks
from sweeper.terminal.console import display_path
from sweeper.terminal.formats import percent

LEFT, RIGHT = 4.0, 96.0
"""The figure's edges, percent of its width."""
ROW: Final = 44
"""Height of a config's row in the figure, pixels: its name above its interval."""
MARGIN: Final = 0.08
"""Empty space at both ends of the axis, as a fraction of its length."""


@dataclass(frozen=True, kw_only=True)
class IntervalRow:
    """One config in the figure; horizontal positions are percent of its width, vertical ones pixels."""

    label: str
    y: int
    low: float
    high: float
    mean: float
    dots: list[float]
    """The test accuracy of each seed."""


@dataclass(frozen=True, kw_only=True)
class IntervalFigure:
    """Each config's test accuracies, their mean and its interval, and the target; plotted without plotly."""

    height: int
    rows: list[IntervalRow]
    ticks: list[tuple[float, str]]
    target: tuple[float, str] | None
    """Position and label of the target; None if it is outside of the axis."""


@dataclass(frozen=True, kw_only=True)
class ConfirmationSection:
    """The content of the section."""

    headline: Headline
    figure: IntervalFigure
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    help: str
    """What the columns mean."""


def confirmation_section(folder: Path | None) -> ConfirmationSection | None:
    """Return the section of the study in a folder; None if it was not confirmed.

    Raises `RunFolderError` if its `confirm.json` is damaged.
    """
    record = None if folder is None else Confirmation.read(folder)
    if record is None or folder is None:
        return None
    name = record.study if record.study is not None else str(display_path(folder))
    return ConfirmationSection(
        headline=headline(record, subject=[name]),
        figure=_figure(record),
        columns=COLUMNS,
        rows=[row(each) for each in record.configurations],
        help=HELP,
    )


def _figure(record: Confirmation) -> IntervalFigure:
    shown = record.configurations
    values = [value for each in shown for value in (*each["ci95"], *each["test_accuracies"])]
    target = record.best["target"]
    low, high = min(values), max(values)
    if low - (high - low) <= target <= high + (high - low):  # a target far away would flatten everything else
        low, high = min(low, target), max(high, target)
    length = max(high - low, 1e-4)
    low, high = low - MARGIN * length, high + MARGIN * length

    def place(value: float) -> float:
        return float(round(LEFT + (RIGHT - LEFT) * (value - low) / (high - low), 2))

    rows = [
        IntervalRow(
            label=f"{title(each)}, {each['parameters']:,} parameters: {percent(each['mean'])}",
            y=ROW * index,
            low=place(each["ci95"][0]),
            high=place(each["ci95"][1]),
            mean=place(each["mean"]),
            dots=[place(value) for value in each["test_accuracies"]],
        )
        for index, each in enumerate(shown, 1)
    ]
    return IntervalFigure(
        height=ROW * len(rows) + 56,
        rows=rows,
        ticks=[(place(tick), f"{round(tick * 100, 6):g} %") for tick in round_ticks(low, high)],
        target=(place(target), f"target {round(target * 100, 6):g} %") if low <= target <= high else None,
    )
