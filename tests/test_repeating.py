"""What printed commands repeat of saved files, which a stranger may have written: nothing that runs, writes or leaks."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from sweeper.dashboard.notes import study_note
from sweeper.errors import RunFolderError
from sweeper.report.record import read_run
from sweeper.report.run_report import as_markdown, make_report
from sweeper.run.folder import RunFolder
from sweeper.search.repeating import repeatable
from sweeper.study.commands import repeated_arguments, saved_arguments

from .headlines import BASE, SEARCH, commands, headline, sweep, trial
from .studies import SAVED

OURS = [
    *("model=mine", "+x=1", "model.dropout=0.05,0.1", "search=card", "~model.groups.block1", "head@model.head=gap"),
    *("+group@model.groups.block3=conv", "model.groups.block1.channels.0=8", 'data.root="/my $files"'),
    *("optimizer.lr=interval(0.01,0.1)", "model.dropout=${optimizer.lr}", "hydra.sweeper.n_trials=40"),
    *("hydra/sweeper/sampler=tpe", "hydra.sweeper.sampler.seed=3", '+hydra.sweeper.params.x="choice(1,2)"'),
    *(
        "hydra/launcher=submitit_slurm",
        "hydra.launcher.partition=gpu",
        "hydra.launcher.mem_gb=2",
        "hydra.job.chdir=true",
    ),
    *("hydra.sweeper.storage=${oc.env:OTHER}", "hydra.sweeper.storage=sqlite:///my.db", "hydra.sweeper.storage=null"),
]
STRANGE = [
    *("hydra.job.env_set.PATH=x", "+hydra.job.env_set={A:1}", "++hydra.job.env_set.A=1", "~hydra.job.env_set"),
    *("hydra={run:{dir:/x}}", "++hydra={job:{}}", "hydra.job_logging.root={}", "hydra/job_logging=evil"),
    *("+hydra/callbacks=evil", "hydra.callbacks.a._target_=os.system", "hydra.run.dir=/x", "hydra.sweep.subdir=/x"),
    *("hydra.hydra_logging.root={}", "hydra.searchpath=[file:///x]", "hydra.output_subdir=/x", "hydra.verbose=true"),
    *("hydra.sweeper._target_=x", "hydra.sweeper.sampler._target_=x", "hydra.sweeper.sampler={_target_:x}"),
    *("hydra.launcher.setup=[x]", "hydra.launcher.submitit_folder=/x", "hydra.launcher.ray.init.runtime_env={}"),
    *("hydra.launcher.partition='gpu -o /x'", "hydra.launcher.partition=-o", 'hydra.launcher.partition="a\nb"'),
    *("data.root=${oc.env:HOME}", "data.root=${ oc.env:HOME}", "data.root=${oc.decode:x}", "x=${hydra.job.name}"),
    *("data@hydra.job=mnist", "data@_global_=mnist", "hydra@x=y", "hydra.sweeper.params={hydra.run.dir: x}"),
    *(
        "hydra.aliases={a: hydra.run.dir}",
        "+model.x={_target_:os.system}",
        "no override",
        "",
        "=x",
        "model=../../outputs/studies/s/evil",
        "+x/y=../z",
        " hydra.run.dir=x",
    ),
]
ELSEWHERE = [
    "postgresql://host/db",
    "postgresql://me:word@host/db",
    "sqlite:////etc/x.db",
    "journal://../../x",
    "journal://README.md",
    "URL",
]


@pytest.mark.parametrize("override", OURS)
def test_what_an_experiment_or_a_search_is_made_of_is_repeated(override: str) -> None:
    """Keys, groups, sweeps, options of the sweeper and what a launcher asks an engine for stay as they were typed."""
    assert repeatable([override]).kept == (override,)
    assert repeatable([override]).sentence == ""


@pytest.mark.parametrize("override", STRANGE)
def test_what_runs_code_or_writes_elsewhere_is_left_out(override: str) -> None:
    """Other settings of Hydra, targets and interpolations of the environment are not repeated, whatever their prefix."""
    found = repeatable([override, "seed=2"])
    assert found.kept == ("seed=2",)
    assert found.left_out == (override,)


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_storage_elsewhere_becomes_a_variable(url: str) -> None:
    """The command names no server and no file outside the working directory: the user sets the variable, or not."""
    override = f"hydra.sweeper.storage={url}"
    (kept,) = repeatable(saved_arguments({"hydra": {"overrides": {"hydra": [override]}}})).kept
    assert kept == "hydra.sweeper.storage=${oc.env:STUDY_URL}"
    assert repeatable([override]).kept == (kept,)


def test_a_sweeps_folder_is_the_one_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever folder a study's files name, a command names the one they are in."""
    monkeypatch.chdir(tmp_path)
    assert repeatable(["hydra.sweep.dir=/etc"], tmp_path / "a b").kept == ("hydra.sweep.dir=a b",)
    assert repeatable(["hydra.sweep.dir=/etc"]).kept == ()
    for folder in (tmp_path / "outputs/studies/a b", tmp_path / "a b"):
        folder.mkdir(parents=True)
    saved = {"hydra": {"overrides": {"task": ["search=card"]}}}
    assert repeated_arguments(saved, tmp_path / "outputs/studies/a b").kept == ("search=card",)
    assert repeated_arguments(saved, tmp_path / "a b").kept == ("search=card", "hydra.sweep.dir=a b")


