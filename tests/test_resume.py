"""Checkpoints: a run that was stopped goes on to the same bits; a run of a study does so by itself."""

import random
import signal
import time
from pathlib import Path

import pytest
import torch

import sweeper
from sweeper.errors import ConfigError, DataError, RunFolderError
from sweeper.records import EpochRecord
from sweeper.run.claiming import claimed
from sweeper.run.experiment import run
from sweeper.run.folder import RunFolder
from sweeper.run.listener import Listener
from sweeper.run.resuming import resume

from .processes import Start, Sweeper
from .studies import Call, wait_for

SMALL = ("data=mnist5k", "model=compact", "data.validation_size=3000", "training.batch_size=50", "threads=1")
"""A network that is trained in a tenth of a second per epoch, with dropout."""
VARIANTS = {
    "sgd": ("augment=affine", "model.dropout=0.1"),
    "adamw": ("optimizer=adamw", "scheduler=step", "model.activation=prelu"),
    "averaged": ("training.ema=0.9", "scheduler=constant", "training.label_smoothing=0.1"),
    "erasing": ("augment=affine", "augment.erasing=0.5", "augment.elastic=1", "precision=fp32"),
}


class _InterruptedAfter(Listener):
    """Presses Ctrl-C after an epoch, when its record is on disk."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def on_epoch(self, record: EpochRecord) -> None:
        if record.epoch == self._epoch:
            raise KeyboardInterrupt


def _measured(folder: Path) -> list[object]:
    """What a run measured: its weights' checksum and its epochs, without their times."""
    result = RunFolder(folder).read_result()
    assert result is not None
    epochs = [
        (e.epoch, e.train_loss, e.val_loss, e.val_accuracy, e.lr, e.val_changed)
        for e in RunFolder(folder).read_epochs()
    ]
    return [result.weights_sha256, result.train_accuracy_eval, *epochs]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_has_the_same_bits(tmp_path: Path, variant: str) -> None:
    """Weights, optimizer, average, schedule and generators go on, wherever Ctrl-C came, however often."""
    conf = sweeper.compose([*SMALL, *VARIANTS[variant], "training.epochs=4", "training.checkpoint_every=0"])
    run(conf, folder=tmp_path / "whole")
    stopped = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        run(conf, folder=stopped, listeners=[_InterruptedAfter(1)])
    with pytest.raises(KeyboardInterrupt):
        resume(stopped, listeners=[_InterruptedAfter(3)])
    resume(stopped)
    assert _measured(stopped) == _measured(tmp_path / "whole")


def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint(
    start: Start, sweeper_call: Call, tmp_path: Path
) -> None:
    """After kill -9 at a random moment, `resume` trains the rest: metrics hold each epoch once, the bits are the same."""
    arguments = [*SMALL, "training.epochs=8", "training.checkpoint_every=2"]
    assert sweeper_call(*arguments, "hydra.run.dir=whole").returncode == 0
    process = start(*arguments, "hydra.run.dir=killed")
    metrics = RunFolder(tmp_path / "killed").metrics
    seed = time.time_ns()
    wait_for(lambda: metrics.exists() and len(metrics.read_text().splitlines()) >= 2)
    time.sleep(random.Random(seed).uniform(0, 0.4))  # noqa: S311 - a moment
    process.kill()
    process.wait()
    done = sweeper_call("resume", "killed")
    assert done.returncode == 0, (seed, done.stderr)
    assert _measured(tmp_path / "killed") == _measured(tmp_path / "whole"), seed
    assert not RunFolder(tmp_path / "killed").checkpoint.exists()


