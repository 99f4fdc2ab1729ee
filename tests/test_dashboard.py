"""The dashboard: what it shows of real storages, what it refuses, and that a search does not notice it."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from optuna.trial import TrialState

from sweeper.dashboard.notes import study_note, trial_note
from sweeper.dashboard.serve import application
from sweeper.errors import StudyError
from sweeper.reading.read_only_storage import ReadOnlyStorage
from sweeper.report.markdown import code, fenced
from sweeper.study.storage import journal_url, open_storage

from .browser import Visit
from .conftest import Sweeper, command, environment
from .postgresql import PASSWORD
from .studies import TINY, Call, close, make_journal, storage_of, wait_for

ADDRESS = re.compile(r"dashboard: (http://127\.0\.0\.1:\d+)/ · (\d+) stud(?:y|ies) · Ctrl-C ends it\n")
HOSTILE = "<img src=x onerror=alert(1)> `tick` [link](http://example.com) ![](http://example.com/i.png) $x$"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies are looked for below the working directory."""
    monkeypatch.chdir(tmp_path)


@dataclass
class Answer:
    """What the application said."""

    status: str
    headers: dict[str, str]
    body: bytes


def _ask(shelf: ReadOnlyStorage, path: str, method: str = "GET", host: str = "127.0.0.1:8080") -> Answer:
    """Ask the application without a socket."""
    said: list[tuple[str, list[tuple[str, str]]]] = []
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "HTTP_HOST": host,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
    }
    chunks = application(shelf)(environ, lambda status, headers, _=None: said.append((status, headers)))
    body = b"".join(chunks)
    if hasattr(chunks, "close"):
        chunks.close()
    ((status, headers),) = said
    return Answer(status, dict(headers), body)


# -- notes ---------------------------------------------------------------------------------------------------------


@given(st.text(st.sampled_from("`<>&$|[]()! \\\n\r\tax")))
def test_foreign_text_is_never_markup(text: str) -> None:
    """A span or block holds any text as it is: a CommonMark parser finds code and nothing else."""
    (inline,) = MarkdownIt().parse(f"before {code(text)}")[1:2]
    kinds = {token.type for token in inline.children or []}
    if text.split():
        assert kinds == {"text", "code_inline"}
        assert " ".join(next(t.content for t in inline.children or [] if t.type == "code_inline").split()) == " ".join(
            text.split()
        )
    (block,) = MarkdownIt().parse(fenced(text))
    assert block.type == "fence"


def test_a_trials_note_says_what_became_of_it() -> None:
    """Rejected, failed, pruned and repeated trials each say so; costs and parameters are there."""

    def note(state: TrialState = TrialState.COMPLETE, **attrs: Any) -> str:
        value = 0.5 if state is TrialState.COMPLETE else None
        made = optuna.trial.create_trial(state=state, user_attrs=attrs, value=value)
        made.intermediate_values = {1: 0.25, 2: 0.5}
        return trial_note(made, None)

    costs = note(parameters=9736, macs=1234567, receptive_field=42)
    assert costs == "9,736 parameters · 1,234,567 MACs · receptive field 42×42 before the head"
    assert note(TrialState.PRUNED) == "Pruned after epoch 2, at 0.5000."
    assert note(TrialState.PRUNED, rejected=HOSTILE).startswith(f"Rejected, not trained: `` {HOSTILE} ``")
    assert note(TrialState.FAIL, failed="out of *memory*") == "Failed: `out of *memory*`"
    assert "tried again under a new number" in note(TrialState.FAIL, failed="x", requeued=True)
    assert note(duplicate_of=3).startswith("Repeats trial `3`")
    assert note(retry_of=1) == "A new try: this point failed `1` time(s) before."


