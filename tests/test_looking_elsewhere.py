"""A study on a server, looked at on a host that never ran it: its files come from the server, and nothing leaves its folder."""

import html
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from sqlalchemy import Engine, insert, select

from sweeper.dashboard.answers import Annotations
from sweeper.study.server import PostgresqlStorage
from sweeper.study.storage import open_storage
from sweeper.study.trial_record import FILES

from .postgresql import PASSWORD
from .studies import HERE, TINY, Call, storage_of

EVIL = "a stranger's text"
VARIABLE = "${oc.env:STUDY_URL}"
pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def engine(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The server's database, whose URL is in the variable STUDY_URL."""
    monkeypatch.setenv("STUDY_URL", postgresql)
    storage = open_storage(postgresql)
    assert isinstance(storage, PostgresqlStorage)
    yield storage.engine
    storage.engine.dispose()


def _search(call: Call, name: str, *more: str) -> Path:
    """Run a search of two trials on a host; return the study's folder as a host sees it that never ran it."""
    arguments = [*TINY, *HERE, "model.dropout=interval(0.0,0.3)", f"hydra.sweeper.storage={VARIABLE}", *more]
    named = [f"hydra.sweeper.study_name={name}", "hydra.sweeper.n_trials=2", "hydra.sweeper.stop_at_target=false"]
    done = call("-m", *arguments, *named)
    assert done.returncode == 0, done.stderr
    Path("outputs").rename(f"outputs-of-{name}")  # its working directory is now that of another host
    return Path("outputs/studies") / name


@pytest.mark.slow
def test_every_command_works_on_a_host_that_never_ran_the_study(sweeper_call: Call) -> None:
    """Page, terminal and files say what is elsewhere; what is printed as a command runs there."""
    folder = _search(sweeper_call, "far")
    told = sweeper_call("report", "far", "--storage", VARIABLE)
    assert told.returncode == 0, told.stderr
    there = re.escape(str(Path("outputs/studies/far").absolute()))
    where = rf"Weights and figures are elsewhere: of trials 0, 1 in [^ ]+:{there}\."
    assert re.search(where, told.stdout)
    page = html.unescape((folder / "report.html").read_text())
    assert re.search(where, page)
    assert "short of the target" in page or "Target missed by" in page  # search.yaml is there too
    (go_on,) = set(re.findall(r"python -m sweeper (-m [^<]*n_trials=4)", page))
    assert f"hydra.sweeper.storage={VARIABLE}" in shlex.split(go_on)
    assert f"give --storage '{VARIABLE}'" in sweeper_call("report", "far").stderr  # its folder names its storage now
    done = sweeper_call("reproduce", "outputs/studies/far/best")
    assert done.returncode == 0, done.stderr
    assert "identical:" in done.stdout
    went_on = sweeper_call(*shlex.split(go_on))
    assert went_on.returncode == 0, went_on.stderr
    assert "4 of 4 trials" in went_on.stdout
    assert (folder / "3" / "model.pt").exists()


@pytest.mark.slow
def test_reproduce_takes_a_storage_itself(sweeper_call: Call) -> None:
    """Without a report before it; a folder that is none of the study's is one line."""
    folder = _search(sweeper_call, "again")
    done = sweeper_call("reproduce", str(folder / "0"), "--storage", VARIABLE)
    assert done.returncode == 0, done.stderr
    assert "identical:" in done.stdout
    wrong = sweeper_call("reproduce", "outputs/studies/unknown/0", "--storage", VARIABLE)
    assert wrong.returncode == 1
    assert "unknown is not" in wrong.stderr
    assert wrong.stderr.count("\n") == 1


def test_the_dashboard_restores_a_study_that_is_looked_at(sweeper_call: Call) -> None:
    """Its note and that of each trial name the host; the list of studies alone writes nothing."""
    folder = _search(sweeper_call, "watched", "data.root=/images/of/that/host")
    shown = storage_of([], study="watched", storage=VARIABLE)
    (study,) = shown.get_all_studies()
    assert not folder.exists()
    number = shown.get_study_id_from_name(study.study_name)
    answer = Annotations(shown)._annotate(number, {"trials": [{"number": 0}, {"number": 1}], "best_trials": []})
    shown.close()
    assert "Weights and figures are elsewhere: of trials 0, 1 in" in answer["note"]["body"]
    assert "short of the target" in answer["note"]["body"] or "Target missed by" in answer["note"]["body"]
    assert "Weights and figures: `" in answer["trials"][1]["note"]["body"]
    assert [file["filename"] for file in answer["trials"][1]["artifacts"]] == ["config.yaml", "metrics.jsonl"]
    assert "/images/of/that/host" not in (folder / "0" / ".hydra" / "config.yaml").read_text()
    for path in folder.rglob("*"):
        assert not path.is_file() or PASSWORD not in path.read_text(), path


def test_what_is_here_is_never_overwritten(sweeper_call: Call) -> None:
    """A trial's folder stays as it is; a folder of another study is refused in one line."""
    folder = _search(sweeper_call, "kept")
    (folder / "0").mkdir(parents=True)
    (folder / "0" / "mine.txt").write_text("mine")
    assert sweeper_call("report", "kept", "--storage", VARIABLE).returncode == 0
    assert [path.name for path in (folder / "0").iterdir()] == ["mine.txt"]
    (folder / "journal.log").touch()
    refused = sweeper_call("report", "kept", "--storage", VARIABLE)
    assert refused.returncode == 1
    assert "holds another study: move it away" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_strangers_files_stay_in_the_folder(sweeper_call: Call, engine: Engine, tmp_path: Path) -> None:
    """Names are taken from a fixed list, numbers from the study's trials; long texts are left out."""
    _search(sweeper_call, "strange")
    names = ["../evil", "/evil", ".hydra/../../../evil", "model.pt", ".hydra/hydra.yaml", "report.html"]
    rows = [{"study": "strange", "trial": 1, "name": name, "text": EVIL} for name in names]
    rows += [{"study": "strange", "trial": number, "name": "result.json", "text": EVIL} for number in (-7, 2, 99)]
    with engine.begin() as connection:
        connection.execute(FILES.delete().where(FILES.c.study == "strange", FILES.c.name == "mistakes.json"))
        rows.append({"study": "strange", "trial": 1, "name": "mistakes.json", "text": EVIL * 500_000})
        connection.execute(insert(FILES), rows)
    before = set(tmp_path.rglob("*"))
    assert sweeper_call("report", "strange", "--storage", VARIABLE).returncode == 0
    written = [path for path in tmp_path.rglob("*") if path not in before and path.is_file()]
    assert not [path for path in written if EVIL in path.read_text()]
    names_in_trial = {path.name for path in Path("outputs/studies/strange/1").rglob("*") if path.is_file()}
    assert names_in_trial == {"config.yaml", "overrides.yaml", "metrics.jsonl", "result.json", "elsewhere.txt"}


@pytest.mark.slow
def test_a_deleted_studys_files_are_not_those_of_the_next(sweeper_call: Call, engine: Engine, postgresql: str) -> None:
    """A study that begins anew under an old name has no trial of the old one."""
    _search(sweeper_call, "twice")
    storage = open_storage(postgresql)
    optuna.delete_study(study_name="twice", storage=storage)
    assert isinstance(storage, PostgresqlStorage)
    storage.engine.dispose()
    Path("outputs-of-twice").rename("older")
    _search(sweeper_call, "twice", "training.batch_size=100")
    with engine.connect() as connection:
        rows = connection.execute(select(FILES.c.text).where(FILES.c.study == "twice", FILES.c.name == "result.json"))
        assert len(rows.all()) == 2
        configs = connection.execute(
            select(FILES.c.text).where(FILES.c.study == "twice", FILES.c.name.contains("config"))
        )
        assert all("batch_size: 100" in text for text in configs.scalars())


@pytest.mark.slow
def test_a_confirmation_needs_no_weights(sweeper_call: Call) -> None:
    """Configs are enough; a password on the command line is in no file."""
    folder = _search(sweeper_call, "confirmed", "data.validation_size=3900")
    done = sweeper_call("confirm", "confirmed", "--storage", VARIABLE, "--top", "1", "--seeds", "1", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "confirm.json").read_text())["configurations"][0]["seeds"] == [1001]
    assert PASSWORD not in done.stdout
    for path in Path("outputs").rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path
