"""The state that CMA-ES keeps in a study: it goes on from it as Optuna's own sampler does, and a stranger's runs nothing."""

import builtins
import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.storages import InMemoryStorage

from sweeper.errors import StudyError
from sweeper.study.sampler_and_pruner import make_sampler

STATE = "cma:optimizer:0"


def make_cmaes(**settings: Any) -> optuna.samplers.BaseSampler:
    """The sampler that the config makes."""
    return make_sampler(
        OmegaConf.create({"_target_": "optuna.samplers.CmaEsSampler", "seed": 1, "n_startup_trials": 1, **settings})
    )


def searched(trials: int, **settings: Any) -> optuna.Study:
    """A study of a bowl in two dimensions, one of them in steps."""
    study = optuna.create_study(storage=InMemoryStorage(), sampler=make_cmaes(**settings))

    def bowl(trial: optuna.Trial) -> float:
        return float(trial.suggest_float("x", -5, 5) ** 2 + trial.suggest_int("y", -5, 5) ** 2)

    study.optimize(bowl, n_trials=trials)
    return study


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    "settings", [{}, {"with_margin": True}, {"use_separable_cma": True}, {"lr_adapt": True}], ids=str
)
def test_a_search_goes_on_from_the_state_in_its_trials(settings: dict[str, Any]) -> None:
    """A new process proposes what Optuna's own sampler does from the same trials, for each kind of CMA-ES."""
    study = searched(30, **settings)
    assert any(key.endswith(":optimizer:0") for trial in study.trials for key in trial.system_attrs)
    space = study.trials[0].distributions
    proposals = []
    for sampler in (make_cmaes(**settings), optuna.samplers.CmaEsSampler(seed=1, n_startup_trials=1, **settings)):
        copy = optuna.create_study(storage=InMemoryStorage(), sampler=sampler)
        copy.add_trials(study.trials)
        proposals.append(copy.ask(space).params)
    assert proposals[0] == proposals[1]


class Hostile:
    """What a pickle runs when it is loaded."""

    def __init__(self, path: Path) -> None:
        """Create that file."""
        self._path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        """Open it for writing."""
        return builtins.open, (str(self._path), "w")


def test_a_state_that_runs_code_is_refused(tmp_path: Path) -> None:
    """One line names the trial and what its state names; a damaged state is refused alike."""
    study = searched(12)
    hostile = next(trial.number for trial in study.trials if STATE in trial.system_attrs)
    trials = study.trials
    for state, reason in [
        (pickle.dumps(Hostile(tmp_path / "made")).hex(), "it names io.open"),
        ("80", "truncated"),
        ("xyz", "hex"),
    ]:
        trials[hostile].system_attrs = {STATE: state}
        copy = optuna.create_study(storage=InMemoryStorage(), sampler=make_cmaes())
        copy.add_trials(trials[: hostile + 1])
        with pytest.raises(StudyError, match=f"that of trial {hostile} is not one of cmaes .*{reason}"):
            copy.ask(trials[0].distributions)
    assert not (tmp_path / "made").exists()
