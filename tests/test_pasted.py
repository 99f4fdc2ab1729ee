"""Printed commands are pasted: bash and zsh run each from the folder where it was printed, and it does what it says."""

import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sweeper.dashboard.answers import Annotations
from sweeper.report.record import read_run
from sweeper.run.folder import RunFolder
from sweeper.shell import join

from .pasting import DIFFICULT, OWN, SHELLS, make_configs, paste, printed
from .processes import CHECKOUT, command, environment
from .studies import TINY, Call, storage_of

WORDS = [
    *("", " ", "a b", "a  b", " a ", "a\nb", "a\tb", "\x1b[31mred", "\x7f", "$HOME", "${x}", "`id`", "$(id)", "$'x'"),
    *("!!", "a!b", "it's!x", "it's  !x", "'", "''", '"', "\\", "\\n", "a\\  b", "\\x41  ", "\n41", "^x^y", "%1", "#c"),
    *("[1,2]", "*", "?", "x[ab]", "<1-3>", "{a,b}", "(a|b)", "~", "~root", "x=~", "=ls", "x==ls", "x=a:=ls", "=", "=="),
    *(
        "-x",
        "--",
        "&",
        ";",
        "|",
        "<",
        ">",
        "é",
        "é\n",
        "\u00a0",
        "\u202eabc",
        "日本",
        "👩\u200d👧",
        "\udcff",
        "a@b",
        "^",
    ),
]


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """The working directory: its name, and that of the folder of configs in it, need quoting."""
    folder = tmp_path / DIFFICULT
    folder.mkdir()
    make_configs(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("shell", SHELLS)
def test_every_character_survives(shell: str, locale: str, tmp_path: Path) -> None:
    """Words reach the program byte for byte, with the shells' optional patterns on, in any locale; no line is broken."""
    program = "import os, sys; sys.stdout.buffer.write(b'|'.join(os.fsencode(word) for word in sys.argv[1:]))"
    line = join([sys.executable, "-c", program, *WORDS])
    assert line.isprintable()
    assert "  " not in line  # a browser would show one space
    options = ["-O", "extglob"] if shell == "bash" else ["-f", "-o", "extendedglob", "-o", "magicequalsubst"]
    env = {**environment(), "LC_ALL": locale}
    done = subprocess.run([shell, *options, "-c", line], cwd=tmp_path, env=env, capture_output=True, check=True)
    assert done.stdout == b"|".join(os.fsencode(word) for word in WORDS)


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_run_prints_is_pasted(shell: str, tmp_path: Path, sweeper_call: Call) -> None:
    """A run with configs of one's own: `run it again` is identical, `next` in terminal and report.md trains longer."""
    done = sweeper_call(*OWN, 'hydra.run.dir="outputs/runs/=a [b] !c"')
    assert done.returncode == 0, done.stderr
    found = printed(done.stdout)
    assert set(found) == {"run it again", "next"}
    blocks = re.findall(r"```sh\n(.*)\n```", (tmp_path / "outputs/runs/=a [b] !c/report.md").read_text())
    assert {found["run it again"], found["next"]} <= set(blocks)
    again = paste(found["run it again"], shell, tmp_path)
    assert "identical:" in again.stdout, again.stderr
    on = paste(found["next"], shell, tmp_path)
    assert "epochs" in found["next"]
    assert re.search(r"^ +2/2 ", on.stdout, re.MULTILINE), on.stderr


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_what_a_search_prints_is_pasted(shell: str, tmp_path: Path, sweeper_call: Call) -> None:
    """`go on` of the terminal, and that of the page from the study's files, go on with the search; likewise its best trial."""
    typed = ["-m", *OWN, "optimizer.lr=interval(0.01,0.1)", "hydra.sweeper.study_name=a b", "hydra.sweeper.n_jobs=1"]
    done = sweeper_call(*typed, "hydra.sweeper.n_trials=1")
    assert done.returncode == 0, done.stderr
    found = printed(done.stdout)
    assert {"confirm", "go on", "run it again"} == set(found)
    page = html.unescape((tmp_path / "outputs/studies/a b/report.html").read_text())
    shown = storage_of([], study="a b")
    shown.get_all_studies()
    note = Annotations(shown)._annotate(shown.get_study_id_from_name("a b"), {"trials": [], "best_trials": []})
    shown.close()
    for text in found.values():
        assert f"<code>{text}</code>" in page
        assert f"`{text}`" in note["note"]["body"]
    (searched,) = re.findall(r"Searched with `(.*?)`", note["note"]["body"])
    same = paste(searched, shell, tmp_path)
    assert "1 of 1 trial" in same.stdout, same.stderr
    on = paste(found["go on"], shell, tmp_path)
    assert "2 of 2 trials" in on.stdout, on.stderr
    again = paste(found["run it again"], shell, tmp_path)
    assert "identical:" in again.stdout, again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_commands_in_errors_are_pasted(shell: str, tmp_path: Path) -> None:
    """An error that names a command ends with it: each runs as it stands."""
    wrong = subprocess.run(
        command(*OWN, "model.dropout=0.1,0.2"),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode == 1
    line = wrong.stderr.rstrip().partition("add -m: ")[2]
    done = paste(f"{line} hydra.sweeper.dry_run=true", shell, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "#1 : model=mine" in done.stdout


@pytest.mark.slow
def test_a_trial_is_rerun_by_hydras_option(tmp_path: Path, sweeper_call: Call) -> None:
    """`--experimental-rerun` takes the folder of a trial, or Hydra 1.3's file in it, and trains a new run with its values."""
    assert sweeper_call("-m", *OWN, "seed=3,4", "hydra.sweeper.study_name=s", "hydra.sweeper.n_jobs=1").returncode == 0
    for given in ("outputs/studies/s/1", "outputs/studies/s/1/.hydra/config.pickle"):
        done = sweeper_call("--experimental-rerun", given, "target=0.5", f"hydra.run.dir=run{len(given)}")
        assert done.returncode == 0, done.stderr
        new, old = RunFolder(tmp_path / f"run{len(given)}"), RunFolder(tmp_path / "outputs/studies/s/1")
        assert new.read_config().target == 0.5
        assert new.read_epochs()[0].train_loss == old.read_epochs()[0].train_loss
        assert yaml.safe_load(new.hydra.read_text())["hydra"]["overrides"]["task"][0] == "model=mine"
    refused = sweeper_call("-m", "--experimental-rerun", "outputs/studies/s/1")
    assert refused.stderr.startswith("sweeper: --experimental-rerun runs one job again, but -m asks for several")


@pytest.mark.slow
def test_a_config_of_another_folder_is_named_again(tmp_path: Path, sweeper_call: Call) -> None:
    """`next` names the folder and the config, the folder absolute, where Hydra would look elsewhere; a lost one not."""
    shutil.copytree(CHECKOUT / "conf", tmp_path / "other conf")
    (tmp_path / "other conf" / "config.yaml").rename(tmp_path / "other conf" / "mine.yaml")
    typed = ["--config-path", "other conf", "--config-name", "mine", *TINY, "hydra.run.dir=run"]
    done = sweeper_call(*typed, "training.label_smoothing=0.5")
    assert done.returncode == 0, done.stderr
    text = printed(done.stdout)["next"]
    assert text.startswith("python -m sweeper --config-path '/")
    assert " --config-name mine data=mnist5k " in text
    composed = paste(f"{text} --cfg job", "bash", tmp_path)
    assert "label_smoothing: 0.5" in composed.stdout, composed.stderr
    (tmp_path / "other conf").rename(tmp_path / "moved")
    assert read_run(tmp_path / "run").command("seed=2") == "python -m sweeper reproduce run seed=2"
