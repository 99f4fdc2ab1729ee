"""How much of a measured accuracy is noise: standard errors and trends, with the sources of their formulas."""

import math
from collections.abc import Sequence
from typing import Final

CONFIDENCE_95: Final = 1.96
"""Standard errors on either side of a mean that contain the true mean in 95 of 100 cases."""


def standard_error(accuracy: float, images: int) -> float:
    """Return the standard error of an accuracy, a fraction, measured on that many images.

    Binomial, with two successes and two failures added so that 100 % of a few images does not count as certain
    (Agresti and Coull, *Approximate is better than exact*, 1998).
    """
    share = (accuracy * images + 2) / (images + 4)
    return math.sqrt(share * (1 - share) / (images + 4))


def trend(values: Sequence[float]) -> tuple[float, float]:
    """Return slope per step and mean of the least-squares line through the values."""
    mean, centre = sum(values) / len(values), (len(values) - 1) / 2
    slope = sum((step - centre) * value for step, value in enumerate(values)) / sum(
        (step - centre) ** 2 for step in range(len(values))
    )
    return slope, mean


def spread_around_trend(values: Sequence[float]) -> float:
    """Return the root mean square distance of the values from their least-squares line, which takes two of the degrees
    of freedom. Needs at least three values.
    """
    slope, mean = trend(values)
    distances = [value - mean - slope * (step - (len(values) - 1) / 2) for step, value in enumerate(values)]
    return math.sqrt(sum(distance**2 for distance in distances) / (len(values) - 2))
