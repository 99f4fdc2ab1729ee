"""The searches that `bench --search` compares: each method's command, and where its trials and their configs are."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from optuna.trial import FrozenTrial

from sweeper.bench.optuna_loop import OVERRIDES, loop_config
from sweeper.config.composition import compose
from sweeper.config.schema import ExperimentConf
from sweeper.design import analyze
from sweeper.network.repair import width_bounds
from sweeper.run.folder import RunFolder
from sweeper.search.quoting import quoted
from sweeper.study.folder import StudyFolder
from sweeper.study.storage import journal_url

OWN: Final[dict[str, tuple[str, ...]]] = {
    "start": ("search=card", "hydra.sweeper.n_trials=3"),
    "random": ("search=card", "hydra/sweeper/sampler=random", "hydra/sweeper/pruner=none"),
    "card": ("search=card",),
    "architecture": ("search=architecture",),
}
"""Overrides of the methods that are sweeper's own searches. `start` is only what every one of them tries first."""
UPSTREAM: Final = "upstream"
"""Hydra's own sweeper for Optuna, with TPE, over the space of `search=card`; each trial is a run of sweeper."""
OPTUNA: Final = "optuna"
"""Optuna's own loop, with TPE, over the same space, around the reference notebook's training."""
METHODS: Final = (*OWN, UPSTREAM, OPTUNA)
STUDY: Final = "search"
"""Name of each study in a storage of its own."""
ENDLESS: Final = "hydra.sweeper.n_trials=100000"


def search_command(method: str, overrides: Sequence[str], seed: int, folder: Path) -> list[str]:
    """Return the command that searches without end, on one thread, into `folder`.

    Raises `ConfigError` for overrides that do not compose.
    """
    if method == OPTUNA:
        return [sys.executable, "-m", "sweeper.bench.optuna_loop", storage_url(method, folder), str(seed), *overrides]
    options = [f"hydra.sweeper.sampler.seed={seed}", "hydra.sweeper.n_jobs=1", f"hydra.sweeper.study_name={STUDY}"]
    options += [f"hydra.sweep.dir={quoted(str(folder))}", f"seed={seed}", "threads=1"]
    if method == UPSTREAM:
        kind = ["hydra/sweeper=optuna", "hydra.sweeper.direction=maximize", "hydra.sweeper.max_failure_rate=1.0"]
        options += [f"hydra.sweeper.storage={quoted(storage_url(method, folder))}", *_card_space(compose(overrides))]
    else:
        kind = ["hydra.sweeper.stop_at_target=false"]
    return [sys.executable, "-m", "sweeper", "-m", *overrides, *kind, ENDLESS, *OWN.get(method, ()), *options]


def storage_url(method: str, folder: Path) -> str:
    """Return the URL of the storage in a search's folder. Hydra's own sweeper knows no journal."""
    return f"sqlite:///{folder}/study.db" if method == UPSTREAM else journal_url(StudyFolder(folder).journal)


def trial_config(method: str, overrides: Sequence[str], trial: FrozenTrial, folder: Path) -> ExperimentConf:
    """Return the config of a completed trial. Raises `RunFolderError` if its folder is damaged."""
    if method == OPTUNA:
        return loop_config([*overrides, *trial.user_attrs[OVERRIDES]])
    conf = RunFolder(folder / str(trial.number)).read_config()
    return replace(conf, threads=1)


def _card_space(conf: ExperimentConf) -> list[str]:
    """Return the space of `search=card` as sweep overrides, which Hydra's own sweeper has on the command line."""
    widths = width_bounds(analyze(conf).plan)
    space = [f"{key}=range({low},{high + 1})" for key, (low, high) in widths.items()]
    return [*space, "model.dropout=interval(0.0,0.3)", "optimizer.lr=tag(log,interval(0.003,0.5))"]
