"""Composing and checking configs: every form of override, and the message for each wrong one."""

import dataclasses
from typing import Any

import pytest
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

import sweeper
from sweeper.config.composition import compose
from sweeper.config.hydra_errors import LAUNCHERS
from sweeper.config.loading import dump, load
from sweeper.config.origin import conf_dir
from sweeper.config.schema import AdamwConf, ExperimentConf, SgdConf, StepConf
from sweeper.errors import ConfigError


def saved(conf: ExperimentConf) -> DictConfig:
    """The config as it is read back from disk."""
    config = OmegaConf.create(dump(conf))
    assert isinstance(config, DictConfig)
    return config


GOOD = {
    "a group's value": ["model.groups.block1.channels=[8,16]"],
    "one channel": ["model.groups.block1.channels.0=12"],
    "a model-wide value": ["model.dropout=0.05"],
    "another option for a group": ["group@model.groups.block1=transition"],
    "a new group from an option": ["+group@model.groups.block3=conv", "model.groups.block3.channels=[4]"],
    "a new group written out": ["+model.groups.block3={channels:[4],kernel_size:1}"],
    "a deleted group": ["~model.groups.block2"],
    "another head": ["model=notebook", "head@model.head=gap"],
    "another optimizer": ["optimizer=adamw", "optimizer.beta2=0.99"],
    "another schedule": ["scheduler=step", "scheduler.step_size=2"],
    "no budget": ["budget=unlimited"],
    "an experiment": ["experiment=notebook", "training.epochs=3"],
}


@pytest.mark.parametrize("overrides", GOOD.values(), ids=GOOD.keys())
def test_override_forms_compose_and_survive_saving(overrides: list[str]) -> None:
    """Each documented form of override composes, and the saved config loads as an equal config."""
    conf = compose(overrides)
    assert load(saved(conf)) == conf


def test_overrides_change_what_they_name() -> None:
    """Each override changes the value it names."""
    conf = compose(
        [
            "model=notebook",
            "~model.groups.transition2",
            "group@model.groups.transition1=conv",
            "model.groups.block1.channels.0=12",
            "+group@model.groups.extra=transition",
            "model.groups.extra.channels=[3]",
            "optimizer=adamw",
            "scheduler=step",
        ]
    )
    assert list(conf.model.groups) == ["block1", "transition1", "block2", "block3", "extra"]
    assert conf.model.groups["block1"].channels == [12, 16, 16]
    assert conf.model.groups["transition1"].kernel_size is None
    assert conf.model.groups["extra"].pool == 2
    assert isinstance(conf.optimizer, AdamwConf)
    assert isinstance(conf.scheduler, StepConf)


def test_a_launcher_that_is_not_installed_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the command that installs the package; an unknown launcher's line lists the known ones."""
    monkeypatch.setitem(LAUNCHERS, "lunar", "hydra-lunar-launcher>=1")
    with pytest.raises(ConfigError) as caught:
        compose(["hydra/launcher=lunar"])
    assert str(caught.value) == (
        "hydra/launcher=lunar needs the package hydra-lunar-launcher, which is not installed: "
        "pip install 'hydra-lunar-launcher>=1'"
    )
    with pytest.raises(ConfigError, match=r"hydra/launcher has no option 'lunr'.*: it has basic, "):
        compose(["hydra/launcher=lunr"])


def test_notebook_experiment_is_the_reference_protocol() -> None:
    """experiment=notebook has the notebook's optimizer, batch size, epochs, seed and validation set."""
    conf = compose(["experiment=notebook"])
    assert conf.optimizer == SgdConf(name="sgd", lr=0.01, weight_decay=0.0, momentum=0.9, nesterov=False)
    assert (conf.training.epochs, conf.training.batch_size, conf.seed) == (15, 64, 1)
    assert (conf.scheduler.name, conf.augment.name, conf.data.validation) == ("constant", "none", "test")


