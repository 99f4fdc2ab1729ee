"""The noise of a measured accuracy: its standard error, and the spread of several around their trend."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

CONFIDENCE_95: Final = 1.96
"""Half width, in standard errors, of the 95 % confidence interval of a mean."""


def standard_error(accuracy: float, images: int) -> float:
    """Return the standard error, a fraction, of an accuracy, also a fraction, that was measured on `images` images.

    Binomial, with two successes and two failures added so that 100 % of a few images does not count as certain
    (Agresti and Coull, *Approximate is better than exact*, 1998).
    """
    share = (accuracy * images + 2) / (images + 4)
    return math.sqrt(share * (1 - share) / (images + 4))


def difference_noise(first: float, second: float, images: int, *, chances: int = 1) -> float:
    """Return the largest difference, a fraction, of two accuracies that is within the noise of `images` images (95 %).

    Both are taken as measured independently. On the same images they are correlated, so this errs toward noise.
    `chances` is the number of differences of which this one is the largest: the best of many trials is above a given
    one by chance alone (Bonferroni's correction).
    """
    errors = CONFIDENCE_95 if chances <= 1 else NormalDist().inv_cdf(1 - 0.025 / chances)
    return errors * math.hypot(standard_error(first, images), standard_error(second, images))


def trend(values: Sequence[float]) -> tuple[float, float]:
    """Return slope per step and mean of the least-squares line through the values. Needs at least two values."""
    mean, centre = sum(values) / len(values), (len(values) - 1) / 2
    slope = sum((step - centre) * value for step, value in enumerate(values)) / sum(
        (step - centre) ** 2 for step in range(len(values))
    )
    return slope, mean


def spread_around_trend(values: Sequence[float]) -> float:
    """Return the root mean square distance of the values from their least-squares line. Needs at least three values.

    The line takes two of the degrees of freedom, so the sum of squares is divided by the number of values minus two.
    """
    slope, mean = trend(values)
    distances = [value - mean - slope * (step - (len(values) - 1) / 2) for step, value in enumerate(values)]
    return math.sqrt(sum(distance**2 for distance in distances) / (len(values) - 2))