def test_what_is_left_out_is_said_in_one_line() -> None:
    """At most three are named, shortened, without escape codes; then how many more there are."""
    assert repeatable(["hydra.run.dir=\x1b[31m/x\ny"]).sentence == (
        "The commands leave out hydra.run.dir=[31m/x y, from saved files: add it if you trust it."
    )
    many = repeatable([f"hydra.job.env_set.A{number}={'x' * 100}" for number in range(5)]).sentence
    assert many.endswith("… and 2 more, from saved files: add them if you trust them.")
    assert len(many) < 330


def test_a_strangers_study_has_no_command_of_his(tmp_path: Path) -> None:
    """Neither the headline nor the dashboard's note repeats what its files hide; each says so. Typed words stay."""
    folder = tmp_path / "study"
    (folder / "0" / ".hydra").mkdir(parents=True)
    (folder / "0" / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(["model=gap", "hydra.job.env_set.B=2"]))
    bad = "hydra.job.env_set.A=\x1b[31m1"
    multirun = sweep(2, "hydra.sweeper.n_trials=2", bad)
    source = {"provider": "command-line", "schema": "file", "path": str(tmp_path)}
    multirun["hydra"] |= {"runtime": {"config_sources": [source]}, "job": {"config_name": "config"}}
    (folder / "multirun.yaml").write_text(yaml.safe_dump(multirun))
    (folder / "search.yaml").write_text(yaml.safe_dump({**SEARCH, "base": BASE}))
    found = headline(trial(0, 0.9), multirun=multirun, folder=folder)
    assert all("env_set" not in text for text in commands(found).values())
    assert commands(found)["go on"].startswith(f"python -m sweeper --config-dir {tmp_path} -m search=card ")
    assert commands(found)["more seeds"].startswith(f"python -m sweeper --config-dir {tmp_path} -m model=gap ")
    assert "The commands leave out hydra.job.env_set.A=[31m1, hydra.job.env_set.B=2" in found.details
    note = study_note("study", folder, headline=found)
    assert "env_set" not in "".join(re.findall(r"`python[^`]*`", note))
    assert "\x1b" not in note
    source["path"] = str(folder)  # his own configs
    assert commands(headline(trial(0, 0.9), multirun=multirun, folder=folder)) == {}
    typed = headline(
        trial(0, 0.9), multirun=multirun, folder=folder, program=["python", "-m", "sweeper"], arguments=[bad]
    )
    assert "hydra.job.env_set.A=" in commands(typed)["go on"]
    assert "leave out" not in typed.details


def test_a_strangers_run_starts_from_its_config(tmp_path: Path) -> None:
    """Overrides that are left out may have made the config: the next command starts from the config itself, and says so."""
    files = RunFolder(Path(shutil.copytree(SAVED / "run", tmp_path / "run")))
    files.overrides.write_text(yaml.safe_dump(["data=mnist5k", "hydra.callbacks.a._target_=os.system"]))
    report = make_report(read_run(files.path))
    assert report.next.startswith("python -m sweeper reproduce ")
    assert "_target_" not in report.next
    assert "The commands leave out hydra.callbacks.a.\\_target\\_=os.system" in as_markdown(report)


def test_an_escaped_interpolation_is_one(tmp_path: Path) -> None:
    """A saved config is plain values, however its dollar is written."""
    files = RunFolder(tmp_path)
    files.config.parent.mkdir()
    files.config.write_text(r'{model: {}, training: {}, data: {root: "\x24{oc.env:HOME}"}}')
    with pytest.raises(RunFolderError, match="must hold the resolved config"):
        files.read_config()
