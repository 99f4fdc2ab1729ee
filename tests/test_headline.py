"""A study's headline: its sentence and details in every way a study may end."""

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState

from sweeper.records import Mistakes
from sweeper.run.folder import RunFolder
from sweeper.study.owner import identify_process

from .headlines import SEARCH, START, commands, headline, rejected, sweep, trial


def test_a_missed_target_is_named_first_with_the_gain_and_its_noise() -> None:
    """The sentence says by how much; the details name the best trial, gain, noise, counts, time, data and seed."""
    found = headline(
        trial(0, 0.97), rejected(1, 12000), trial(2, 0.976, parameters=9890), trial(3, 0.9), trial(4, 0.95)
    )
    assert (found.sentence, found.tone) == ("Target missed by 1.40 points.", "missed")
    assert found.details == (
        "Best 97.60 % (trial 2, 9,890 parameters), +0.60 over where it began: within noise (500 images, unpaired). "
        "4 of 4 trials, 1 proposal rejected, 4 min, MNIST 5,000 digits, seed 1."
    )
    assert found.best is not None
    assert (found.best.number, found.target, found.metric) == (2, 0.99, "validation accuracy")


def test_a_gain_beyond_the_noise_says_so() -> None:
    """A gain that the number of images can tell from chance is more than noise."""
    assert (
        "+10.00 over where it began: more than noise (500 images, unpaired)"
        in headline(trial(0, 0.87), trial(1, 0.97)).details
    )


def test_the_best_of_many_trials_is_held_against_more_noise() -> None:
    """The best of many equal networks is above the first by chance alone, so its gain must be larger to count."""
    few, many = [trial(0, 0.90), trial(1, 0.94)], [trial(0, 0.90), *(trial(n, 0.94 - n / 1e5) for n in range(1, 40))]
    assert "+4.00 over where it began: more than noise" in headline(*few).details
    assert "+4.00 over where it began: within noise" in headline(*many, multirun=sweep(40)).details


def test_trials_that_saved_their_mistakes_are_compared_image_by_image(tmp_path: Path) -> None:
    """Of 500 images the best has 7 more right and none less: beyond noise with one rival, within it with twenty."""
    for number, wrong in ((0, 15), (1, 8)):
        mistakes = Mistakes(confusion=[], worst=[], wrong=dict.fromkeys(range(wrong), 1))
        (tmp_path / str(number)).mkdir()
        RunFolder(tmp_path / str(number)).write_mistakes(mistakes)
    pair = [trial(0, 0.97), trial(1, 0.984)]
    assert "+1.40 over where it began: more than noise (500 images, paired)" in headline(*pair, folder=tmp_path).details
    many = [*pair, *(trial(n, 0.9) for n in range(2, 22))]
    details = headline(*many, folder=tmp_path, multirun=sweep(22)).details
    assert "within noise (500 images, paired)" in details
    # A file that does not have as many mistakes as the trial's value says belongs to another run.
    details = headline(trial(0, 0.97), trial(1, 0.986), folder=tmp_path).details
    assert "within noise (500 images, unpaired)" in details
    other = {**SEARCH, "space": {"data.split_seed": {}}}
    assert "unpaired" in headline(*pair, folder=tmp_path, search=other).details


def test_two_infinite_values_are_equal() -> None:
    """A best value that is infinite, as the first one is, is equal to it: the difference is not a number."""
    found = headline(
        trial(0, math.inf, parameters=None), trial(1, math.inf, parameters=None), search={**SEARCH, "base": {}}
    )
    assert "nan" not in found.details


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (0.99, "Target met."),
        (0.9912, "Target met by 0.12 points."),
        (0.98999, "Target missed by less than 0.01 points."),
    ],
)
def test_the_distance_to_the_target_is_never_zero_points(value: float, sentence: str) -> None:
    """A target that is missed by a hair is missed; one that is met exactly is met by nothing."""
    assert headline(*(trial(number, value) for number in range(4))).sentence == sentence


def test_a_search_whose_start_is_the_best_found_nothing_better() -> None:
    """The first trial's being the best is said instead of a gain of zero."""
    found = headline(trial(0, 0.97), trial(1, 0.95), trial(2, 0.97, parameters=9500))
    assert "(trial 0, 9,000 parameters), where it began: the search found nothing better." in found.details


def test_of_equal_accuracies_the_smaller_network_is_the_best() -> None:
    """Equal accuracy: fewer parameters first, then the first; a trial that repeats another is not another result."""
    found = headline(
        trial(0, 0.97),
        trial(1, 0.97, parameters=8000),
        trial(2, 0.97, parameters=8000, duplicate_of=1),
    )
    assert found.best is not None
    assert found.best.number == 1
    assert "equal to where it began: the search found nothing better, only smaller." in found.details