@pytest.mark.parametrize("damage", ["[", "7", "space: [1]", "space: {a: 1, b: {attributes: 3}}", "base: {target: x}"])
def test_a_damaged_description_still_has_its_folder(damage: str) -> None:
    """A search.yaml or multirun.yaml that says nothing of use leaves out what it would have said."""
    folder = make_journal("one")
    for name in ("search.yaml", "multirun.yaml"):
        (folder / name).write_text(damage)
    assert "Folder: `outputs/studies/one`" in study_note("one", folder.absolute())
    assert _ask(storage_of([]), "/api/studies/0").status.startswith("200")
    assert "not known" in study_note("one", Path("gone"))
    assert not Path("gone").exists()


# -- what is asked and answered ------------------------------------------------------------------------------------


def test_the_best_trial_is_one_within_its_constraints() -> None:
    """A whole trial that breaks a constraint, as a stranger's study may have, is not the best, however good."""
    study = optuna.create_study(
        study_name="s", storage=open_storage(journal_url(Path("outputs/studies/s/journal.log"))), direction="maximize"
    )
    for value, margin in ((0.9, 1.0), (0.5, -1.0), (0.4, 0.0)):
        trial = study.ask()
        trial.set_constraint("parameters", margin)
        study.tell(trial, value)
    shelf = storage_of([])
    shelf.get_all_studies()
    assert shelf.get_best_trial(0).value == 0.5
    shown = json.loads(_ask(shelf, "/api/studies/0").body)
    assert [trial["number"] for trial in shown["best_trials"]] == [1]
    assert [trial["constraints"] for trial in shown["trials"]] == [[1.0], [-1.0], [0.0]]


def test_strangers_and_changes_are_refused() -> None:
    """A name that only resolves to this machine, and every request to change something, is refused with a reason."""
    make_journal("one")
    shelf = storage_of([])
    for host in ("127.0.0.1:8080", "localhost:8080", "localhost"):
        assert _ask(shelf, "/api/studies", host=host).status.startswith("200")
    for host in ("evil.example:8080", "127.0.0.1.evil.example", "", "192.168.0.1:8080"):
        assert _ask(shelf, "/api/studies", host=host).status.startswith("403")
    before = Path("outputs/studies/one/journal.log").read_bytes()
    for method, path in (("DELETE", "/api/studies/0"), ("PUT", "/api/studies/0/note"), ("POST", "/api/studies")):
        refused = _ask(shelf, path, method=method)
        assert refused.status.startswith("403")
        assert "nothing was changed" in json.loads(refused.body)["reason"]
    assert Path("outputs/studies/one/journal.log").read_bytes() == before


def test_a_trials_files_are_shown_from_its_folder_and_no_others() -> None:
    """The very files of the trial's folder are served, to no other site; an id can name nothing else."""
    folder = make_journal("one")
    run = folder / "1"
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "config.yaml").write_text("seed: 1\n")
    (run / "report.md").write_text("# <b>Result</b>\n")
    (run / "run.log").write_text("")
    shelf = storage_of([])
    shown = json.loads(_ask(shelf, "/api/studies/0").body)
    assert shown["trials"][0]["artifacts"] == []
    assert [file["filename"] for file in shown["trials"][1]["artifacts"]] == ["report.md", "config.yaml"]
    assert "`python -m sweeper reproduce outputs/studies/one/1`" in shown["trials"][1]["note"]["body"]
    assert shown["note"]["body"].startswith("Target: 99.00%")
    base = f"/artifacts/0/{shown['trials'][1]['trial_id']}"
    for file, content in zip(shown["trials"][1]["artifacts"], ("# <b>Result</b>\n", "seed: 1\n"), strict=True):
        answer = _ask(shelf, f"{base}/{file['artifact_id']}")
        assert answer.body.decode() == content
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    for wrong in ("1-9", "1--1", "-1-0", "ff-0", "1", "-", "0-0"):
        assert _ask(shelf, f"{base}/{wrong}").status.startswith("404"), wrong
    assert _ask(shelf, "/artifacts/7/7/0-0").status.startswith("404")


