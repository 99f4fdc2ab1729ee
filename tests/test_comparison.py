"""Comparing runs: which is best and whether by more than noise, short names, runs that do not compare, many runs."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sweeper
from sweeper.config.schema import ExperimentConf
from sweeper.report.comparison import compare
from sweeper.report.noise import pair_noise
from sweeper.report.record import RunRecord, read_run
from sweeper.report.run_figures import COLOURS, make_lines
from sweeper.report.run_names import short_names
from sweeper.report.run_page import comparison_page
from sweeper.statistics import mcnemar

from .pages import HOSTILE, text_of
from .runs import make_record

LAB = Path("/data/lab/a-long-project-name/runs")


def _run(name: str, *overrides: str, accuracy: float, images: int = 500, finished: bool = True) -> RunRecord:
    record = make_record(
        "training.epochs=2", *overrides, val=[accuracy - 0.1, accuracy], images=images, finished=finished
    )
    return replace(record, folder=LAB / name)


def _with_lr(record: RunRecord, lr: float) -> ExperimentConf:
    """Its config with another learning rate."""
    return replace(record.conf, optimizer=replace(record.conf.optimizer, lr=lr))


def _figures(page: str) -> dict[str, dict[str, list[dict[str, object]]]]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    figures: dict[str, dict[str, list[dict[str, object]]]] = json.loads(found[1])
    return figures


def test_the_best_run_comes_first_and_the_gain_is_held_against_noise() -> None:
    """The sentence names the best run and says whether the next one differs by more than noise; its accuracy is marked."""
    for accuracy, images, how in ((0.97, 500, "within noise"), (0.90, 5000, "more than noise")):
        runs = [
            _run("a", accuracy=accuracy, images=images),
            _run("b", "optimizer.lr=0.1", accuracy=0.98, images=images),
        ]
        compared = compare(runs)
        assert compared.names == ["b", "a"]
        assert compared.sentence.startswith("b is best with 98.00 %")
        assert compared.sentence.endswith(f"above a: {how}.")
        assert [field.name for field in compared.fields][:3] == ["accuracy", "result", "optimizer.lr"]
        assert [cell.is_best for cell in compared.fields[0].cells] == [True, False]


def test_runs_on_the_same_images_are_compared_image_by_image(tmp_path: Path) -> None:
    """Two runs that saved their mistakes are paired: the noise is McNemar's, and other images are not paired."""
    records = []
    for seed, size in ((1, 3000), (2, 3000), (1, 2990)):
        folder = tmp_path / f"{seed}-{size}"
        settings = [
            "data=mnist5k",
            "model=compact",
            "training.epochs=1",
            f"seed={seed}",
            f"data.validation_size={size}",
        ]
        sweeper.run(sweeper.compose([*settings, "training.batch_size=20"]), folder=folder, show=False)
        records.append(read_run(folder))
    first, second, other = records
    wrong = [set(record.mistakes.wrong or ()) for record in (first, second) if record.mistakes is not None]
    assert len(wrong[0]) == round((1 - first.value) * 3000)
    only = len(wrong[0] - wrong[1]), len(wrong[1] - wrong[0])
    found = pair_noise(first, second)
    assert found.is_paired
    assert found.covers(first.value - second.value) == (mcnemar(*only) > 0.05)
    assert "(95 %, paired)" in compare([first, replace(second, conf=_with_lr(second, 0.1))]).details
    assert not pair_noise(first, other).is_paired
    assert not pair_noise(first, replace(second, mistakes=None)).is_paired


def test_the_range_of_many_runs_is_held_against_more_noise_and_the_fewest_images() -> None:
    """The more runs, the further apart are best and worst by chance; the fewest images set the noise."""
    runs = [_run("a", accuracy=0.98), _run("b", "data.validation_size=600", accuracy=0.96, images=600)]
    two = compare(runs).details
    assert "differ by 2.00 points, no more than the 2.2" in two
    assert "by which two measurements on at least 500 validation images" in two
    more = [_run(str(n), f"optimizer.lr={n / 100}", accuracy=0.97 + n / 1000) for n in range(1, 9)]
    details = compare([*more, *runs]).details
    assert "by which two of 10 measurements" in details
    assert float(re.findall(r"more than the ([\d.]+) points", details)[0]) > 3


def test_a_mean_at_the_target_meets_it_exactly() -> None:
    """The mean of seeds that all reach the target is the target: no rounding of their sum makes it a miss."""
    runs = [_run(str(seed), f"seed={seed}", accuracy=0.99) for seed in range(6)]
    assert compare(runs).sentence.endswith(": target met on average.")


