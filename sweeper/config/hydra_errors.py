"""Translates an error of Hydra into one clear line, with the nearest valid names if a name is wrong."""

import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hydra import compose
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from sweeper.config.explaining import nearest
from sweeper.config.initialized import OWN, groups, initialized, options
from sweeper.config.origin import CONFIG_NAME, Origin
from sweeper.config.unknown_keys import no_key
from sweeper.errors import CompositionError
from sweeper.shell import sweeper_command

LAUNCHERS: Final = {
    "joblib": "hydra-joblib-launcher>=1.4.0rc1",
    "ray": "hydra-ray-launcher>=1.4.0rc3",
    "submitit_local": "hydra-submitit-launcher>=1.4.0rc1",
    "submitit_slurm": "hydra-submitit-launcher>=1.4.0rc1",
}
"""The package that brings a launcher, as pip is asked for it."""
HYDRA_ERRORS = (HydraException, OmegaConfBaseException, ValueError)
"""The exceptions that Hydra raises when it cannot compose (`model=null` raises a bare ValueError); see `explain`."""


def is_of_hydra(error: BaseException) -> bool:
    """Whether Hydra cannot compose: one of `HYDRA_ERRORS`, or whatever its own code raises for some overrides."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    raised_in = frames[-1].f_globals.get("__name__", "").partition(".")[0] if frames else ""
    return isinstance(error, HYDRA_ERRORS) or (isinstance(error, Exception) and raised_in in {"hydra", "omegaconf"})


@dataclass(frozen=True)
class _Asked:
    """What Hydra was asked to compose."""

    overrides: Sequence[str]
    origin: Origin


def explain(error: BaseException, overrides: Sequence[str] = (), origin: Origin = OWN) -> CompositionError:
    """Return an error of Hydra in one line, with the nearest valid names if a name is wrong.

    `overrides` are those that were composed: an error that Hydra's code did not mean names the one that causes it.
    """
    text = str(error)
    asked = _Asked(overrides, origin)
    if not isinstance(error, HYDRA_ERRORS):
        return _unmeant(asked)
    if isinstance(error.__cause__, OmegaConfBaseException | ValueError | IndexError):
        text += "\n" + str(error.__cause__).partition("\n")[0]
    unknown = re.search(_NO_KEY, text)
    if unknown and "An item is already at" not in text:
        # A dictionary may have a key that does not exist, deep within.
        inner = str(getattr(error.__cause__, "full_key", ""))
        key = inner if inner.startswith(f"{unknown[1]}.") else unknown[1]
        return CompositionError(no_key(key, overrides, origin))
    for pattern, message in _MESSAGES:
        match = re.search(pattern, text, re.DOTALL)
        if match:
            return CompositionError(message(match, asked))
    return CompositionError(_unknown(text, overrides))


def _unknown(text: str, overrides: Sequence[str]) -> str:
    """Return an error that no pattern knows: its first line with the key, or all its lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    key = re.search(r"full_key: (\S+)", text)
    if re.search(_GRAMMAR, text):
        wrong = next((line for line in overrides if "${" in line), "another form")
        return f"an interpolation must be ${{KEY}} or ${{RESOLVER:ARGUMENT}}, but got {wrong}"
    if key is not None:
        reason = re.sub(r"TypeError raised while resolving interpolation: \S*<lambda>\(\)", "its resolver is", lines[0])
        return f"{key[1]} refers to something that cannot be resolved ({reason}): give a value"
    return "; ".join(lines)


def _unmeant(asked: _Asked) -> CompositionError:
    """Return the error for an override at which Hydra's own code fails, as it does at ``+=[1]`` and ``data=[1]``."""
    for override in asked.overrides:
        try:
            with initialized(asked.origin):
                compose(asked.origin.config_name or CONFIG_NAME, overrides=[override])
        except Exception as error:  # noqa: BLE001 - any failure shows which override it is
            if isinstance(error, HYDRA_ERRORS):
                continue
            key = override.lstrip("+~").partition("=")[0]
            known = options(key, asked.origin) if key else []
            if known:
                return CompositionError(f"{key} must be one of {', '.join(known)}, but got {override!r}")
            return CompositionError(f"an override must be key=value, but got {override!r}")
    return CompositionError(f"these overrides cannot be composed together: {' '.join(asked.overrides)}")


