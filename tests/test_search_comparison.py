"""`report STUDY STUDY`: which search is best, what each needed for it, and what cannot be compared."""

from datetime import datetime, timedelta
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from .pages import HOSTILE, add_trial, make_study, text_of
from .studies import Call

START = datetime(2026, 1, 1, 12)  # noqa: DTZ001 - Optuna's times have no zone


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies are found below the working directory."""
    monkeypatch.chdir(tmp_path)


def _searched(name: str, values: list[float | None], *, epochs: int, pause: float = 0) -> optuna.Study:
    """A study whose trials took ten seconds each, one after the other; None is one that was pruned after an epoch."""
    study = make_study(name)
    begin = START
    for value in values:
        trained = 1 if value is None else epochs
        trial = create_trial(
            state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
            value=value,
            intermediate_values=dict.fromkeys(range(1, trained + 1), value or 0.1),
            user_attrs={"parameters": 5000},
        )
        trial.datetime_start, trial.datetime_complete = begin, begin + timedelta(seconds=10)
        begin += timedelta(seconds=10 + pause)
        study.add_trial(trial)
    return study


def test_the_best_search_and_what_each_needed(sweeper_call: Call, tmp_path: Path) -> None:
    """Trials, epochs and time until each had what all have reached; pauses and rejections do not count."""
    _searched("slow", [0.5, 0.6, 0.7, 0.9], epochs=4, pause=3600)
    _searched("fast", [0.8, None, 0.95], epochs=2)
    done = sweeper_call("report", "slow", "fast")
    assert done.returncode == 0, done.stderr
    assert "2 searches: fast reached the best, 95.00" in done.stdout
    text = text_of((tmp_path / "outputs" / "comparison.html").read_text()).replace("\u00a0", " ")
    assert "fast reached the best, 95.00 % in trial 2: 5.00 points above slow." in text
    needed = "To reach 90.00 %, which all did: fast 3 trials of 5 epochs in 30 s, slow 4 trials of 16 epochs in 40 s."
    assert needed in text
    assert "fast 95.00 % 2 5,000 3 5 30 s 3 5 30 s" in text
    assert "python -m sweeper report slow" in text
    for axis in ("trials", "epochs", "seconds"):
        assert f"Best so far by {axis}" in text


def test_equal_searches_have_no_winner(sweeper_call: Call) -> None:
    """Nor is there noise to speak of; a name given twice is one study."""
    _searched("a", [0.5], epochs=1)
    _searched("b", [0.5], epochs=1)
    assert "a and b reached the same: 50.00" in sweeper_call("report", "a", "b").stdout
    assert "outputs/studies/a/report.html" in sweeper_call("report", "a", "a").stdout


def test_what_cannot_be_compared_is_one_line(sweeper_call: Call) -> None:
    """A study without a result, another direction, a run among studies."""
    _searched("good", [0.5], epochs=1)
    make_study("empty")
    low = make_study("low", direction="minimize")
    add_trial(low, 0.5)
    Path("run").mkdir()
    Path("run/metrics.jsonl").touch()
    expected = {
        "empty": "study empty has none: leave it out",
        "low": "low minimizes its value: compare others",
        "run": "good is no run",
        "unknown": "unknown is none of these",
    }
    for other, reason in expected.items():
        done = sweeper_call("report", "good", other)
        assert done.returncode == 1
        assert reason in done.stderr
        assert done.stderr.count("\n") == 1


def test_strangers_texts_are_escaped(sweeper_call: Call, tmp_path: Path) -> None:
    """Configs of a study may be anybody's."""
    for name in ("a", "b"):
        _searched(name, [0.5], epochs=1)
        (Path("outputs/studies") / name / "search.yaml").write_text(
            f"base: {{note: '{HOSTILE + name}'}}\nspace: {{}}\n"
        )
    assert sweeper_call("report", "a", "b").returncode == 0
    assert "<img src=x" not in (tmp_path / "outputs" / "comparison.html").read_text()