def test_of_equal_accuracies_the_smaller_network_comes_first() -> None:
    """A tie is called a tie, and the smaller network leads."""
    large, small = _run("large", accuracy=0.98), _run("small", "model.groups.block2.channels=[4,4]", accuracy=0.98)
    compared = compare([large, small])
    assert compared.names[0] == "small"
    assert compared.sentence == "2 runs are equal with 98.00 %; small is the smallest."
    assert [cell.is_best for cell in compared.fields[0].cells] == [True, True]


def test_runs_on_different_images_are_not_ranked_against_each_other() -> None:
    """Each set of images has its own best run, and different targets are named."""
    runs = [
        _run("digits", accuracy=0.98),
        _run("clothes", "data=fashion_mnist", "target=0.9", accuracy=0.91),
        _run("poor", "data=fashion_mnist", "target=0.9", accuracy=0.5),
    ]
    compared = compare(runs)
    assert "accuracies compare only within a set" in compared.sentence
    assert "On Fashion-MNIST validation images clothes is the best of 2 runs with 91.00 %." in compared.details
    assert "1 of 3 met their own targets." in compared.details
    assert [cell.is_best for cell in compared.fields[0].cells] == [True, True, False]
    assert {"target 99 %", "target 90 %"} <= set(re.findall(r"target \d+ %", comparison_page(runs)))


def test_a_run_that_stopped_early_is_never_best() -> None:
    """A run without a result comes last, with the epoch at which it stopped."""
    compared = compare([_run("stopped", accuracy=0.99, finished=False), _run("complete", accuracy=0.9)])
    assert compared.names == ["complete", "stopped"]
    assert compared.sentence == "complete is best with 90.00 %: no other run is complete."
    assert compared.fields[1].cells[1].text == "not complete after 2 of 2"


def test_runs_that_differ_in_their_seed_are_a_mean() -> None:
    """Of seeds of one config none is best: their mean and range say what the config reaches."""
    runs = [_run(str(seed), f"seed={seed}", accuracy=accuracy) for seed, accuracy in ((1, 0.97), (2, 0.99))]
    compared = compare(runs)
    assert compared.sentence == (
        "Mean of 2 seeds 98.00 %, from 97.00 % to 99.00 %: target missed by 1.00 points on average."
    )


@pytest.mark.parametrize("count", [2, 5, 20])
def test_every_run_is_on_the_page_and_few_have_colours(count: int) -> None:
    """All runs are in the table and in the figures; each coloured one is in the legend, under its short name."""
    runs = [
        _run(f"one-long-common-name-lr{n}-final", f"optimizer.lr={n / 100}", accuracy=0.9 + n / 1000)
        for n in range(1, count + 1)
    ]
    page = comparison_page(runs)
    text = text_of(page)
    assert text.count("python -m sweeper reproduce") == count
    assert f"lr{count} is best with" in text
    for figure in _figures(page).values():
        assert len(figure["data"]) == count
    compared = compare(runs)
    lines = make_lines(compared.records, compared.names, compared.leaders)
    coloured = [line for line in lines if not line.is_quiet]
    assert len({(line.entry.colour, line.dash) for line in coloured}) == len(coloured) <= len(COLOURS)
    assert coloured[0].entry.width == max(line.entry.width for line in lines)


def test_one_bad_epoch_flattens_nothing() -> None:
    """The axis is logarithmic in the error: between 95 % and 99 % it is at least a quarter of its height."""
    runs = [_run("a", accuracy=0.99), _run("b", accuracy=0.2)]
    low, high = _figures(comparison_page(runs))["accuracy"]["layout"]["yaxis"]["range"]  # type: ignore[call-overload]
    at_95, at_99 = -1.301, -2.0
    assert (at_95 - at_99) / (low - high) > 0.25


def test_hostile_names_stay_text() -> None:
    """A folder's name is neither markup on the page nor in a figure."""
    page = comparison_page([_run(HOSTILE.replace("/", ""), accuracy=0.9), _run("b", accuracy=0.8)])
    assert "<img" not in page.partition("<script>")[0]
    names = [trace["name"] for trace in _figures(page)["accuracy"]["data"]]
    assert any("&lt;img" in str(name) for name in names)


@given(st.lists(st.lists(st.sampled_from(["runs", "a", "b-1", "b-2", "7", "10-00-00-000001"]), min_size=1, max_size=4)))
def test_short_names_are_distinct_and_not_empty(parts: list[list[str]]) -> None:
    """Whatever the folders, no two get the same name and none an empty one."""
    folders = list(dict.fromkeys(LAB / "/".join(part) for part in parts))
    if folders:
        names = short_names(folders)
        assert len(set(names)) == len(names) == len(folders)
        assert all(names)
