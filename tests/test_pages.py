"""Pages: what they hold of real and of hostile studies, what is refused, and how they behave in a real browser."""

import math
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

import sweeper
from sweeper.config.composition import compose
from sweeper.errors import RunFolderError, StudyError
from sweeper.report.build import build_page
from sweeper.report.study_figures import pareto_front, short_names, study_figures
from sweeper.study import trials as ledger
from sweeper.study.attributes import FAILED, OWNER, PARAMETERS, REJECTED, RULE
from sweeper.study.storage import journal_url, open_storage

from .browser import Visit
from .conftest import Completed, Sweeper, command, environment

HOSTILE = "<img src=x onerror=window.hit=1></script><script>window.hit=1</script>{{7*7}}"
PAGE_BYTES = 6_000_000


@pytest.fixture
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Studies are looked for below the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _study(name: str = "one", *, direction: Literal["maximize", "minimize"] = "maximize") -> optuna.Study:
    """An empty study in its folder."""
    folder = Path("outputs/studies") / name
    study = optuna.create_study(
        study_name=name, storage=open_storage(journal_url(folder / "journal.log")), direction=direction
    )
    (folder / "search.yaml").write_text("base: {target: 0.99, budget: {parameters: 9999}}\nspace: {}\n")
    return study


def _add(
    study: optuna.Study,
    value: float | None,
    attrs: dict[str, Any] | None = None,
    state: TrialState = TrialState.COMPLETE,
) -> None:
    """Add a finished trial of two epochs, whole unless said otherwise."""
    study.add_trial(
        create_trial(
            state=state,
            value=value if state is TrialState.COMPLETE else None,
            params={"optimizer.lr": 0.1, "model.groups.block1.channels.0": len(study.trials) + 1},
            distributions={
                "optimizer.lr": FloatDistribution(0.001, 1, log=True),
                "model.groups.block1.channels.0": IntDistribution(1, 20),
            },
            intermediate_values={} if value is None else {1: value / 2, 2: value},
            user_attrs=attrs,
        )
    )


def _page(name: str = "one") -> str:
    return build_page([name], storage=None, out=None).path.read_text()


def _text(page: str) -> str:
    """A page's words, without plotly, figures, style and tags."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare)).replace(" :", ":")


# -- without a browser ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_here")
def test_an_empty_study_has_a_page() -> None:
    """No trial yet: the page says so, and draws nothing."""
    _study()
    text = _text(_page())
    assert "No trial has finished yet" in text
    assert "There is no trial in this study yet" in text


@pytest.mark.usefixtures("_here")
def test_a_study_of_failures_says_why() -> None:
    """Where all failed, the page counts them and shows each one's reason."""
    study = _study()
    for _ in range(3):
        _add(study, None, {FAILED: "training loss must stay finite"}, TrialState.FAIL)
    text = _text(_page())
    assert "3 failed, for the reasons in the table below" in text
    assert text.count("training loss must stay finite") == 3


@pytest.mark.usefixtures("_here")
def test_a_study_that_is_running_says_so() -> None:
    """A page of a running study counts what runs, what was killed with its process, and the trials that are done."""
    study = _study()
    _add(study, 0.98, {PARAMETERS: 5000})
    mine = ledger._me()
    study.ask().set_user_attr(OWNER, mine)
    study.ask().set_user_attr(OWNER, {**mine, "started": "at another time"})
    text = _text(_page())
    assert "3 trials; 1 running when this was written, 1 cut short with their process" in text
    assert "98.00%" in text


@pytest.mark.usefixtures("_here")
def test_a_page_shows_best_states_reasons_and_space() -> None:
    """The best trial, the target, what was rejected by which rule, and short names of what varies."""
    study = _study()
    for value, parameters in ((0.97, 9000), (0.991, 8000), (0.95, 4000)):
        _add(study, value, {PARAMETERS: parameters})
    _add(study, 0.5, state=TrialState.PRUNED)
    _add(study, None, {REJECTED: "model has 12,000 parameters", RULE: "over budget"}, TrialState.PRUNED)
    text = _text(_page())
    assert "99.10% validation accuracy of 99.00% wanted, with 8,000 parameters: trial 1" in text
    assert "2 of 3 whole trials are on the front" in text
    assert "over budget 1 model has 12,000 parameters" in text
    assert "1 pruned and 3 whole trials" in text
    assert "block1.0" in text
    assert "0.001 to 1, logarithmic" in text


@pytest.mark.usefixtures("_here")
def test_a_minimised_study_has_the_lowest_as_its_best() -> None:
    """Which way is better comes from the study."""
    study = _study(direction="minimize")
    for value in (0.3, 0.1, 0.2):
        _add(study, value, {PARAMETERS: 5000})
    assert "with 5,000 parameters: trial 1" in _text(_page())