def test_a_real_search_is_shown_with_its_duplicate(sweeper_call: Call) -> None:
    """Of a real grid: the trial that repeats another shows that one's files, the rejected one its reason."""
    values = ["model.groups.block1.channels=[8,12],[9,12],[100,100]", "model.groups.block1.channels.0=6"]
    done = sweeper_call("-m", *TINY, "hydra.sweeper.n_jobs=1", *values, "hydra.sweeper.study_name=grid")
    assert done.returncode == 0, done.stderr
    shelf = storage_of([])
    first, second, third = json.loads(_ask(shelf, "/api/studies/0").body)["trials"]
    files = ["curves.png", "confusion.png", "report.md", "config.yaml", "metrics.jsonl", "run.log"]
    assert [file["filename"] for file in first["artifacts"]] == files
    assert second["artifacts"] == first["artifacts"]
    assert second["note"]["body"].startswith("Repeats trial `0`")
    assert "reproduce outputs/studies/grid/0`" in second["note"]["body"]
    assert third["note"]["body"].startswith("Rejected, not trained: `model has ")
    assert third["artifacts"] == []
    assert "receptive field 18×18 before the head" in first["note"]["body"]
    note = json.loads(_ask(shelf, "/api/studies/0").body)["note"]["body"]
    assert "The best trial again: `python -m sweeper reproduce outputs/studies/grid/best`" in note
    assert "Searched with `python -m sweeper -m data=mnist5k" in note


# -- the command ---------------------------------------------------------------------------------------------------


