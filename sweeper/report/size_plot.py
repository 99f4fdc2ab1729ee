"""The sizes of rejected networks against the budget, plotted without plotly: for a study in which nothing was feasible."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sweeper.network.budget import COSTS
from sweeper.report.study_snapshot import StudySnapshot
from sweeper.report.value_scale import round_ticks

LEFT, RIGHT, TOP, BOTTOM = 8.0, 92.0, 16.0, 78.0
"""The plot's edges, percent of its frame."""
WIDE: Final = 5
"""With more than this ratio between the largest and the smallest size, the axis is logarithmic."""


@dataclass(frozen=True, kw_only=True)
class SizePlot:
    """A plot of sizes; all positions are percent of its frame."""

    unit: str
    """What is counted."""
    points: list[tuple[float, float, str]]
    """Position and description of each rejected proposal; lower is later."""
    ticks: list[tuple[float, str]]
    limit: tuple[float, str]
    """The budget's position and label."""
    smallest: tuple[float, float, str]
    """Position and label of the smallest proposal."""
    caption: str


def size_plot(study: StudySnapshot, config: Mapping[str, Any]) -> SizePlot | None:
    """Return the plot of the first cost whose limit was exceeded; None if there is none."""
    for cost, unit in COSTS:
        limit = config.get(f"budget.{cost}")
        sized = [
            (trial.number, count)
            for trial in study.trials
            if isinstance(count := trial.user_attrs.get(cost), int) and not isinstance(count, bool)
        ]
        if isinstance(limit, int) and limit > 0 and any(count > limit for _, count in sized):
            return _plot(unit, limit, sized)
    return None


def _plot(unit: str, limit: int, sized: list[tuple[int, int]]) -> SizePlot:
    counts = [max(1, count) for _, count in sized]
    low, high = min(*counts, limit), max(*counts, limit)
    is_log = high > WIDE * low

    def place(count: float) -> float:
        share = math.log(count / low) / math.log(high / low) if is_log else (count - low) / (high - low)
        return round(LEFT + (RIGHT - LEFT) * share, 2)

    powers = [mantissa * 10**power for power in range(13) for mantissa in (1, 2, 5)]
    ticks = [tick for tick in powers if low <= tick <= high] if is_log else round_ticks(low, high, whole=True, count=3)
    step = (BOTTOM - TOP) / max(1, len(sized) - 1)
    points = [
        (place(max(1, count)), round(TOP + step * index, 2), f"trial {number}: {count:,} {unit}")
        for index, (number, count) in enumerate(sized)
    ]
    least = min(range(len(sized)), key=lambda index: sized[index][1])
    over = sum(count > limit for _, count in sized)
    return SizePlot(
        unit=unit,
        points=points,
        ticks=[(place(tick), f"{round(tick):,}") for tick in ticks],
        limit=(place(limit), f"budget {limit:,}"),
        smallest=(*points[least][:2], f"smallest {sized[least][1]:,}"),
        caption=f"{over:,} of {len(sized):,} proposals have more {unit} than the budget allows; the first is at the top.",
    )
