"""What a mistyped name, a setting without effect or a budget out of reach is told: one line, before anything is written."""

from pathlib import Path
from typing import Any

import pytest

from sweeper.config.idle import idle_overrides, idle_settings
from sweeper.search import dry_run
from sweeper.search.feasibility import fingerprint

from .composed import compose
from .studies import Call

DRY = "hydra.sweeper.dry_run=true"
KEYS = {
    "hydra.sweeper.n_trial=3": "no key 'hydra.sweeper.n_trial' (did you mean hydra.sweeper.n_trials?)",
    "hydra.swepper.n_trials=3": "no key 'hydra.swepper.n_trials' (did you mean hydra.sweeper.n_trials?)",
    "n_trials=3": "no key 'n_trials' (did you mean hydra.sweeper.n_trials?)",
    "hydra.launcher.n_job=3": "(did you mean hydra.sweeper.n_jobs",
    "hydra/sweeper/samplr=tpe": "there is no config group 'hydra/sweeper/samplr' (did you mean hydra/sweeper/sampler",
    "model.groups.blck1.dropout=0.1": "(did you mean model.groups.block1.dropout, ",
    "model.groups.block1.dropot=0.1": "(did you mean model.groups.block1.dropout, model.groups.block1.dropout_kind?)",
    "hydra.job.chdir=maybe": "hydra.job.chdir cannot be maybe: value 'maybe' is not a valid bool",
    "++search=card": "a config group is chosen without ++, as in search=card",
    "model=../model/gap": "an option is the name of a file in a config group, without a path",
}
"""By a wrong override: a part of the error."""


@pytest.mark.parametrize("override", KEYS)
def test_a_mistyped_name_is_told_what_is_near(override: str, sweeper_call: Call) -> None:
    """Keys of Hydra, of the search, of nested layers and groups have near matches, those of the same parent first."""
    done = sweeper_call("-m", "search=widths", override, DRY)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert KEYS[override] in done.stderr


def test_keys_of_the_chosen_model_are_suggested(sweeper_call: Call) -> None:
    """The layer groups are those of the model that the command chooses, not of the default one."""
    done = sweeper_call("inspect", "model=notebook", "model.groups.transiton1.dropout=0.1")
    assert "(did you mean model.groups.transition1.dropout, " in done.stderr


def test_a_wrong_study_is_told_the_near_ones(sweeper_call: Call, tmp_path: Path) -> None:
    """A part of a name or a slip suffices; of many studies three are named; a study has a run to reproduce."""
    for name in ("card-676c6f90", *(f"widths-{number}" for number in range(9))):
        (tmp_path / "outputs" / "studies" / name / "best" / ".hydra").mkdir(parents=True)
        (tmp_path / "outputs" / "studies" / name / "best" / ".hydra" / "config.yaml").touch()
    for words in (["report", "card"], ["confirm", "crad-676c6f90"], ["dashboard", "card"]):
        done = sweeper_call(*words)
        assert done.returncode == 1
        assert "(did you mean card-676c6f90?)" in done.stderr
        assert done.stderr.endswith(" and 7 more\n")
    wrong = sweeper_call("resume", "outputs/studies/card-676c6f90/bst")
    assert "(did you mean outputs/studies/card-676c6f90/best?)" in wrong.stderr


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 2000])
def test_a_name_that_is_too_long_is_one_line(name: str, sweeper_call: Call) -> None:
    """No system call's error is a traceback; a long value is shortened, so that the fix is seen."""
    for command in ("report", "confirm", "reproduce", "resume"):
        done = sweeper_call(command, name)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert len(done.stderr) < 2000


IDLE: dict[str, list[str]] = {
    "dropout is 0": ["model.dropout_kind=element"],
    "nothing is pooled": ["model.groups.block1.pool_kind=avg"],
    "there is no normalization": ["model.norm=none", "model.order=conv_act_norm"],
    "of a kernel of one pixel both kinds are the same": ["model=notebook", "model.groups.transition1.conv=separable"],
    "model.groups.block2.depth is 2": ["model.groups.block2.depth=2", "model.groups.block2.channels.3=8"],
    "4 epochs end before the first step": ["scheduler=step", "scheduler.step_size=9", "scheduler.gamma=0.5"],
    "augment.elastic is 0": ["augment=affine", "augment.elastic_sigma=9"],
    "data.validation=test holds out no training images": ["data.validation=test", "data.split_seed=3"],
}
"""By the reason: overrides, the last of which changes nothing."""


