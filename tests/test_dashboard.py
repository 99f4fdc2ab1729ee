"""The dashboard's notes and answers: what it shows of real storages, which requests it refuses."""

import io
import json
import os
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
from sweeper.dashboard.read_only_storage import ReadOnlyStorage
from sweeper.dashboard.serve import application
from sweeper.report.markdown import code, fenced
from sweeper.study.storage import journal_url, open_storage

from .studies import TINY, Call, make_journal, storage_of

HOSTILE = "<img src=x onerror=alert(1)> `tick` [link](http://example.com) ![](http://example.com/i.png) $x$"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies are found below the working directory."""
    monkeypatch.chdir(tmp_path)


@dataclass
class Answer:
    """An answer of the application."""

    status: str
    headers: dict[str, str]
    body: bytes


def _ask(storage: ReadOnlyStorage, path: str, method: str = "GET", host: str = "127.0.0.1:8080") -> Answer:
    """Send a request to the application without a socket."""
    started: list[tuple[str, list[tuple[str, str]]]] = []
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
    chunks = application(storage)(environ, lambda status, headers, _=None: started.append((status, headers)))
    body = b"".join(chunks)
    if hasattr(chunks, "close"):
        chunks.close()
    ((status, headers),) = started
    return Answer(status, dict(headers), body)


# -- notes ---------------------------------------------------------------------------------------------------------


@given(st.text(st.sampled_from("`<>&$|[]()! \\\n\r\tax")))
def test_untrusted_text_is_never_markup(text: str) -> None:
    """A span or a block holds any text unchanged: a CommonMark parser finds code and nothing else."""
    (inline,) = MarkdownIt().parse(f"before {code(text)}")[1:2]
    kinds = {token.type for token in inline.children or []}
    if text.split():
        assert kinds == {"text", "code_inline"}
        assert " ".join(next(t.content for t in inline.children or [] if t.type == "code_inline").split()) == " ".join(
            text.split()
        )
    (block,) = MarkdownIt().parse(fenced(text))
    assert block.type == "fence"


def test_a_trials_note_says_how_it_ended() -> None:
    """Rejected, failed, pruned, retried and repeated trials each say so, with their costs and parameters."""

    def note(state: TrialState = TrialState.COMPLETE, **attrs: Any) -> str:
        value = 0.5 if state is TrialState.COMPLETE else None
        made = optuna.trial.create_trial(state=state, user_attrs=attrs, value=value)
        made.intermediate_values = {1: 0.25, 2: 0.5}
        return trial_note(made, None)

    costs = note(parameters=9736, macs=1234567, receptive_field=42)
    assert costs == "9,736 parameters · 1,234,567 MACs · receptive field 42×42 before the head"
    assert note(TrialState.PRUNED, parameters=9).startswith("Pruned after epoch 2, at 0.5000.")
    assert note(TrialState.PRUNED) == "Pruned after step 2, at 0.5."
    assert note(TrialState.PRUNED, rejected=HOSTILE).startswith(f"Rejected, not run: `` {HOSTILE} ``")
    assert note(TrialState.FAIL, failed="out of *memory*") == "Failed: `out of *memory*`"
    assert "retried as a new trial" in note(TrialState.FAIL, failed="x", requeued=True)
    assert note(duplicate_of=3).startswith("Repeats trial `3`")
    assert note(retry_of=1) == "A retry: this point failed `1` time(s) before."


@pytest.mark.parametrize("damage", ["[", "7", "space: [1]", "space: {a: 1, b: {attributes: 3}}", "base: {target: x}"])
def test_a_damaged_study_file_leaves_the_rest_of_the_note(damage: str) -> None:
    """A note leaves out what a damaged search.yaml or multirun.yaml would have said; a missing folder is not created."""
    folder = make_journal("one")
    for name in ("search.yaml", "multirun.yaml"):
        (folder / name).write_text(damage)
    assert "Folder: `outputs/studies/one`" in study_note("one", folder.absolute())
    assert _ask(storage_of([]), "/api/studies/0").status.startswith("200")
    assert "has no folder on this machine" in study_note("one", Path("gone"))
    assert not Path("gone").exists()


@pytest.mark.parametrize(
    ("search", "says"),
    [
        ({"base": {"seed": 1}, "grid": False}, "resumes the study; hydra.sweeper.n\\_trials is"),
        ({"base": {"seed": 1}, "grid": True}, "resumes the study."),
        ({"base": {}, "grid": False}, None),
    ],
)
def test_a_note_says_what_resumes_a_study_only_where_it_does(search: dict[str, Any], says: str | None) -> None:
    """A grid has no n_trials to raise, and another Hydra application was not started by this program."""
    folder = make_journal("one")
    (folder / "search.yaml").write_text(json.dumps(search))
    (folder / "multirun.yaml").write_text(json.dumps({"hydra": {"overrides": {"task": ["x=1,2"], "hydra": []}}}))
    note = study_note("one", folder.absolute())
    assert says in note if says else "Searched with" not in note


# -- answers -------------------------------------------------------------------------------------------------------


def test_the_best_trial_is_one_within_its_constraints() -> None:
    """A completed trial that breaks a constraint, as in another program's study, is not the best, however good."""
    study = optuna.create_study(
        study_name="s", storage=open_storage(journal_url(Path("outputs/studies/s/journal.log"))), direction="maximize"
    )
    for value, excess in ((0.9, 1.0), (0.5, -1.0), (0.4, 0.0)):
        trial = study.ask()
        trial.set_constraint("parameters", excess)
        study.tell(trial, value)
    storage = storage_of([])
    storage.get_all_studies()
    assert storage.get_best_trial(0).value == 0.5
    shown = json.loads(_ask(storage, "/api/studies/0").body)
    assert [trial["number"] for trial in shown["best_trials"]] == [1]
    assert [trial["constraints"] for trial in shown["trials"]] == [[1.0], [-1.0], [0.0]]


