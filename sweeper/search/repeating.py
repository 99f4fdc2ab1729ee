"""Decides which overrides of saved files a printed command repeats: a stranger's may run code or write elsewhere."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from sweeper.config.file_rules import STORAGE
from sweeper.search.options import OF_A_VARIABLE, StudyOptions
from sweeper.search.quoting import quoted
from sweeper.untrusted import printable

SWEEP_DIR: Final = "hydra.sweep.dir"
"""Hydra's key of a sweep's folder."""
SHOWN: Final = 3
"""A sentence names at most so many overrides that are left out."""
LENGTH: Final = 80
"""A sentence shows at most so many characters of each."""

_PLAIN: Final = r"(?!-)[\w.,:@/+-]*"
_NAME: Final = r"\w+"
_KEY: Final = r"[A-Za-z_][\w-]*([./][\w-]+)*"
# The options of sweeper's own sweeper, of its samplers and pruners, and what launchers ask an engine for. What a launcher runs
# before a job (setup, srun_args), where it writes and which environment it gives are not among them; a value with a space could
# be two options of an engine, and a search space could name Hydra's settings.
_ASKED: Final = (
    "account|array_parallelism|backend|constraint|cpus_per_gpu|cpus_per_task|gpus_per_node|gpus_per_task|gres|max_num_timeout|"
    "mem_gb|mem_per_cpu|mem_per_gpu|n_jobs|name|nodes|partition|qos|signal_delay_s|tasks_per_node|timeout_min|verbose"
)
_OPTIONS: Final = "|".join(each.name for each in fields(StudyOptions) if each.name != "storage")
KNOWN: Final = (
    (rf"hydra\.sweeper\.({_OPTIONS})", r"(?!.*hydra).*"),
    (r"hydra\.sweeper\.(params|sampler|pruner)\.(?!.*hydra)[\w./@-]+", r".*"),
    (r"hydra/(sweeper|launcher|sweeper/sampler|sweeper/pruner)", _NAME),
    (rf"hydra\.launcher\.({_ASKED})", _PLAIN),
    (r"hydra\.launcher\.ray\.remote\.(num_cpus|num_gpus|memory|max_retries)", _PLAIN),
    (r"hydra\.launcher\.ray\.init\.(num_cpus|num_gpus)", _PLAIN),
    (r"hydra\.job\.chdir", r"true|false|null"),
    (r"hydra\.job\.name", _NAME),
)
"""The settings of Hydra that a command repeats, as patterns of key and value; all others are left out."""


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """Overrides of saved files, divided."""

    kept: tuple[str, ...]
    """What a command repeats, in order."""
    left_out: tuple[str, ...] = ()
    """What it does not."""

    @property
    def sentence(self) -> str:
        """Say in one line what is left out; empty if nothing is."""
        return left_out_sentence(self.left_out)


def repeatable(overrides: Iterable[str], folder: Path | None = None) -> Repeated:
    """Divide overrides of saved files, which a stranger may have written, into what a command repeats and what it does not.

    Left out is what Hydra cannot read, what names code (``_target_``) or resolves anything but another key of the config, an
    option of a group that is a path, and every setting of Hydra but those in `KNOWN`. `folder` is the study's folder: a
    sweep's folder becomes this one. A storage is one variable, a database in the working directory, or a file in `folder`;
    any other becomes a variable, which the user may set.
    """
    kept: list[str] = []
    left_out: list[str] = []
    for override in overrides:
        found = _repeated(override, folder)
        if found is not None:
            kept.append(found)
        if found != override and not (found is not None and override.startswith(f"{SWEEP_DIR}=")):
            left_out.append(override)
    return Repeated(kept=tuple(kept), left_out=tuple(left_out))


def left_out_sentence(left_out: Iterable[str]) -> str:
    """Say in one line which overrides commands leave out; empty if none."""
    lines = [" ".join(printable(line).split()) for line in dict.fromkeys(left_out)]
    if not lines:
        return ""
    shown = [line if len(line) <= LENGTH else f"{line[: LENGTH - 1]}…" for line in lines[:SHOWN]]
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    them = "it" if len(lines) == 1 else "them"
    return f"The commands leave out {', '.join(shown)}{more}, from saved files: add {them} if you trust {them}."


def _repeated(override: str, folder: Path | None) -> str | None:
    """Return an override as a command repeats it; None for none."""
    try:
        parsed = OverridesParser.create().parse_override(override)
    except (HydraException, RecursionError):
        return None
    key, package, value = parsed.key_or_group, parsed.package or "", override.partition("=")[2]
    if key == STORAGE and not package:
        return _storage(override, value, folder)
    if key == SWEEP_DIR and not package:
        return None if folder is None else f"{SWEEP_DIR}={quoted(str(_shown(folder)))}"
    is_readable = re.fullmatch(_KEY, key) is not None and re.fullmatch(r"[\w.-]*", package) is not None
    is_path = "." not in key and re.search(r"[/\\]|\.\.", value) is not None  # an option of a group is a file in it
    if not is_readable or is_path or "_target_" in override or _resolves(override):
        return None
    names = {re.split(r"[./]", key)[0], *package.split(".")}
    is_known = not package and any(
        re.fullmatch(name, key) and re.fullmatch(allowed, value.strip("'\"")) for name, allowed in KNOWN
    )
    return override if is_known or not names & {"hydra", "_global_"} else None


def _resolves(text: str) -> bool:
    """Whether a text has an interpolation that is more than another key of the experiment's config."""
    keys = re.findall(r"\$\{\s*([\w.\[\]]+)\s*\}", text)
    return len(keys) != text.count("${") or any(key.split(".")[0] == "hydra" for key in keys)


def _storage(override: str, value: str, folder: Path | None) -> str:
    """Return the override of a storage: as it is if it can only be this study's, otherwise one that names a variable."""
    given = value.strip("'\"")
    is_variable = re.fullmatch(r"\$\{oc\.env:\w+\}|null", given) is not None
    found = re.fullmatch(r"(sqlite:///|journal://)([^$?]+)", given)
    # A journal is a text file, to which a search appends: any other text file in the working directory would be damaged.
    near = [Path.cwd()] if found is not None and found[1] == "sqlite:///" else []
    near += [] if folder is None else [folder]
    is_near = found is not None and any(place.resolve() in Path(found[2]).resolve().parents for place in near)
    return override if is_variable or is_near else f"{STORAGE}={OF_A_VARIABLE}"


def _shown(folder: Path) -> Path:
    absolute = folder.absolute()
    return absolute.relative_to(Path.cwd()) if Path.cwd() in absolute.parents else absolute