def _no_option(match: re.Match[str], asked: _Asked) -> str:
    group, name = match.groups()
    known = options(group, asked.origin)
    if group == "hydra/launcher" and name in LAUNCHERS and name not in known:
        package = LAUNCHERS[name]
        return f"{group}={name} needs the package {package.partition('>')[0]}, which is not installed: pip install '{package}'"
    choices = f"it has {', '.join(known)}" if known else "this group does not exist, see --help"
    return f"{group} has no option {name!r}{nearest(name, known)}: {choices}"


def _no_override(match: re.Match[str], _: _Asked) -> str:
    return (
        f"an override must be key=value, but got {match[1]!r}: leave no spaces around =, put a value with spaces or "
        "special characters in inner quotes, as in 'data.root=\"/my files\"', and put a command such as inspect first"
    )


def _duplicate(match: re.Match[str], _: _Asked) -> str:
    return f"{match[1]} is already in the config: choose it without +, as in {match[1]}=..."


def _no_index(match: re.Match[str], _: _Asked) -> str:
    return f"{match[1]}: index {match[2]} is out of range, indices start at 0: give the whole list, {match[1]}=[...]"


def _several_values(match: re.Match[str], asked: _Asked) -> str:
    command = sweeper_command("-m", *asked.origin.options, *asked.overrides)
    return f"{match[1]} gives several values: for a list use brackets; for one run per value name each once, and add -m: {command}"


def _wrong_value(match: re.Match[str], _: _Asked) -> str:
    key, value, reason = match.groups()
    if re.search(_GRAMMAR, reason):
        return f"{key} must be a value that Hydra can read, but got {value}: an interpolation is written ${{KEY}}"
    reason = reason.replace("Incompatible key type 'NoneType'", "a key cannot be null")
    return f"{key} cannot be {value}: {reason[:1].lower()}{reason[1:]}"


_GRAMMAR: Final = r"expecting \{|token recognition|no viable alternative|mismatched input|extraneous input"
"""Wording of the parser of overrides and interpolations."""
_NO_KEY: Final = r"Could not (?:override|append to config|delete from config|delete)[^']*'([^']+)'"
_MESSAGES: Final[list[tuple[str, Callable[[re.Match[str], _Asked], str]]]] = [
    (
        r"Cannot find primary config '([^']*)'",
        lambda match, _: f"there is no config {match[1]!r}: --config-name is a file in conf/ or --config-path",
    ),
    (
        r"Additional config directory '(.*)' not found",
        lambda match, _: f"--config-dir must be a folder, but {match[1]} is none",
    ),
    (
        r"arent traversal",
        lambda *_: "an option is the name of a file in a config group, without a path: --help lists them",
    ),
    (r"object_type=\w+Sweep", lambda *_: "a sweep cannot hold another sweep: give all values in one list"),
    (r"An item is already at '([^']+)'", _duplicate),
    (r"Could not (?:find|load) '([^']+)/([^'/]*)'", _no_option),
    (r"Could not override ''", lambda *_: "an override must be key=value, but one has no key"),
    (r"string:  out of", lambda *_: "an override must be key=value, but one is empty"),
    (r"Error when parsing index: \d+, string: (.+?) out of \[", _no_override),
    (r"Multiple values for ([\w/@.]+)\.", _duplicate),
    (r"Error merging override ([\w.]+)\.(\d+)=.*\n?.*list index out of range", _no_index),
    (r"(?:Ambiguous value for argument|Sweep parameters) '(.*?)'(?:\n| requires)", _several_values),
    (
        r"Config group override must be a string or a list. Got (\w+)",
        lambda match, _: (
            "a config group takes the name of an option, but got "
            + {"NoneType": "null"}.get(match[1], match[1])
            + ": --help lists the options"
        ),
    ),
    (
        r"force-add of config groups is not supported: '\+\+(.*)'",
        lambda match, _: f"a config group is chosen without ++, as in {match[1]}",
    ),
    (
        r"Override (\S+)=.* looks like a config group override, but config group '([^']+)' does not exist",
        lambda match, asked: (
            f"{match[1]} must begin with a config group, but there is none called {match[2]!r}{nearest(match[2], groups(asked.origin))}: --help lists the groups"
        ),
    ),
    (
        r"Sweeping over Hydra's configuration is not supported : '(.*)'",
        lambda match, _: f"Hydra's own settings cannot be swept, but got {match[1]}",
    ),
    (r"Error merging override \+*([^=\s]+)=(.*)\n(.*)", _wrong_value),
]
"""Hydra's messages as patterns, and our message for each. The patterns match the wording of Hydra 1.4.0rc3."""
