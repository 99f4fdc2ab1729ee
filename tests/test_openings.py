"""The log of openings of the test set: complete, before the images are returned, right for each study, and unavoidable."""

import ast
import json
import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.config.schema import DataConf
from sweeper.data import files
from sweeper.data.files import Part, read_files
from sweeper.data.images import read
from sweeper.data.openings import LOG, Opening, count_openings, record_opening
from sweeper.data.splits import split
from sweeper.errors import DataError

from .composed import compose
from .processes import CHECKOUT
from .studies import TINY, Call

PACKAGE = CHECKOUT / "sweeper"


def _entries(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "outputs" / LOG).read_text().splitlines()]


def test_only_one_function_reads_test_images() -> None:
    """The names of test files, and which embedded digits are test images, occur in data/files.py alone, behind its log."""
    secrets = {"t10k", "mnist_5k.csv.gz", "EMBEDDED_TEST_EVERY"}
    users = {path for path in PACKAGE.rglob("*.py") if any(secret in path.read_text() for secret in secrets)}
    assert users == {PACKAGE / "data" / "files.py"}
    tree = ast.parse((PACKAGE / "data" / "files.py").read_text())
    readers = {
        function.name
        for function in tree.body
        if isinstance(function, ast.FunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and ast.unparse(call.func) in {"_read_embedded", "_read_torchvision"}
    }
    assert readers == {"read_files"}
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "data":
            assert not {"_read_embedded", "_read_torchvision", "_map_idx"} & {
                node.attr if isinstance(node, ast.Attribute) else node.id
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Attribute | ast.Name)
            }