def test_other_hosts_and_changes_are_refused() -> None:
    """Requests under another host name, and every request to change something, are refused with a reason."""
    make_journal("one")
    storage = storage_of([])
    for host in ("127.0.0.1:8080", "localhost:8080", "localhost"):
        assert _ask(storage, "/api/studies", host=host).status.startswith("200")
    for host in ("evil.example:8080", "127.0.0.1.evil.example", "", "192.168.0.1:8080"):
        assert _ask(storage, "/api/studies", host=host).status.startswith("403")
    before = Path("outputs/studies/one/journal.log").read_bytes()
    for method, path in (("DELETE", "/api/studies/0"), ("PUT", "/api/studies/0/note"), ("POST", "/api/studies")):
        refused = _ask(storage, path, method=method)
        assert refused.status.startswith("403")
        assert "nothing was changed" in json.loads(refused.body)["reason"]
    assert Path("outputs/studies/one/journal.log").read_bytes() == before


def test_a_trials_files_are_shown_from_its_folder_and_no_others() -> None:
    """The files of a trial's folder are served, to no other site, and an artifact's id can name nothing else."""
    folder = make_journal("one")
    run = folder / "1"
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "config.yaml").write_text("seed: 1\n")
    (run / "report.md").write_text("# <b>Result</b>\n")
    (run / "run.log").write_text("")
    storage = storage_of([])
    shown = json.loads(_ask(storage, "/api/studies/0").body)
    assert shown["trials"][0]["artifacts"] == []
    assert [file["filename"] for file in shown["trials"][1]["artifacts"]] == ["report.md", "config.yaml"]
    assert "`python -m sweeper reproduce outputs/studies/one/1`" in shown["trials"][1]["note"]["body"]
    assert (
        "[The trial's report: analysis, epochs and figures](/pages/0/1/report.md)" in shown["trials"][1]["note"]["body"]
    )
    assert "Target: 99.00 %" in shown["note"]["body"]
    base = f"/artifacts/0/{shown['trials'][1]['trial_id']}"
    for file, content in zip(shown["trials"][1]["artifacts"], ("# <b>Result</b>\n", "seed: 1\n"), strict=True):
        answer = _ask(storage, f"{base}/{file['artifact_id']}")
        assert answer.body.decode() == content
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    for wrong in ("1-9", "1--1", "-1-0", "ff-0", "1", "-", "0-0"):
        assert _ask(storage, f"{base}/{wrong}").status.startswith("404"), wrong
    assert _ask(storage, "/artifacts/7/7/0-0").status.startswith("404")
    (run / "report.md").unlink()
    (run / "report.md").symlink_to("/etc/hostname")
    report = shown["trials"][1]["artifacts"][0]["artifact_id"]
    assert _ask(storage, f"{base}/{report}").status.startswith("404"), "a link out of the folder"