@pytest.mark.usefixtures("_here")
def test_hostile_words_stay_words() -> None:
    """Names, values and reasons that look like markup, script or template are shown as they are."""
    study = _study()
    for value, choice in ((0.9, HOSTILE), (0.8, "plain")):
        study.add_trial(
            create_trial(
                value=value,
                params={HOSTILE: choice},
                distributions={HOSTILE: CategoricalDistribution([HOSTILE, "plain"])},
                user_attrs={PARAMETERS: 5000},
            )
        )
    _add(study, None, {FAILED: HOSTILE}, TrialState.FAIL)
    _add(study, None, {REJECTED: HOSTILE, RULE: HOSTILE}, TrialState.PRUNED)
    page = _page()
    assert "<img" not in page
    assert "window.hit=1</script>" not in page
    assert page.count("</script>") == 3  # the figures, plotly, our own
    assert "&lt;img src=x" in page
    assert "{{7*7}}" in page


@pytest.mark.usefixtures("_here")
def test_a_thousand_trials_are_one_file_of_six_megabytes_and_their_data() -> None:
    """Plotly is in the page once; a trial adds at most two kilobytes to it; nothing in it is loaded from elsewhere."""
    study = _study()
    _add(study, 0.9, {PARAMETERS: 5000})
    small = len(_page().encode())
    assert small < PAGE_BYTES
    study.add_trials(
        [
            create_trial(
                value=0.9 + 0.09 * math.sin(at),
                params={f"x{key}": at / 1000 for key in range(6)},
                distributions={f"x{key}": FloatDistribution(0, 1) for key in range(6)},
                intermediate_values={epoch: 0.5 + epoch / 10 for epoch in range(1, 5)},
                user_attrs={PARAMETERS: 4000 + at},
            )
            for at in range(1000)
        ]
    )
    page = _page()
    assert len(page.encode()) < small + 1000 * 2_000
    own = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", own)
    assert "default-src 'none'" in own


def test_trials_are_drawn_under_their_own_numbers() -> None:
    """Points and the best-so-far line stand at the numbers people know, though rejected proposals are not drawn."""
    study = optuna.create_study(direction="maximize")
    rejected = {REJECTED: "model has 12,000 parameters", RULE: "over budget"}
    for value in (None, 0.9, None, 0.95, None, 0.8):
        _add(
            study,
            value,
            rejected if value is None else None,
            TrialState.PRUNED if value is None else TrialState.COMPLETE,
        )
    history = study_figures(study, target=None, budget=None)[0]
    assert history.figure is not None
    assert [list(trace.x) for trace in history.figure.data if trace.x] == [[1, 3, 5], [1, 3, 5]]
    assert [list(trace.y) for trace in history.figure.data if trace.x] == [[0.9, 0.95, 0.8], [0.9, 0.95, 0.95]]


@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.integers()), min_size=1),
    st.booleans(),
)
def test_no_point_beats_one_on_the_front(points: list[tuple[int, float, int]], maximize: bool) -> None:  # noqa: FBT001
    """Each point is on the front, or one there is at least as good with no more parameters; none there beats another."""

    def beats(one: tuple[int, float, int], other: tuple[int, float, int]) -> bool:
        return one[0] <= other[0] and (one[1] >= other[1] if maximize else one[1] <= other[1])

    front = pareto_front(points, maximize=maximize)
    assert set(front) <= set(points)
    assert all(any(beats(kept, point) for kept in front) for point in points)
    assert not any(beats(one, other) for one in front for other in front if one is not other)


@given(
    st.lists(st.sampled_from(["a.lr", "b.lr", "model.groups.x.channels.0", "model.groups.x.channels.1", "x.0", "lr"]))
)
def test_short_names_tell_keys_apart(keys: list[str]) -> None:
    """No two keys share a short name."""
    names = short_names(keys)
    assert len(set(names.values())) == len(set(keys))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs that differ in one value; not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    for name, dropout in (("a", 0.0), ("b", 0.1)):
        conf = compose(["data=mnist5k", "model=compact", "training.epochs=2", f"model.dropout={dropout}"])
        sweeper.run(conf, folder=folder / name, show=False)
    return [folder / "a", folder / "b"]


def test_a_runs_page_has_its_mistakes_as_pictures(runs: list[Path], tmp_path: Path) -> None:
    """At most 25 pictures, each named by what it is and was taken for; target, result and analysis as in report.md."""
    page = build_page([str(runs[0])], storage=None, out=tmp_path / "page.html").path.read_text()
    assert 1 <= page.count('<img src="data:image/png;base64,') <= 25
    assert re.search(r'alt="A \d taken for a \d"', page)
    for heading in ("Target", "Result", "The worst mistakes", "Analysis"):
        assert f">{heading}</h2>" in page
    assert "validation images were taken for another class" in _text(page)


