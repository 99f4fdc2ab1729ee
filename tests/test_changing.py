"""A saved run under overrides: values and groups change, the rest stays; where its configs came from; its names."""

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from sweeper.config.composition import compose
from sweeper.config.loading import dotted
from sweeper.config.origin import Origin, conf_dir
from sweeper.errors import CompositionError, ConfigError
from sweeper.reading.named_runs import find_run
from sweeper.run.changing import change

from .pasting import CONFIGS, make_configs
from .studies import SAVED, Call, make_journal

SAVED_CONF = ["data=mnist5k", "model=compact", "optimizer.lr=0.123", "threads=2"]


def changed(*overrides: str, origin: Origin | None = None) -> dict[str, object]:
    """The keys of a config that overrides change, with their new values."""
    conf = compose(SAVED_CONF)
    old, new = dict(dotted(asdict(conf))), dict(dotted(asdict(change(conf, overrides, origin or Origin()))))
    return {key: new.get(key) for key in {**old, **new} if old.get(key) != new.get(key)}


def test_a_value_alone_changes() -> None:
    """What is not named stays, also where conf/ has another value; one of a list is changed by its index."""
    assert changed("model.dropout=0.2") == {"model.dropout": 0.2}
    assert changed("model.groups.block1.channels.0=4") == {"model.groups.block1.channels": [4, 12]}
    assert changed("optimizer.lr=0.123") == {}


def test_a_group_is_chosen_whole() -> None:
    """Its keys are those of the option, and none is left of the old one; a value after it counts."""
    assert changed("scheduler=constant") == {
        "scheduler.name": "constant",
        **dict.fromkeys(("scheduler.pct_start", "scheduler.div_factor", "scheduler.final_div_factor")),
    }
    assert changed("head@model.head=conv") == {"model.head.name": "conv"}
    assert changed("model=gap", "model.groups.block2.channels=[4,5]")["model.groups.block2.channels"] == [4, 5]
    assert changed("~model.groups.block2") == {"model.groups.block2.channels": None, "model.groups.block2.pool": None}
    added = changed("+group@model.groups.block3=conv", "model.groups.block3.channels=[8]")
    assert added == {"model.groups.block3.channels": [8]}


def test_a_group_may_be_in_a_folder_of_ones_own(tmp_path: Path) -> None:
    """The folder that --config-dir names has the option; without it, the message names the options there are."""
    make_configs(tmp_path)
    (tmp_path / CONFIGS / "model" / "mine.yaml").write_text("defaults: [gap, _self_]\ndropout: 0.25\n")
    assert changed("model=mine", origin=Origin(config_dir=str(tmp_path / CONFIGS)))["model.dropout"] == 0.25
    with pytest.raises(CompositionError, match="model has no option 'mine'"):
        changed("model=mine")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("hydra.run.dir=x", "hydra.run.dir=x is Hydra's: leave it out"),
        ("data@hydra.job=mnist", "is Hydra's: leave it out"),
        ("experiment=fast", "experiment=fast chooses all: give single keys"),
        ("search=card", "search=card chooses all: give single keys"),
        ("model.dropout=0.1,0.2", "gives several values: for a list use brackets"),
        ("model.dropot=1", "the config has no key 'model.dropot' (did you mean model.dropout"),
        ("model.dropout=2", "model.dropout must be"),
        ("+group@model.none.block1=conv", "names one that this config lacks: correct it"),
    ],
)
def test_what_cannot_change_is_one_line(override: str, said: str) -> None:
    """Each says the rule and what to do; no message names a temporary folder."""
    with pytest.raises(ConfigError) as raised:
        changed(override)
    assert said in str(raised.value)
    assert "/tmp" not in str(raised.value)  # noqa: S108 - it is the one not to be found


def test_options_of_hydra_are_read_as_it_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, shortened, with = or without; the last counts. Printed, a folder below the working directory is relative."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-a b").mkdir()
    typed = Origin.typed(
        ["-m", "-cd", "x", "--config-d", "-a b", "--config-name=mine", "a.b=--config-dir", "-cp", "/p"]
    )
    assert typed == Origin(config_dir="-a b", config_path="/p", config_name="mine")
    assert Origin(config_dir="-a b").checked().options == ["--config-dir", "./-a b"]
    with pytest.raises(CompositionError, match="--config-dir must be a folder of configs, but nowhere is no folder"):
        Origin(config_dir="nowhere").checked()


