"""Decides what a variant is worth: the mean difference from the base with the same seeds, and whether that is noise."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from sweeper.intervals import Interval, t_quantile

Finding = Literal["helps", "hurts", "no evidence"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """The effect of a variant on validation accuracy, fractions."""

    difference: float
    """Mean over the seeds of the variant's accuracy minus the base's."""
    interval: Interval
    """Of the mean difference: Student's t over the seeds. It covers other seeds on these images, not other images."""

    @property
    def finding(self) -> Finding:
        """Whether zero is outside the interval, and on which side."""
        if self.interval.low > 0:
            return "helps"
        return "hurts" if self.interval.high < 0 else "no evidence"


def effect(base: Mapping[int, float], variant: Mapping[int, float], images: int) -> Effect | None:
    """Compare accuracies by seed, of those seeds that both have; None for fewer than two.

    The standard deviation of the differences is at least that of rounding two accuracies to whole images: a few seeds
    with the same difference of an image or two are no certainty.
    """
    differences = [variant[seed] - base[seed] for seed in base if seed in variant]
    count = len(differences)
    if count < 2:
        return None
    mean, spread = fmean(differences), max(stdev(differences), math.sqrt(2 / 12) / images)
    half = t_quantile(count - 1) * spread / math.sqrt(count)
    return Effect(difference=mean, interval=Interval(low=mean - half, high=mean + half))
