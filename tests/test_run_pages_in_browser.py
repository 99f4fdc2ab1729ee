"""Pages of runs in a real browser and on paper: widths, figures, legends below their plots, nothing cut off."""

from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.report.run_page import comparison_page, run_page

from .browsed_pages import open_page
from .browser import Visit
from .runs import make_record

PAPER_WIDTH = 703
"""Pixels of an A4 page without margins of 12 mm."""

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]


def _page(count: int, *overrides: str) -> str:
    """A page of that many runs with long common paths, all of them good but the last."""
    runs = []
    for number in range(count):
        val = [0.3, 0.9, 0.97 + number / 1000] if number < count - 1 else [0.1, 0.1, 0.1]
        record = make_record(f"optimizer.lr={(number + 1) / 100}", *overrides, val=val, train_eval=0.99)
        folder = Path("/data/lab/a-very-long-project-name/digits") / f"compact-onecycle-lr{number}-a-final-run"
        runs.append(replace(record, folder=folder))
    return run_page(runs[0]) if count == 1 else comparison_page(runs)


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_a_page_of_runs_fits_every_width(visit: Visit, tmp_path: Path, count: int) -> None:
    """On phone and desktop, light and dark, the page never scrolls sideways, and a plot keeps most of its height."""
    path = tmp_path / "page.html"
    path.write_text(_page(count))
    for width in (390, 1280):
        for dark in (False, True):
            open_page(visit, path, width=width, dark=dark)
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
            shares = visit.page.evaluate(
                """[...document.querySelectorAll('.plot .cartesianlayer .bglayer, .plot .cartesianlayer .gridlayer')]
                .map(grid => grid.getBoundingClientRect().height / grid.closest('.plot').clientHeight)"""
            )
            assert max(shares) > 0.5
    below = """[...document.querySelectorAll('ul.legend')].map(legend =>
        legend.getBoundingClientRect().top - legend.closest('figure').querySelector('.plot').getBoundingClientRect().bottom)"""
    assert all(distance >= 0 for distance in visit.page.evaluate(below))


@pytest.mark.parametrize("count", [1, 2, 20])
def test_on_paper_nothing_is_cut_off_or_covered(visit: Visit, tmp_path: Path, count: int) -> None:
    """Printed from a dark page, tables end within the sheet, plots end above their captions, and the page is light."""
    path = tmp_path / "page.html"
    path.write_text(_page(count))
    open_page(visit, path, width=PAPER_WIDTH, dark=True)
    visit.page.emulate_media(media="print", color_scheme="dark")
    visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    visit.page.wait_for_timeout(500)
    rights = "[...document.querySelectorAll('table, pre, .plot svg, figure')].map(x => x.getBoundingClientRect().right)"
    assert max(visit.page.evaluate(rights)) <= PAPER_WIDTH + 1
    covered = """[...document.querySelectorAll('figure')].filter(figure => {
        const plot = figure.querySelector('.main-svg').getBoundingClientRect();
        return figure.querySelector('figcaption').getBoundingClientRect().top < plot.bottom - 1;
    }).length"""
    assert visit.page.evaluate(covered) == 0
    assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