def test_what_hydra_saved_tells_the_origin(tmp_path: Path) -> None:
    """The folder of the command line, another main folder and another name; folders of other machines are not named."""
    sources = [("hydra", "pkg", "hydra.conf"), ("main", "file", "/of/ada"), ("command-line", "file", str(tmp_path))]
    saved = {
        "runtime": {"config_sources": [{"provider": p, "schema": s, "path": q} for p, s, q in sources]},
        "job": {"config_name": "mine"},
    }
    origin = Origin.saved(saved, None)
    assert origin == Origin(config_dir=str(tmp_path), config_path="/of/ada", config_name="mine")
    assert origin.here() == Origin(config_dir=str(tmp_path), config_name="mine")
    assert Origin.saved({}, None) is None
    assert Origin.saved({"runtime": {"config_sources": 3}, "job": []}, None) is None


@pytest.mark.parametrize(
    ("main", "name"),
    [
        (("file", "{folder}/evil"), "config"),
        (("file", "{folder}/../run/evil"), "config"),
        (("pkg", "outputs.studies.evil"), "config"),
        (("file", str(conf_dir())), "../outputs/runs/run/evil"),
        (("file", str(conf_dir())), "/run/evil"),
    ],
)
def test_a_strangers_files_name_no_config_of_theirs(tmp_path: Path, main: tuple[str, str], name: str) -> None:
    """A package is code, and a config in the stranger's own folder can set what overrides may not."""
    folder = tmp_path / "run"
    (folder / "evil").mkdir(parents=True)
    source = {"provider": "main", "schema": main[0], "path": main[1].format(folder=folder)}
    saved = {"runtime": {"config_sources": [source]}, "job": {"config_name": name}}
    assert Origin.saved(saved, folder) is None


def test_a_run_is_found_by_what_it_is_called(sweeper_call: Call, tmp_path: Path) -> None:
    """By its folder, by the name below outputs/runs, as a trial STUDY/NUMBER, and by a study's name for its best trial."""
    assert sweeper_call("inspect", "model=compact").returncode == 0  # in its folder from here on
    run = shutil.copytree(SAVED / "run", tmp_path / "outputs/runs/2026-11-25/saved")
    study = make_journal("s")
    shutil.copytree(SAVED / "run", study / "1")
    assert find_run("2026-11-25/saved", None).resolve() == run
    assert find_run(str(run), None) == run
    assert find_run("s/1", None) == Path("outputs/studies/s/1")
    assert find_run("s", None) == find_run("outputs/studies/s", None) == Path("outputs/studies/s/1")
    refused = sweeper_call("reproduce", "nowhere")
    assert refused.stderr == (
        "sweeper: a run must be given by its folder or name, or by the name of its study, but nowhere is none of these: studies in "
        "outputs/studies: s\n"
    )
    told = sweeper_call("report", "2026-11-25/saved")
    assert told.stdout.startswith("report: outputs/runs/2026-11-25/saved/report.html")


@pytest.mark.slow
def test_a_changed_run_is_no_reproduction(sweeper_call: Call, tmp_path: Path) -> None:
    """It says so, names what differs, compares nothing, and its own next command starts from its config."""
    shutil.copytree(SAVED / "run", tmp_path / "run")
    few = ["training.epochs=1", "data.validation_size=3900", "training.batch_size=50"]
    done = sweeper_call("reproduce", "run", *few, "model.dropout=0.25")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0] == "a changed run, not a reproduction: nothing is compared with run"
    assert "  model.dropout: 0.0 there, 0.25 here" in said
    assert "identical" not in done.stdout
    assert "different" not in done.stdout
    assert (
        f"python -m sweeper reproduce {next((tmp_path / 'outputs/runs').glob('*/*')).relative_to(tmp_path)} "
        in (done.stdout.partition("next:")[2])
    )
    assert sweeper_call("reproduce", "run", "other").stderr.startswith(
        "sweeper: one run is reproduced, and an override is"
    )


def test_inspect_takes_configs_of_ones_own(sweeper_call: Call, tmp_path: Path) -> None:
    """As a run does: a folder of more configs, or another folder and another name."""
    make_configs(tmp_path)
    assert "7,578" in sweeper_call("inspect", "--config-dir", CONFIGS, "model=mine").stdout
    shutil.copytree(conf_dir(), tmp_path / "other")
    (tmp_path / "other" / "config.yaml").rename(tmp_path / "other" / "mine.yaml")
    named = sweeper_call("inspect", "--config-path", "other", "-cn", "mine", "model=compact")
    assert "7,578" in named.stdout, named.stderr
    assert sweeper_call("inspect", "--config-dir", "none").stderr.startswith("sweeper: --config-dir must be a folder")
