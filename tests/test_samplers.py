"""The contract that all samplers of sweeper's command line keep, as a search uses them."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna
import pytest
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from sweeper.config.search_path import CONFIGS
from sweeper.errors import StudyError
from sweeper.search.conditions import is_active
from sweeper.search.feasibility import FeasibilityCheck
from sweeper.search.proposals import ProposalRepair
from sweeper.search.space import Params, Space
from sweeper.study.sampler_and_pruner import make_sampler
from sweeper.study.samplers.feasible import FeasibleSampler
from sweeper.study.trials import TrialStore

from .composed import compose
from .processes import CHECKOUT

FILES = {file.stem: file for root in (CHECKOUT / "conf", CONFIGS) for file in root.glob("hydra/sweeper/sampler/*.yaml")}
NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] if name == "gp" else [])  # it imports torch, and fits for seconds
    for name in sorted(FILES)
    if name
    not in {
        "brute_force",
        "front",
        "default",
    }  # take a finite space and two objectives, and have tests of their own; default is tpe
]
GROUP = "model.groups.block2"
SPACE: dict[str, BaseDistribution] = {
    "augment": CategoricalDistribution(["none", "affine"]),
    "optimizer.lr": FloatDistribution(0.01, 1, log=True),
    f"{GROUP}.depth": IntDistribution(1, 3),
    **{f"{GROUP}.channels.{index}": IntDistribution(4, 60) for index in range(3)},
}

_composed = functools.cache(compose)
"""Composing takes longer than all else here; a check copies what it gets."""


@dataclass
class Opened:
    """A study in memory, with a sampler wrapped as in a search."""

    study: optuna.Study
    store: TrialStore

    def run(self, trials: int) -> None:
        """Complete so many trials: wide networks at a rate near 0.1 are best."""
        for _ in range(trials):
            trial = self.store.ask()
            self.study.tell(trial, _value(trial.params))


def _value(params: dict[str, Any]) -> float:
    widths: int = sum(value for key, value in params.items() if ".channels." in key)
    return float(widths / 180 - abs(params["optimizer.lr"] - 0.1))


def _config(name: str) -> DictConfig:
    config = OmegaConf.load(FILES[name])
    assert isinstance(config, DictConfig)
    return config


def _open(name: str, *, seed: int | None = 1, storage: Any = None) -> Opened:
    config = _config(name)
    config.seed = seed
    space = Space(distributions=SPACE, template=("model=compact", *SPACE), grid=None)
    repair = ProposalRepair(space, FeasibilityCheck(space, _composed))
    anchor: Params = {"augment": "none", "optimizer.lr": 0.1, f"{GROUP}.depth": 1, f"{GROUP}.channels.0": 8}
    sampler = FeasibleSampler(make_sampler(config), space, repair, anchor)
    study = optuna.create_study(
        study_name="s", storage=storage, sampler=sampler, direction="maximize", load_if_exists=True
    )
    return Opened(study, TrialStore(study, space, max_retry=1))


def _points(opened: Opened) -> list[dict[str, Any]]:
    return [trial.params for trial in opened.study.trials]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


each_sampler: Callable[..., Any] = pytest.mark.parametrize("name", NAMES)
pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore:Constraints have been set, but"),
]


@each_sampler
def test_the_same_seed_proposes_the_same_points(name: str) -> None:
    """Two studies with one seed propose the same; with another seed something else."""
    first, second, third = _open(name), _open(name), _open(name, seed=2)
    for opened in (first, second, third):
        opened.run(14)
    assert _points(first) == _points(second)
    assert _points(first) != _points(third)


@each_sampler
def test_every_point_is_whole_feasible_and_new(name: str) -> None:
    """A point has the keys that exist for its depth, is within the budget, and is none of the earlier ones."""
    opened = _open(name)
    opened.run(25)
    check = FeasibilityCheck(Space(distributions=SPACE, template=("model=compact", *SPACE), grid=None), _composed)
    for params in _points(opened):
        assert set(params) == {key for key in SPACE if is_active(key, params)}
        assert check.check(params).reason is None
    assert len({tuple(sorted(params.items())) for params in _points(opened)}) == 25


@each_sampler
def test_trials_that_run_are_not_proposed_again(name: str) -> None:
    """Ten proposals asked for before any is told, as parallel workers do, are ten points."""
    opened = _open(name)
    opened.run(12)
    running = [opened.store.ask() for _ in range(10)]
    assert len({tuple(sorted(trial.params.items())) for trial in running}) == 10
    for trial in running:
        opened.study.tell(trial, _value(trial.params))


@each_sampler
def test_rejected_pruned_and_failed_trials_are_accepted(name: str) -> None:
    """A study with trials of every state goes on, as does one that another process resumes."""
    storage = optuna.storages.InMemoryStorage()
    opened = _open(name, storage=storage)
    for number in range(12):
        trial = opened.store.ask()
        trial.set_constraint("parameters", 0.3 if number % 4 == 0 else -0.1)
        trial.report(0.5, 1)
        if number % 4 < 2:
            opened.study.tell(trial, state=TrialState.PRUNED)
        elif number % 4 == 2:
            opened.study.tell(trial, state=TrialState.FAIL)
        else:
            opened.study.tell(trial, _value(trial.params))
    resumed = _open(name, storage=storage)
    resumed.run(5)
    assert len({tuple(sorted(params.items())) for params in _points(resumed)}) == 17


@each_sampler
def test_an_exhausted_space_repeats_instead_of_hanging(name: str) -> None:
    """Four points are all proposed before one of them comes again."""
    choices: dict[str, BaseDistribution] = {
        "augment": CategoricalDistribution(["none", "affine"]),
        "training.batch_size": CategoricalDistribution([64, 128]),
    }
    space = Space(distributions=choices, template=tuple(choices), grid=None)
    repair = ProposalRepair(space, FeasibilityCheck(space, _composed))
    sampler = FeasibleSampler(make_sampler(_config(name)), space, repair, None)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    store = TrialStore(study, space, max_retry=1)
    for number in range(6):
        study.tell(store.ask(), number / 10)
    assert len(study.trials) == 6
    first = [tuple(sorted(trial.params.items())) for trial in study.trials[:4]]
    assert len(set(first)) == 4


@pytest.mark.parametrize("name", ["evolution", "random", "tpe"])
def test_a_proposal_after_a_thousand_trials_is_fast(name: str) -> None:
    """Beside 1,000 completed trials a proposal takes at most 100 ms."""
    opened = _open(name)
    random = optuna.samplers.RandomSampler(seed=0)
    for _ in range(1000):
        params = {"augment": "none", "optimizer.lr": 0.1, f"{GROUP}.depth": 1}
        drawn = random.sample_independent(opened.study, None, "w", FloatDistribution(0.01, 1))  # type: ignore[arg-type]
        params |= {"optimizer.lr": drawn, f"{GROUP}.channels.0": 8}
        distributions = {key: SPACE[key] for key in params}
        opened.study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=drawn))
    opened.store.ask()  # reads the others once
    times = []
    for _ in range(5):
        start = time.process_time()
        opened.store.ask()
        times.append(time.process_time() - start)
    assert min(times) < 0.1


def test_evolution_moves_a_good_trial() -> None:
    """After its start each proposal differs from a completed trial in a few values, and the values improve."""
    opened = _open("evolution")
    opened.run(60)
    values = [trial.value for trial in opened.study.trials if trial.value is not None]
    assert max(values[30:]) > max(values[:10])


def test_evolution_goes_on_as_without_an_interruption() -> None:
    """A resumed study proposes what the uninterrupted one does: proposals depend on seed, number and results alone."""
    storage = optuna.storages.InMemoryStorage()
    whole, part = _open("evolution"), _open("evolution", storage=storage)
    whole.run(20)
    part.run(9)
    resumed = _open("evolution", storage=storage)
    resumed.study.sampler.reseed_rng()
    resumed.run(11)
    assert _points(whole) == _points(resumed)


def test_evolution_takes_its_parent_from_the_front_of_two_objectives() -> None:
    """With two objectives proposals keep values of a trial of the Pareto front."""
    sampler = make_sampler(_config("evolution"))
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    for _ in range(8):
        trial = study.ask({"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)})
        study.tell(trial, (trial.params["x"], trial.params["y"]))
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
    fronts = [trial.params for trial in study.best_trials]
    asked = [study.ask(space).params for _ in range(10)]
    shared = [params for params in asked if any(params["x"] == f["x"] or params["y"] == f["y"] for f in fronts)]
    assert shared  # one value moved, the other one kept


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("tournament_size", 21, "tournament_size"),
        ("n_startup_trials", 0, "n_startup_trials"),
        ("two_moves", 2, "two_moves"),
    ],
)
def test_evolution_refuses_options_out_of_bounds(option: str, value: float, rule: str) -> None:
    """An option out of bounds is a StudyError that states the rule."""
    config = _config("evolution")
    config[option] = value
    with pytest.raises(StudyError, match=f"{rule} must be"):
        make_sampler(config)
