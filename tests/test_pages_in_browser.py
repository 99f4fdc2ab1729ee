"""Pages of studies and runs in a real browser: figures, widths, paper, commands, accessibility, hostile text."""

import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import create_trial

from sweeper.report.build import build_page
from sweeper.study.attributes import FAILED, PARAMETERS

from .browsed_pages import empty_plots, open_page
from .browser import Visit
from .pages import HOSTILE, make_runs, make_study, page_of, text_of
from .processes import Sweeper, command, environment

A4_WIDTH = 703
"""A4 less its margins of 12 mm, in CSS pixels."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs that differ in one config key; not to be changed."""
    return make_runs(tmp_path_factory.mktemp("runs"))


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_studys_page_fits_every_width(searched: Path, visit: Visit, width: int, dark: bool) -> None:  # noqa: FBT001
    """On a phone and a desktop, light and dark, every figure is plotted and the page never scrolls sideways."""
    open_page(visit, searched / "outputs/studies/real/report.html", width=width, dark=dark)
    assert visit.page.locator(".plot").count() >= 5  # without importances, if pruning left fewer than 20 trials
    assert empty_plots(visit) == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    background = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(13, 17, 23)") is dark


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_kind_of_study_fits_every_width(studies: Path, visit: Visit, width: int, dark: bool) -> None:  # noqa: FBT001
    """Of one or 600 trials, interrupted, failed or infeasible: every plot shows something, nothing is too wide."""
    for page in sorted(studies.glob("*/report.html")):
        open_page(visit, page, width=width, dark=dark)
        assert empty_plots(visit) == [], page
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width, page
        assert visit.page.locator("#trials tbody tr:not([hidden])").count() > 0, page


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_is_cut_off_on_paper(studies: Path, visit: Visit, dark: bool) -> None:  # noqa: FBT001
    """On a sheet of A4 no table, figure or command is wider than the sheet, and text is dark even in a dark browser."""
    for page in sorted(studies.glob("*/report.html")):
        open_page(visit, page, dark=dark)
        visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        visit.page.emulate_media(media="print", color_scheme="dark" if dark else "light")
        visit.page.set_viewport_size({"width": A4_WIDTH, "height": 1000})
        wide = """limit => [...document.querySelectorAll('body *')].filter(part => part.getClientRects().length
            && !part.closest('.skip, .modebar-container, defs, clipPath') && part.getBoundingClientRect().right > limit + 1
        ).map(part => part.outerHTML.slice(0, 200))"""
        assert visit.page.evaluate(wide, A4_WIDTH) == [], page
        ink = visit.page.evaluate("getComputedStyle(document.body).color")
        assert ink == "rgb(27, 31, 36)", page
        assert not visit.page.locator(".copy").first.is_visible(), page
        assert visit.page.pdf(format="A4").startswith(b"%PDF"), page
        visit.page.emulate_media(media="screen")


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_the_command_a_page_shows_runs_the_best_trial_again(searched: Path, visit: Visit) -> None:
    """The command to run it again, typed as shown, prints `identical`; a trial's link leads to a file."""
    open_page(visit, searched / "outputs/studies/real/report.html")
    shown = visit.page.get_by_label("the command to run it again", exact=True).inner_text()
    words = shlex.split(shown)
    assert words[:3] == ["python", "-m", "sweeper"]
    done = subprocess.run(
        command(*words[3:]), cwd=searched, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "\nidentical: " in done.stdout
    link = visit.page.locator("#trials tbody a").first.evaluate("link => link.href")
    assert Path(link.removeprefix("file://")).is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_the_pages_of_runs_fit_a_phone(searched: Path, visit: Visit, runs: list[Path]) -> None:
    """On a run's page and on a comparison every figure is plotted, images show 28 pixels, nothing is too wide."""
    best = searched / "outputs/studies/real/best"
    for names in ([str(best)], [str(run) for run in runs]):
        out = searched / f"{len(names)}.html"
        build_page(names, storage=None, out=out)
        open_page(visit, out, width=390)
        assert empty_plots(visit) == []
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    open_page(visit, searched / "1.html")
    widths = visit.page.evaluate("[...document.querySelectorAll('.mistakes img')].map(image => image.naturalWidth)")
    assert widths
    assert set(widths) == {28}


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_a_hostile_study_does_nothing_in_a_browser(
    visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Markup in names, values and reasons is neither run nor rendered in a figure."""
    monkeypatch.chdir(tmp_path)
    study = make_study()
    for value, choice in ((0.9, HOSTILE), (0.8, "plain"), (0.7, HOSTILE)):
        study.add_trial(
            create_trial(
                value=value,
                params={HOSTILE: choice},
                distributions={HOSTILE: CategoricalDistribution([HOSTILE, "plain"])},
                intermediate_values={1: value},
                user_attrs={PARAMETERS: 5000, FAILED: HOSTILE},
            )
        )
    page_of()
    open_page(visit, Path("outputs/studies/one/report.html").absolute())
    assert visit.page.evaluate("window.hit") is None
    assert visit.page.locator("img").count() == 0


@pytest.mark.slow
def test_every_part_of_a_page_has_a_name(searched: Path, visit: Visit) -> None:
    """For screen readers every table has a caption and scoped headers, every field a label, every figure a name."""
    open_page(visit, searched / "outputs/studies/real/report.html")
    script = """[...document.querySelectorAll(selector)].filter(part => !named(part)).map(part => part.outerHTML)"""
    for selector, named in (
        ("table", "part.caption && part.caption.textContent.trim()"),
        ("th", "part.scope"),
        ("input, select", "part.labels.length"),
        ("[role=img]", "document.getElementById(part.getAttribute('aria-labelledby')).textContent.trim()"),
        ("[role=region]", "part.getAttribute('aria-label') || part.getAttribute('aria-labelledby')"),
        ("button", "part.textContent.trim() || part.getAttribute('aria-label')"),
    ):
        code = script.replace("selector", repr(selector)).replace("named(part)", f"({named})")
        assert visit.page.evaluate(code) == [], selector
    assert visit.page.evaluate("document.documentElement.lang") == "en"
    headings = visit.page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => Number(h.tagName[1]))")
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


@pytest.mark.slow
def test_a_failed_search_leaves_its_page(sweeper_process: Sweeper, tmp_path: Path) -> None:
    """A search that ends because too many trials failed leaves a page that counts them."""
    done = sweeper_process(
        "-m", "optimizer.lr=1e6,1e7", "data=mnist5k", "model=compact", "hydra.sweeper.study_name=bad"
    )
    assert done.returncode == 1
    assert "report: outputs/studies/bad/report.html" in done.stdout
    assert "2 failed" in text_of((tmp_path / "outputs/studies/bad/report.html").read_text())
