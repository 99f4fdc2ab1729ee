"""Optuna's own loop around the reference notebook's training, as its users write it: what `bench --search` compares with.

Run as ``python -m sweeper.bench.optuna_loop URL SEED OVERRIDE…``: it searches without end.
"""

import sys
from collections.abc import Sequence
from typing import Final

import optuna

from sweeper.config.composition import compose
from sweeper.config.schema import ExperimentConf
from sweeper.design import analyze, analyze_within_budget
from sweeper.errors import ConfigError
from sweeper.network.repair import width_bounds
from sweeper.study.storage import open_storage

OVERRIDES: Final = "overrides"
"""User attribute of a trial: its values as overrides."""


def loop_config(overrides: Sequence[str]) -> ExperimentConf:
    """Return the notebook's experiment with these overrides, validated on training images, on one thread."""
    own = ["data.validation=split", "threads=1", "device=cpu"]
    return compose(["experiment=notebook", *overrides, *own])


def search(url: str, seed: int, overrides: Sequence[str]) -> None:
    """Search without end with TPE: dropout, learning rate and the width of every convolution, as `search=card` does.

    A network that cannot be built, or is over the budget, is a pruned trial.
    """
    from sweeper.bench.loops import NotebookTraining  # noqa: PLC0415 - imports torch

    base = [*overrides, f"seed={seed}"]
    widths = width_bounds(analyze(loop_config(base)).plan)

    def objective(trial: optuna.Trial) -> float:
        values: dict[str, float] = {
            "model.dropout": trial.suggest_float("model.dropout", 0.0, 0.3),
            "optimizer.lr": trial.suggest_float("optimizer.lr", 0.003, 0.5, log=True),
        }
        for key, (low, high) in widths.items():
            values[key] = trial.suggest_int(key, low, high)
        chosen = [f"{key}={value}" for key, value in values.items()]
        trial.set_user_attr(OVERRIDES, chosen)
        conf = loop_config([*base, *chosen])
        try:
            analyze_within_budget(conf)
        except ConfigError as error:
            raise optuna.TrialPruned from error
        training = NotebookTraining(conf)
        for _ in range(conf.training.epochs):
            for _images in training.epoch():
                pass
        return training.validate()

    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(storage=open_storage(url), study_name="search", direction="maximize", sampler=sampler)
    study.optimize(objective)


if __name__ == "__main__":
    search(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
