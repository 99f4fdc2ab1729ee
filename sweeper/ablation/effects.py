"""Decides what a variant is worth: the mean difference from the base with the same seeds, and whether that is noise."""

import math
from collections.abc import Mapping
from statistics import fmean, stdev
from typing import Literal

from sweeper.intervals import Interval, MeanDifference, t_quantile

Finding = Literal["helps", "hurts", "no evidence"]


def effect(base: Mapping[int, float], variant: Mapping[int, float], images: int) -> MeanDifference | None:
    """Return how much more accurate a variant is than the base, by seed; None if they share fewer than two seeds.

    The interval is Student's t over the seeds: it covers other seeds on these images, not other images. The standard
    deviation of the differences is at least that of rounding two accuracies to whole images: a few seeds with the same
    difference of an image or two are no certainty.
    """
    differences = [variant[seed] - base[seed] for seed in base if seed in variant]
    count = len(differences)
    if count < 2:
        return None
    mean, spread = fmean(differences), max(stdev(differences), math.sqrt(2 / 12) / images)
    half = t_quantile(count - 1) * spread / math.sqrt(count)
    return MeanDifference(difference=mean, interval=Interval(low=mean - half, high=mean + half))


def finding(effect: MeanDifference) -> Finding:
    """Return what an effect says: whether zero is outside its interval, and on which side."""
    if not effect.is_beyond_noise:
        return "no evidence"
    return "helps" if effect.difference > 0 else "hurts"
