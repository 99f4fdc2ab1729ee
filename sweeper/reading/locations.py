"""Finds studies and the storage of each, from the files in their folders. Passwords come from the environment."""

import functools
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeper.config.explaining import nearest
from sweeper.errors import StudyError
from sweeper.run.folder import OUTPUTS
from sweeper.study.folder import StudyFolder
from sweeper.study.storage import journal_url
from sweeper.study.storage_url import JOURNAL, check_typed, redacted
from sweeper.terminal.console import display_path
from sweeper.untrusted import is_folder, parse_yaml, read_text

STUDIES: Final = OUTPUTS / "studies"
"""The folder of all studies, relative to the working directory."""

SHOWN: Final = 3
"""Number of studies that an error names."""


@dataclass(frozen=True, kw_only=True)
class StudyLocation:
    """The storage and folder of one study, or of every study in a storage."""

    url: str
    """The storage's URL, including its password."""
    study: str | None
    """The study's name; None for every study in the storage."""
    folder: Path | None
    """The study's folder; None means the folder in `STUDIES` with the study's name, if it exists."""
    typed: str | None = None
    """The storage's URL as it was typed, with variables for what is secret; None if it stands in the study's folder."""

    def folder_of(self, study: str) -> Path | None:
        """Return the absolute path of a study's folder; None if it has no folder on this machine."""
        folder = self.place_of(study)
        return folder if folder is not None and (self.folder is not None or folder.is_dir()) else None

    def place_of(self, study: str) -> Path | None:
        """Return the absolute path of a study's folder, existing or not; None for a name that cannot be a folder's."""
        if self.folder is not None:
            return self.folder.absolute()
        is_name = Path(study).name == study != ".."
        return (STUDIES / study).absolute() if is_name else None


def find_locations(study: str | None, storage: str | None, warn: Callable[[str], None]) -> list[StudyLocation]:
    """Find a study by name or folder, all studies of the storage with a URL, or all studies in `STUDIES`.

    Raises `StudyError` if `study` does not exist or its storage is unknown. Without `study`, a folder whose storage is
    unknown is skipped, and `warn` receives the reason.
    """
    check_typed(storage or "", "--storage ")
    url = None if storage is None else resolve_url(storage)
    if url is not None and not url.strip():
        raise StudyError("--storage must be a URL, but it is empty: set the variable that it names, or leave it out")
    if study is None:
        return [StudyLocation(url=url, study=None, folder=None, typed=storage)] if url else list(_all(warn))
    folder = STUDIES / study if is_name(study) else display_path(Path(study))
    if url:
        here = folder if is_folder(folder) else None
        return [StudyLocation(url=url, study=Path(study).name, folder=here, typed=storage)]
    if not is_folder(folder):
        raise StudyError(f"STUDY must be a study's name or folder, but {study} is neither{nearest_studies(study)}")
    return [_location(folder)]


def is_name(study: str) -> bool:
    """Whether `STUDIES` has a study of this name."""
    return Path(study).name == study != "" and is_folder(STUDIES / study)


def nearest_studies(name: str) -> str:
    """Return how a message goes on that misses a study: the names near it, and the newest of those there are."""
    names = [path.name for path in _folders()]
    begin_so = [each for each in reversed(names) if name and each.startswith(name)][:SHOWN]
    hint = f" (did you mean {', '.join(begin_so)}?)" if begin_so else nearest(name, names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{hint}: studies in {STUDIES}: {', '.join(names[::-1][:SHOWN]) or 'none'}{more}"


def resolve_url(text: str) -> str:
    """Resolve the interpolations in a storage's URL that the user typed. Raises `StudyError` if a variable is not set.

    An interpolation such as `${oc.env:STUDY_URL}` keeps the password out of the study's files.
    """
    if "${" not in text:
        return text
    try:
        return str(OmegaConf.create({"_url": text})["_url"])
    except (OmegaConfBaseException, ValueError) as error:
        raise StudyError(
            f"a storage's URL must resolve, but {text} does not ({str(error).splitlines()[0]}): "
            "set the variable, or give --storage URL"
        ) from error


def _of_this_machine(text: str, folder: Path) -> str:
    """Return the URL that a study's file names, if it is that of a file. Raises `StudyError` for any other.

    The file may be a stranger's: a server of its choice would be sent what a variable holds, or be one of the user's own
    that is no study's.
    """
    if "${" not in text and text.startswith(("sqlite:///", JOURNAL)):
        return text
    if re.fullmatch(r"\$\{oc\.env:\w+\}", text):
        named, give = f"the variable {text}", shlex.quote(text)
    else:
        named, give = f"a server, {redacted(text)}", "URL"
    raise StudyError(
        f"the files of {folder} may name a file as its storage, but name {named}: if it is yours, give --storage {give}"
    )


def read_yaml(path: Path) -> Any:
    """Read an untrusted YAML file as plain values; None if it is missing or damaged. Cached until the file changes."""
    try:
        return _read_yaml(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, yaml.YAMLError):
        return None


def lookup(tree: Any, *keys: str) -> Any:
    """Return the value at a path of keys in nested mappings; None if it does not exist.

    >>> lookup({"base": {"target": 0.99}}, "base", "target"), lookup([], "base")
    (0.99, None)
    """
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


@functools.lru_cache(maxsize=1024)
def _read_yaml(path: Path, _changed: int) -> Any:
    return parse_yaml(read_text(path))


def _folders() -> list[Path]:
    """Return the folders that may be studies, the oldest first, so that a new study changes no other study's id."""
    try:
        entries = [path for path in STUDIES.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError:
        return []
    return sorted(entries, key=lambda path: (_started(path), path.name))


def _started(folder: Path) -> float:
    try:
        return (folder / "search.yaml").stat().st_mtime
    except OSError:
        return float("inf")


def _all(warn: Callable[[str], None]) -> Iterator[StudyLocation]:
    for folder in _folders():
        if not any((folder / name).exists() for name in ("journal.log", "multirun.yaml")):
            continue  # not a study, or a study that is just starting
        try:
            yield _location(folder)
        except StudyError as error:
            warn(str(error))


def _location(folder: Path) -> StudyLocation:
    """Return the location of the study in a folder. Raises `StudyError` if its storage is unknown."""
    files = StudyFolder(folder)
    if files.journal.exists():
        return StudyLocation(url=journal_url(files.journal), study=None, folder=folder)
    sweep = read_yaml(files.multirun)
    text = lookup(sweep, "hydra", "sweeper", "storage")
    if not isinstance(text, str):
        raise StudyError(
            f"a study's folder must hold journal.log, or a multirun.yaml that names its storage, but {folder} does not: "
            f"give a folder below {STUDIES}, or --storage URL"
        )
    name = lookup(sweep, "hydra", "sweeper", "study_name") or _name_in_trial(files) or folder.name
    url = _of_this_machine(text, folder)
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith((f"{prefix}/", f"{prefix}:")):
        working_directory = lookup(sweep, "hydra", "runtime", "cwd") or "."
        url = f"{prefix}{Path(working_directory).absolute() / url.removeprefix(prefix)}"
    return StudyLocation(url=url, study=str(name), folder=folder)


def _name_in_trial(files: StudyFolder) -> str | None:
    """Return the study's name from a trial's settings: the sweep's config has it only if the command line gave it."""
    settings = next(files.path.glob("*/.hydra/hydra.yaml"), None)
    name = lookup(read_yaml(settings), "hydra", "sweeper", "study_name") if settings else None
    return name if isinstance(name, str) else None
