"""Pages of runs and comparisons, and what the verb `report` refuses."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.errors import RunFolderError, StudyError
from sweeper.report.build import build_page

from .pages import add_trial, make_runs, make_study, text_of
from .processes import Completed


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies are found below the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs that differ in one config key; not to be changed."""
    return make_runs(tmp_path_factory.mktemp("runs"))


def test_a_runs_page_shows_its_mistakes_as_images(runs: list[Path], tmp_path: Path) -> None:
    """At most 25 images, each with its true and predicted class; target, result and analysis as in report.md."""
    page = build_page([str(runs[0])], storage=None, out=tmp_path / "page.html").path.read_text()
    assert 1 <= page.count('<img src="data:image/png;base64,') <= 25
    assert re.search(r'alt="A \d predicted as a \d"', page)
    for heading in ("Analysis", "Worst mistakes", "Target", "Result", "Network"):
        assert f">{heading}</h2>" in page
    assert "validation images are misclassified" in text_of(page)


def test_runs_side_by_side_show_what_differs(runs: list[Path], tmp_path: Path) -> None:
    """A comparison shows the one key that differs, both values, both results and the size of the noise."""
    built = build_page([str(run) for run in runs], storage=None, out=tmp_path / "page.html")
    text = text_of(built.path.read_text())
    assert re.search(r"model\. ?dropout (0 0\.1|0\.1 0) ", text)
    assert "optimizer.lr" not in text
    assert re.search(r"is best with \d+\.\d\d %, .* noise\.|runs are equal with", text)
    assert text.count("python -m sweeper reproduce") == 2


@pytest.mark.parametrize("number", [0, 1])
def test_dropout_is_named_where_there_is_some(number: int, runs: list[Path], tmp_path: Path) -> None:
    """Training accuracy is said to be without dropout, in figures and tables, only of a network that has some."""
    page = build_page([str(runs[number])], storage=None, out=tmp_path / "page.html").path.read_text()
    assert ("dropout off" in page) == ("training, dropout on" in page) == (number == 1)
    assert ("training, after training" in page) == ("while training" in page) == (number == 0)


def test_a_page_without_its_data_set_says_why_it_has_no_images(runs: list[Path], tmp_path: Path) -> None:
    """A run whose data set is missing has a page, which says why it shows no images."""
    run = Path(shutil.copytree(runs[0], tmp_path / "run"))
    config = run / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace("name: mnist5k", "name: mnist").replace("root:", "root: /nowhere #"))
    (tmp_path / "file").write_text("")
    config.write_text(re.sub(r"root: .*", f"root: {tmp_path / 'file'}", config.read_text()))
    text = text_of(build_page([str(run)], storage=None, out=None).path.read_text())
    assert f"The images cannot be shown: data=mnist is not in data.root={tmp_path / 'file'}, and downloading is" in text


def test_what_is_neither_run_nor_study_is_one_line(sweeper_call: Callable[..., Completed], runs: list[Path]) -> None:
    """An unknown name, another program's folder, a study among runs, a file that cannot be written: exit 1, one line."""
    make_study("known")
    Path("other").mkdir()
    for arguments, said in (
        (["nothing"], "nothing is none of these: studies in outputs/studies: known"),
        (["other"], "other is none of these"),
        ([str(runs[0]), "known"], "several names must all be runs' folders, or all be studies, but known is no run"),
        (["known", "--out", "other"], "other cannot be written"),
        (["known", "--out", "outputs/studies/known/journal.log/page"], "cannot be written"),
        (["known", "--storage", "sqlite:///none.db"], "none.db is not a file"),
    ):
        done = sweeper_call("report", *arguments)
        assert done.returncode == 1, arguments
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    assert not list(Path("other").iterdir())


def test_a_report_of_the_working_directory_names_it(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`report .` shows the folder's path and a command that works from anywhere."""
    run = Path(shutil.copytree(runs[0], tmp_path / "run"))
    monkeypatch.chdir(run)
    page = build_page(["."], storage=None, out=None).path.read_text()
    assert f"<title>{run}</title>" in page
    assert f"python -m sweeper reproduce {run}" in page


def test_damaged_folders_are_one_line_and_nothing_is_written(runs: list[Path], tmp_path: Path) -> None:
    """A damaged journal or run is named, and the earlier page stays."""
    add_trial(make_study(), 0.9)
    page = build_page(["one"], storage=None, out=None).path
    before = page.read_bytes()
    journal = Path("outputs/studies/one/journal.log")
    journal.write_text("no json\n" + journal.read_text())
    with pytest.raises(StudyError, match="line 1 is damaged"):
        build_page(["one"], storage=None, out=None)
    assert page.read_bytes() == before
    run = Path(shutil.copytree(runs[0], tmp_path / "run"))
    (run / "result.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"result\.json must hold a run's result"):
        build_page([str(run)], storage=None, out=None)
    assert not (run / "report.html").exists()
