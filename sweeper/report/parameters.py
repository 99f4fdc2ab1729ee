"""A study's parameters as axes: which vary, whether they are whole, logarithmic or choices, and where ticks are."""

import html
import math
from dataclasses import dataclass
from typing import Any, Final

from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from sweeper.report.study_view import StudyView, whole_ticks
from sweeper.report.value_scale import round_ticks

FEW: Final = 4
"""More ticks than this do not fit below a panel."""
LABEL: Final = 14
"""Maximum length of a choice on an axis."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a study, as an axis shows it."""

    key: str
    name: str
    """Its short name, escaped."""
    kind: str
    """``whole``, ``number`` or ``choice``."""
    log: bool
    choices: tuple[str, ...]
    """The values of a choice, as text; empty for numbers."""
    low: float
    high: float
    """The smallest and the largest value of the trials; a choice counts from 0."""

    def value(self, trial: FrozenTrial) -> float | None:
        """Return a trial's coordinate; None if it lacks the parameter."""
        if self.key not in trial.params:
            return None
        value = trial.params[self.key]
        return self.choices.index(str(value)) if self.kind == "choice" else value

    def share(self, value: float) -> float:
        """Return a coordinate's place between the ends, from 0 to 1."""
        if self.low == self.high:
            return 0.5
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[float, str]]:
        """Return the coordinates that get a tick, and their labels."""
        if self.kind == "choice":
            return [(index, self.label(choice)) for index, choice in enumerate(self.choices)]
        if self.low == self.high:
            return [(self.low, f"{self.low:.4g}")]
        if self.log and self.high / self.low >= 4:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            mantissas = (1,) if self.high / self.low >= 1000 else (1, 2, 5)
            numbers = [mantissa * 10.0**power for power in powers for mantissa in mantissas]
            if self.kind == "whole":
                numbers = [float(round(number)) for number in numbers if number >= 1]
            ticks = [(number, f"{number:.4g}") for number in numbers if self.low <= number <= self.high]
            if len(ticks) > 1:  # one says nothing of the scale
                return ticks
        numbers = round_ticks(self.low, self.high, whole=self.kind == "whole")
        return [(number, f"{number:.6g}") for number in numbers]

    def label(self, choice: str) -> str:
        """Return a choice as a label, cut to `LABEL` and escaped."""
        return html.escape(choice if len(choice) <= LABEL else f"{choice[: LABEL - 1]}…")

    def axis(self) -> dict[str, Any]:
        """Return the settings of a plotly axis of this parameter."""
        if self.kind == "choice":
            ticks = self.ticks()
            return {
                "tickvals": [value for value, _ in ticks],
                "ticktext": [label for _, label in ticks],
                "range": [-0.5, len(self.choices) - 0.5],
                "zeroline": False,
            }
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            ticks = self.ticks()
            if len(ticks) > FEW:
                ones = [(value, label) for value, label in ticks if label.strip("0.").startswith("1")]
                ticks = ones if len(ones) > 1 else ticks[:: len(ticks) - 1]
            space = 0.07 * (high - low) or 0.1
            return {
                "type": "log",
                "range": [low - space, high + space],
                "tickvals": [value for value, _ in ticks],
                "ticktext": [label for _, label in ticks],
            }
        space = 0.07 * (self.high - self.low) or 0.5
        axis = {"range": [self.low - space, self.high + space], "zeroline": False, "nticks": 5}
        return {**axis, **(whole_ticks(self.low, 2 * self.high - self.low) if self.kind == "whole" else {})}


def parameters(view: StudyView) -> list[Parameter]:
    """Return the parameters with several values among the completed trials."""
    found = []
    for key in dict.fromkeys(key for trial in view.ranked for key in trial.params):
        values = [trial.params[key] for trial in view.ranked if key in trial.params]
        kinds = [trial.distributions[key] for trial in view.ranked if key in trial.distributions]
        if len({str(value) for value in values}) < 2:
            continue
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        numeric = numeric and all(math.isfinite(value) for value in values)
        scaled = [kind for kind in kinds if isinstance(kind, IntDistribution | FloatDistribution)]
        choices = () if numeric else tuple(dict.fromkeys(str(value) for value in sorted(values, key=str)))
        found.append(
            Parameter(
                key=key,
                name=view.name(key),
                kind="choice" if not numeric else "whole" if all(isinstance(v, int) for v in values) else "number",
                log=numeric and bool(scaled) and all(kind.log for kind in scaled) and min(values) > 0,
                choices=choices,
                low=min(values) if numeric else 0,
                high=max(values) if numeric else len(choices) - 1,
            )
        )
    return found
