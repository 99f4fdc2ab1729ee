"""The figures of a confirmation, from the files of its replicates: one record per config, the best first."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from sweeper.confirm.candidates import Candidate, Selection
from sweeper.intervals import (
    Interval,
    compare_means,
    mean_interval,
    new_images_interval,
    probability_of_target,
    selection_bias,
)
from sweeper.records import RefitResult, SealedTestResult
from sweeper.replicates.replicate import Replicate
from sweeper.run.folder import RunFolder
from sweeper.terminal.console import display_path

Tested = dict[int, tuple[RefitResult, SealedTestResult]]
"""A config's replicates that were evaluated on the test set, by seed."""


def configurations(
    selection: Selection, runs: Sequence[Replicate], earlier: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return a record for each config with a replicate that was evaluated on the test set, the best mean first.

    `earlier` has the records of the same folder's confirmations before: no seed that was evaluated is left out, and a
    config that is not asked for again keeps its record.
    """
    records = []
    for candidate in selection.candidates:
        seeds = [run.conf.seed for run in runs if run.name == candidate.name]
        before = next((each for each in earlier if each.get("name") == candidate.name), {})
        known = [seed for seed in before.get("seeds", []) if isinstance(seed, int)]
        tested = _tested(selection, candidate.name, sorted({*seeds, *known}))
        if tested:
            failed = [seed for seed in seeds if seed not in tested]
            records.append(_configuration(candidate, tested, failed))
    names = {candidate.name for candidate in selection.candidates}
    kept = [dict(each) for each in earlier if each.get("name") not in names]
    return sorted([*records, *kept], key=lambda each: (-each["mean"], each["parameters"], each["name"]))


def compare_best(selection: Selection, ranked: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return how far the best config's mean is above the second best's; None without two that can be compared.

    The interval needs no correction for the number of configs, although the test set chose these two: the gap to the second
    best is the smallest of the best one's (Gutmann and Maymin, *Is the selected population the best?*, 1987).
    """
    pair = ranked[:2]
    if len(pair) < 2 or pair[0].get("dataset") != pair[1].get("dataset"):
        return None
    tested = [_tested(selection, each["name"], each["seeds"]) for each in pair]
    if not all(tested):  # a record that is older than its files
        return None
    wrong = [[test.wrong for _, test in group.values()] for group in tested]
    images = next(iter(tested[0].values()))[1].images
    found = compare_means(wrong[0], wrong[1], images)
    if found is None:
        return None
    return {
        "winner": pair[0]["name"],
        "runner_up": pair[1]["name"],
        "difference": found.difference,
        "ci95": _pair(found.interval),
        "beyond_noise": found.is_beyond_noise,
    }


def _tested(selection: Selection, name: str, seeds: Sequence[int]) -> Tested:
    found: Tested = {}
    for seed in seeds:
        files = RunFolder(selection.replicates / name / f"seed-{seed}")
        refit, test = files.read_refit(), files.read_test()
        if refit is not None and test is not None:
            found[seed] = (refit, test)
    return found


def _configuration(candidate: Candidate, tested: Tested, failed: Sequence[int]) -> dict[str, Any]:
    conf, result = candidate.conf, candidate.result
    refits, tests = zip(*tested.values(), strict=True)
    accuracies, images = [test.accuracy for test in tests], tests[0].images
    bias = selection_bias(result.val_accuracy, result.data.validation_images, accuracies, images)
    return {
        "name": candidate.name,
        "trial": candidate.trial,
        "parameters": result.parameters,
        "macs": result.macs,
        "epochs": conf.training.epochs,
        "seeds": list(tested),
        "failed_seeds": list(failed),
        "test_accuracies": accuracies,
        "mean": fmean(accuracies),
        "sd": stdev(accuracies) if len(accuracies) > 1 else None,
        "ci95": _pair(mean_interval(accuracies, images)),
        "ci95_new_images": _pair(new_images_interval(accuracies, images)),
        "target": conf.target,
        "probability_of_target": probability_of_target(accuracies, conf.target, images),
        "val_accuracy": result.val_accuracy,
        "val_images": result.data.validation_images,
        "selection_bias": None if bias is None else bias.difference,
        "selection_bias_ci95": None if bias is None else _pair(bias.interval),
        "dataset": conf.data.name,
        "train_images": refits[0].data.train_images,
        "test_images": images,
        "weights_sha256": [test.weights_sha256 for test in tests],
        "run": str(display_path(candidate.folder)),
    }


def _pair(interval: Interval) -> list[float]:
    return [interval.low, interval.high]
