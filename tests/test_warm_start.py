"""hydra.sweeper.warm_start: the sampler knows trials of other studies; they are no trials of the new one."""

from pathlib import Path

import optuna
import pytest

from sweeper.study.storage import journal_url, open_storage
from sweeper.study.warm_start import WARM_START

from .pages import text_of
from .studies import HERE, TINY, Call, trials_of

FIRST = ["-m", *TINY, *HERE, "hydra.sweeper.stop_at_target=false"]


def _attribute(folder: Path) -> dict[str, dict[str, object]]:
    storage = open_storage(journal_url(folder / "journal.log"))
    found: dict[str, dict[str, object]] = optuna.load_study(study_name=folder.name, storage=storage).user_attrs[
        WARM_START
    ]
    return found


def test_a_search_starts_from_what_another_measured(sweeper_call: Call, tmp_path: Path) -> None:
    """It says how many fit and why the others do not; counts, best and folders are its own; a resume adds nothing."""
    wide = [*FIRST, "model.dropout=interval(0.0,0.5)", "hydra.sweeper.study_name=wide", "hydra.sweeper.n_trials=3"]
    assert sweeper_call(*wide).returncode == 0
    studies = tmp_path / "outputs" / "studies"
    before = trials_of(studies / "wide")
    inside = [trial for trial in before if trial.params["model.dropout"] <= 0.2]
    warm = [*FIRST, "model.dropout=interval(0.0,0.2)", "hydra.sweeper.study_name=warm", "hydra.sweeper.warm_start=wide"]
    done = sweeper_call(*warm, "hydra.sweeper.n_trials=2")
    assert done.returncode == 0, done.stderr
    assert f"warm start: {len(inside)} of 3 completed trials of study wide fit" in done.stdout
    assert (len(inside) == 3) == ("model.dropout is outside 0 to 0.2" not in done.stdout)
    assert "2 of 2 trials" in done.stdout
    trials = trials_of(studies / "warm")
    assert len(trials) == 2
    best = max(inside, key=lambda trial: trial.values[0])
    assert best.params in [trial.params for trial in trials]  # trained here too, so that the best one is this study's
    assert (studies / "warm" / "best" / "model.pt").exists()
    known = _attribute(studies / "warm")
    again = sweeper_call(*warm, "hydra.sweeper.n_trials=3")
    assert "warm start" not in again.stdout
    assert "3 of 3 trials" in again.stdout
    assert _attribute(studies / "warm") == known
    page = text_of((studies / "warm" / "report.html").read_text())
    assert (
        f"Warm start: the sampler knew {len(inside)} of 3 trials of study wide; they are no trials of this study."
        in page
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (
            ["training.batch_size=100", "model.dropout=interval(0.0,0.5)"],
            "training.batch_size is 50 there and 100 here",
        ),
        (["model.dropout=interval(0.6,0.7)"], "model.dropout is outside 0.6 to 0.7"),
        (["optimizer.lr=interval(1e-9,1e-8)"], "optimizer.lr is outside"),
        (["model.dropout=interval(0.0,0.5)", "budget.parameters=100"], "it is over budget here"),
        (["model.dropout=0.1,0.2"], "a grid runs every point"),
        (
            ["model.dropout=interval(0.0,0.5)", "hydra.sweeper.warm_start=unknown"],
            "hydra.sweeper.warm_start must be a study's name or folder, but unknown is neither",
        ),
        (["model.dropout=interval(0.0,0.5)", "hydra.sweeper.warm_start=7"], "must be a study or a list of studies"),
    ],
)
def test_nothing_that_fits_is_one_line(sweeper_call: Call, given: list[str], reason: str, known: Path) -> None:
    """With the reason, and no trial."""
    name = "hydra.sweeper.study_name=other"
    done = sweeper_call(*FIRST, "hydra.sweeper.warm_start=known", name, "hydra.sweeper.n_trials=1", *given)
    assert done.returncode == 1
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in (known / "outputs" / "studies" / "other").glob("[0-9]*")] == []


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sweeper_call: Call) -> Path:
    """A working directory with a study of one trial."""
    monkeypatch.chdir(tmp_path)
    arguments = ["model.dropout=interval(0.0,0.5)", "hydra.sweeper.study_name=known", "hydra.sweeper.n_trials=1"]
    assert sweeper_call(*FIRST, *arguments).returncode == 0
    return tmp_path
