"""Composes a config from conf/ and overrides with Hydra, and translates Hydra's errors into one clear line."""

import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeper.config.explaining import nearest
from sweeper.config.loading import dotted, load
from sweeper.config.schema import ExperimentConf
from sweeper.config.search_path import StudyConfigs
from sweeper.errors import CompositionError

CONFIG_NAME = "config"
JOB_NAME = "sweeper"
LAUNCHERS: Final = {
    "joblib": "hydra-joblib-launcher>=1.4.0rc1",
    "ray": "hydra-ray-launcher>=1.4.0rc3",
    "submitit_local": "hydra-submitit-launcher>=1.4.0rc1",
    "submitit_slurm": "hydra-submitit-launcher>=1.4.0rc1",
}
"""The package that brings a launcher, as pip is asked for it."""
PLACES: Final = {
    "head": "head@model.head=gap",
    "group": "group@model.groups.block1=conv, or +group@model.groups.NAME=conv for a new one",
}
"""Groups whose options are placed elsewhere in the config, and how one is chosen."""
HYDRA_ERRORS = (HydraException, OmegaConfBaseException, ValueError)
"""The exceptions that Hydra raises when it cannot compose (`model=null` raises a bare ValueError); see `explain`."""


def conf_dir() -> Path:
    """Return the absolute path of conf/: inside the installed package or, in a checkout, next to the package."""
    package = Path(__file__).resolve().parent.parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


def compose(overrides: Sequence[str] = ()) -> ExperimentConf:
    """Compose conf/ with the overrides, as the command line would, and check the result.

    Restores Hydra's global state. Raises `ConfigError` for overrides that do not compose or break a rule.

    >>> compose(["model=gap", "training.epochs=2"]).training.epochs
    2
    """
    return load(compose_dict(overrides))


def compose_dict(overrides: Sequence[str]) -> DictConfig:
    """Compose without checking. Return Hydra's DictConfig, its interpolations unresolved. Raises `CompositionError`."""
    if isinstance(overrides, str) or not all(isinstance(override, str) for override in overrides):
        raise CompositionError(f'overrides must be a list of strings, as in ["model=gap"], but got {overrides!r}')
    with _hydra():
        try:
            return hydra_compose(CONFIG_NAME, overrides=list(overrides))
        except Exception as error:
            if not is_of_hydra(error):
                raise
            raise explain(error, overrides) from error


def is_of_hydra(error: BaseException) -> bool:
    """Whether Hydra cannot compose: one of `HYDRA_ERRORS`, or whatever its own code raises for some overrides."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    raised_in = frames[-1].f_globals.get("__name__", "").partition(".")[0] if frames else ""
    return isinstance(error, HYDRA_ERRORS) or (isinstance(error, Exception) and raised_in in {"hydra", "omegaconf"})


def explain(error: BaseException, overrides: Sequence[str] = ()) -> CompositionError:
    """Return an error of Hydra in one line, with the nearest valid names if a name is wrong.

    `overrides` are those that were composed: an error that Hydra's code did not mean names the one that causes it.
    """
    text = str(error)
    if not isinstance(error, HYDRA_ERRORS):
        return _unmeant(overrides)
    if isinstance(error.__cause__, OmegaConfBaseException | ValueError | IndexError):
        text += "\n" + str(error.__cause__).partition("\n")[0]
    for pattern, message in _MESSAGES:
        match = re.search(pattern, text)
        if match:
            return CompositionError(message(match))
    lines = (line.strip() for line in text.splitlines())
    return CompositionError("; ".join(line for line in lines if line))


def _unmeant(overrides: Sequence[str]) -> CompositionError:
    """Return the error for an override at which Hydra's own code fails, as it does at ``+=[1]`` and ``data=[1]``."""
    for override in overrides:
        try:
            with _hydra():
                hydra_compose(CONFIG_NAME, overrides=[override])
        except Exception as error:  # noqa: BLE001 - any failure shows which override it is
            if isinstance(error, HYDRA_ERRORS):
                continue
            key = override.lstrip("+~").partition("=")[0]
            options = _options(key) if key else []
            if options:
                return CompositionError(f"{key} must be one of {', '.join(options)}, but got {override!r}")
            return CompositionError(f"an override must be key=value, but got {override!r}")
    return CompositionError(f"these overrides cannot be composed together: {' '.join(overrides)}")