@pytest.mark.parametrize("open_test_set", [read_files, read])
def test_an_opening_is_recorded_before_the_images_are_read(
    open_test_set: Callable[[DataConf, Part], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the moment when the file is read, the log has the opening already."""
    seen = []

    def reading(part: str) -> None:
        seen.append((part, len(_entries(tmp_path))))
        raise InterruptedError

    monkeypatch.setattr(files, "_read_embedded", reading)
    with pytest.raises(InterruptedError):
        open_test_set(compose(["data=mnist5k"]).data, "test")
    assert seen == [("test", 1)]


def test_a_log_that_cannot_be_written_keeps_the_test_set_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an error in one line, and no image is read."""
    (tmp_path / "outputs" / LOG).mkdir(parents=True)
    monkeypatch.setattr(files, "_read_embedded", lambda _: pytest.fail("test images were read"))
    with pytest.raises(
        DataError, match=r"must be recorded in .*test_openings.jsonl, but it cannot be written \(Is a dir"
    ):
        read_files(compose(["data=mnist5k"]).data, "test")


def test_training_and_validation_open_no_test_images(tmp_path: Path) -> None:
    """With a split, or without validation, the log stays empty; the embedded parts share no digit."""
    data = compose(["data=mnist5k"]).data
    kept = split(data)
    data.validation = "none"
    whole = split(data)
    assert not (tmp_path / "outputs").exists()
    assert (len(whole.train), len(whole.validation)) == (4_000, 0)
    assert set(kept.train.indices_b.tolist()).isdisjoint(kept.validation.indices_b.tolist())
    digits = {image.tobytes() for image in read_files(data, "train").images_nhw}
    assert digits.isdisjoint({image.tobytes() for image in read_files(data, "test").images_nhw})
    assert len(_entries(tmp_path)) == 1


def test_each_run_on_test_images_is_counted_once_for_its_folder(sweeper_call: Call, tmp_path: Path) -> None:
    """A run, a study's trials in one process, a page with test images and a reproduction are openings; reports count them."""
    assert sweeper_call(*TINY, "data.validation=test", "hydra.run.dir=outputs/runs/a").returncode == 0
    (entry,) = _entries(tmp_path)
    assert entry["folder"] == "runs/a"
    assert entry["weights_sha256"] is None  # each epoch's are evaluated
    assert "data.validation=test" in str(entry["command"])
    assert (
        "the test set was opened 1 time for this run, 1 time in all"
        in (tmp_path / "outputs/runs/a/report.md").read_text()
    )
    sweep = ["-m", *TINY, "data.validation=test", "seed=1,2", "hydra.sweeper.n_jobs=1"]
    assert sweeper_call(*sweep, "hydra.sweep.dir=outputs/studies/s").returncode == 0
    assert count_openings(tmp_path / "outputs/studies/s", "mnist5k").own == 2
    assert count_openings(tmp_path / "outputs/studies/s/1", "mnist5k").own == 1
    assert sweeper_call("report", "outputs/runs/a").returncode == 0
    assert "opened 2 times for this run, 4 times in all" in (tmp_path / "outputs/runs/a/report.html").read_text()
    assert sweeper_call("reproduce", "outputs/runs/a").returncode == 0
    assert count_openings(tmp_path / "outputs/runs/a", "mnist5k").total == 5
    assert "The test set was opened 2 times for this study" in (tmp_path / "outputs/studies/s/report.html").read_text()


def test_counts_follow_a_moved_folder_and_do_not_mix_studies(tmp_path: Path) -> None:
    """outputs/ can be moved or read from elsewhere; a study whose name begins like another's does not count for it."""
    conf, outputs = compose(["data=mnist5k"]).data, tmp_path / "here" / "outputs"
    for name in ("one/0", "one/1", "one-more/0"):
        record_opening(conf, Opening(folder=outputs / "studies" / name, weights_sha256="ab"))
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = tmp_path / "there" / "outputs" / "studies"
    count = count_openings(moved / "one", "mnist5k")
    assert (count.own, count.total, count.log) == (2, 3, moved.parent / LOG)
    assert count_openings(moved / "one", "mnist").total == 0


def test_a_study_is_counted_the_same_from_every_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its log is in its own outputs/, whether `confirm` and `report` run beside that or elsewhere, by a relative path or not."""
    conf, study = compose(["data=mnist5k"]).data, tmp_path / "project" / "outputs" / "studies" / "s"
    study.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    counts = []
    for cwd, name in ((elsewhere, study), (tmp_path / "project", Path("outputs/studies/s")), (study, Path())):
        monkeypatch.chdir(cwd)
        record_opening(conf, Opening(folder=name / "confirmation" / "trial-0" / "seed-1001", weights_sha256="ab"))
        counts += [count_openings(name, "mnist5k"), count_openings(study, "mnist5k")]
    assert [(count.own, count.total) for count in counts] == [(1, 1), (1, 1), (2, 2), (2, 2), (3, 3), (3, 3)]
    assert list(tmp_path.rglob(LOG)) == [tmp_path / "project" / "outputs" / LOG]


def test_passwords_are_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage's URL on the command line may hold one."""
    monkeypatch.setattr("sys.argv", ["sweeper", "confirm", "x", "--storage", "postgresql://me:@secret@host/db"])
    record_opening(compose(["data=mnist5k"]).data, Opening())
    assert "secret" not in (tmp_path / "outputs" / LOG).read_text()
    assert _entries(tmp_path)[0]["command"] == "python -m sweeper confirm x --storage 'postgresql://***@host/db'"


def _record_many(folder: str) -> None:
    for _ in range(50):
        record_opening(compose(["data=mnist5k"]).data, Opening(folder=Path(folder) / "outputs/runs/a"))


@pytest.mark.slow
def test_concurrent_processes_lose_no_record(tmp_path: Path) -> None:
    """Two processes record at once: every line is whole. A line that a crash cut short does not swallow the next one."""
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / LOG).write_text('{"when": "2026-')
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(_record_many, [str(tmp_path)] * 2)
    assert count_openings(tmp_path / "outputs/runs/a", "mnist5k").own == 100
    assert len((tmp_path / "outputs" / LOG).read_text().splitlines()) == 101
