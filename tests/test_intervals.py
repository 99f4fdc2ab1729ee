"""Intervals of accuracies over seeds and images: published values, and the share of simulated experiments they cover."""

import math
from collections.abc import Callable
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.intervals import (
    Interval,
    compare_means,
    mean_interval,
    new_images_interval,
    probability_of_target,
    selection_bias,
    t_quantile,
    wilson_interval,
)

IMAGES = 2_000
EXPERIMENTS = 1_500
TOLERANCE = 0.02
"""Three standard errors of a share of 95 % in so many experiments are 0.017."""


def _simulate(rng: np.random.Generator, *, seeds: int, mean: float = 2.2, spread: float = 0.25) -> np.ndarray:
    """Whether each of some networks has each image right, bool ``[seeds, images]``: images and seeds both vary."""
    difficulty_n = rng.normal(mean, 1.5, IMAGES)
    skill_s = rng.normal(0, spread, seeds)
    return rng.random((seeds, IMAGES)) < 1 / (1 + np.exp(-(difficulty_n + skill_s[:, None])))


def _expected(*, mean: float = 2.2, spread: float = 0.25) -> float:
    rng = np.random.default_rng(1)
    logits = rng.normal(mean, 1.5, 1_000_000) + rng.normal(0, spread, 1_000_000)
    return float((1 / (1 + np.exp(-logits))).mean())


def _covered(interval: Callable[[np.random.Generator], Interval | None], true: float) -> float:
    rng = np.random.default_rng(0)
    found = [interval(rng) for _ in range(EXPERIMENTS)]
    return fmean(one is not None and one.low <= true <= one.high for one in found)


@pytest.mark.parametrize(
    ("freedom", "level", "expected"),
    [(1, 0.95, 12.706), (2, 0.95, 4.303), (4, 0.95, 2.776), (10, 0.95, 2.228), (30, 0.95, 2.042), (4, 0.99, 4.604)],
)
def test_quantiles_of_t_are_the_published_ones(freedom: int, level: float, expected: float) -> None:
    """NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.2."""
    assert t_quantile(freedom, level=level) == pytest.approx(expected, abs=5e-4)


def test_wilsons_interval_is_the_published_one() -> None:
    """Newcombe, *Statistics in Medicine* 17, 1998, table I: 81 of 263, 15 of 148, 0 of 20, method 3."""
    for correct, images, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        interval = wilson_interval(correct, images)
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-4)


def test_the_interval_over_seeds_covers_95_percent() -> None:
    """Five seeds on fixed images: the mean over all seeds is in 95 % of the intervals."""
    rng = np.random.default_rng(2)
    difficulty_n = rng.normal(2.2, 1.5, IMAGES)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    by_skill = [(1 / (1 + np.exp(-(difficulty_n + 0.25 * node)))).mean() for node in nodes]
    true = float(np.dot(weights, by_skill) / weights.sum())

    def experiment(rng: np.random.Generator) -> Interval:
        chances = 1 / (1 + np.exp(-(difficulty_n + rng.normal(0, 0.25, (5, 1)))))
        return mean_interval((rng.random((5, IMAGES)) < chances).mean(1).tolist(), IMAGES)

    assert _covered(experiment, true) == pytest.approx(0.95, abs=TOLERANCE)


@pytest.mark.parametrize("seeds", [1, 5])
def test_the_interval_for_new_images_covers_95_percent(seeds: int) -> None:
    """Images and seeds are drawn anew in each experiment. One seed's is Wilson's, and seeds that differ little."""
    spread = 0.25 if seeds > 1 else 0.02
    true = _expected(spread=spread)

    def experiment(rng: np.random.Generator) -> Interval:
        return new_images_interval(_simulate(rng, seeds=seeds, spread=spread).mean(1).tolist(), IMAGES)

    assert 0.95 - TOLERANCE <= _covered(experiment, true) <= 0.99


def test_the_interval_of_a_difference_covers_at_least_95_percent() -> None:
    """Two equally good configs that share their test images differ beyond noise in at most 5 % of experiments."""

    def experiment(rng: np.random.Generator) -> Interval | None:
        right = _simulate(rng, seeds=10)
        wrong = [np.flatnonzero(~row).tolist() for row in right]
        compared = compare_means(wrong[:5], wrong[5:], IMAGES)
        return None if compared is None else compared.interval

    assert _covered(experiment, 0.0) >= 0.95 - TOLERANCE


