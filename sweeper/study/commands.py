"""Decides which commands follow a study: confirming it, more seeds, going on, running its best trial again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from optuna.trial import FrozenTrial

from sweeper.config.file_rules import STORAGE
from sweeper.config.origin import Origin
from sweeper.errors import RunFolderError
from sweeper.run.folder import OUTPUTS, RunFolder
from sweeper.search.options import OF_A_VARIABLE
from sweeper.search.quoting import quoted
from sweeper.search.repeating import SWEEP_DIR, Repeated, repeatable
from sweeper.search.space import to_override
from sweeper.shell import interpreter, join, path_word, program, sweeper_command
from sweeper.study.folder import BEST, CONFIRM, trial_folder
from sweeper.study.storage_url import has_password
from sweeper.terminal.console import display_path
from sweeper.untrusted import parse_json, read_bytes, read_text

SEEDS: Final = 4
"""Number of further seeds: with the seed at hand they make the five that a mean needs."""
SEARCH_KEYS: Final = ("search", "seed")
"""Overrides that a sweep over seeds replaces or does not accept."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command to copy, and what it is for."""

    label: str
    """For example ``go on``."""
    text: str
    """A shell command on one line."""


def saved_program(sweep: Any, folder: Path | None) -> list[str] | None:
    """Return the words that start a sweep of ours from the content of its multirun.yaml, with the folder of its configs.

    `folder` is its study's. None for a sweep of configs that no command should name.
    """
    settings = sweep.get("hydra") if isinstance(sweep, Mapping) else None
    if not isinstance(settings, Mapping) or "runtime" not in settings:
        return [*program()]
    origin = Origin.saved(settings, folder)
    # A folder that is missing is named all the same, but that of conf/ where the study ran: it may be that of this machine.
    return None if origin is None else [*program(), *replace(origin, config_path=origin.here().config_path).options]


def saved_arguments(sweep: Any) -> list[str]:
    """Return the overrides of a sweep from the content of its multirun.yaml, without passwords; none if it has none.

    They may be a stranger's: a command repeats `sweeper.search.repeating.repeatable` of them.
    """
    settings = sweep.get("hydra") if isinstance(sweep, Mapping) else None
    overrides = settings.get("overrides") if isinstance(settings, Mapping) else None
    if not isinstance(overrides, Mapping):
        return []
    lists = [overrides.get(kind) for kind in ("task", "hydra")]
    lines = [line for found in lists if isinstance(found, list) for line in found if isinstance(line, str)]
    return [without_password(line) for line in lines if not line.startswith("hydra.mode=")]


def repeated_arguments(sweep: Any, folder: Path | None) -> Repeated:
    """Return the overrides that go on with a sweep of ours, from the content of its multirun.yaml.

    `folder` is its study's: one that is not where such a study would be from here, as the working directory is another, is
    named.
    """
    found = repeatable(saved_arguments(sweep), folder)
    is_named = folder is None or any(line.startswith(f"{SWEEP_DIR}=") for line in found.kept)
    if is_named or folder is None or not folder.is_dir() or not found.kept:
        return found
    if folder.absolute() == (OUTPUTS / "studies" / folder.name).absolute():
        return found
    return replace(found, kept=(*found.kept, f"{SWEEP_DIR}={quoted(str(display_path(folder)))}"))


def without_password(override: str) -> str:
    """Replace the value of a storage URL given in full by a variable: it may contain a password in more than one place.

    A study's files have ``URL`` in its place.
    """
    key, _, value = override.partition("=")
    is_hidden = key == STORAGE and (value == "URL" or has_password(value.strip("'\"")))
    return f"{key}={OF_A_VARIABLE}" if is_hidden else override


def running_program(argv: Sequence[str], module: str | None) -> list[str]:
    """Return the words that start this process's Hydra application, with Hydra's options that choose its config.

    `module` is the module that ``python -m`` runs; None for a script, which is then the first word of `argv`.
    """
    words = [interpreter(), *(["-m", module] if module else [path_word(display_path(Path(argv[0])))])]
    return [*words, *Origin.typed(argv[1:]).options]


