"""`bench --search`: what it runs, what it reads, its table."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.bench import searches
from sweeper.bench.searches import SearchResult, compare_searches, plot, table
from sweeper.errors import BenchError

from .conftest import Completed


def _result(method: str, seed: int, values: tuple[float, ...]) -> SearchResult:
    seconds = tuple(15.0 * (at + 1) for at in range(len(values)))
    epochs = (2,) * len(values)
    return SearchResult(
        method=method, seed=seed, seconds=seconds, values=values, epochs=epochs, rejected=seed, pruned=0
    )


def test_the_table_has_the_best_so_far_at_each_share_of_the_time(tmp_path: Path) -> None:
    """Median and range over seeds of the best after a quarter, half and all of the time; the figure is plotted."""
    results = [
        _result("card", 1, (0.9, 0.8, 0.95, 0.91)),
        _result("card", 2, (0.91, 0.92, 0.93, 0.97)),
        _result("card", 3, (0.7, 0.96, 0.9, 0.9)),
    ]
    lines = table(results, 1).splitlines()
    assert lines[0].endswith("| after 0.25 min | after 0.5 min | after 1 min |")
    assert lines[2].startswith("| card | 3 | 4 | 2 | 90.00 % (70.00 % to 91.00 %) | 92.00 %")
    assert lines[2].endswith("96.00 % (95.00 % to 97.00 %) |")
    assert results[0].best_after(1) is None
    plot(results, 1, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_an_unknown_method_is_refused(tmp_path: Path) -> None:
    """The error lists the methods."""
    with pytest.raises(BenchError, match="one of start, random, card, architecture, but got best"):
        compare_searches([], methods=["best"], seeds=[1], minutes=1, folder=tmp_path)


def test_a_folder_that_cannot_be_created_is_one_line(tmp_path: Path) -> None:
    """Below a file there is no folder; nothing is run."""
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match="name another --folder"):
        compare_searches([], methods=["start"], seeds=[1], minutes=1, folder=tmp_path / "file" / "searches")


def test_a_failed_search_says_why(tmp_path: Path) -> None:
    """The command's own error and its log are in the message."""
    with pytest.raises(BenchError, match=r"start failed: model has no option 'none'.*: see .*output\.log"):
        compare_searches(["model=none"], methods=["start"], seeds=[1], minutes=1, folder=tmp_path / "searches")


def test_a_search_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without time to start or to stop, the search is killed, and the message asks for more minutes."""
    monkeypatch.setattr(searches, "STOPPING_SECONDS", 0)
    with pytest.raises(BenchError, match="give more --minutes"):
        compare_searches([], methods=["start"], seeds=[1], minutes=0, folder=tmp_path / "searches")


@pytest.mark.slow
def test_a_comparison_is_resumed(tmp_path: Path) -> None:
    """A search is stopped after its time, and a second call reads it instead of running it again."""
    tiny = ["data=mnist5k", "model=compact", "training.epochs=1", "data.validation_size=3900", "training.batch_size=50"]
    arguments = {"methods": ["start"], "seeds": [1], "minutes": 1.0, "folder": tmp_path / "searches"}
    first = compare_searches(tiny, **arguments)  # type: ignore[arg-type]
    assert first[0].values
    assert compare_searches(tiny, **arguments) == first  # type: ignore[arg-type]
    with pytest.raises(BenchError, match="choose another --folder"):
        compare_searches(tiny, **{**arguments, "minutes": 2.0})  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["--minutes=0", "--minutes=nan", "--minutes=x", "--seeds=0", "--methods=best"])
def test_bad_options_are_one_line(sweeper_call: Callable[..., Completed], option: str) -> None:
    """Exit 1 and one line with the bounds or the choices; nothing is run."""
    done = sweeper_call("bench", "--search", option)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "but got" in done.stderr
    assert not Path("outputs").exists()
