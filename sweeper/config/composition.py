"""How overrides become a config: where conf/ is, composing it with Hydra, and Hydra's refusals in one line."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from sweeper.config.schema import ExperimentConf, load, nearest
from sweeper.errors import CompositionError

CONFIG_NAME = "config"
JOB_NAME = "sweeper"
HYDRA_ERRORS = (HydraException, OmegaConfBaseException, ValueError)
"""What composing can raise (`model=null` is a bare ValueError); `explain` turns each into a `CompositionError`."""


def conf_dir() -> Path:
    """Return the absolute folder of the config files: inside the installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


def compose(overrides: Sequence[str] = ()) -> ExperimentConf:
    """Compose conf/ with the overrides, as the command line would, and check it.

    Leaves Hydra's global state as it found it. Raises `ConfigError`.

    >>> compose(["model=gap", "training.epochs=2"]).training.epochs
    2
    """
    return load(compose_dict(overrides))


def compose_dict(overrides: Sequence[str]) -> DictConfig:
    """Compose without checking: the config as Hydra gives it, interpolations unresolved. Raises `CompositionError`."""
    if isinstance(overrides, str) or not all(isinstance(override, str) for override in overrides):
        raise CompositionError(f'overrides must be a list of texts, as in ["model=gap"], but got {overrides!r}')
    with _hydra():
        try:
            return hydra_compose(CONFIG_NAME, overrides=list(overrides))
        except HYDRA_ERRORS as error:
            raise explain(error) from error


def explain(error: Exception) -> CompositionError:
    """Turn one of Hydra's refusals into one line, with the nearest names where a name was wrong."""
    text = str(error)
    if isinstance(error.__cause__, OmegaConfBaseException | ValueError | IndexError):
        text += "\n" + str(error.__cause__).partition("\n")[0]
    for pattern, say in _REFUSALS:
        found = re.search(pattern, text)
        if found:
            return CompositionError(say(found))
    lines = (line.strip() for line in text.splitlines())
    return CompositionError("; ".join(line for line in lines if line))


def _no_option(found: re.Match[str]) -> str:
    group, name = found.groups()
    options = _options(group)
    has = f": it has {', '.join(options)}" if options else ": there is no such group, see --help"
    return f"{group} has no option {name!r}{nearest(name, options)}{has}"


def _no_key(found: re.Match[str]) -> str:
    others = [name for name in _keys() if name != found[1]]  # another option of a group may have had it
    return f"the config has no key {found[1]!r}{nearest(found[1], others)}: see it whole with --cfg job"


def _no_override(found: re.Match[str]) -> str:
    return (
        f"an override is written key=value, but got {found[1]!r}: no spaces around =, and inner quotes around a value with "
        "spaces or signs of its own, as in 'data.root=\"/my files\"'; a command such as inspect comes first"
    )


_REFUSALS: Final[list[tuple[str, Callable[[re.Match[str]], str]]]] = [
    (r"Could not find '([^']+)/([^'/]+)'", _no_option),
    (r"Could not override ''", lambda _: "an override is written key=value, but one has no key"),
    (r"Could not (?:override|append to config|delete from config|delete)[^']*'([^']+)'", _no_key),
    (r"string:  out of", lambda _: "an override is written key=value, but one is empty"),
    (r"Error when parsing index: \d+, string: (.+) out of \[", _no_override),
    (
        r"Multiple values for ([\w/@.]+)\.",
        lambda found: f"{found[1]} is in the config already, and is chosen without a +: {found[1]}=...",
    ),
    (
        r"Error merging override ([\w.]+)\.(\d+)=.*\n?.*list index out of range",
        lambda found: (
            f"{found[1]} has no place {found[2]}, they are counted from 0: give the whole list, {found[1]}=[...]"
        ),
    ),
    (
        r"(Ambiguous value for argument '.*')",
        lambda found: f"{found[1]}: several values are a sweep, python -m sweeper -m ...; a list stands in brackets",
    ),
]
"""Hydra's refusals that can be said better, by what they say."""


@contextmanager
def _hydra() -> Iterator[None]:
    """Hydra ready to compose from conf/; afterwards its global state is what it was, in a Hydra job too."""
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
    """Every dotted key of the default config, and every config group: what a person may have meant."""
    with _hydra():
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        groups = [name for name in hydra.config_loader.list_groups("") if name != "hydra"]
        return sorted({*groups, *_dotted(hydra_compose(CONFIG_NAME), "")})


def _dotted(node: DictConfig, prefix: str) -> Iterator[str]:
    for key in node:
        yield f"{prefix}{key!s}"
        child = node._get_node(key)  # noqa: SLF001 - a plain look-up would resolve interpolations
        if isinstance(child, DictConfig):
            yield from _dotted(child, f"{prefix}{key!s}.")
