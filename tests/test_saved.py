"""A run and a study saved by an earlier version, in tests/saved: they are still read, reported, resumed and reproduced."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from sweeper.design import analyze
from sweeper.reading.storage_reader import StorageReader
from sweeper.run.folder import RunFolder
from sweeper.study.storage import journal_url
from sweeper.study.summary import state_of
from sweeper.training.device import has_bf16

from .processes import Sweeper
from .studies import SAVED, Call

SEARCH = [
    *("-m", "data=mnist5k", "model=compact", "data.validation_size=2500", "training.epochs=4"),
    *("training.batch_size=50", "optimizer.nesterov=false", "optimizer.lr=0.1,0.09,1e-7,0.08,-1,1e-8"),
    *("hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=2", "hydra.sweeper.n_jobs=1"),
    "hydra.sweeper.study_name=saved",
]
"""The command line that made the study."""
STATES = ["complete", "complete", "pruned", "pruned", "rejected", "pruned"]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A copy of the saved run, below the working directory."""
    return Path(shutil.copytree(SAVED / "run", tmp_path / "outputs" / "runs" / "saved"))


@pytest.fixture
def study_folder(tmp_path: Path) -> Path:
    """A copy of the saved study, where a search of that name looks for it."""
    return Path(shutil.copytree(SAVED / "study", tmp_path / "outputs" / "studies" / "saved"))


def _words(page: Path) -> str:
    """The text of a page, without scripts, style and tags."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", "", page.read_text(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare))


def test_a_saved_run_is_read() -> None:
    """Config, epochs, result and mistakes are read, the result with every key and value of its file."""
    files = RunFolder(SAVED / "run")
    conf = files.read_config()
    assert (conf.data.name, conf.training.epochs, conf.precision) == ("mnist5k", 2, "bf16")
    assert files.read_overrides()[0] == "data=mnist5k"
    assert [(epoch.epoch, epoch.val_accuracy) for epoch in files.read_epochs()] == [(1, 0.114), (2, 0.906)]
    result = files.read_result()
    assert result is not None
    later = {"timed_out": False}  # keys that it did not have
    assert dataclasses.asdict(result) == {**json.loads(files.result.read_text()), **later}
    mistakes = files.read_mistakes()
    assert mistakes is not None
    assert sum(map(sum, mistakes.confusion)) == 500
    assert (mistakes.worst[0].label, mistakes.worst[0].predicted) == (9, 1)
    assert analyze(conf).summary.parameters == result.parameters


def test_a_saved_study_is_read() -> None:
    """Its trials have the states, values and parameters that they had."""
    with StorageReader(journal_url(SAVED / "study" / "journal.log")) as reader:
        study = reader.read(lambda storage: optuna.load_study(study_name="saved", storage=storage))
        trials = study.trials
    assert [state_of(trial) for trial in trials] == STATES
    assert [trial.params["optimizer.lr"] for trial in trials] == [0.1, 0.09, 1e-07, 0.08, -1, 1e-08]
    assert [trial.value for trial in trials if trial.state is TrialState.COMPLETE] == [0.94, 0.9348]


def test_a_saved_run_is_reported(sweeper_call: Call, run_folder: Path) -> None:
    """Its page shows the figures that it had when it was saved."""
    done = sweeper_call("report", "outputs/runs/saved")
    assert done.returncode == 0, done.stderr
    assert "outputs/runs/saved/report.html · 90.60 % validation accuracy" in done.stdout
    text = _words(run_folder / "report.html")
    for figure in (
        "missed: 90.60 % of 99.00 %",
        "90.60 % in epoch 2",
        "89.31 %",
        "92.51 %",
        "7,578 of 9,999",
        "949,696",
    ):
        assert figure in text
    assert "47 of 500 validation images" in text


def test_a_saved_study_is_reported(sweeper_call: Call, study_folder: Path) -> None:
    """Its page shows the best trial, the counts and the reason of the rejected one, as when it was saved."""
    done = sweeper_call("report", "saved")
    assert done.returncode == 0, done.stderr
    assert "outputs/studies/saved/report.html · 6 trials" in done.stdout
    text = _words(study_folder / "report.html")
    assert "Target missed by 5.00 points. Best 94.00 % (trial 0, 7,578 parameters)" in text
    assert "done 2 pruned 3 rejected 1" in text
    assert "optimizer.lr must be positive and finite, but got -1.0" in text


def test_a_saved_study_that_is_complete_trains_nothing(
    sweeper_call: Call, study_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that made it finds all trials done: no trial's folder and no trial in the journal changes."""
    monkeypatch.delenv("SWEEPER_DATA", raising=False)
    before = {path: path.read_bytes() for path in study_folder.glob("[0-9]*/**/*") if path.is_file()}
    done = sweeper_call(*SEARCH)
    assert done.returncode == 0, done.stderr
    assert "study saved: 6 trials, 5 of them done before" in done.stdout
    assert "trials (3 pruned), 1 proposal rejected" in " ".join(done.stdout.split())
    assert "Best 94.00 % (trial 0, 7,578 parameters)" in done.stdout
    assert "best: trial 0, lr=0.1" in done.stdout
    after = {path: path.read_bytes() for path in study_folder.glob("[0-9]*/**/*") if path.is_file()}
    assert after == before
    with StorageReader(journal_url(study_folder / "journal.log")) as reader:
        trials = reader.read(lambda storage: optuna.load_study(study_name="saved", storage=storage)).trials
    assert [state_of(trial) for trial in trials] == STATES


@pytest.mark.skipif(not has_bf16("cpu"), reason="the run was trained in bf16, which this processor lacks")
@pytest.mark.usefixtures("run_folder")
def test_a_saved_run_is_reproduced(sweeper_process: Sweeper) -> None:
    """It trains again from its saved config. Weights differ between processors, so either answer is right."""
    done = sweeper_process("reproduce", "outputs/runs/saved")
    assert done.stderr == ""
    answer = re.search(
        r"^(identical|different): outputs/runs/saved and outputs/runs/.*, 2 epochs$", done.stdout, re.MULTILINE
    )
    assert answer is not None
    assert done.returncode == (0 if answer[1] == "identical" else 1)