def test_runs_side_by_side_show_what_differs(runs: list[Path], tmp_path: Path) -> None:
    """The one key that differs, both values, both results, and how far apart is within the noise."""
    published = build_page([str(run) for run in runs], storage=None, out=tmp_path / "page.html")
    text = _text(published.path.read_text())
    assert "model.dropout 0 0.1" in text
    assert "optimizer.lr" not in text
    assert "that two measurements on so many images may differ by" in text
    assert text.count("python -m sweeper reproduce") == 2


def test_missing_images_are_said_and_cost_only_the_pictures(runs: list[Path], tmp_path: Path) -> None:
    """A run whose data are gone has its page, which says why there are no pictures."""
    run = Path(shutil.copytree(runs[0], tmp_path / "run"))
    config = run / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace("name: mnist5k", "name: mnist").replace("root:", "root: /nowhere #"))
    (tmp_path / "file").write_text("")
    config.write_text(re.sub(r"root: .*", f"root: {tmp_path / 'file'}", config.read_text()))
    text = _text(build_page([str(run)], storage=None, out=None).path.read_text())
    assert f"The images cannot be shown: data=mnist is not in data.root={tmp_path / 'file'}, and nothing is" in text


@pytest.mark.usefixtures("_here")
def test_what_is_neither_run_nor_study_is_one_line(sweeper_call: Callable[..., Completed], runs: list[Path]) -> None:
    """A name that is nothing, a stranger's folder, a study among runs, a location that cannot be written: exit 1, one line."""
    _study("known")
    Path("stranger").mkdir()
    for arguments, said in (
        (["nothing"], "nothing is none of these: studies in outputs/studies: known"),
        (["stranger"], "stranger is none of these"),
        ([str(runs[0]), "known"], "a comparison is of runs' folders alone, but known is none"),
        (["known", "--out", "stranger"], "stranger cannot be written"),
        (["known", "--out", "outputs/studies/known/journal.log/page"], "cannot be written"),
        (["known", "--storage", "sqlite:///none.db"], "none.db is no file"),
    ):
        done = sweeper_call("report", *arguments)
        assert done.returncode == 1, arguments
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    assert not list(Path("stranger").iterdir())