def test_pairing_finds_what_independent_samples_hide() -> None:
    """Half a point that is gained on the same hard images is beyond noise, although the images' own noise is larger."""
    rng = np.random.default_rng(3)
    hard = rng.permutation(10_000)
    first = [sorted(hard[:100].tolist()) for _ in range(5)]
    second = [sorted(hard[:150].tolist()) for _ in range(5)]
    compared = compare_means(first, second, 10_000)
    assert compared is not None
    assert compared.difference == pytest.approx(0.005)
    assert compared.is_beyond_noise


@pytest.mark.parametrize("configs", [2, 3])
def test_the_best_of_equal_configs_is_rarely_beyond_noise(configs: int) -> None:
    """The test set chooses the best two of equally good configs; their gap is beyond noise in at most 5 % of experiments."""
    rng = np.random.default_rng(configs)
    beyond = []
    for _ in range(EXPERIMENTS // 3):
        wrong = [np.flatnonzero(~row).tolist() for row in _simulate(rng, seeds=5 * configs)]
        groups = sorted((wrong[at : at + 5] for at in range(0, len(wrong), 5)), key=lambda group: sum(map(len, group)))
        compared = compare_means(groups[0], groups[1], IMAGES)
        assert compared is not None
        beyond.append(compared.is_beyond_noise)
    assert 0 < fmean(beyond) <= 0.05 + TOLERANCE


def test_the_gap_to_validation_covers_95_percent() -> None:
    """A run that was not selected promises neither too much nor too little."""

    def experiment(rng: np.random.Generator) -> Interval | None:
        validation = float(_simulate(rng, seeds=1)[0].mean())
        found = selection_bias(validation, IMAGES, _simulate(rng, seeds=5).mean(1).tolist(), IMAGES)
        return None if found is None else found.interval

    assert 0.95 - TOLERANCE <= _covered(experiment, 0.0) <= 0.99


def test_the_probability_of_the_target_is_that_of_one_more_seed() -> None:
    """An accuracy that is reached with probability p, as predicted from five seeds, is reached in a share p of cases."""
    rng = np.random.default_rng(4)
    predicted = []
    for _ in range(4_000):
        values = rng.normal(0.99, 0.001, 6).tolist()
        probability = probability_of_target(values[:5], values[5], 10**6)
        assert probability is not None
        predicted.append(probability)
    for share in (0.05, 0.3, 0.5, 0.7, 0.95):
        assert np.mean(np.array(predicted) <= share) == pytest.approx(share, abs=0.025)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=8), st.integers(0, 1000))
def test_intervals_hold_their_mean_and_a_higher_target_is_less_probable(correct: list[int], target: int) -> None:
    """For any accuracies: both intervals hold the mean, the one for new images is no narrower, probabilities fall."""
    accuracies = [count / 1000 for count in correct]
    seeds, both = mean_interval(accuracies, 1000), new_images_interval(accuracies, 1000)
    assert seeds.low <= fmean(accuracies) + 1e-12
    assert seeds.high >= fmean(accuracies) - 1e-12
    assert both.high - both.low >= seeds.high - seeds.low - 1e-12
    lower = probability_of_target(accuracies, target / 1000, 1000)
    higher = probability_of_target(accuracies, target / 1000 + 0.01, 1000)
    assert lower is not None
    assert higher is not None
    assert 0 <= higher <= lower <= 1


def test_one_seed_has_no_spread() -> None:
    """One accuracy gives Wilson's interval, and no probability, gap or comparison: it says nothing of other seeds."""
    assert mean_interval([0.995], 10_000) == wilson_interval(9_950, 10_000) == new_images_interval([0.995], 10_000)
    assert probability_of_target([0.995], 0.99, 10_000) is None
    assert selection_bias(0.99, 5_000, [0.995], 10_000) is None
    assert compare_means([[1]], [[2], [3]], 10_000) is None


def test_equal_seeds_still_have_an_interval() -> None:
    """Replicates that happen to agree are not certain: the target's probability stays below one, new images vary."""
    equal = [0.99] * 5
    probability = probability_of_target(equal, 0.99, 10_000)
    assert probability is not None
    assert 0.5 < probability < 1
    # No accuracy of 1,000 images is between 99.01 and 99.09 %: both need 991 of them.
    between = [probability_of_target([0.99, 0.991, 0.992], target, 1_000) for target in (0.9901, 0.9909, 0.991)]
    assert between == [between[0]] * 3
    seeds = mean_interval(equal, 10_000)
    assert 0 < seeds.high - seeds.low < 1e-4
    alike = compare_means([[1, 2]] * 5, [[1, 2]] * 5, 10_000)
    assert alike is not None
    assert not alike.is_beyond_noise
    both = new_images_interval(equal, 10_000)
    assert math.isclose(both.high - both.low, 2 * 1.96 * math.sqrt(0.99 * 0.01 / 10_000), rel_tol=0.05)