BAD = {
    "model=gpa": "model has no option 'gpa' (did you mean gap?): it has compact, deep, ",
    "modle=gap": "the config has no key 'modle' (did you mean model",
    "model.droput=0.1": "the config has no key 'model.droput' (did you mean model.dropout,",
    "data=cifar": "data has no option 'cifar': it has fashion_mnist, kmnist, mnist, mnist5k",
    "data.name=cifar": "data.name must be one of mnist, mnist5k, fashion_mnist, kmnist, but got 'cifar'",
    "+nope=1": "the config has no key 'nope': it has seed, ",
    "+model.groups.block1.chanels=[8]": "model.groups.block1 has no key 'chanels' (did you mean channels",
    "model.groups.block1.channels=[]": "model.groups.block1.channels must list at least one convolution, but got []",
    "model.groups.block1.channels=[8,0]": "model.groups.block1.channels must be positive, but got [8, 0]",
    "model.groups.block1.channels=[8,-1]": "model.groups.block1.channels must be positive, but got [8, -1]",
    "model.groups.block1.channels=[1.5]": "model.groups.block1.channels must be a list of whole numbers such as [8,16], bu",
    "model.groups.block1.channels=8": "channels must be a list of whole numbers such as [8,16], but got 8",
    "model.groups.block1.channels=[null]": "but got [null]",
    "model.groups.block1.channels.5=4": "model.groups.block1.channels: index 5 is out of range, indices start at 0",
    "model.dropout=null": "model.dropout must be a number, but got null",
    "budget.parameters=1e4": "budget.parameters must be a whole number or null, but got 10000.0",
    "": "an override must be key=value, but one is empty",
    "=": "an override must be key=value, but one has no key",
    "+experiment=embedded": "experiment is already in the config: choose it without +, as in experiment=...",
    "model.dropout=0.1,0.2": "for one run per value name each once, and add -m: python -m sweeper -m data=mnist5k model.dropout=0.1,0.2\n",
    "search=card": "search=card only applies to a search, but -m is missing: python -m sweeper -m data=mnist5k search=card\n",
    "hydra.sweeper.n_trials=3": "python -m sweeper -m data=mnist5k hydra.sweeper.n_trials=3\n",
    "model.groups.block1.kernel_size=40": "block1.0 needs a feature map of at least 40 pixels",
    "model.groups.block1.stride=3": "less before it, or lower model.groups.block1.stride, which is 3",
    "augment.elastic=1": "the chosen augment has no key 'elastic', but others do: choose augment=elastic or augment=affi",
    "layer.padding=1": "the config has no key 'layer.padding' (did you mean model.padding",
    "head.bias=true": "the config has no key 'head.bias' (did you mean model.head.bias",
    "model.residual=2": "model.residual must be true or false, but got 2",
    "model.groups.block1.bias=on": "model.groups.block1.bias must be true or false or null, but got on",
    "model.groups.block2.pool=30": "block2.pool needs a feature map of at least 30 pixels",
    "model.groups.block1.dropout=1": "model.groups.block1.dropout must be in [0, 1), but got 1.0",
    "model.dropout=-0.1": "model.dropout must be in [0, 1), but got -0.1",
    "model.dropout=nan": "model.dropout must be in [0, 1), but got nan",
    "model.norm=layer": "model.norm must be batch or none, but got layer",
    "model.conv=null": "model.conv must be plain or separable, but got null",
    "model.groups.block1.conv=dense": "model.groups.block1.conv must be plain, separable or null, but got dense",
    "model.head.name=flat": "model.head.name must be conv or gap, but got flat",
    "model.head.bias=5x": "model.head.bias must be true or false, but got 5x",
    "+model.head.size=3": "model.head has no key 'size': it has name, bias",
    "model.padding=100000": "block1.0 must pad by less than the side of its 5×5 kernel, but pads by 100000",
    "hydra.run.dir=/dev/null": "/dev/null cannot be read or created (File exists): name another",
    "hydra.run.dir=/dev": "a run needs an empty folder, but /dev holds files: name another",
    "model.groups=[]": "model.groups cannot be []: cannot merge incompatible container types",
    "inspect": "an override must be key=value, but got 'inspect'",
    "+training.epochs=2": "training.epochs is already in the config: choose it without +, as in training.epochs=...",
    "epochs=3": "the config has no key 'epochs' (did you mean training.epochs?)",
    "lr=0.1": "the config has no key 'lr' (did you mean optimizer.lr?)",
    "head=gap": "head is chosen for a part of the network: head@model.head=gap",
    "model.head=gap": "model.head must be a mapping of keys, but got gap: choose an option with head@model.head=NAME",
    "model.groups.block1=conv5": "but got conv5: choose an option with group@model.groups.block1=NAME",
    "data=[1]": "data must be one of fashion_mnist, kmnist, mnist, mnist5k, but got 'data=[1]'",
    "+=[1]": "an override must be key=value, but got '+=[1]'",
    "optimizer.name=[]": "optimizer.name must be one of sgd, adamw, but got []",
    "++model.groups.x.channels.0=8": "a list must be given whole, as in model.groups.block1.channels=[8,16]",
    "seed=${oc.env:NOT_SET}": "seed refers to something that is missing (Environment variable 'NOT_SET' not found)",
    "threads=1000000": "threads must be 'auto' or a whole number from 1 to 256, but got 1000000",
    "model=null": "a config group takes the name of an option, but got null: --help lists the options",
    "~group@model.groups.block1": "delete a group with ~model.groups.block1",
    "+group@model.groups.new=conv": "model.groups.new.channels must be given",
    "head@model.head=conv": "head=conv needs a 1×1 feature map, but the last group leaves 4×4",
    "budget.parameters=0": "budget.parameters must be positive, or null for no limit, but got 0",
    "budget.parameters=500": "model has 9,848 parameters, the budget is 500: narrow model.groups.block2.channels",
    "training.epochs=0": "training.epochs must be positive, but got 0",
    "training.epochs=ten": "training.epochs must be a whole number, but got ten",
    "training.batch_size=1": "training.batch_size must be at least 2, but got 1",
    "training.batch_size=3501": "training.batch_size must be at most the 3,500 training images, but got 3501",
    "data.validation_size=4000": "data.validation_size must be less than the 4,000 training images, but got 4000",
    "optimizer.lr=0": "optimizer.lr must be positive and finite, but got 0",
    "optimizer.name=adam": "optimizer.name must be one of sgd, adamw, but got adam",
    "optimizer.momentum=0.5": "optimizer.momentum changes nothing under scheduler=onecycle, which sets it for each step",
    "optimizer.momentum=0": "optimizer.nesterov needs a momentum above 0",
    "seed=-1": "seed must be in [0, 2^63), but got -1",
    "threads=none": "threads must be 'auto' or a whole number from 1 to 256, but got none",
    "threads=1.5": "threads must be 'auto' or a whole number from 1 to 256, but got 1.5",
    "training.batch_size=4000": "training.batch_size must be at most the 3,500 training images, but got 4000",
    "data.root=[1]": "data.root must be text, but got [1]",
    "+augment.rotation=0.1": "augment.rotation needs augment=affine, elastic, erasing or flip, but got rotation=0.1",
    "target=99": "target must be a fraction in (0, 1], but got 99",
    "device=cuda": "device=cuda needs a CUDA GPU",
    "training epochs=3": "an override must be key=value, but got 'training epochs=3'",
}


