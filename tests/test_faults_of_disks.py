"""Disks that are full, and those that may only be read: what was finished is kept, one line says so, and the same command goes on."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sweeper.report import run_report
from sweeper.run.folder import RunFolder

from .processes import Start
from .studies import HERE, TINY, Call, only_study, trials_of, wait_for

SEARCH = ["-m", *TINY, "model.dropout=interval(0.0,0.3)", "hydra.sweeper.stop_at_target=false", *HERE]
PAGE = 4096
FULL = "no space left on the disk of "
Disk = Callable[[int], None]


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """The outputs of the working directory on a disk of their own; sets how many bytes of it are free."""
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a disk")
    mounted = _mount("-t", "tmpfs", "-o", "size=16m", "tmpfs", outputs)
    if not mounted:
        pytest.skip("this container may not mount a disk")
    monkeypatch.chdir(tmp_path)
    filler = outputs / ".filler"

    def leave(free: int) -> None:
        filler.unlink(missing_ok=True)
        used = os.statvfs(outputs)
        with suppress(OSError):
            filler.write_bytes(bytes(max(0, used.f_bavail * used.f_frsize - free)))

    yield leave
    _unmount(outputs)


def _mount(*arguments: str | Path) -> bool:
    """Whether it worked."""
    done = subprocess.run([shutil.which("mount") or "mount", *arguments], capture_output=True, check=False)
    return done.returncode == 0


def _unmount(folder: Path) -> None:
    subprocess.run([shutil.which("umount") or "umount", "--lazy", folder], check=True)


def _run_folder() -> Path:
    (folder,) = Path("outputs/runs").glob("*/*")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("pages", [0, 2, 5, 8, 11])
def test_a_run_on_a_full_disk_is_one_line_and_goes_on(disk: Disk, sweeper_call: Call, pages: int) -> None:
    """Wherever it is full: what the line says completes the run once there is space, and nothing is half written."""
    disk(pages * PAGE)
    done = sweeper_call(*TINY)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    said = done.stderr.strip()
    assert said.startswith(f"sweeper: {FULL}")
    assert "outputs: free some, then run " in said
    disk(2**24)
    command = said.partition("python -m sweeper ")[2].split() or TINY
    again = sweeper_call(*command)
    assert again.returncode == 0, again.stderr
    result = RunFolder(max(Path("outputs/runs").glob("*/*"))).read_result()
    assert result is not None
    assert not list(Path("outputs").rglob("*.tmp"))


@pytest.mark.slow
def test_a_report_that_cannot_be_written_hides_no_result(disk: Disk, sweeper_call: Call) -> None:
    """There is space for the weights and the result, not for the figures: the result is shown, a line warns, status 0."""
    disk(2**17)
    done = sweeper_call(*TINY)
    assert done.returncode == 0, done.stderr
    assert "validation accuracy" in done.stdout
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("! the run is complete, but"))
    assert FULL in line
    assert RunFolder(_run_folder()).read_result() is not None
    disk(2**24)
    assert sweeper_call(*line.partition("python -m sweeper ")[2].split()).returncode == 0
    assert (_run_folder() / "report.html").exists()


def test_a_figure_that_fails_hides_no_result(
    sweeper_call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever it raises: the result is shown, one line says why there is no report, and the status is 0."""

    def fail(*_: object) -> None:
        raise ValueError("no font\nsecond line")

    monkeypatch.setattr(run_report, "plot_curves", fail)
    done = sweeper_call(*TINY)
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("! the run is complete, but"))
    assert (
        "its report could not be written: ValueError: no font second line: run python -m sweeper report outputs/"
        in line
    )
    (folder,) = (tmp_path / "outputs" / "runs").glob("*/*")
    assert RunFolder(folder).read_result() is not None


@pytest.mark.slow
@pytest.mark.parametrize("pages", [0, 8, 30])
def test_a_search_on_a_full_disk_ends_in_one_line_and_goes_on(
    disk: Disk, sweeper_call: Call, tmp_path: Path, pages: int
) -> None:
    """No trial fails by it; with space the same command completes, and has what was complete before."""
    assert sweeper_call(*SEARCH, "hydra.sweeper.n_trials=1").returncode == 0
    (before,) = trials_of(only_study(tmp_path))
    disk(pages * PAGE)
    done = sweeper_call(*SEARCH, "hydra.sweeper.n_trials=3")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"sweeper: {FULL}")
    assert "failed" not in done.stdout
    disk(2**24)
    again = sweeper_call(*SEARCH, "hydra.sweeper.n_trials=3")
    assert again.returncode == 0, again.stderr
    trials = trials_of(only_study(tmp_path))
    assert trials[0].value == before.value
    assert sum(trial.state.name == "COMPLETE" for trial in trials) == 3
    assert all(trial.user_attrs.get("requeued") for trial in trials if trial.state.name == "FAIL")


@pytest.mark.slow
def test_outputs_that_become_read_only_are_one_line(disk: Disk, start: Start, tmp_path: Path) -> None:
    """In the middle of a search: it ends with status 1 and one line, and goes on once it may write."""
    disk(2**24)
    words = [*SEARCH[:-1], "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=3", "training.epochs=20"]
    process = start(*words)
    wait_for(lambda: len(list(tmp_path.glob("outputs/studies/*/*/metrics.jsonl"))) >= 2)
    outputs = tmp_path / "outputs"
    wait_for(lambda: _mount("-o", "remount,ro", outputs))  # refused while a file is open for writing
    out, err = process.communicate(timeout=120)
    assert _mount("-o", "remount,rw", outputs)
    assert process.returncode == 1, out
    assert err.count("\n") == 1, err
    assert "Read-only file system" in err
    again = start(*words)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert "3 of 3 trials" in out
