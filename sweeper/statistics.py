"""Decides what noise is: how far measured accuracies differ by chance, of one run, two runs or the epochs of a run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """How far two accuracies differ by chance alone in 95 % of cases: a larger difference is beyond noise."""

    size: float
    """The largest difference within the noise, a fraction."""
    is_paired: bool
    """Whether the images were compared one by one. Otherwise the two accuracies are taken as independent."""

    @property
    def how(self) -> str:
        """How the images were compared, in one word."""
        return "paired" if self.is_paired else "unpaired"

    def covers(self, difference: float) -> bool:
        """Whether a difference of either sign is within the noise."""
        # A difference of fractions of n images is rounded; half an image is 5e-6 at most for 100,000 images.
        return abs(difference) <= self.size + 1e-9


def difference_noise(
    first: float, second: float, images: int, *, discordant: int | None = None, chances: int = 1
) -> Noise:
    """Return the noise of the difference of two accuracies, fractions, that were measured on the same `images` images.

    `discordant` is the number of images that exactly one of the two classifies correctly. If both are equally good,
    each of them is a fair coin, so a difference beyond the noise is one that McNemar's exact test rejects at 5 %
    (McNemar, *Psychometrika* 12, 1947; Dietterich, *Approximate statistical tests for comparing supervised
    classification learning algorithms*, 1998). Without `discordant` the two are taken as independent, with standard
    errors that add up in squares: runs that fail on the same images differ less, so this errs toward noise.

    `chances` is the number of differences of which this one is the largest: the best of many trials is above a given
    one by chance alone (Bonferroni's correction). The best of many is held against the second best without it: that
    gap is the smallest of the best one's (Gutmann and Maymin, *Is the selected population the best?*, 1987).
    """
    level = 0.05 / max(chances, 1)
    if discordant is not None:
        return Noise(size=_largest_imbalance(discordant, level) / images, is_paired=True)
    errors = CONFIDENCE_95 if chances <= 1 else NormalDist().inv_cdf(1 - level / 2)
    size = errors * math.hypot(standard_error(first, images), standard_error(second, images))
    return Noise(size=size, is_paired=False)


def mcnemar(first_only: int, second_only: int) -> float:
    """Return the two-sided p-value of McNemar's exact test; each image that one alone has right is a fair coin.

    `first_only` and `second_only` are the numbers of images that only the first, and only the second, has right.
    """
    coins, most = first_only + second_only, max(first_only, second_only)
    return min(1.0, 2 * math.fsum(_coin(coins, heads) for heads in range(most, coins + 1)))


def _largest_imbalance(coins: int, level: float) -> int:
    """Return the largest difference of heads and tails that a two-sided exact test of fair coins does not reject."""
    tail, heads = 0.0, coins + 1
    while 2 * heads > coins:
        tail += _coin(coins, heads - 1)
        if 2 * tail > level:
            break
        heads -= 1
    return 2 * (heads - 1) - coins


def _coin(coins: int, heads: int) -> float:
    """Return the probability of so many heads of fair coins."""
    ways = math.lgamma(coins + 1) - math.lgamma(heads + 1) - math.lgamma(coins - heads + 1)
    return math.exp(ways - coins * math.log(2))


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