def test_nothing_to_show_is_one_line(sweeper_call: Call) -> None:
    """No study at all, a name that is none, a folder that is no study: one line that says what to type, exit 1."""
    for arguments, says in (
        ([], "outputs/studies must hold a study, but there is none: search with python -m sweeper -m search=card"),
        (["nowhere"], "STUDY must be a study's name or its folder, but nowhere is neither: studies here: none"),
        (["."], f"a study's folder must hold journal.log, or in multirun.yaml its storage, but {Path.cwd()} does not"),
        (["--storage", "sqlite:///none.db"], "none.db must be a database that is there"),
        (["--storage", "gibberish"], "gibberish must be a storage that can be read, but it cannot"),
    ):
        done = sweeper_call("dashboard", *arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("sweeper: ")
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""


@pytest.mark.parametrize("verb", ["dashboard", "report"])
def test_a_study_that_its_storage_lacks_is_told_with_those_it_has(sweeper_call: Call, verb: str) -> None:
    """Both verbs that look at a storage name the studies in it, or say that there is none."""
    close(optuna.create_study(study_name="there", storage="sqlite:///full.db"))
    optuna.storages.RDBStorage("sqlite:///empty.db").engine.dispose()
    for database, said in (
        ("full", "nope is not; there are there: give one of these"),
        ("empty", "nope is not; there is none: has its search begun?"),
    ):
        done = sweeper_call(verb, "nope", "--storage", f"sqlite:///{database}.db")
        assert done.returncode == 1
        assert done.stderr == f"sweeper: a study must be in its storage, but {said}\n"


def test_a_damaged_study_alone_is_one_line(sweeper_call: Call) -> None:
    """When the one study there is cannot be read, that is the answer."""
    (make_journal("bad") / "journal.log").write_bytes(b"damaged\n")
    done = sweeper_call("dashboard")
    assert (done.returncode, done.stdout) == (1, "")
    assert "line 1 is damaged" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_busy_port_is_one_line(sweeper_call: Call) -> None:
    """A port where another program listens: one line with what to type, exit 1."""
    make_journal("one")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        done = sweeper_call("dashboard", "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"sweeper: port {port} cannot be had (another program listens there): give another with --port N, "
        "or --port 0 for any that is free\n"
    )
    refused = sweeper_call("dashboard", "--port", "65536")
    assert refused.returncode == 1
    assert refused.stderr == (
        "sweeper: argument --port: must be 0 to 65535, but got '65536': see python -m sweeper dashboard --help\n"
    )


@contextmanager
def _serving(*arguments: str, **variables: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The dashboard as a real process, listening; its address."""
    process = subprocess.Popen(
        command("dashboard", "--port", "0", *arguments),
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = ADDRESS.fullmatch(process.stdout.readline())
    try:
        if said is None:
            process.kill()
            _, err = process.communicate()
            pytest.fail(err)
        yield said[1], process
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - http, to ourselves
        return json.load(answer)


@pytest.mark.parametrize("ending", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_it_serves_until_it_is_ended(ending: signal.Signals) -> None:
    """Several studies, one of them damaged: its address is printed when it answers, one line names the damaged, and
    Ctrl-C or SIGTERM ends it with status 0 and nothing more said, even with a connection open.
    """
    make_journal("one")
    make_journal("two")
    (make_journal("bad") / "journal.log").write_bytes(b"damaged\n")
    with _serving() as (address, process):
        summaries = _get(f"{address}/api/studies")["study_summaries"]
        assert [study["study_name"] for study in summaries] == ["one", "two"]
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60):
            assert len(_get(f"{address}/api/studies/1")["trials"]) == 2
            process.send_signal(ending)
            out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert err.startswith("sweeper: ")
    assert "line 1 is damaged" in err
    assert err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_a_search_is_watched_while_it_runs(storage: str, tmp_path: Path) -> None:
    """Trials of a running search appear from one look to the next; the search neither fails nor says anything of it."""
    given = [f"hydra.sweeper.storage=sqlite:///{tmp_path}/my.db"] if storage == "sqlite" else []
    arguments = ["-m", "search=dropout_lr", *TINY, "target=1", "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=1000"]
    search = subprocess.Popen(
        command(*arguments, "hydra.sweeper.study_name=long", *given),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    folder = tmp_path / "outputs" / "studies" / "long"
    wait_for(lambda: len(list(folder.glob("*/result.json"))) >= 2)
    with _serving() as (address, _):

        def states() -> list[str]:
            return [trial["state"] for trial in _get(f"{address}/api/studies/0")["trials"]]

        seen = len(states())
        wait_for(lambda: len(states()) > seen + 2)
        assert search.poll() is None
        search.send_signal(signal.SIGINT)
        out, err = search.communicate(timeout=120)
        assert (search.returncode, err) == (130, ""), out
        assert "interrupted" in out
        assert " 0 failed" in out or "failed" not in out
        study = optuna.load_study(
            study_name="long",
            storage=open_storage(given[0].partition("=")[2] if given else journal_url(folder / "journal.log")),
        )
        told = [trial.state.name.capitalize() for trial in study.trials]
        wait_for(lambda: states() == told)
        if given:
            close(study)


@pytest.mark.slow
@pytest.mark.usefixtures("postgresql")
def test_postgresql_is_shown_without_its_password(postgresql: str, sweeper_process: Sweeper) -> None:
    """A study on a real server is found by the variable its folder names; the password is in no answer and no line."""
    storage = "hydra.sweeper.storage=${oc.env:STUDY_URL}"
    named = ["hydra.sweeper.n_jobs=1", "hydra.sweeper.study_name=watched", storage]
    done = sweeper_process("-m", *TINY, "model.dropout=0.05,0.1", *named, STUDY_URL=postgresql)
    assert done.returncode == 0, done.stderr
    with _serving("watched", STUDY_URL=postgresql) as (address, process):
        (summary,) = _get(f"{address}/api/studies")["study_summaries"]
        assert summary["study_name"] == "watched"
        shown = _get(f"{address}/api/studies/{summary['study_id']}")
        assert [trial["params"][0]["param_external_value"] for trial in shown["trials"]] == ["0.05", "0.1"]
        assert shown["trials"][0]["artifacts"]
        assert "${oc.env:STUDY_URL}" in shown["note"]["body"]
        assert PASSWORD not in json.dumps(shown)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    shelf = storage_of([], storage=postgresql)
    shelf.get_all_studies()
    with pytest.raises(StudyError, match="read-only transaction"):
        shelf._readers[postgresql].read(lambda storage: storage.delete_study(1))
    shelf.close()
    done = sweeper_process("dashboard", "--port", "0")
    assert done.returncode == 1
    assert "STUDY_URL" in done.stderr


# -- in a browser --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_browser_shows_studies_notes_and_files(visit: Visit, sweeper_process: Sweeper) -> None:
    """A real search in real Chromium: listed, a trial's note and files shown, no error, nothing asked elsewhere."""
    swept = ["-m", *TINY, "model.dropout=0.05,0.1", "hydra.sweeper.n_jobs=1", "hydra.sweeper.study_name=shown"]
    assert sweeper_process(*swept).returncode == 0
    with _serving() as (address, _):
        visit.page.goto(f"{address}/")
        visit.page.get_by_text("shown").first.click()
        visit.page.get_by_text("Best Trial (number=").wait_for()
        visit.page.goto(f"{address}/dashboard/studies/0/trials?numbers=1")
        visit.page.get_by_text("python -m sweeper reproduce outputs/studies/shown/1").wait_for()
        images = visit.page.locator("img[src*='/artifacts/0/']")
        images.nth(1).wait_for()
        # Curves and confusion matrix, whole: their widths in pixels.
        widths = [image.evaluate("image => image.decode().then(() => image.naturalWidth)") for image in images.all()]
        assert sorted(widths) == [500, 1100]
        visit.page.get_by_text("config.yaml").first.wait_for()
        visit.page.goto(f"{address}/dashboard/studies/0/note")
        visit.page.get_by_text("The best trial again:").wait_for()
        assert visit.elsewhere(address) == []
    assert visit.errors == []


@pytest.mark.slow
def test_a_browser_takes_hostile_names_for_text(visit: Visit, tmp_path: Path) -> None:
    """Names and reasons that are HTML and Markdown are shown letter by letter: no image, no link, no script."""
    database = f"sqlite:///{tmp_path}/hostile.db"
    study = optuna.create_study(study_name=HOSTILE, storage=database, direction="maximize")
    trial = study.ask()
    trial.suggest_categorical(HOSTILE, [HOSTILE])
    trial.set_user_attr("failed", HOSTILE)
    study.tell(trial, state=TrialState.FAIL)
    close(study)
    with _serving("--storage", database) as (address, _):
        for path in ("/dashboard", "/dashboard/studies/0/trials?numbers=0", "/dashboard/studies/0/note"):
            visit.page.goto(address + path)
            visit.page.get_by_text("onerror=alert(1)").first.wait_for()
            assert visit.page.locator("img[src='x'], img[src*='example.com'], a[href*='example.com']").count() == 0
        assert visit.elsewhere(address) == []
    assert visit.errors == []


@pytest.mark.slow
def test_a_browser_is_told_that_nothing_was_changed(visit: Visit, tmp_path: Path) -> None:
    """Deleting a study in the page is refused, the page says so, and the study stays."""
    folder = make_journal("kept")
    before = (folder / "journal.log").read_bytes()
    with _serving() as (address, _):
        visit.page.goto(f"{address}/dashboard")
        visit.page.get_by_text("kept").first.wait_for()
        visit.page.locator("button[aria-label='delete study']").first.click()
        visit.page.get_by_role("button", name=re.compile("yes|delete", re.IGNORECASE)).last.click()
        visit.page.get_by_text(re.compile("Failed to delete study")).wait_for()
        assert len(_get(f"{address}/api/studies")["study_summaries"]) == 1
    assert (folder / "journal.log").read_bytes() == before
    assert os.listdir(tmp_path / "outputs" / "studies") == ["kept"]  # noqa: PTH208 - names alone
