"""The dashboard in a real browser: what it shows, as text, and what it does not offer."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from .browser import Visit
from .dashboards import serving
from .processes import Sweeper
from .studies import TINY, close, make_journal

HOSTILE = "<img src=x onerror=alert(1)> `tick` [link](http://example.com) ![](http://example.com/i.png) $x$"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies are found below the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_a_browser_shows_studies_notes_and_files(visit: Visit, sweeper_process: Sweeper) -> None:
    """A real search in real Chromium: it is listed, a trial's note and files are shown, nothing is loaded from elsewhere."""
    swept = ["-m", *TINY, "model.dropout=0.05,0.1", "hydra.sweeper.n_jobs=1", "hydra.sweeper.study_name=shown"]
    assert sweeper_process(*swept).returncode == 0
    with serving() as (address, _):
        visit.page.goto(f"{address}/")
        visit.page.get_by_text("shown").first.click()
        visit.page.get_by_text("Best Trial (number=").wait_for()
        visit.page.goto(f"{address}/dashboard/studies/0/trials?numbers=1")
        visit.page.get_by_text("python -m sweeper reproduce outputs/studies/shown/1").wait_for()
        images = visit.page.locator("img[src*='/artifacts/0/']")
        images.nth(1).wait_for()
        # The widths in pixels of the curves and the confusion matrix.
        widths = [image.evaluate("image => image.decode().then(() => image.naturalWidth)") for image in images.all()]
        assert sorted(widths) == [500, 1100]
        visit.page.get_by_text("config.yaml").first.wait_for()
        visit.page.goto(f"{address}/dashboard/studies/0/note")
        visit.page.get_by_text("Run it again:").wait_for()
        visit.page.get_by_text("Target missed by ").wait_for()
        visit.page.get_by_text("The study's page").click()
        visit.page.wait_for_url(f"{address}/pages/0/report.html")
        visit.page.get_by_text("Target missed by ").first.wait_for()
        visit.page.goto(f"{address}/dashboard/studies/0/trials?numbers=1")
        visit.page.get_by_text("The trial's report").click()
        visit.page.get_by_role("heading", name="Network").wait_for()
        assert visit.requests_outside(address) == []
    assert visit.errors == []


@pytest.mark.slow
def test_a_browser_shows_hostile_names_as_text(visit: Visit, tmp_path: Path) -> None:
    """Names and reasons that are HTML and Markdown are shown character by character: no image, no link, no script."""
    database = f"sqlite:///{tmp_path}/hostile.db"
    study = optuna.create_study(study_name=HOSTILE, storage=database, direction="maximize")
    trial = study.ask()
    trial.suggest_categorical(HOSTILE, [HOSTILE])
    trial.set_user_attr("failed", HOSTILE)
    study.tell(trial, state=TrialState.FAIL)
    close(study)
    with serving("--storage", database) as (address, _):
        for path in ("/dashboard", "/dashboard/studies/0/trials?numbers=0", "/dashboard/studies/0/note"):
            visit.page.goto(address + path)
            visit.page.get_by_text("onerror=alert(1)").first.wait_for()
            assert visit.page.locator("img[src='x'], img[src*='example.com'], a[href*='example.com']").count() == 0
        assert visit.requests_outside(address) == []
    assert visit.errors == []


REFUSED = ("rename study", "delete study", "Create", "Upload a New File")


@pytest.mark.slow
def test_a_browser_offers_nothing_that_is_refused(visit: Visit) -> None:
    """No button to create, rename or delete a study, to edit a note or to upload a file is shown; what is left works."""
    folder = make_journal("kept")
    (folder / "0").mkdir()
    (folder / "0" / "run.log").write_text("line\n")
    before = (folder / "journal.log").read_bytes()
    with serving() as (address, _):
        for path in ("", "/studies/0", "/studies/0/trials?numbers=0", "/studies/0/note"):
            visit.page.goto(f"{address}/dashboard{path}")
            visit.page.get_by_text("kept").first.wait_for()
            visit.page.locator("button").nth(1).wait_for()
            for button in visit.page.locator("button").all():
                words = f"{button.get_attribute('aria-label')} {button.inner_text()}"
                assert not (button.is_visible() and any(word.lower() in words.lower() for word in REFUSED)), words
            for icon in ("EditIcon", "DeleteIcon", "UploadFileIcon"):
                assert not any(one.is_visible() for one in visit.page.locator(f"svg[data-testid={icon}]").all()), icon
        assert visit.page.get_by_role("button", name="open drawer").is_visible()
        assert visit.requests_outside(address) == []
    assert visit.errors == []
    assert (folder / "journal.log").read_bytes() == before
