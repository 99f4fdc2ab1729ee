"""Decides what Hydra is asked for: a relative ``--config-path``, and ``--experimental-rerun`` of a run or trial."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from sweeper.config.origin import PACKAGE, Origin
from sweeper.errors import UsageError

RERUN: Final = "--experimental-rerun"
"""Hydra's option that runs a saved job again."""
CONFIG_PATH: Final = "--config-path"
NEW_RUN: Final = ("hydra.run.dir='outputs/runs/${now:%Y-%m-%d}/${now:%H-%M-%S-%f}'", "hydra.output_subdir=null")
"""What conf/ says of a run's folder, for a config that is composed without it."""


def whole_command(arguments: Sequence[str]) -> list[str]:
    """Return Hydra's command line with a folder of configs as Hydra needs it, and a rerun as the overrides that it means.

    Hydra takes a relative ``--config-path`` as relative to the program; here it is relative to the working directory. It
    runs a saved job again into the job's own folder, with all its settings, a study's and a stranger's among them; here it
    is a new run, with the overrides that a command repeats, then those of the command line.

    Raises `UsageError` for a rerun of several jobs or without a folder, and the errors of `RunFolder.read_config`.
    """
    words = _absolute(arguments)
    position = next((n for n, word in enumerate(words) if _is_rerun(word)), None)
    if position is None:
        return words
    _, is_whole, value = words[position].partition("=")
    if not is_whole and position + 1 == len(words):
        raise UsageError(f"{RERUN} needs the folder of a run or trial: add it")
    rest = [*words[:position], *words[position + (1 if is_whole else 2) :]]
    if "-m" in rest or "--multirun" in rest:
        raise UsageError(f"{RERUN} runs one job again, but -m asks for several: leave one out")
    return [*_saved(_folder(value if is_whole else words[position + 1]), rest), *rest]


def _saved(folder: Path, changes: Sequence[str]) -> list[str]:
    """Return the options and overrides of a saved run under `changes`; its whole config, if they do not compose to it."""
    from sweeper.report.run_command import is_superseded, read_composition  # noqa: PLC0415 - rarely needed
    from sweeper.run.folder import RunFolder  # noqa: PLC0415 - likewise

    files = RunFolder(folder)
    composition = read_composition(files, files.read_config())
    if composition.origin is not None:
        kept = [word for word in composition.typed.kept if not is_superseded(word, changes)]
        return [*composition.origin.options, *kept]
    return [*Origin(config_path=str(files.config.parent.absolute())).options, *NEW_RUN]


def _folder(given: str) -> Path:
    """Return the folder of a run, also for its folder .hydra or a file in it, as Hydra 1.3 took it: no file is unpickled."""
    path = Path(given)
    if path.name == ".hydra":
        return path.parent
    return path.parent.parent if path.parent.name == ".hydra" else path


def _is_rerun(word: str) -> bool:
    option = word.partition("=")[0]
    return len(option) > len("--") and RERUN.startswith(option) and option.startswith("--")


def _absolute(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with an absolute ``--config-path``, unless it is a package."""
    given = Origin.typed(arguments).config_path
    if given is None or given.startswith(PACKAGE) or Path(given).is_absolute():
        return list(arguments)
    absolute = replace(Origin(), config_path=str(Path(given).absolute()))
    return [*arguments, *absolute.options]  # the last one counts
