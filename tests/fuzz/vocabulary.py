"""The words that command lines are made of: config groups, options, keys and types as they stand, and Hydra's grammar."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf

from sweeper.config.composition import compose_dict
from sweeper.config.loading import VARIANTS, dotted
from sweeper.config.model import GroupConf
from sweeper.config.origin import conf_dir
from sweeper.config.schema import ExperimentConf
from sweeper.config.search_path import CONFIGS
from sweeper.search.options import StudyOptions

CHOICES: Final = {
    "model": ("quick", "compact", "notebook", "tiny"),
    "optimizer": ("sgd", "adamw"),
    "scheduler": ("onecycle", "step", "constant"),
    "augment": ("none", "affine"),
    "data": ("mnist", "mnist5k"),
}
"""Options that decide which keys there are, the default first."""
NUMBERS: Final[dict[str, tuple[float, ...]]] = {
    "seed": (0, 1, 7, 2**62),
    "threads": (1, 2),
    "target": (0.5, 0.99, 1),
    "epochs": (1, 2, 30),
    "batch_size": (2, 64, 1000),
    "label_smoothing": (0, 0.1),
    "ema": (0, 0.99),
    "checkpoint_every": (0, 3),
    "lr": (0.001, 0.1, 1),
    "weight_decay": (0, 0.0005),
    "dropout": (0, 0.05, 0.5),
    "kernel_size": (1, 3, 5),
    "padding": (0, 1),
    "pool": (1, 2),
    "stride": (1, 2),
    "squeeze_excite": (0, 4),
    "depth": (1, 2),
    "parameters": (500, 3000, 9999),
    "macs": (100_000, 10_000_000),
    "validation_size": (100, 5000),
    "split_seed": (0, 3),
    "rotation": (0, 0.2),
    "step_size": (1, 2),
    "gamma": (0.1, 1),
    "pct_start": (0.1, 0.5),
    "beta1": (0.9,),
    "beta2": (0.99,),
    "momentum": (0, 0.9),
    "n_trials": (1, 3, 40),
    "n_jobs": (1, 2),
    "max_retry": (0, 1),
    "max_failure_rate": (0, 0.5),
    "grace_seconds": (1, 60),
}
"""Values within the bounds of a key, by the last part of its name."""


@dataclass(frozen=True)
class Key:
    """One key of the config."""

    name: str
    kinds: tuple[Any, ...]
    """The types that it takes, and the values of a `Literal`."""


@functools.cache
def keys(*choices: str) -> tuple[Key, ...]:
    """Every key of the config with these options, with its types; and single widths."""
    names = dict.fromkeys(name for name, _ in dotted(OmegaConf.to_container(compose_dict(choices))))
    widths = [f"{name}.{index}" for name in names if name.endswith(".channels") for index in (0, 1)]
    return tuple(Key(name, _kinds(name)) for name in [*names, *widths])


@functools.cache
def groups() -> dict[str, tuple[str, ...]]:
    """The options of every config group, Hydra's own for searches included."""
    found: dict[str, list[str]] = {"hydra/launcher": ["basic", "joblib", "nope"], "hydra/sweeper": ["study"]}
    for folder in (conf_dir(), CONFIGS):
        for file in sorted(folder.rglob("*/*.yaml")):
            found.setdefault(file.parent.relative_to(folder).as_posix(), []).append(file.stem)
    for unwanted in ("hydra/help", "hydra/job_logging"):
        found.pop(unwanted, None)
    return {group: tuple(dict.fromkeys(options)) for group, options in found.items()}


@functools.cache
def study_keys() -> tuple[Key, ...]:
    """The options of a search, those of its sampler and pruner, and Hydra's own that a user may set."""
    options = [Key(f"hydra.sweeper.{name}", _members(kind)) for name, kind in get_type_hints(StudyOptions).items()]
    others = ["sampler.seed", "sampler.n_startup_trials", "pruner.n_startup_trials", "pruner.percentile", "pruner.nope"]
    hydras = ["hydra.sweep.dir", "hydra.run.dir", "hydra.launcher.n_jobs", "hydra.job.chdir", "hydra.verbose"]
    return (
        *options,
        *(Key(f"hydra.sweeper.{name}", (int, str)) for name in others),
        *(Key(name, (str,)) for name in hydras),
    )


def options_of(group: str) -> tuple[str, ...]:
    """The options of one group."""
    return groups()[group]


def _kinds(name: str) -> tuple[Any, ...]:
    owner: Any = ExperimentConf
    for depth, part in enumerate(name.split(".")):
        if owner is list or part.isdecimal():
            return (int,)
        if depth == 2 and name.startswith("model.groups."):
            owner = GroupConf
            continue
        hints: dict[str, Any] = {}
        for each in VARIANTS.get(name.split(".", maxsplit=1)[0], {}).values() if depth == 1 else ():
            hints |= get_type_hints(each)
        owner = (hints or get_type_hints(owner)).get(part, str)
    return _members(owner)


def _members(kind: Any) -> tuple[Any, ...]:
    if get_origin(kind) is Literal:
        return get_args(kind)
    if isinstance(kind, type) or get_origin(kind) in {list, dict}:
        return (kind,)
    members = get_args(kind)
    return tuple(each for member in members for each in _members(member)) if members else (kind,)


def presets() -> tuple[str, ...]:
    """The named searches."""
    return tuple(sorted(file.stem for file in (conf_dir() / "search").glob("*.yaml")))


def files(folder: Path) -> dict[str, int]:
    """Every file and folder below a folder, with its size."""
    return {
        path.relative_to(folder).as_posix(): path.lstat().st_size if path.is_file() else -1
        for path in sorted(folder.rglob("*"))
    }
