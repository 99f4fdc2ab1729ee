"""Decides what a config file may set of Hydra's own settings: a stranger's may not run programs, nor write elsewhere."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from omegaconf import MISSING

STORAGE: Final = "hydra.sweeper.storage"
"""Hydra's key of a study's storage."""
PATHS: Final = (
    "hydra.run.dir",
    "hydra.sweep.dir",
    "hydra.sweep.subdir",
    "hydra.output_subdir",
    "hydra.launcher.submitit_folder",
    "hydra.launcher.temp_folder",
)
"""Settings that are a path of what is written."""
NAMES: Final = ("hydra.job.name", "hydra.job.id")
"""Settings that become a part of such a path."""
REPLACED: Final = frozenset((*PATHS, *NAMES, STORAGE))
"""Settings that an override replaces as a whole."""
PROGRAMS: Final = ("setup", "local_setup", "python", "srun_args", "additional_parameters")
"""Settings of a launcher that start programs, which a config file leaves empty."""
NUMBERS: Final = ("init", "remote")
"""Settings of Ray, of which a config file gives numbers alone: others name a server, or an environment."""

# Relative and without "..", of letters, digits and what Hydra itself puts in.
_WITHIN: Final = re.compile(
    r"(?!/)(?!(?:.*/)?\.\.(?:/|$))(?:[\w .,:+=%@-]|/|\$\{now:[\w%:-](?:[\w%:.-]*[\w%:-])?\}|\$\{hydra_override_dirname:\}"
    r"|\$\{hydra[.:](?:runtime\.output_dir|run\.dir|sweep\.(?:dir|subdir)|job\.(?:name|num|id|override_dirname)|runtime\.choices\.\w+)\})*"
)
_NAME: Final = re.compile(r"\w[\w.-]*")
_PLAIN: Final = re.compile(r"[\w .,:;+*=%@/()\[\]-]*")
_HANDLERS: Final = ("logging.StreamHandler", "logging.FileHandler", "logging.NullHandler")


def forbidden(config: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    """Yield the keys of a config file that may not stand in one, each with what it does.

    `config` has absolute keys and unresolved interpolations.
    """
    launcher = _at(config, "hydra.launcher")
    if isinstance(launcher, Mapping):
        settings = {f"hydra.launcher.{name}": (str(name), value) for name, value in launcher.items()}
    else:
        settings = {"hydra.launcher": ("", launcher)}
    for key, (name, value) in settings.items():
        if name != "submitit_folder" and not _is_of_launcher(name, value):
            yield key, "runs programs, or names a server"
    for key, (is_allowed, does) in _RULES.items():
        value = _at(config, key)
        if value is not None and not is_allowed(value):
            yield key, does


def _at(config: Any, key: str) -> Any:
    """Return the value at a dotted key, None without one. An interpolation above it could put in anything: return that."""
    for name in key.split("."):
        if isinstance(config, str) and "${" in config:
            return config
        config = config.get(name) if isinstance(config, Mapping) else None
    return None if config == MISSING else config


def _is_empty(value: Any) -> bool:
    return value in ({}, [])


def _is_within(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and _WITHIN.fullmatch(value) is not None)


def _is_name(value: Any) -> bool:
    return _NAME.fullmatch(str(value)) is not None


def _is_file_url(url: Any) -> bool:
    scheme, _, path = str(url).partition(":///")
    return scheme in {"sqlite", "journal"} and _is_within(path)


def _has_none_of(word: str) -> Callable[[Any], bool]:
    def has_none(value: Any) -> bool:
        return word not in str(value) and "${" not in str(value)

    return has_none


def _are_plain(handlers: Any) -> bool:
    return isinstance(handlers, Mapping) and all(
        isinstance(handler, Mapping)
        and "()" not in handler
        and handler.get("class", _HANDLERS[0]) in _HANDLERS
        and str(handler.get("stream", "ext://sys.stdout")).startswith("ext://sys.std")
        and ("filename" not in handler or str(handler["filename"]).startswith("${hydra.runtime.output_dir}/"))
        and ("filename" not in handler or _is_within(handler["filename"]))
        for handler in handlers.values()
    )


def _is_of_launcher(name: str, value: Any, *, is_number: bool = False) -> bool:
    """Whether a launcher's setting is a number, or text that no shell script takes for a command."""
    if value is None or isinstance(value, bool | int | float) or value in ({}, []):
        return True
    if name in PROGRAMS or is_number:
        return False
    if isinstance(value, Mapping):
        return all(_is_of_launcher(str(key), child, is_number=name in NUMBERS) for key, child in value.items())
    if isinstance(value, list):
        return all(_is_of_launcher(name, child) for child in value)
    return value == "${hydra.job.name}" or _PLAIN.fullmatch(value) is not None


_RULES: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "hydra.callbacks": (_is_empty, "runs code"),
    "hydra.job.env_set": (_is_empty, "sets environment variables"),
    "hydra.job.env_copy": (_is_empty, "copies environment variables"),
    "hydra.job_logging.handlers": (_are_plain, "writes to another place than the terminal and the run's folder"),
    "hydra.hydra_logging.handlers": (_are_plain, "writes to another place than the terminal and the run's folder"),
    STORAGE: (_is_file_url, "names a server, or a file outside the working directory"),
    "hydra.searchpath": (_has_none_of("pkg://"), "imports a package"),
    "hydra.aliases": (_has_none_of("hydra"), "stands for a setting of Hydra"),
    **dict.fromkeys(PATHS, (_is_within, "may write outside the working directory")),
    **dict.fromkeys(NAMES, (_is_name, "may write outside the working directory")),
}
"""By key, whether a config file may have a value, and what others do."""
