"""Decides what a mean over seeds is worth: intervals of accuracies on a test set, and of differences between them.

Two things vary. Another seed gives another network: replicates show how much, in their standard deviation. Other test
images would give another accuracy: replicates share their images, so they do not show it, and it comes from the number of
images alone. Each function says which of the two its interval covers. The standard deviation over seeds counts as at least
that of rounding to whole images: a few seeds that happen to agree do not prove a spread of zero.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, variance
from typing import Final

from sweeper.statistics import standard_error

LEVEL: Final = 0.95
_NORMAL: Final = NormalDist().inv_cdf((1 + LEVEL) / 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A 95 % confidence interval, of fractions."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MeanDifference:
    """A difference of two means, a fraction, with its 95 % confidence interval."""

    difference: float
    interval: Interval

    @property
    def is_beyond_noise(self) -> bool:
        """Whether zero is outside the interval."""
        return not self.interval.low <= 0 <= self.interval.high


def mean_interval(accuracies: Sequence[float], images: int) -> Interval:
    """Return the interval of the mean accuracy on these test images, over all seeds: Student's t over the replicates.

    It covers other seeds, not other images; `new_images_interval` covers both. A single accuracy says nothing of other
    seeds: its interval is Wilson's, which covers other images alone.
    """
    if len(accuracies) == 1:
        return wilson_interval(round(accuracies[0] * images), images)
    half = t_quantile(len(accuracies) - 1) * math.sqrt(_of_mean(accuracies, images))
    return _clipped(fmean(accuracies), half)


def wilson_interval(correct: int, images: int) -> Interval:
    """Return Wilson's score interval of the share of `correct` (*J. Am. Stat. Assoc.* 22, 1927): covers other images.

    >>> interval = wilson_interval(9_950, 10_000)
    >>> round(interval.low, 4), round(interval.high, 4)
    (0.9934, 0.9962)
    """
    share, z2 = correct / images, _NORMAL**2
    centre = (share + z2 / (2 * images)) / (1 + z2 / images)
    half = _NORMAL / (1 + z2 / images) * math.sqrt(share * (1 - share) / images + z2 / (4 * images**2))
    return Interval(low=max(0.0, centre - half), high=min(1.0, centre + half))


def new_images_interval(accuracies: Sequence[float], images: int) -> Interval:
    """Return the interval of the accuracy on all images of this kind: covers other seeds and other images.

    The variance of the mean is that over seeds, s²/n, plus the binomial one of the images that all replicates share,
    p(1 - p)/images, an upper bound: part of it is in s already. Degrees of freedom are Welch's and Satterthwaite's.
    """
    mean = fmean(accuracies)
    if len(accuracies) == 1:
        return wilson_interval(round(mean * images), images)
    half = _half_width(
        [(_of_mean(accuracies, images), len(accuracies) - 1), (standard_error(mean, images) ** 2, math.inf)]
    )
    return _clipped(mean, half)


def probability_of_target(accuracies: Sequence[float], target: float, images: int) -> float | None:
    """Return the probability that one more seed reaches the target on these test images; None for a single accuracy.

    Student's t predicts one further value of a normal sample: (x - mean) / (s √(1 + 1/n)) has n - 1 degrees of freedom
    (Hahn and Meeker, *Statistical Intervals*, 1991, section 4.7). Other images are not covered: a target is met on these.
    """
    count = len(accuracies)
    if count == 1:
        return None
    # The least accuracy of so many images that meets the target, half an image less: accuracies move by whole images.
    least = (math.ceil(target * images - 1e-6) - 0.5) / images
    distance = (least - fmean(accuracies)) / math.sqrt(_of_seeds(accuracies, images) * (1 + 1 / count))
    return _t_above(distance, count - 1)


def selection_bias(
    val_accuracy: float, val_images: int, accuracies: Sequence[float], test_images: int
) -> MeanDifference | None:
    """Return by how much a selected run's validation accuracy exceeds the mean of its replicates on the test set.

    None for a single accuracy. The interval covers both sets of images, and the seeds: the run's own, and those of the
    replicates. The difference is all that validation promised too much or too little: being the best of many on one set
    of images, less what training on the validation images too has gained, and a test set that is harder or easier.
    """
    if len(accuracies) == 1:
        return None
    mean, freedom = fmean(accuracies), len(accuracies) - 1
    seeds = _of_seeds(accuracies, test_images) * (1 + 1 / len(accuracies))
    images = standard_error(val_accuracy, val_images) ** 2 + standard_error(mean, test_images) ** 2
    difference = val_accuracy - mean
    half = _half_width([(seeds, freedom), (images, math.inf)])
    return MeanDifference(difference=difference, interval=Interval(low=difference - half, high=difference + half))


def compare_means(
    first: Sequence[Sequence[int]], second: Sequence[Sequence[int]], images: int
) -> MeanDifference | None:
    """Return the difference of two configs' mean accuracies on the same test images; None for a single replicate of one.

    Each argument has, for each replicate, the positions of the images it gets wrong. The interval covers other seeds and
    other images: the variances over seeds, s²/n of each config, and that of the difference of the two mean accuracies
    from image to image, which are paired. Paired, what is hard for both cancels. It errs toward noise, because the
    variance from image to image contains some of that over seeds. Degrees of freedom are Welch's and Satterthwaite's.
    """
    if min(len(first), len(second)) == 1:
        return None
    groups = [[1 - len(wrong) / images for wrong in group] for group in (first, second)]
    difference = fmean(groups[0]) - fmean(groups[1])
    shares: dict[int, float] = {}
    for group, sign in ((first, -1.0), (second, 1.0)):
        errors = Counter(image for wrong in group for image in wrong)
        for image, count in errors.items():
            shares[image] = shares.get(image, 0.0) + sign * count / len(group)
    by_image = (math.fsum(share**2 for share in shares.values()) - images * difference**2) / (images - 1)
    terms = [(_of_mean(group, images), float(len(group) - 1)) for group in groups]
    half = _half_width([*terms, (by_image / images, math.inf)])
    return MeanDifference(difference=difference, interval=Interval(low=difference - half, high=difference + half))


def t_quantile(freedom: float, *, level: float = LEVEL) -> float:
    """Return the half width, in standard errors, of Student's t interval with these degrees of freedom.

    >>> round(t_quantile(4), 3), round(t_quantile(9), 3), round(t_quantile(1), 3)
    (2.776, 2.262, 12.706)
    """
    if math.isinf(freedom):
        return NormalDist().inv_cdf((1 + level) / 2)
    from scipy.special import stdtrit  # type: ignore[import-untyped]  # noqa: PLC0415 - few commands need it

    return float(stdtrit(freedom, (1 + level) / 2))


def _t_above(value: float, freedom: int) -> float:
    """Return the probability that Student's t exceeds a value."""
    from scipy.special import stdtr  # noqa: PLC0415 - as above

    return float(stdtr(freedom, -value))


def _of_seeds(accuracies: Sequence[float], images: int) -> float:
    """Return the variance over seeds, at least that of rounding to whole images."""
    return max(variance(accuracies), 1 / (12 * images**2))


def _of_mean(accuracies: Sequence[float], images: int) -> float:
    return _of_seeds(accuracies, images) / len(accuracies)


def _half_width(variances: Sequence[tuple[float, float]]) -> float:
    """Return the half width of the interval of a sum, from the variance and the degrees of freedom of each term.

    It is at least that of the terms with few degrees of freedom alone: the approximation of two seeds' terms and one of
    many degrees would be narrower, as if knowing more of the images said something of the seeds.
    """
    of_seeds = [(size, freedom) for size, freedom in variances if math.isfinite(freedom)]
    return max(_welch(of_seeds), _welch(variances))


def _welch(variances: Sequence[tuple[float, float]]) -> float:
    total = math.fsum(size for size, _ in variances)
    by_freedom = math.fsum(size**2 / freedom for size, freedom in variances)
    return t_quantile(total**2 / by_freedom) * math.sqrt(total)


def _clipped(mean: float, half: float) -> Interval:
    return Interval(low=max(0.0, mean - half), high=min(1.0, mean + half))