def test_ctrl_c_keeps_the_last_epoch_and_prints_how_to_go_on(start: Start, sweeper_call: Call, tmp_path: Path) -> None:
    """Without regular checkpoints, Ctrl-C within an epoch still leaves the weights of the last completed one."""
    process = start(*SMALL, "training.epochs=50", "training.checkpoint_every=0", "hydra.run.dir=run")
    files = RunFolder(tmp_path / "run")
    wait_for(lambda: files.metrics.exists() and len(files.metrics.read_text().splitlines()) >= 2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "go on:\npython -m sweeper resume run\n" in output
    saved = torch.load(files.checkpoint, weights_only=True)
    assert [epoch["epoch"] for epoch in saved["epochs"]] == [epoch.epoch for epoch in files.read_epochs()]
    refused = sweeper_call("resume", "run", "training.epochs=60")
    assert refused.returncode == 1
    assert "scheduler=onecycle was planned for 50 epochs" in refused.stderr


def test_a_completed_run_is_trained_longer_if_its_schedule_goes_on(sweeper_call: Call, tmp_path: Path) -> None:
    """2 epochs and then 4 give the bits of 4; nothing is left to resume without more epochs, and no other key changes."""
    arguments = [*SMALL, "scheduler=constant"]
    assert sweeper_call(*arguments, "training.epochs=4", "hydra.run.dir=whole").returncode == 0
    assert sweeper_call(*arguments, "training.epochs=2", "hydra.run.dir=run").returncode == 0
    before = RunFolder(tmp_path / "run").result.read_text()
    for words, reason in (
        ([], "all 2 are done: nothing to resume, or give more, as training.epochs=4"),
        (["training.epochs=1"], "must be at least the 2 epochs"),
        (["training.epochs=x"], "must be 1 to 1000000, but got 'x'"),
        (["optimizer.lr=1"], "keeps its config but for training.epochs"),
    ):
        done = sweeper_call("resume", "run", *words)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert reason in done.stderr
    assert RunFolder(tmp_path / "run").result.read_text() == before
    assert sweeper_call("resume", "run", "training.epochs=4").returncode == 0
    assert _measured(tmp_path / "run") == _measured(tmp_path / "whole")


def test_a_run_without_a_checkpoint_starts_again(tmp_path: Path) -> None:
    """Stopped in its first epoch, a run has nothing to go on from: it is trained from the start, in the same folder."""
    conf = sweeper.compose([*SMALL, "training.epochs=1"])
    run(conf, folder=tmp_path / "whole")
    folder = tmp_path / "run"
    run(conf, folder=folder)
    RunFolder(folder).result.unlink()
    resume(folder)
    assert _measured(folder) == _measured(tmp_path / "whole")


@pytest.mark.parametrize("damage", [b"", b"PK", b"\x80\x04\x95", "other", "images"])
def test_a_checkpoint_that_does_not_fit_is_one_error(tmp_path: Path, damage: bytes | str) -> None:
    """A damaged file, another network's and one of other images are refused, and the epochs stay."""
    conf = sweeper.compose([*SMALL, "training.epochs=3"])
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(conf, folder=folder, listeners=[_InterruptedAfter(2)])
    checkpoint = RunFolder(folder).checkpoint
    if isinstance(damage, bytes):
        checkpoint.write_bytes(damage)
    else:
        saved = torch.load(checkpoint, weights_only=True)
        if damage == "other":
            saved["state"]["network"].popitem()
        else:
            saved["data_sha256"] = "0"
        torch.save(saved, checkpoint)
    with pytest.raises((RunFolderError, DataError), match=r"restore them|delete"):
        resume(folder)
    assert checkpoint.exists()
    assert not list(folder.glob(".*.tmp"))


def test_a_run_in_training_is_not_resumed(tmp_path: Path) -> None:
    """Its process holds the folder; a schedule's end and a foreign folder are refused as well."""
    conf = sweeper.compose([*SMALL, "training.epochs=2"])
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(conf, folder=folder, listeners=[_InterruptedAfter(1)])
    with claimed(RunFolder(folder), resume=True), pytest.raises(RunFolderError, match="another process trains"):
        resume(folder)
    with pytest.raises(ConfigError, match="onecycle was planned for 2 epochs"):
        resume(folder, epochs=3)
    with pytest.raises(RunFolderError, match="must hold"):
        resume(tmp_path)


@pytest.mark.slow
def test_a_trial_that_was_cut_short_goes_on_by_itself(start: Start, sweeper_process: Sweeper, tmp_path: Path) -> None:
    """After kill -9 of the search, the same command queues the trial again; it goes on from the checkpoint of the first."""
    arguments = ["-m", *SMALL, "model.dropout=0.1,0.2", "training.epochs=12", "hydra.sweeper.n_jobs=1"]
    arguments += ["hydra.sweeper.study_name=cut"]
    process = start(*arguments)
    folder = tmp_path / "outputs" / "studies" / "cut"
    first = RunFolder(folder / "0")
    wait_for(first.checkpoint.exists)
    process.kill()
    process.wait()
    done = sweeper_process(*arguments)
    assert done.returncode == 0, done.stderr
    again = next(RunFolder(log.parent) for log in folder.glob("[0-9]*/run.log") if "resumed after" in log.read_text())
    assert [epoch.epoch for epoch in again.read_epochs()] == list(range(1, 13))
    assert sweeper_process("reproduce", str(again.path)).returncode == 0
