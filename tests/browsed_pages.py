"""What tests of study pages in a browser share: the pages, made once for all of them, opening one, a column's cells."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.study.attributes import OWNER

from .browser import Visit
from .pages import fill_study, make_study, page_of
from .processes import command, environment

SEARCH = [
    *("-m", "search=card", "data=mnist5k", "model=compact", "training.epochs=3", "hydra.sweeper.n_trials=20"),
    *("hydra.sweeper.stop_at_target=false", "hydra.sweeper.study_name=real"),
]


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a real study of at least 20 trials and the page that its search wrote."""
    folder = tmp_path_factory.mktemp("searched")
    done = subprocess.run(
        command(*SEARCH), cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert "report: outputs/studies/real/report.html" in done.stdout
    return folder


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of six studies with their pages: of one, 24 and 600 trials, interrupted, with failures, infeasible."""
    folder = tmp_path_factory.mktemp("studies")
    with contextlib.chdir(folder):
        for name, count, rejected, failed in (
            ("one", 1, 0, 0),
            ("twenty-four", 24, 22, 0),
            ("six-hundred", 600, 430, 9),
            ("failures", 40, 5, 11),
            ("interrupted", 17, 8, 0),
            ("infeasible", 0, 37, 0),
        ):
            study = make_study(name)
            fill_study(study, count, rejected=rejected, failed=failed)
            if name == "interrupted":
                for _ in range(2):
                    study.ask().set_user_attr(OWNER, {"host": "another", "pid": 1, "started": "at another time"})
            page_of(name)
    return folder / "outputs/studies"


def open_page(visit: Visit, path: Path, *, width: int = 1280, dark: bool = False) -> None:
    """Go to the page in a window of `width` pixels and wait until every figure is plotted."""
    visit.page.emulate_media(color_scheme="dark" if dark else "light", media="screen")
    visit.page.set_viewport_size({"width": width, "height": 900})
    visit.page.goto(path.as_uri())
    visit.page.wait_for_function(
        "[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('.main-svg'))"
    )


def column(visit: Visit, number: int) -> list[str]:
    """The texts that a column of the table of trials shows; columns are numbered from 1."""
    cells = visit.page.locator(f"#trials tbody tr:not([hidden]) > :nth-child({number})")
    return [text.strip() for text in cells.all_inner_texts()]


def empty_plots(visit: Visit) -> list[str]:
    """The figures that show nothing but axes."""
    script = """[...document.querySelectorAll('.plot')].filter(plot => {
        const marks = plot.querySelectorAll('.points path, .lines path, .hm image, .textpoint, .js-line');
        return ![...marks].some(mark => { const box = mark.getBoundingClientRect(); return box.width + box.height > 2; });
    }).map(plot => plot.id)"""
    empty: list[str] = visit.page.evaluate(script)
    return empty


@pytest.fixture
def quiet(visit: Visit) -> Iterator[None]:
    """After the test there was no console error, and no request left the machine."""
    yield
    assert visit.errors == []
    assert visit.requests_outside("file://") == []
