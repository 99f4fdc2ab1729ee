"""Pages of studies and runs in a real browser: figures, sorting, filtering, widths, accessibility, hostile text."""

import contextlib
import shlex
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import create_trial

from sweeper.report.build import build_page
from sweeper.study.attributes import FAILED, OWNER, PARAMETERS

from .browser import Visit
from .conftest import Sweeper, command, environment
from .pages import HOSTILE, fill_study, make_runs, make_study, page_of, text_of

A4_WIDTH = 703
"""A4 less its margins of 12 mm, in CSS pixels."""
SEARCH = [
    *("-m", "search=card", "data=mnist5k", "model=compact", "training.epochs=3", "hydra.sweeper.n_trials=20"),
    *("hydra.sweeper.stop_at_target=false", "hydra.sweeper.study_name=real"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs that differ in one config key; not to be changed."""
    return make_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a real study of at least 20 trials and the page that its search wrote."""
    folder = tmp_path_factory.mktemp("searched")
    done = subprocess.run(
        command(*SEARCH), cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert "report: outputs/studies/real/report.html" in done.stdout
    return folder


@pytest.fixture(scope="module")
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


def _open(visit: Visit, path: Path, *, width: int = 1280, dark: bool = False) -> None:
    visit.page.emulate_media(color_scheme="dark" if dark else "light")
    visit.page.set_viewport_size({"width": width, "height": 900})
    visit.page.goto(path.as_uri())
    visit.page.wait_for_function(
        "[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('.main-svg'))"
    )


def _column(visit: Visit, number: int) -> list[str]:
    cells = visit.page.locator(f"#trials tbody tr:not([hidden]) > :nth-child({number})")
    return [text.strip() for text in cells.all_inner_texts()]


def _empty_plots(visit: Visit) -> list[str]:
    """The figures that show nothing but axes."""
    script = """[...document.querySelectorAll('.plot')].filter(plot => {
        const marks = plot.querySelectorAll('.points path, .lines path, .hm image, .textpoint, .js-line');
        return ![...marks].some(mark => { const box = mark.getBoundingClientRect(); return box.width + box.height > 2; });
    }).map(plot => plot.id)"""
    empty: list[str] = visit.page.evaluate(script)
    return empty


@pytest.fixture
def _quiet(visit: Visit) -> Iterator[None]:
    """After the test there was no console error, and no request left the machine."""
    yield
    assert visit.errors == []
    assert visit.requests_outside("file://") == []


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_studys_page_fits_every_width(searched: Path, visit: Visit, width: int, dark: bool) -> None:  # noqa: FBT001
    """On a phone and a desktop, light and dark, every figure is plotted and the page never scrolls sideways."""
    _open(visit, searched / "outputs/studies/real/report.html", width=width, dark=dark)
    assert visit.page.locator(".plot").count() >= 5  # without importances, if pruning left fewer than 20 trials
    assert _empty_plots(visit) == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    background = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(13, 17, 23)") is dark


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
def test_rejected_proposals_are_shown_on_demand(studies: Path, visit: Visit) -> None:
    """The table leaves rejected proposals out until their box is checked."""
    _open(visit, studies / "twenty-four/report.html")
    assert "rejected" not in _column(visit, 4)
    numbers = _column(visit, 1)
    visit.page.get_by_role("checkbox", name="rejected proposals").check()
    assert len(_column(visit, 1)) > len(numbers)
    visit.page.get_by_role("checkbox", name="rejected proposals").uncheck()
    assert _column(visit, 1) == numbers


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
def test_the_table_sorts_and_filters(searched: Path, visit: Visit) -> None:
    """A column's name sorts in both directions, empty cells last; words, bounds and states filter; the keyboard works."""
    _open(visit, searched / "outputs/studies/real/report.html")
    best_first = [
        float(text.rstrip("% "))
        for text, state in zip(_column(visit, 2), _column(visit, 4), strict=True)
        if state == "done"
    ]
    assert best_first == sorted(best_first, reverse=True)
    numbers = _column(visit, 1)
    assert len(numbers) >= 20
    accuracy = visit.page.get_by_role("button", name="accuracy", exact=True)
    accuracy.focus()
    visit.page.keyboard.press("Enter")
    shown = _column(visit, 2)
    falling = [float(text.rstrip("% ")) for text in shown if text]
    assert falling == sorted(falling, reverse=True)
    assert shown == [text for text in shown if text] + [text for text in shown if not text]
    assert visit.page.locator("th[aria-sort=descending]").inner_text().strip().startswith("accuracy")
    visit.page.keyboard.press("Enter")
    rising = [float(text.rstrip("% ")) for text in _column(visit, 2) if text]
    assert rising == sorted(rising)

    visit.page.get_by_label("State").select_option("pruned")
    assert set(_column(visit, 4)) == {"pruned"}
    visit.page.get_by_label("State").select_option("")
    median = sorted(rising)[len(rising) // 2]
    visit.page.get_by_label("Filter").fill(f"accuracy>{median}% done")
    kept = _column(visit, 2)
    assert kept
    assert all(float(text.rstrip("% ")) > median for text in kept)
    assert set(_column(visit, 4)) == {"done"}
    assert visit.page.locator("#shown").inner_text() == f"{len(kept)} of {len(numbers)} trials"
    visit.page.get_by_label("Filter").fill("no such word")
    assert _column(visit, 1) == []

    def shown_by(text: str) -> list[str]:
        visit.page.get_by_label("Filter").fill(text)
        return _column(visit, 1)

    for one, same in (
        (f"accuracy>{median}%", f"accuracy > {median}"),
        (f"accuracy>{median}%", f"ACCURACY>{median / 100}"),
        ("parameters<7000", "parameters < 7,000"),
        ("trial>=3 trial<=3", "trial=3"),
        ("whole>1", "whole>1s"),
        ("training>0s", "training > 0 s accuracy>"),
        ("block1.0>=8", "block1.0 >= 8"),
    ):
        assert shown_by(one) == shown_by(same), same
    assert shown_by(f"trial={numbers[0]}") == [numbers[0]]
    assert len(shown_by("state=done")) == len(shown_by("state=DONE")) > 0
    assert set(_column(visit, 4)) == {"done"}
    assert shown_by(f"accuracy>={median}% accuracy<={median}%") == shown_by(f"accuracy={median}%") != []
    visit.page.get_by_label("Filter").fill("acuracy>3 done")
    assert (
        "not understood: acuracy>3 (a column is one of trial, accuracy, parameters, state,"
        in visit.page.locator("#shown").inner_text()
    )


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_kind_of_study_fits_every_width(studies: Path, visit: Visit, width: int, dark: bool) -> None:  # noqa: FBT001
    """Of one or 600 trials, interrupted, failed or infeasible: every plot shows something, nothing is too wide."""
    for page in sorted(studies.glob("*/report.html")):
        _open(visit, page, width=width, dark=dark)
        assert _empty_plots(visit) == [], page
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width, page
        assert visit.page.locator("#trials tbody tr:not([hidden])").count() > 0, page


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
def test_a_large_table_shows_its_best_fifty(studies: Path, visit: Visit) -> None:
    """Fifty rows are shown until all are asked for; rejected ones that match a filter are counted."""
    _open(visit, studies / "six-hundred/report.html")
    assert len(_column(visit, 1)) == 50
    assert visit.page.locator("#shown").inner_text() == "600 of 600 trials, the first 50 shown"
    visit.page.get_by_label("Filter").fill("parameters>=9900")
    assert "430 rejected also match" in visit.page.locator("#shown").inner_text()
    visit.page.get_by_label("Filter").fill("over budget rejected")
    assert set(_column(visit, 4)) == {"rejected"}
    visit.page.get_by_label("Filter").fill("")
    visit.page.get_by_role("button", name="Show all 600").click()
    assert len(_column(visit, 1)) == 600


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
def test_a_header_and_the_first_columns_stay_in_sight(studies: Path, visit: Visit) -> None:
    """However far the table is scrolled, the column names, the trial and its accuracy are at its edges."""
    _open(visit, studies / "six-hundred/report.html", width=390)
    frame = visit.page.locator(".tall")
    frame.evaluate("frame => frame.scrollTo(300, 600)")
    edges = frame.evaluate(
        """frame => {
            const box = frame.getBoundingClientRect(), head = frame.querySelector("thead th").getBoundingClientRect();
            const row = frame.querySelectorAll("tbody tr")[30], [first, second] = [...row.cells].map(cell => cell.getBoundingClientRect());
            return [head.top - box.top, first.left - box.left, second.left - first.right, frame.scrollLeft, frame.scrollTop];
        }"""
    )
    assert edges[3] > 100
    assert edges[4] > 100
    assert [abs(edge) < 2 for edge in edges[:3]] == [True, True, True]


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
def test_a_row_opens_and_a_point_leads_to_its_row(searched: Path, visit: Visit) -> None:
    """A row opens to values, curve and commands, also by keyboard; a click on a point opens the row of its trial."""
    _open(visit, searched / "outputs/studies/real/report.html")
    first = visit.page.locator("#trials tbody tr").first
    number = first.locator(".open").inner_text()
    first.locator(".open").focus()
    visit.page.keyboard.press("Enter")
    opened = visit.page.locator("#trials .detail")
    assert opened.locator("polyline").count() == 1
    assert "optimizer.lr" in opened.inner_text()
    assert f"python -m sweeper reproduce outputs/studies/real/{number}" in opened.inner_text()
    visit.page.keyboard.press("Enter")
    assert opened.count() == 0

    visit.page.get_by_label("Filter").fill("no such trial")
    star = visit.page.locator("#history .points path").last
    star.scroll_into_view_if_needed()
    box = star.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    visit.page.mouse.move(x, y)
    visit.page.wait_for_timeout(300)
    visit.page.mouse.click(x, y)
    visit.page.locator("tr.found").wait_for()
    assert visit.page.locator("tr.found .open").inner_text() == number
    assert opened.count() == 1
    assert visit.page.evaluate("document.querySelector('tr.found').getBoundingClientRect().top") > 0


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_is_cut_off_on_paper(studies: Path, visit: Visit, dark: bool) -> None:  # noqa: FBT001
    """On a sheet of A4 no table, figure or command is wider than the sheet, and text is dark even in a dark browser."""
    for page in sorted(studies.glob("*/report.html")):
        _open(visit, page, dark=dark)
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
@pytest.mark.usefixtures("_quiet")
def test_the_command_a_page_shows_runs_the_best_trial_again(searched: Path, visit: Visit) -> None:
    """The command to run it again, typed as shown, prints `identical`; a trial's link leads to a file."""
    _open(visit, searched / "outputs/studies/real/report.html")
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
@pytest.mark.usefixtures("_quiet")
def test_the_pages_of_runs_fit_a_phone(searched: Path, visit: Visit, runs: list[Path]) -> None:
    """On a run's page and on a comparison every figure is plotted, images show 28 pixels, nothing is too wide."""
    best = searched / "outputs/studies/real/best"
    for names in ([str(best)], [str(run) for run in runs]):
        out = searched / f"{len(names)}.html"
        build_page(names, storage=None, out=out)
        _open(visit, out, width=390)
        assert _empty_plots(visit) == []
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    _open(visit, searched / "1.html")
    widths = visit.page.evaluate("[...document.querySelectorAll('.mistakes img')].map(image => image.naturalWidth)")
    assert widths
    assert set(widths) == {28}


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
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
    _open(visit, Path("outputs/studies/one/report.html").absolute())
    assert visit.page.evaluate("window.hit") is None
    assert visit.page.locator("img").count() == 0


@pytest.mark.slow
def test_every_part_of_a_page_has_a_name(searched: Path, visit: Visit) -> None:
    """For screen readers every table has a caption and scoped headers, every field a label, every figure a name."""
    _open(visit, searched / "outputs/studies/real/report.html")
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
