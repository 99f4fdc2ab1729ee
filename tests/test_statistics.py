"""Noise: McNemar's test against published examples, and how often chance alone passes for a difference, simulated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.statistics import difference_noise, mcnemar

IMAGES = 5000
TRIALS = 2000


@pytest.mark.parametrize(
    ("first_only", "second_only", "p"),
    [
        (6, 16, 0.0525),  # Fagerland, Lydersen and Laake (BMC Medical Research Methodology 13, 2013): exact 0.053
        (121, 59, 4.43e-6),  # the usual worked example, chi-square 21.35: p below 0.001
        (0, 5, 0.0625),
        (3, 3, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemars_exact_test_gives_published_values(first_only: int, second_only: int, p: float) -> None:
    """The two-sided exact p-value of discordant pairs, whichever of the two comes first."""
    assert mcnemar(first_only, second_only) == pytest.approx(p, rel=0.01)
    assert mcnemar(second_only, first_only) == mcnemar(first_only, second_only)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 40))
def test_a_difference_beyond_noise_is_one_that_mcnemar_rejects(first_only: int, second_only: int, chances: int) -> None:
    """The noise is the largest difference that the exact test does not reject at 5 %, divided by the chances."""
    noise = difference_noise(0.9, 0.9, 1000, discordant=first_only + second_only, chances=chances)
    assert noise.is_paired
    assert noise.covers((first_only - second_only) / 1000) == (mcnemar(first_only, second_only) > 0.05 / chances)


def _two_runs(generator: np.random.Generator, fragile: int, gain: float) -> tuple[float, float, int]:
    """Accuracies of two runs and the images that one alone has right.

    Both fail on the same 25 images; each has a fragile one right half the time, the second one that much more often.
    """
    first = generator.random(fragile) < 0.5
    second = generator.random(fragile) < 0.5 + gain * IMAGES / fragile
    accuracies = [1 - (25 + fragile - int(right.sum())) / IMAGES for right in (first, second)]
    return accuracies[0], accuracies[1], int((first != second).sum())


@pytest.mark.parametrize(
    ("gain", "paired", "unpaired"), [(0.0, (0.01, 0.05), (0, 0.01)), (0.003, (0.55, 1), (0, 0.25))]
)
def test_paired_noise_rarely_errs_and_finds_what_unpaired_noise_misses(
    gain: float, paired: tuple[float, float], unpaired: tuple[float, float]
) -> None:
    """Two equal runs differ beyond noise in at most 5 %; a true gain of 0.30 points is found four times as often."""
    generator = np.random.default_rng(1)
    beyond = np.zeros(2)
    for _ in range(TRIALS):
        first, second, discordant = _two_runs(generator, 80, gain)
        for at, known in enumerate((discordant, None)):
            beyond[at] += not difference_noise(first, second, IMAGES, discordant=known).covers(second - first)
    assert paired[0] <= beyond[0] / TRIALS <= paired[1]
    assert unpaired[0] <= beyond[1] / TRIALS <= unpaired[1]


@pytest.mark.parametrize("runs", [2, 5, 20])
def test_the_best_of_equal_runs_is_rarely_beyond_noise(runs: int) -> None:
    """The best of many against the first is corrected for its choice, and against the second best needs no correction."""
    generator = np.random.default_rng(runs)
    beyond = np.zeros(2)
    for _ in range(TRIALS // 4):
        right = generator.random((runs, 80)) < 0.5
        best, second = right[np.argsort(-right.sum(1), kind="stable")[:2]]
        for at, (other, chances) in enumerate(((right[0], runs - 1), (second, 1))):
            discordant = int((best != other).sum())
            noise = difference_noise(0.99, 0.99, IMAGES, discordant=discordant, chances=chances)
            beyond[at] += not noise.covers((int(best.sum()) - int(other.sum())) / IMAGES)
    assert max(beyond) / (TRIALS // 4) <= 0.06
