"""How a study's values are shown: accuracies as percentages on an axis of their error, all other values as they are."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sweeper.config.loading import dotted
from sweeper.data.catalogue import DATASETS
from sweeper.report.accuracy_axis import NO_BREAK, AccuracyAxis
from sweeper.report.study_snapshot import StudySnapshot
from sweeper.study.attributes import PARAMETERS
from sweeper.terminal.formats import percent

UNKNOWN_IMAGES: Final = 10_000
"""Number of images on which an accuracy was measured if the study does not say."""


@dataclass(frozen=True, kw_only=True)
class ValueScale:
    """The scale of one study's values."""

    title: str
    """The values' name: ``validation accuracy``, ``test accuracy`` or ``value``."""
    short: str
    """Its short form, for a column: ``accuracy`` or ``value``."""
    images: int | None
    """Number of images that an accuracy was measured on; None if the values are not accuracies."""

    def place(self, value: float) -> float:
        """Return a value's coordinate on its axis.

        An accuracy is at its error, which is at least half an image: a logarithmic axis has no zero.
        """
        if self.images is None:
            return value
        return float(f"{max(1 - value, 0.5 / self.images):.6g}")

    def text(self, value: float) -> str:
        """Return a value as text."""
        return f"{value:.6g}" if self.images is None else percent(value).replace(" ", NO_BREAK)

    def axis(self, values: Iterable[float]) -> dict[str, Any]:
        """Return the settings of a plotly axis that shows these values."""
        finite = [value for value in values if math.isfinite(value)]
        if self.images is None or not finite:
            return {}
        return AccuracyAxis.of(finite, images=self.images).settings


def scale_of(study: StudySnapshot, config: Mapping[str, Any]) -> ValueScale:
    """Return the scale of a study's values; `config` is its base config, flat, or empty if it is unknown.

    The values are accuracies if the study maximizes them, they are fractions, and its trials are networks of sweeper.
    """
    is_ours = "target" in config or any(PARAMETERS in trial.user_attrs for trial in study.trials)
    values = [trial.values[0] for trial in study.completed]
    reported = [value for trial in study.trials for value in trial.intermediate_values.values()]
    if not (is_ours and study.maximize and all(0 <= value <= 1 for value in [*values, *reported])):
        return ValueScale(title="value", short="value", images=None)
    if config.get("data.validation") == "test":
        data = DATASETS.get(str(config.get("data.name")))
        images = UNKNOWN_IMAGES if data is None else data.test_images
        return ValueScale(title="test accuracy", short="accuracy", images=images)
    size = config.get("data.validation_size")
    images = size if isinstance(size, int) and size > 0 else UNKNOWN_IMAGES
    return ValueScale(title="validation accuracy", short="accuracy", images=images)


def flat_config(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return the base config of a search.yaml with dotted keys; empty for another Hydra application."""
    base = saved.get("base")
    return dict(dotted(base)) if isinstance(base, dict) else {}


def round_ticks(low: float, high: float, *, whole: bool = False, count: int = 5) -> list[float]:
    """Return about `count` round numbers between two numbers, whole ones if `whole`.

    >>> round_ticks(3, 17, whole=True)
    [5, 10, 15]
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    step = max(1, round(step)) if whole else step
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ticks = [float(f"{number * step:.9g}") for number in numbers]
    return [round(tick) for tick in ticks] if whole else ticks