@pytest.mark.parametrize("override", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(override: str, sweeper_call: Any, tmp_path: Any) -> None:
    """A wrong override is one line on stderr with the rule, the value and the fix; it exits with 1 and leaves no file."""
    if override == "device=cuda":
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("this machine has a GPU")
    done = sweeper_call("data=mnist5k", override) if not override.startswith("data=") else sweeper_call(override)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("sweeper: ")
    assert BAD[override] in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("swept", [["search=card", "training.batch_size=4000"], ["training.batch_size=4000,5000"]])
def test_a_batch_that_no_trial_can_fill_ends_a_search_before_it_begins(
    swept: list[str], sweeper_call: Any, tmp_path: Any
) -> None:
    """The rule is checked without reading the data: one line, no study. A search for a smaller batch is no mistake."""
    done = sweeper_call("-m", "data=mnist5k", *swept)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "training.batch_size must be at most the 3,500 training images, but got 4000" in done.stderr
    assert not list(tmp_path.iterdir())
    choice = ["training.batch_size=choice(64,4000)", "model.dropout=interval(0,0.3)", "data.validation_size=3900"]
    shown = sweeper_call("-m", "data=mnist5k", *choice, "hydra.sweeper.dry_run=true").stdout
    assert 40 < float(shown.partition("feasible : ")[2].partition(" %")[0]) < 60
    grid = sweeper_call("-m", "data=mnist5k", "training.batch_size=64,4000", "hydra.sweeper.dry_run=true").stdout
    assert "batch_size=4000 : training.batch_size must be at most" in grid


def test_saved_values_without_effect_are_read() -> None:
    """Earlier versions saved affine values that augment=none ignored: such a run can be read, but no longer typed."""
    plain = yaml.safe_load(dump(compose()))
    plain["augment"]["rotation"] = 0.1
    assert load(plain).augment.rotation == 0.1
    with pytest.raises(ConfigError, match=r"augment\.rotation needs augment=affine"):
        compose(["+augment.rotation=0.1"])


def test_load_names_the_missing_key() -> None:
    """A saved config that lacks a key is refused with the key's name."""
    config = saved(compose())
    del config.training["epochs"]
    with pytest.raises(ConfigError, match=r"training\.epochs must be given"):
        load(config)


def test_load_runs_no_code_a_config_names() -> None:
    """A config with a `_target_` is refused because the key is unknown; nothing is called."""
    config = saved(compose())
    config.optimizer["_target_"] = "os.abort"
    with pytest.raises(ConfigError, match="optimizer has no key '_target_'"):
        load(config)


def test_overrides_are_a_list() -> None:
    """A single text instead of a list of overrides is refused, not split into characters."""
    with pytest.raises(ConfigError, match="as in \\[\"model=gap\"\\], but got 'model=gap'"):
        compose("model=gap")


def test_compose_leaves_no_global_state() -> None:
    """Composing works repeatedly, and inside a Hydra application, whose global state it restores."""
    assert compose(["model=gap"]) == compose(["model=gap"])
    assert not GlobalHydra.instance().is_initialized()
    with initialize_config_dir(str(conf_dir())):
        outer = GlobalHydra.instance().hydra
        assert sweeper.compose(["seed=7"]).seed == 7
        assert GlobalHydra.instance().hydra is outer
        assert hydra_compose("config", overrides=["seed=8"]).seed == 8
    with pytest.raises(ConfigError):
        compose(["nope=1"])
    assert not GlobalHydra.instance().is_initialized()


@given(st.builds(dict, lr=st.floats(1e-6, 10), seed=st.integers(0, 2**63 - 1), dropout=st.floats(0, 0.999)))
def test_numbers_survive_saving_to_the_last_bit(values: dict[str, Any]) -> None:
    """`load` is the inverse of `dump` for every number within its bounds."""
    base = _base()
    conf = dataclasses.replace(
        base,
        seed=values["seed"],
        optimizer=dataclasses.replace(base.optimizer, lr=values["lr"]),
        model=dataclasses.replace(base.model, dropout=values["dropout"]),
    )
    assert load(saved(conf)) == conf


_BASE: list[ExperimentConf] = []


def _base() -> ExperimentConf:
    if not _BASE:
        _BASE.append(compose())
    return _BASE[0]


def test_a_config_that_was_just_saved_is_read_as_it_was() -> None:
    """A trial's report reads what the trial saved: the same config comes back; any other value is checked as ever."""
    conf = compose(["seed=3"])
    read = yaml.safe_load(dump(conf))
    assert load(read) is conf
    read["seed"] = 4
    assert load(read) == compose(["seed=4"])
    read["model"]["dropout"] = "much"
    with pytest.raises(ConfigError, match=r"model\.dropout must be a number"):
        load(read)