@pytest.mark.parametrize("why", IDLE)
def test_a_setting_that_changes_nothing_is_said(why: str) -> None:
    """The sentence names the key, its value and what makes it idle; the other overrides get none."""
    *_, last = IDLE[why]
    (said,) = idle_overrides(idle_settings(compose(IDLE[why])), IDLE[why])
    assert said.startswith(f"{last} changes nothing here: ")
    assert why in said


def test_a_command_says_what_changes_nothing(sweeper_call: Call) -> None:
    """Inspect says it below its table, a dry run above the space; the default value changes nothing either, and is not said."""
    said = "model.dropout_kind=element changes nothing here: dropout is 0"
    assert said in sweeper_call("inspect", "model.dropout_kind=element").stdout
    assert said in sweeper_call("-m", "seed=1,2", "model.dropout_kind=element", DRY).stdout
    assert "changes nothing" not in sweeper_call("inspect", "model.dropout_kind=channel").stdout


def test_what_changes_nothing_makes_no_other_trial() -> None:
    """Configs that train the same have one fingerprint; with dropout its kind matters, and the fingerprint differs."""

    def seen(*overrides: str) -> str:
        return fingerprint(compose(list(overrides)))

    assert seen() == seen("model.dropout_kind=element")
    assert seen("model.dropout=0.1") != seen("model.dropout=0.1", "model.dropout_kind=element")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer.momentum=0.8,0.9"], "optimizer.momentum is swept but changes nothing here"),
        (["model.dropout_kind=element,channel"], "model.dropout_kind is swept but changes nothing here"),
        (["target=0.8,0.9"], "target cannot be swept, every run would be the same"),
        (
            ["seed=1,2", "hydra.sweeper.n_trials=5"],
            "hydra.sweeper.n_trials changes nothing here, but got 5: a grid runs each",
        ),
        (["seed=1,2", "hydra/sweeper/sampler=tpe"], "hydra/sweeper/sampler changes nothing here, but got tpe"),
        (["search=pareto", "hydra.sweeper.stop_at_target=true"], "hydra.sweeper.stop_at_target changes nothing here"),
        (
            ["search=card", "hydra.sweeper.pruner=null"],
            "hydra.sweeper.pruner must be a config, but got null: choose one",
        ),
        (
            ["search=card", "hydra.sweeper.params=x"],
            "hydra.sweeper.params must have a sweep for each key, but got x",
        ),
        (["search=card", "hydra/sweeper/sampler=front"], "hydra/sweeper/sampler=front needs two objectives"),
        (
            ["search=card", "model=gap,tiny"],
            "the widths of one network can be searched, but model=gap,tiny gives several",
        ),
        (
            ["search=dropout_lr", "data=mnist5k", "budget.parameters=3000"],
            "model has 9,848 parameters, the budget is 3,000",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_search_in_vain_is_one_line(words: list[str], said: str, sweeper_call: Call, tmp_path: Path) -> None:
    """What would train the same again, or nothing, is refused before a study is made; a dry run refuses what a search does."""
    done = sweeper_call("-m", *words, *([] if "budget" in " ".join(words) else [DRY]))
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def _ranges(done: Any) -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    lines = (line.partition(" : ") for line in done.stdout.splitlines())
    return {key: value for key, _, value in lines}


def test_a_list_beside_a_preset_is_searched(sweeper_call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """search=widths with a list searches the other widths and the list's values: it is no grid. A whole list replaces its widths."""
    monkeypatch.setattr(dry_run, "SAMPLES", 5)
    one = _ranges(sweeper_call("-m", "search=widths", "model.groups.block1.channels.0=4,8", DRY))
    assert one["model.groups.block1.channels.0"] == "4, 8"
    assert one["model.groups.block2.channels.0"] == "whole numbers, 8 to 32"
    whole = _ranges(sweeper_call("-m", "search=widths", "model.groups.block1.channels=[4],[8]", DRY))
    assert whole["model.groups.block1.channels"] == "[4], [8]"
    assert "model.groups.block1.channels.0" not in whole


def test_widths_scale_with_a_budget_that_the_model_exceeds(sweeper_call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model over the budget is narrowed into it first; within the default budget the ranges are half to twice its own."""
    monkeypatch.setattr(dry_run, "SAMPLES", 50)
    usual = _ranges(sweeper_call("-m", "search=widths", DRY))
    tight = _ranges(sweeper_call("-m", "search=widths", "budget.parameters=3000", DRY))
    assert usual["model.groups.block2.channels.3"] == "whole numbers, 9 to 36"
    assert tight["model.groups.block2.channels.3"] == "whole numbers, 5 to 20"
    assert not tight["feasible"].startswith("0.0 %")