def test_a_search_that_runs_says_how_far_it_is() -> None:
    """A trial of a live process: running; of a process that is gone: interrupted."""
    alive = trial(1, state=TrialState.RUNNING, owner=identify_process())
    found = headline(trial(0, 0.97), alive)
    assert found.sentence == "Running: 1 of 4 trials, 2.00 points short of the target."
    assert found.tone == "running"
    gone = trial(1, state=TrialState.RUNNING, owner={**identify_process(), "started": "0"})
    assert headline(trial(0, 0.97), gone).tone == "interrupted"
    assert headline(alive).sentence == "Running: 0 of 4 trials, none completed yet."
    assert "more seeds" not in commands(found)


def test_failures_alone_say_so_and_why() -> None:
    """Failed trials only: the sentence says so, the details give the first reason, and nothing is offered."""
    failures = [trial(number, state=TrialState.FAIL, failed="out of memory") for number in range(3)]
    found = headline(*failures)
    assert (found.sentence, found.tone) == ("All 3 trials failed.", "failed")
    assert found.details.startswith("Trial 0 failed: out of memory. 3 of 4 trials (3 failed), ")
    assert commands(found) == {}


def test_a_search_ended_by_rejections_or_failures_is_not_interrupted() -> None:
    """The reason for an early end is said."""
    proposals = [rejected(number, 20000) for number in range(1, 101)]
    assert headline(trial(0, 0.9), *proposals).sentence.startswith(
        "Too many proposals rejected: stopped at 1 of 4 trials"
    )
    failures = [trial(number, state=TrialState.FAIL, failed="x") for number in range(1, 4)]
    assert headline(trial(0, 0.9), *failures[:3], multirun=sweep(5)).sentence.startswith("Too many trials failed")


def test_an_accuracy_that_is_minimized_has_no_target() -> None:
    """With direction=minimize, the lowest accuracy is the result, and the target says nothing about it."""
    found = headline(trial(0, 0.9), trial(1, 0.1), direction=StudyDirection.MINIMIZE, multirun=sweep(2))
    assert found.sentence == "Best 10.00 % in trial 1."
    assert found.target is None


def test_a_grid_counts_its_points_and_offers_no_more() -> None:
    """A grid has as many trials as points, whatever n_trials says; it is compared with its first point."""
    found = headline(trial(0, 0.9), trial(1, 0.95), search={**SEARCH, "grid": True}, multirun=sweep(20))
    assert found.details.startswith("Best 95.00 % (trial 1, 9,000 parameters), +5.00 over the first point, trial 0: ")
    assert "2 of 2 trials" in found.details
    assert "go on" not in commands(found)


def test_several_seeds_count_by_their_mean() -> None:
    """In a study of seeds alone the mean counts, not the luckiest seed."""
    found = headline(trial(0, 0.995), trial(1, 0.985), search={**SEARCH, "space": {"seed": {}}, "grid": True})
    assert found.sentence == "Target met on average over 2 seeds."
    assert found.details.startswith("Mean 99.00 %, from 98.50 % to 99.50 %, 9,000 parameters. ")
    assert "more seeds" not in commands(found)


def test_seeds_that_all_reach_the_target_meet_it() -> None:
    """The mean of equal values is that value."""
    seeds = [trial(number, 0.99) for number in range(6)]
    found = headline(*seeds, search={**SEARCH, "space": {"seed": {}}, "grid": True})
    assert found.sentence == "Target met on average over 6 seeds."


def test_failures_end_a_grid_by_their_share_of_all_its_points() -> None:
    """Infeasible points count, as they do for the search that stops: 3 of 10 are not more than half."""
    points = [*(rejected(number, 20000) for number in range(5)), trial(5, 0.9), trial(6, state=TrialState.WAITING)]
    failures = [trial(number, state=TrialState.FAIL, failed="x") for number in range(7, 10)]
    found = headline(*points, *failures, search={**SEARCH, "grid": True})
    assert found.sentence.startswith("Interrupted at 4 of 5 trials")


@pytest.mark.parametrize("damage", [None, 7, [], {"base": 3, "space": 1, "fixed": "x"}, {"base": {"target": "x"}}])
def test_damaged_files_leave_what_the_trials_say(damage: Any) -> None:
    """search.yaml and multirun.yaml are untrusted: a headline never fails because of them."""
    found = headline(trial(0, 0.9), trial(1, 0.95), search=damage, multirun=damage if damage is not None else {})
    assert found.sentence == "Best 95.00 % in trial 1."
    assert headline(search=damage, multirun=damage or {}).sentence


def test_a_pause_between_two_sessions_is_not_time_spent() -> None:
    """Time is that in which at least one trial ran: parallel trials count once, a night in between does not."""
    first, second, later = trial(0, 0.9), trial(1, 0.9, minutes=1), trial(2, 0.9)
    second.datetime_start = first.datetime_start
    later.datetime_start, later.datetime_complete = START + timedelta(hours=9), START + timedelta(hours=9, minutes=2)
    assert ", 4 min," in headline(first, second, later).details