@pytest.mark.usefixtures("_here")
def test_a_page_written_from_within_says_where_its_run_is(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`report .` names the folder and gives a command that runs from anywhere."""
    run = Path(shutil.copytree(runs[0], tmp_path / "run"))
    monkeypatch.chdir(run)
    page = build_page(["."], storage=None, out=None).path.read_text()
    assert f"<title>{run}</title>" in page
    assert f"python -m sweeper reproduce {run}" in page


@pytest.mark.usefixtures("_here")
def test_damaged_folders_are_one_line_and_nothing_is_written(runs: list[Path], tmp_path: Path) -> None:
    """A journal or a run that is damaged is named; the page of before stays."""
    _add(_study(), 0.9)
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


# -- in a browser --------------------------------------------------------------------------------------------------

SEARCH = [
    *("-m", "search=card", "data=mnist5k", "model=compact", "training.epochs=3", "hydra.sweeper.n_trials=20"),
    *("hydra.sweeper.stop_at_target=false", "hydra.sweeper.study_name=real"),
]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a real study of at least 20 trials, its page written by the search itself."""
    folder = tmp_path_factory.mktemp("searched")
    done = subprocess.run(
        command(*SEARCH), cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert "report: outputs/studies/real/report.html" in done.stdout
    return folder


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


def _undrawn(visit: Visit) -> list[str]:
    """The figures in which nothing but axes is drawn."""
    script = """[...document.querySelectorAll('.plot')].filter(plot => {
        const marks = plot.querySelectorAll('.points path, .lines path, .hm image, .textpoint, .js-line');
        return ![...marks].some(mark => { const box = mark.getBoundingClientRect(); return box.width + box.height > 2; });
    }).map(plot => plot.id)"""
    undrawn: list[str] = visit.page.evaluate(script)
    return undrawn


@pytest.fixture
def _quiet(visit: Visit) -> Iterator[None]:
    """After the test: no console error, and no request left the machine."""
    yield
    assert visit.errors == []
    assert visit.elsewhere("file://") == []


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_studys_page_is_drawn_at_every_width(searched: Path, visit: Visit, width: int, dark: bool) -> None:  # noqa: FBT001
    """On a phone and a desktop, light and dark: every figure is drawn, the page itself never scrolls sideways."""
    _open(visit, searched / "outputs/studies/real/report.html", width=width, dark=dark)
    assert visit.page.locator(".plot").count() == 6
    assert _undrawn(visit) == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    background = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(13, 17, 23)") is dark


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
def test_the_table_sorts_and_filters(searched: Path, visit: Visit) -> None:
    """A column's name sorts, again the other way, empty cells last; words, bounds and states filter; all by keyboard too."""
    _open(visit, searched / "outputs/studies/real/report.html")
    numbers = [int(text) for text in _column(visit, 1)]
    assert numbers == sorted(numbers)
    assert len(numbers) >= 20
    accuracy = visit.page.get_by_role("button", name="accuracy", exact=True)
    accuracy.focus()
    visit.page.keyboard.press("Enter")
    rising = [float(text.rstrip("%")) for text in _column(visit, 3) if text]
    assert rising == sorted(rising)
    visit.page.keyboard.press("Enter")
    shown = _column(visit, 3)
    falling = [float(text.rstrip("%")) for text in shown if text]
    assert falling == sorted(falling, reverse=True)
    assert shown == [text for text in shown if text] + [text for text in shown if not text]
    assert visit.page.locator("th[aria-sort=descending]").inner_text().strip().startswith("accuracy")

    visit.page.get_by_label("State").select_option("pruned")
    assert set(_column(visit, 2)) == {"pruned"}
    visit.page.get_by_label("State").select_option("")
    median = sorted(rising)[len(rising) // 2]
    visit.page.get_by_label("Filter").fill(f"accuracy>{median}% done")
    kept = _column(visit, 3)
    assert kept
    assert all(float(text.rstrip("%")) > median for text in kept)
    assert set(_column(visit, 2)) == {"done"}
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
        ("time>1", "time>1s"),
        ("time>0s", "time>0s accuracy>"),
    ):
        assert shown_by(one) == shown_by(same), same
    assert shown_by("trial=3") == ["3"]
    assert len(shown_by("state=done")) == len(shown_by("state=DONE")) > 0
    assert set(_column(visit, 2)) == {"done"}
    assert shown_by(f"accuracy>={median}% accuracy<={median}%") == shown_by(f"accuracy={median}%") != []
    visit.page.get_by_label("Filter").fill("acuracy>3 done")
    assert (
        "not understood: acuracy>3 (a column is one of trial, state, accuracy,"
        in visit.page.locator("#shown").inner_text()
    )


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
def test_the_command_a_page_shows_runs_the_best_trial_again(searched: Path, visit: Visit) -> None:
    """What stands under the best trial, typed as it stands, ends in `identical`; the trial's link leads to its folder."""
    _open(visit, searched / "outputs/studies/real/report.html")
    shown = visit.page.locator(".command code").first.inner_text()
    words = shlex.split(shown)
    assert words[:3] == ["python", "-m", "sweeper"]
    done = subprocess.run(
        command(*words[3:]), cwd=searched, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "\nidentical: " in done.stdout
    link = visit.page.locator("#trials tbody a").first.evaluate("link => link.href")
    assert Path(link.removeprefix("file://")).is_dir()


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
def test_the_pages_of_runs_are_drawn(searched: Path, visit: Visit, runs: list[Path]) -> None:
    """A run's page and a comparison's: figures drawn, pictures of 28 pixels shown, nothing wider than a phone."""
    best = searched / "outputs/studies/real/best"
    for names in ([str(best)], [str(run) for run in runs]):
        out = searched / f"{len(names)}.html"
        build_page(names, storage=None, out=out)
        _open(visit, out, width=390)
        assert _undrawn(visit) == []
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    _open(visit, searched / "1.html")
    widths = visit.page.evaluate("[...document.querySelectorAll('.mistakes img')].map(image => image.naturalWidth)")
    assert widths
    assert set(widths) == {28}


@pytest.mark.slow
@pytest.mark.usefixtures("_here", "_quiet")
def test_a_hostile_study_does_nothing_in_a_browser(visit: Visit) -> None:
    """Markup in names, values and reasons is not run, nor drawn as markup in a figure."""
    study = _study()
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
    _page()
    _open(visit, Path("outputs/studies/one/report.html").absolute())
    assert visit.page.evaluate("window.hit") is None
    assert visit.page.locator("img").count() == 0


@pytest.mark.slow
def test_every_part_of_a_page_has_a_name(searched: Path, visit: Visit) -> None:
    """For a screen reader: every table a caption and headers with a scope, every field a label, every figure a name."""
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
def test_the_page_of_a_search_that_failed_is_there(sweeper_process: Sweeper, tmp_path: Path) -> None:
    """A search that ends because too much failed leaves its page too, with the failures."""
    done = sweeper_process(
        "-m", "optimizer.lr=1e6,1e7", "data=mnist5k", "model=compact", "hydra.sweeper.study_name=bad"
    )
    assert done.returncode == 1
    assert "report: outputs/studies/bad/report.html" in done.stdout
    assert "2 failed" in _text((tmp_path / "outputs/studies/bad/report.html").read_text())
