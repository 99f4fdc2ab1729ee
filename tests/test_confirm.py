"""`confirm`: fresh seeds, all training images, the test set opened once per network and after the last training; resumable."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sweeper.confirm.candidates import Selection, select_runs
from sweeper.data.openings import LOG
from sweeper.data.splits import split
from sweeper.errors import RunFolderError
from sweeper.run.folder import RunFolder
from sweeper.study.folder import CONFIRM

from .processes import CHECKOUT, command, environment
from .studies import Call, wait_for

TRAINING_IMAGES, TEST_IMAGES = 300, 40
SEARCH = [
    *("-m", "model=compact", "training.epochs=1", "training.batch_size=50", "data.validation_size=60"),
    *("optimizer.lr=0.01,0.02,0.05", "hydra.sweep.dir=outputs/studies/s"),
]
HOOK = """
import os, sys
def opened(event, arguments, log=os.environ["OPENED"]):
    if event == "open" and isinstance(arguments[0], str) and "t10k" in arguments[0]:
        trained = sum(name == "refit.json" for _, _, names in os.walk("outputs/studies/s/confirmation") for name in names)
        with open(log, "a") as file:
            file.write(f"{trained}\\n")
sys.addaudithook(opened)
"""
"""Installed in every process: it notes each opening of a test file, with the number of runs trained by then."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A torchvision root with a few noisy images of each class."""
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for prefix, count in (("train", TRAINING_IMAGES), ("t10k", TEST_IMAGES)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = rng.integers(0, 60, (count, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 6] += 150
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
            (raw / f"{prefix}-{kind}-ubyte").write_bytes(header + values.tobytes())
    return tmp_path / "data"


@pytest.fixture
def start(root: Path, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts the program in the test's folder, with the hook that notes which process opens a test file."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(HOOK)

    def run(*arguments: str) -> subprocess.Popen[str]:
        variables = environment(SWEEPER_DATA=str(root), OPENED=str(tmp_path / "opened"))
        variables["PYTHONPATH"] = f"{site}{os.pathsep}{variables['PYTHONPATH']}"
        return subprocess.Popen(
            command(*arguments),
            cwd=tmp_path,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return run


def _finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output


def _has_trained(folder: Path, before: int, process: subprocess.Popen[str]) -> bool:
    return len(list(folder.glob("*/seed-*"))) > before or process.poll() is not None


def _read(tmp_path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((tmp_path / "outputs/studies/s" / CONFIRM).read_text())
    return record


@pytest.mark.slow
def test_a_confirmation_sees_no_seed_and_no_image_of_the_search(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Interrupted and killed, it resumes; the test set is opened after the last training, once per network, and logged."""
    _finish(start(*SEARCH))
    study = tmp_path / "outputs/studies/s"
    assert not (tmp_path / "opened").exists()  # no test file was opened
    assert not (tmp_path / "outputs" / LOG).exists()

    done = study / "confirmation"
    for how in (signal.SIGINT, signal.SIGKILL):
        before = len(list(done.glob("*/seed-*")))
        process = start("confirm", "s", "--top", "2", "--seeds", "3", "--workers", "1")
        wait_for(functools.partial(_has_trained, done, before, process))
        process.send_signal(how)
        output, _ = process.communicate(timeout=100)
        if how is signal.SIGINT:
            assert process.returncode == 130, output
            assert "go on:\npython -m sweeper confirm s --top 2 --seeds 3 --workers 1" in output
        assert not (tmp_path / "outputs" / LOG).exists()
    kept = {path: path.stat().st_mtime_ns for path in done.glob("*/seed-*/model.pt")}
    assert kept

    output = _finish(start("confirm", "s", "--top", "2", "--seeds", "3"))
    assert "of them done before" in output
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not list(done.glob("*/.unfinished-*"))
    configurations = _read(tmp_path)["configurations"]
    assert [len(each["seeds"]) for each in configurations] == [3, 3]
    used = {RunFolder(path).read_config().seed for path in study.glob("[0-9]*")}
    assert used == {1}
    assert used.isdisjoint({seed for each in configurations for seed in each["seeds"]})
    # All six networks were trained before the first test file was opened: images and labels, for each network.
    openings = (tmp_path / "opened").read_text().split()
    assert set(openings) == {"6"}
    entries = [json.loads(line) for line in (tmp_path / "outputs" / LOG).read_text().splitlines()]
    assert sorted(entry["weights_sha256"] for entry in entries) == sorted(
        weights for each in configurations for weights in each["weights_sha256"]
    )
    assert all(entry["command"].startswith("python -m sweeper confirm s") for entry in entries)
    # Every training image was trained on, those of the search's validation included, and none of another file.
    conf = RunFolder(done / configurations[0]["name"] / "seed-1001").read_config()
    assert sorted(split(conf.data).train.indices_b.tolist()) == list(range(TRAINING_IMAGES))
    assert configurations[0]["train_images"] == TRAINING_IMAGES
    assert "The test set was opened 6 times for this study, 6 times in all" in (study / "report.html").read_text()

    again = _finish(start("confirm", "s", "--top", "2", "--seeds", "3"))  # nothing is trained or opened again
    assert "6 of them done before" in again
    assert len((tmp_path / "outputs" / LOG).read_text().splitlines()) == 6
    _finish(
        start("confirm", "s", "--top", "3", "--seeds", "1")
    )  # a larger --top trains what is missing, and keeps seeds
    assert sorted(len(each["seeds"]) for each in _read(tmp_path)["configurations"]) == [1, 3, 3]
    assert len((tmp_path / "outputs" / LOG).read_text().splitlines()) == 7
    _finish(start("confirm", "s", "--pareto", "--seeds", "1"))  # all trials have one size: the front is the best one
    assert len((tmp_path / "outputs" / LOG).read_text().splitlines()) == 7

    refused = start("report", str(done / "trial-0" / "seed-1001"))
    output, _ = refused.communicate(timeout=100)
    assert "a report needs a run with validation" in output
    best = study / str(configurations[0]["trial"])
    assert "record: outputs/confirmations/" in _finish(start("confirm", str(best), "--seeds", "1"))


@pytest.mark.slow
def test_a_diverging_seed_loses_no_other_and_is_said(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """A config that cannot be trained fails alone: the others are confirmed, the exit status is 1."""
    _finish(start(*SEARCH))
    study = tmp_path / "outputs/studies/s"
    config = study / "1/.hydra/config.yaml"
    config.write_text(config.read_text().replace("lr: 0.02", "lr: 1.0e+09"))
    process = start("confirm", "s", "--seeds", "1")
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 1
    assert "failed: trial-1 seed 1001: training loss must stay finite" in output
    assert "try again:\npython -m sweeper confirm s --seeds 1" in output
    assert {each["name"] for each in _read(tmp_path)["configurations"]} == {"trial-0", "trial-2"}


def test_runs_are_confirmed_in_their_own_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From another working folder too: otherwise that one's log would get the openings, and the runs' study miss them."""
    run = next(path.parent for path in sorted((CHECKOUT / "tests" / "saved").rglob("result.json")))
    copy = tmp_path / "project" / "outputs" / "runs" / "a"
    shutil.copytree(run, copy)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    selection = select_runs([Path("../project/outputs/runs/a")])
    assert selection.folder == tmp_path / "project" / "outputs" / "confirmations" / "runs-a"
    monkeypatch.chdir(tmp_path / "project")
    assert select_runs([Path("outputs/runs/a")]).folder == Path("outputs/confirmations/runs-a")
    assert len(select_runs([Path("outputs/runs/a"), Path("outputs/runs/a/")]).candidates) == 1
    (copy / ".hydra" / "config.yaml").write_text("model: {}\ntraining: {}\n")
    with pytest.raises(RunFolderError, match=r"needs runs of sweeper, but the config of outputs/runs/a is none: "):
        select_runs([Path("outputs/runs/a")])
    with pytest.raises(RunFolderError, match=r"needs the folder of each of its runs, but outputs/runs/b is missing"):
        select_runs([Path("outputs/runs/b")])


def test_seeds_are_those_that_the_search_never_used() -> None:
    """The same ones each time; more of them begin with the same; a used one is skipped."""
    fresh = Selection(name="s", study=None, folder=Path(), candidates=[], used_seeds=frozenset({1, 2, 1002}))
    assert fresh.seeds(3) == [1001, 1003, 1004]
    assert fresh.seeds(4)[:3] == fresh.seeds(3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "STUDY must be a study's name or folder, but nothing is neither"),
        (["nothing", "--top", "2", "--pareto"], "--top and --pareto exclude each other"),
        (["nothing", "--seeds", "0"], "argument --seeds: must be 1 to 1000, but got '0'"),
        (["one", "two"], "several names must all be runs' folders, but one is not"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], message: str, sweeper_call: Call) -> None:
    """The rule, the value, the fix."""
    completed = sweeper_call("confirm", *arguments)
    assert completed.returncode == 1
    assert message in completed.stderr
    assert completed.stderr.count("\n") == 1


def test_a_run_without_validation_is_refused_where_a_value_is_needed(sweeper_call: Call) -> None:
    """data.validation=none trains without a value: one line says what to do instead, before anything is loaded."""
    completed = sweeper_call("data=mnist5k", "data.validation=none")
    assert completed.returncode == 1
    assert "data.validation must be split or test, but got none" in completed.stderr


@pytest.mark.slow
def test_a_confirmations_parent_imports_no_torch(
    start: Callable[..., subprocess.Popen[str]], root: Path, tmp_path: Path
) -> None:
    """Only workers train: the process that waits for them stays small."""
    _finish(start(*SEARCH))
    code = (
        "import sys; from sweeper.cli.main import main; sys.argv = ['sweeper', 'confirm', 's', '--seeds', '1', '--top', '1']\n"
        "if __name__ == '__main__': assert main() == 0; assert 'torch' not in sys.modules"
    )
    (tmp_path / "parent.py").write_text(code)
    variables = environment(SWEEPER_DATA=str(root))
    subprocess.run([sys.executable, "parent.py"], cwd=tmp_path, env=variables, check=True)
    state = torch.load(next(tmp_path.glob("outputs/studies/s/confirmation/*/*/model.pt")), weights_only=True)
    assert state