def test_a_real_search_is_shown_with_its_duplicate(sweeper_call: Call) -> None:
    """In a real grid, the trial that repeats another shows that one's files, and the rejected one its reason."""
    values = ["model.groups.block1.channels=[8,12],[9,12],[100,100]", "model.groups.block1.channels.0=6"]
    done = sweeper_call("-m", *TINY, "hydra.sweeper.n_jobs=1", *values, "hydra.sweeper.study_name=grid")
    assert done.returncode == 0, done.stderr
    storage = storage_of([])
    first, second, third = json.loads(_ask(storage, "/api/studies/0").body)["trials"]
    files = ["curves.png", "confusion.png", "report.md", "config.yaml", "metrics.jsonl", "run.log"]
    assert [file["filename"] for file in first["artifacts"]] == files
    assert second["artifacts"] == first["artifacts"]
    assert second["note"]["body"].startswith("Repeats trial `0`")
    assert "reproduce outputs/studies/grid/0`" in second["note"]["body"]
    assert third["note"]["body"].startswith("Rejected, not run: `model has ")
    assert third["artifacts"] == []
    assert "receptive field 18×18 before the head" in first["note"]["body"]
    assert [first["state"], second["state"], third["state"]] == ["Complete", "Complete", "Rejected"]
    shown = json.loads(_ask(storage, "/api/studies/0").body)
    assert shown["objective_names"] == ["validation accuracy"]
    note = shown["note"]["body"]
    assert note.startswith("**Target missed by ")
    assert "2 of 2 trials, 1 proposal rejected" in note
    assert "Run it again: `python -m sweeper reproduce outputs/studies/grid/best`" in note
    assert "Confirm: `python -m sweeper confirm outputs/studies/grid`" in note
    assert "[The study's page: figures, and a table of all trials](/pages/0/report.html)" in note
    assert "Searched with `python -m sweeper -m data=mnist5k" in note
    page = _ask(storage, "/pages/0/report.html")
    assert (page.status, page.body) == ("200 OK", Path("outputs/studies/grid/report.html").read_bytes())
    report = _ask(storage, "/pages/0/0/report.md")
    assert report.status == "200 OK"
    assert b"<h2>Network</h2>" in report.body
    assert _ask(storage, "/pages/0/0/curves.png").headers["Content-Type"] == "image/png"


def test_a_study_without_a_network_has_no_metric_name() -> None:
    """Another application's values are not called accuracies, and its trials keep Optuna's states."""
    make_journal("one", study="s")
    Path("outputs/studies/one/search.yaml").write_text("base: {}\nspace: {}\n")
    shown = json.loads(_ask(storage_of([]), "/api/studies/0").body)
    assert "objective_names" not in shown
    assert shown["note"]["body"].startswith("**Best 0.9 in trial 1.** ")
    assert {trial["state"] for trial in shown["trials"]} == {"Complete"}


# -- pages ---------------------------------------------------------------------------------------------------------


def test_only_a_studys_pages_are_served_each_in_a_sandbox() -> None:
    """The study's page and reports alone; a page's scripts may not read the dashboard, and HTML in Markdown is text."""
    folder = make_journal("one")
    (folder / "0").mkdir()
    (folder / "report.html").write_text("<script>document.title = 1</script>")
    (folder / "0" / "report.md").write_text(f"# {HOSTILE}\n\n<script>alert(1)</script>\n\n| a |\n|---|\n| b |\n")
    (folder / "0" / "model.pt").write_text("weights")
    storage = storage_of([])
    page, report = _ask(storage, "/pages/0/report.html"), _ask(storage, "/pages/0/0/report.md")
    for answer in (page, report):
        assert answer.status.startswith("200")
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("sandbox")
        assert "allow-same-origin" not in policy
        assert "default-src 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "script-src" not in report.headers["Content-Security-Policy"]
    assert b"<script" not in report.body
    assert b"<img src=x" not in report.body
    assert b"<td>b</td>" in report.body
    refused = (
        "search.yaml",
        "0/model.pt",
        "../one/search.yaml",
        "0/../search.yaml",
        "0",
        "1/report.md",
        "best/report.md",
    )
    for name in (*refused, "../../../../etc/passwd", "x/report.md", "0/0/report.md"):
        assert _ask(storage, f"/pages/0/{name}").status.startswith("404"), name
    (folder / "1").mkdir()
    (folder / "1" / "report.md").symlink_to("/etc/hostname")
    os.mkfifo(folder / "1" / "report.html")
    for name in ("1/report.md", "1/report.html"):
        assert _ask(storage, f"/pages/0/{name}").status.startswith("404"), name
    assert _ask(storage, "/pages/7/report.html").status.startswith("404")
    assert _ask(storage, "/pages/0/report.html", method="POST").status.startswith("403")
    assert _ask(storage, "/pages/0/report.html", host="evil.example").status.startswith("403")


def test_the_dashboards_page_hides_buttons_for_what_is_refused() -> None:
    """The style that hides them is part of the page, which keeps the policy that forbids other hosts."""
    make_journal("one")
    page = _ask(storage_of([]), "/dashboard/studies/0")
    assert page.status.startswith("200")
    assert page.headers["Content-Type"].startswith("text/html")
    assert b'button[aria-label="delete study"]' in page.body
    assert b'src="/static/bundle.js"' in page.body
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
