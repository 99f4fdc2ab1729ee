"""What all figures of a study share: its trials, the scale of their values, their colours and their labels."""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go
from optuna.trial import FrozenTrial, TrialState

from sweeper.report.accuracy_axis import add_error_line
from sweeper.report.page_figure import BLUE, GREY, ORANGE
from sweeper.report.study_snapshot import StudySnapshot
from sweeper.report.value_scale import ValueScale
from sweeper.study.attributes import PARAMETERS, REJECTED

# Blue is a completed trial, orange the best one, purple a pruned one; grey and dashed is what was asked for.
PURPLE: Final = "#8a63d2"
BAND: Final = "rgba(47,129,214,0.2)"
"""Blue, for the range of most completed trials."""
MANY: Final = 100
"""With more trials than this, their lines hide each other: figures show quantiles and the best `TOP` trials."""
TOP: Final = 10
LOW, HIGH = 10, 90
"""Percentiles that bound a band: it holds 80 % of the trials."""


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """One study as its figures show it."""

    study: StudySnapshot
    scale: ValueScale
    target: float | None
    """The accuracy to reach; None if the values are not accuracies."""
    budget: int | None
    """Maximum number of parameters."""
    limit: int | None
    """Maximum of the cost, in a study with two objectives."""
    epochs: int | None
    """What a trial trains unless that is searched; None if it is unknown."""
    names: dict[str, str]
    """Each parameter's short name."""
    is_ours: bool
    """Whether the trials are runs of sweeper, not of another Hydra application."""

    @property
    def step(self) -> str:
        """What a trial reports after: an epoch, or a step of another Hydra application."""
        return "epoch" if self.is_ours else "step"

    @cached_property
    def ranked(self) -> list[FrozenTrial]:
        """The completed trials, the best first."""
        return sorted(self.study.completed, key=self.study.goal.order)

    @cached_property
    def pruned(self) -> list[FrozenTrial]:
        """The trials that were pruned after at least one step."""
        return [
            trial
            for trial in self.study.trials
            if trial.state is TrialState.PRUNED and REJECTED not in trial.user_attrs and trial.intermediate_values
        ]

    @property
    def are_many(self) -> bool:
        """Whether the completed trials are too many to show each as a line."""
        return len(self.ranked) > MANY

    def label(self, trial: FrozenTrial, value: float | None = None) -> str:
        """Return the text beside the pointer: number, value and size."""
        shown = trial.values[0] if value is None else value
        size = parameters_of(trial)
        counted = "" if size is None else f", {size:,} parameters"
        return f"trial {trial.number}: {self.scale.text(shown)}{counted}"

    def name(self, key: str) -> str:
        """Return a parameter's short name, escaped: plotly takes labels for markup."""
        return html.escape(self.names.get(key, key))

    def value_axis(self, values: Iterable[float]) -> dict[str, Any]:
        """Return the settings of the axis of these values and, if they are accuracies, of the target."""
        target = [] if self.target is None else [self.target]
        return self.scale.axis([*values, *target])


def parameters_of(trial: FrozenTrial) -> int | None:
    """Return a trial's number of parameters; in another program's study that key may have any value."""
    count = trial.user_attrs.get(PARAMETERS)
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def add_points(
    plot: go.Figure, view: StudyView, trials: Sequence[FrozenTrial], xs: Sequence[Any], **settings: Any
) -> None:
    """Add a point per completed trial, in blue; a click on it leads to the trial's row."""
    plot.add_scatter(
        **{
            "x": list(xs),
            "y": [view.scale.place(trial.values[0]) for trial in trials],
            "customdata": [trial.number for trial in trials],
            "text": [view.label(trial) for trial in trials],
            "hovertemplate": "%{text}<extra></extra>",
            "mode": "markers",
            "name": "completed",
            "marker": {"color": BLUE, "size": 7, "opacity": 0.75},
            **settings,
        }
    )


def add_best(plot: go.Figure, view: StudyView, x: Any, **settings: Any) -> None:
    """Add the best trial as an orange star."""
    best = view.ranked[0]
    star = {"color": ORANGE, "size": 15, "symbol": "star", "line": {"color": "white", "width": 0.5}}
    add_points(plot, view, [best], [x], **{"marker": star, "name": f"best: trial {best.number}", **settings})


def add_target(plot: go.Figure, view: StudyView) -> None:
    """Add a dashed line at the target, if there is one."""
    if view.target is not None:
        text = f"target {view.scale.text(view.target)}"
        add_error_line(plot, view.scale.place(view.target), text, colour=GREY)


def quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the 10th percentile, the median and the 90th percentile of the finite values; NaN without any."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return math.nan, math.nan, math.nan
    low, middle, high = np.percentile(finite, [LOW, 50, HIGH])
    return float(f"{low:.6g}"), float(f"{middle:.6g}"), float(f"{high:.6g}")


def whole_ticks(low: float, high: float) -> dict[str, Any]:
    """Return the settings of an axis of whole numbers: it has no tick between them."""
    return {"dtick": 1} if high - low < 12 else {"tickformat": ",d"}
