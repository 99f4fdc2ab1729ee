"""`bench --search`: what it runs, what it reads, its table."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeper.bench import search_run
from sweeper.bench.search_methods import OPTUNA, UPSTREAM
from sweeper.bench.search_run import SearchResult
from sweeper.bench.searches import Comparison, compare_searches
from sweeper.errors import BenchError

from .processes import Completed

TINY = ["data=mnist5k", "model=compact", "training.epochs=1", "data.validation_size=3900", "training.batch_size=50"]


def _compare(overrides: list[str], folder: Path, **changed: Any) -> Comparison:
    arguments = {"methods": ["start"], "seeds": 1, "minutes": 1, "confirm": 0, "command": "again", **changed}
    return compare_searches(overrides, folder=folder, **arguments)


def _result(method: str, seed: int, values: tuple[float, ...]) -> SearchResult:
    seconds = tuple(15.0 * (at + 1) for at in range(len(values)))
    trials = tuple(range(len(values)))
    return SearchResult(
        method=method, seed=seed, seconds=seconds, values=values, trials=trials, rejected=seed, pruned=0
    )


RESULTS = [
    _result("card", 1, (0.9, 0.8, 0.95, 0.91)),
    _result("card", 2, (0.91, 0.92, 0.93, 0.97)),
    _result("card", 3, (0.7, 0.96, 0.9, 0.9)),
]


def test_the_table_has_the_best_so_far_at_each_share_of_the_time(tmp_path: Path) -> None:
    """Median and range over seeds of the best after a quarter, half and all of the time; the figure is plotted."""
    comparison = Comparison(minutes=1, results=RESULTS)
    lines = comparison.table().splitlines()
    assert lines[0].endswith("| after 0.25 min | after 0.5 min | after 1 min |")
    assert lines[2].startswith("| card | 3 | 4 | 2 | 90.00 % (70.00 % to 91.00 %) | 92.00 %")
    assert lines[2].endswith("96.00 % (95.00 % to 97.00 %) |")
    assert RESULTS[0].best_after(1) is None
    comparison.plot(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_the_table_has_the_test_accuracy_of_the_best_so_far() -> None:
    """Of each search, the mean over the fresh seeds counts; a trial that stays the best is confirmed once."""
    confirmed = {
        "card-1-trial-0": [0.90, 0.92],
        "card-1-trial-2": [0.95, 0.95],
        "card-2-trial-0": [0.9],
        "card-2-trial-3": [0.97],
        "card-3-trial-0": [0.7],
        "card-3-trial-1": [0.96],
    }
    row = Comparison(minutes=1, results=RESULTS, confirmed=confirmed).table().splitlines()[2]
    assert row.endswith("| 90.00 % (70.00 % to 91.00 %) | 96.00 % (95.00 % to 97.00 %) |")


def test_an_unknown_method_is_refused(tmp_path: Path) -> None:
    """The error lists the methods."""
    with pytest.raises(BenchError, match="one of start, random, card, architecture, upstream, optuna, but got 'best'"):
        _compare([], tmp_path, methods=["best"])


def test_a_folder_that_cannot_be_created_is_one_line(tmp_path: Path) -> None:
    """Below a file there is no folder; nothing is run."""
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match="name another --folder"):
        _compare([], tmp_path / "file" / "searches")


def test_a_failed_search_says_why(tmp_path: Path) -> None:
    """The command's own error and its log are in the message."""
    with pytest.raises(BenchError, match=r"start failed: model has no option 'none'.*: see .*output\.log"):
        _compare(["model=none"], tmp_path / "searches")


def test_a_search_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without time to start or to stop, the search is killed, and the message asks for more minutes."""
    monkeypatch.setattr(search_run, "STOPPING_SECONDS", 0)
    with pytest.raises(BenchError, match="give more --minutes"):
        _compare([], tmp_path / "searches", minutes=0)


@pytest.mark.slow
def test_a_comparison_is_resumed_and_confirmed(tmp_path: Path) -> None:
    """A search of each kind, in a folder with a comma, finds something in its time; the next call reads it, and opens the test set for the best."""
    folder = tmp_path / "outputs" / "searches, again"
    methods = ["start", UPSTREAM, OPTUNA]
    first = _compare(TINY, folder, methods=methods, minutes=0.25)
    assert [result.method for result in first.results] == methods
    assert all(result.values for result in first.results)
    assert all(seconds > 0 for result in first.results for seconds in result.seconds)
    again = _compare(TINY, folder, methods=methods, minutes=0.25, confirm=1)
    assert again.results == first.results
    found = {f"{result.method}-1" for result in first.results}
    assert {name.partition("-trial-")[0] for name in again.confirmed} == found
    assert all(len(accuracies) == 1 for accuracies in again.confirmed.values())
    with pytest.raises(BenchError, match="choose another --folder"):
        _compare(TINY, folder, minutes=2.0)


@pytest.mark.parametrize(
    "option", ["--minutes=0", "--minutes=nan", "--minutes=x", "--seeds=0", "--methods=best", "--confirm=-1"]
)
def test_bad_options_are_one_line(sweeper_call: Callable[..., Completed], option: str) -> None:
    """Exit 1 and one line with the bounds or the choices; nothing is run."""
    done = sweeper_call("bench", "--search", option)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "but got" in done.stderr
    assert not Path("outputs").exists()