def go_on(
    program: Sequence[str], arguments: Sequence[str], *, n_trials: int | None, past_target: bool = False
) -> Command:
    """Return the sweep's command, which resumes it.

    With `n_trials` it asks for that many trials in total, with `past_target` it does not end when one reaches the target.
    """
    settings = {
        "hydra.sweeper.n_trials": n_trials,
        "hydra.sweeper.stop_at_target": "false" if past_target else None,
    }
    given = {key: value for key, value in settings.items() if value is not None}
    arguments = [*_without(arguments, *given), *(f"{key}={value}" for key, value in given.items())]
    return Command(label="go on", text=join([*program, "-m", *arguments]))


def raise_budget(program: Sequence[str], arguments: Sequence[str], limits: Mapping[str, int]) -> Command:
    """Return the sweep's command with higher limits, rounded up. It is another search: the study's name is left out."""
    kept = _without(arguments, "hydra.sweeper.study_name", SWEEP_DIR, *(f"budget.{cost}" for cost in limits))
    raised = [f"budget.{cost}={_rounded_up(limit)}" for cost, limit in limits.items()]
    return Command(label="raise the budget", text=join([*program, "-m", *kept, *raised]))


def more_seeds(program: Sequence[str], overrides: Sequence[str], seed: int) -> Command:
    """Return a sweep of the best trial's config, given by its `overrides`, over the seeds after its own."""
    kept = _without(overrides, *SEARCH_KEYS)
    seeds = ",".join(str(seed + step) for step in range(1, SEEDS + 1))
    return Command(label="more seeds", text=join([*program, "-m", *kept, f"seed={seeds}"]))


def reproduce(best: FrozenTrial, folder: Path | None) -> Command | None:
    """Return the command that runs the best trial again and compares; None if its config is not on this machine."""
    if folder is None:
        return None
    trial, copied = trial_folder(folder, best), RunFolder(folder / BEST)
    config = _content(trial.config)
    if config is None:
        return None
    path = copied.path if _content(copied.config) == config else trial.path  # best/ is written at the end of a search
    return Command(label="run it again", text=sweeper_command("reproduce", path_word(display_path(path))))


def confirm(best: FrozenTrial, folder: Path, *, front: bool) -> Command | None:
    """Return the command that confirms a study's best trials, or its front; None if its best trial was confirmed."""
    if _is_confirmed(best, folder):  # the confirmation names the commands that follow it
        return None
    options = ["--pareto"] if front else []
    return Command(label="confirm", text=sweeper_command("confirm", path_word(display_path(folder)), *options))


def run_again(program: Sequence[str], overrides: Sequence[str]) -> Command:
    """Return the command that runs the best trial of another Hydra application, given by its `overrides`, again."""
    return Command(label="run it again", text=join([*program, *overrides]))


def trial_overrides(trial: FrozenTrial, folder: Path | None, fixed: Sequence[str]) -> list[str]:
    """Return a trial's overrides, from its folder if it has one: only that has them in the order of the command.

    `fixed` are those that all trials of the study share.
    """
    if folder is not None:
        try:
            return trial_folder(folder, trial).read_overrides()
        except RunFolderError:
            pass
    return [*fixed, *(f"{key}={to_override(value)}" for key, value in trial.params.items())]


def _is_confirmed(trial: FrozenTrial, folder: Path) -> bool:
    try:
        configurations = parse_json(read_text(folder / CONFIRM))["configurations"]
        return any(each["trial"] == trial.number for each in configurations)
    except (OSError, ValueError, KeyError, TypeError):  # none, or damaged: confirm says so
        return False


def _without(arguments: Sequence[str], *keys: str) -> list[str]:
    return [line for line in arguments if line.partition("=")[0].lstrip("+") not in keys]


def _rounded_up(limit: int) -> int:
    """Round up to two digits.

    >>> _rounded_up(12_345), _rounded_up(7)
    (13000, 7)
    """
    unit: int = 10 ** max(0, len(str(limit)) - 2)
    return math.ceil(limit / unit) * unit


def _content(path: Path) -> bytes | None:
    try:
        return read_bytes(path)
    except OSError:
        return None