def _no_option(match: re.Match[str]) -> str:
    group, name = match.groups()
    options = _options(group)
    if group == "hydra/launcher" and name in LAUNCHERS and name not in options:
        package = LAUNCHERS[name]
        return f"{group}={name} needs the package {package.partition('>')[0]}, which is not installed: pip install '{package}'"
    choices = f"it has {', '.join(options)}" if options else "this group does not exist, see --help"
    return f"{group} has no option {name!r}{nearest(name, options)}: {choices}"


def _no_key(match: re.Match[str]) -> str:
    having = _options_with(match[1])
    if having:
        group, _, name = match[1].partition(".")
        choices = " or ".join(f"{group}={option}" for option in having)
        return f"the chosen {group} has no key {name!r}, but others do: choose {choices}"
    if match[1] in PLACES:
        return f"{match[1]} is chosen for a part of the network: {PLACES[match[1]]}"
    # The default config may have this key, in an option of a group that was replaced: do not suggest it again.
    others = [name for name in _keys() if name != match[1]]
    ends_so = [name for name in others if name.endswith(f".{match[1]}")]
    hint = f" (did you mean {', '.join(ends_so[:3])}?)" if ends_so else nearest(match[1], others)
    return f"the config has no key {match[1]!r}{hint}: print the whole config with --cfg job"


def _options_with(key: str) -> list[str]:
    """Return the options of a key's config group that have it; the one of the key's own name comes first."""
    group, _, name = key.partition(".")
    # Options of other groups, such as group and layer, are placed elsewhere in the config.
    files = sorted((conf_dir() / group).glob("*.yaml")) if group in ExperimentConf.__dataclass_fields__ and name else []
    having = [
        file.stem for file in files if name in dict(dotted(OmegaConf.to_container(OmegaConf.load(file), resolve=False)))
    ]
    return sorted(having, key=lambda option: option != name)


def _no_override(match: re.Match[str]) -> str:
    return (
        f"an override must be key=value, but got {match[1]!r}: leave no spaces around =, put a value with spaces or "
        "special characters in inner quotes, as in 'data.root=\"/my files\"', and put a command such as inspect first"
    )


def _duplicate(match: re.Match[str]) -> str:
    return f"{match[1]} is already in the config: choose it without +, as in {match[1]}=..."


def _no_index(match: re.Match[str]) -> str:
    return f"{match[1]}: index {match[2]} is out of range, indices start at 0: give the whole list, {match[1]}=[...]"


def _several_values(match: re.Match[str]) -> str:
    return f"{match[1]}: for one run per value add -m, as in python -m sweeper -m ...; for a list use brackets"


_MESSAGES: Final[list[tuple[str, Callable[[re.Match[str]], str]]]] = [
    (r"An item is already at '([^']+)'", _duplicate),
    (r"Could not find '([^']+)/([^'/]+)'", _no_option),
    (r"Could not override ''", lambda _: "an override must be key=value, but one has no key"),
    (r"Could not (?:override|append to config|delete from config|delete)[^']*'([^']+)'", _no_key),
    (r"string:  out of", lambda _: "an override must be key=value, but one is empty"),
    (r"Error when parsing index: \d+, string: (.+) out of \[", _no_override),
    (r"Multiple values for ([\w/@.]+)\.", _duplicate),
    (r"Error merging override ([\w.]+)\.(\d+)=.*\n?.*list index out of range", _no_index),
    (r"(Ambiguous value for argument '.*')", _several_values),
]
"""Hydra's messages as patterns, and our message for each. The patterns match the wording of Hydra 1.4.0rc3."""


@contextmanager
def _hydra() -> Iterator[None]:
    """Initialize Hydra on conf/ for the block, then restore its global state: this also works in a Hydra job."""
    Plugins.instance().register(StudyConfigs)  # an entry point does it where the package is installed
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), job_name=JOB_NAME):
            yield
    finally:
        GlobalHydra.instance().hydra = before


def _options(group: str) -> list[str]:
    with _hydra():
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        return list(hydra.config_loader.get_group_options(group))


def _keys() -> list[str]:
    """Return every dotted key of the default config and every config group: the names an override may start with."""
    with _hydra():
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        groups = [name for name in hydra.config_loader.list_groups("") if name != "hydra"]
        # Unresolved: an interpolation may refer to an environment variable that is not set.
        default = OmegaConf.to_container(hydra_compose(CONFIG_NAME), resolve=False)
        return sorted({*groups, *_key_paths(default, "")})


def _key_paths(node: Any, prefix: str) -> Iterator[str]:
    """Yield the dotted path of every key of nested dictionaries, inner nodes as well as leaves."""
    if isinstance(node, dict):
        for key, child in node.items():
            yield f"{prefix}{key}"
            yield from _key_paths(child, f"{prefix}{key}.")
