"""Files of strangers: what is no regular file, too large or a bomb is an error at once, and hides no other study."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from sweeper.terminal.console import make_console
from sweeper.untrusted import parse_json, parse_yaml, read_bytes

from .processes import command, environment
from .studies import HERE, TINY, Call, only_study

BOMB = "\n".join(["a0: &a0 [x,x]", *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))])
HOSTILE_YAML = {
    "an alias bomb": BOMB,
    "a value within itself": "&a [*a]",
    "a merge": "a: &a {b: 1}\nc: {<<: *a}",
    "deep nesting": "[" * 5000 + "]" * 5000,
    "a date that is none": "a: 2026-99-99",
}


@pytest.mark.parametrize("text", HOSTILE_YAML.values(), ids=HOSTILE_YAML.keys())
def test_hostile_yaml_is_an_error(text: str) -> None:
    """Nothing grows: it is the error of damaged YAML."""
    with pytest.raises(yaml.YAMLError):
        parse_yaml(text)


def test_code_in_yaml_is_its_arguments() -> None:
    """Hydra writes Python objects of typed configs, such as paths: none is made."""
    assert parse_yaml("!!python/object/apply:os.abort []\n") == []


def test_hostile_json_is_an_error() -> None:
    """Nesting that ends the parser is damage like any other."""
    with pytest.raises(ValueError, match="nested too deep"):
        parse_json("[" * 100_000)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """A FIFO without a writer, a device without an end, a folder and a large file are errors, not waits."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b"x" * 11)
    for path in (tmp_path / "fifo", Path("/dev/zero"), tmp_path, tmp_path / "large", tmp_path / "missing"):
        with pytest.raises(OSError, match=r"."):
            read_bytes(path, limit=10)


def test_escape_codes_of_strangers_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Names and values may hold commands to a terminal; what is printed has none but the console's own."""
    make_console().print("a\x1b]0;title\x07b\x9b31mc")
    assert capsys.readouterr().out == "a]0;titleb31mc\n"


def test_an_error_prints_no_escape_code(sweeper_call: Call) -> None:
    """The value that an error names is printed without them."""
    done = sweeper_call("report", "study\x1b[2J")
    assert done.returncode == 1
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    "storage",
    [
        "postgresql+psycopg://${oc.env:A_SECRET}:x@127.0.0.1:1/db",
        "postgresql+psycopg://me@127.0.0.1:1/${oc.env:A_SECRET}",
        "sqlite:///${oc.env:A_SECRET}.db",
        "postgresql+psycopg://me@127.0.0.1:1/db",
        "${hydra.sweeper.study_name}",
        "mysql://127.0.0.1:1/db",
    ],
)
def test_a_strangers_study_sends_nothing_to_a_server(
    sweeper_call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    """The server that a study's file names is not asked, and no variable becomes a part of its URL: --storage confirms."""
    monkeypatch.setenv("A_SECRET", "hidden")
    folder = tmp_path / "outputs" / "studies" / "theirs"
    folder.mkdir(parents=True)
    sweep = {"hydra": {"sweeper": {"storage": storage, "study_name": "theirs"}}}
    (folder / "multirun.yaml").write_text(yaml.safe_dump(sweep))
    done = sweeper_call("report", "theirs")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "give --storage URL" in done.stderr
    assert "hidden" not in done.stderr


@pytest.fixture(scope="module")
def a_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study of two trials."""
    folder = tmp_path_factory.mktemp("study")
    values = [*TINY, *HERE, "model.dropout=0.05,0.1"]
    subprocess.run(command("-m", *values), cwd=folder, env=environment(), check=True, capture_output=True)
    return only_study(folder)


@pytest.mark.parametrize("name", ["multirun.yaml", "search.yaml", "journal.log", "0/result.json", "0/metrics.jsonl"])
@pytest.mark.parametrize("kind", ["fifo", "zero", "bomb", "deep", "binary"])
def test_a_hostile_study_is_one_line_and_hides_no_other(
    sweeper_call: Call, tmp_path: Path, a_study: Path, name: str, kind: str
) -> None:
    """`report` of a study with a hostile file ends: with a page that lacks it, or with one line."""
    studies = tmp_path / "outputs" / "studies"
    shutil.copytree(a_study, studies / a_study.name)
    file = only_study(tmp_path) / name
    file.unlink()
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "zero":
        file.symlink_to("/dev/zero")
    else:
        file.write_bytes({"bomb": BOMB.encode(), "deep": b"[" * 99_999, "binary": b"\xff\xfe\x00"}[kind])
    done = sweeper_call("report", next(studies.iterdir()).name)
    assert done.returncode in {0, 1}
    assert done.stderr.count("\n") <= 1
    assert "Traceback" not in done.stderr
