"""Which studies there are and where each keeps its trials, from what their folders say; passwords come from outside."""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeper.errors import StudyError
from sweeper.run.folder import OUTPUTS
from sweeper.study.folder import StudyFolder
from sweeper.study.storage import journal_url
from sweeper.terminal.console import display_path

STUDIES: Final = OUTPUTS / "studies"
"""Where studies lie, below the working directory."""


@dataclass(frozen=True, kw_only=True)
class StudyLocation:
    """A storage, and what of it is meant."""

    url: str
    study: str | None
    """The one study; None is all of them."""
    folder: Path | None
    """The study's folder; None is the one among `STUDIES` that has its name, if any."""

    def folder_of(self, study: str) -> Path | None:
        """Return a study's folder, absolute."""
        if self.folder is not None:
            return self.folder.absolute()
        is_name = Path(study).name == study
        return (STUDIES / study).absolute() if is_name and (STUDIES / study).is_dir() else None


def find_locations(study: str | None, storage: str | None, warn: Callable[[str], None]) -> list[StudyLocation]:
    """Find what was asked for: a study by name or folder, a storage by URL, or all studies below `STUDIES`.

    Raises `StudyError` for a `study` that is none or whose storage is not known; without `study`, `warn` is told.
    """
    url = resolve_url(storage, {}) if storage else None
    if study is None:
        return [StudyLocation(url=url, study=None, folder=None)] if url else list(_all(warn))
    folder = STUDIES / study if Path(study).name == study and (STUDIES / study).is_dir() else display_path(Path(study))
    if url:
        return [StudyLocation(url=url, study=Path(study).name, folder=folder if folder.is_dir() else None)]
    if not folder.is_dir():
        there = ", ".join(sorted(path.name for path in _folders())) or "none"
        raise StudyError(f"STUDY must be a study's name or its folder, but {study} is neither: studies here: {there}")
    return [_location(folder)]


def resolve_url(text: str, config: Mapping[str, Any]) -> str:
    """Return a storage's URL with what the environment has to say. Raises `StudyError` where that is missing.

    An interpolation is what keeps a password out of a study's files: `${oc.env:STUDY_URL}`.
    """
    if "${" not in text:
        return text
    try:
        return str(OmegaConf.create({**config, "_url": text})["_url"])
    except (OmegaConfBaseException, ValueError) as error:
        raise StudyError(
            f"a study's storage must be known, but it is {text}, which cannot be looked up here "
            f"({str(error).splitlines()[0]}): set that, or give --storage URL"
        ) from error


def read_yaml(path: Path) -> Any:
    """Read plain values from a file that may be a stranger's or damaged: then None. Read again when it has changed."""
    try:
        return _read_yaml(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, yaml.YAMLError):
        return None


def at(tree: Any, *keys: str) -> Any:
    """Return what nested mappings hold, None where they do not."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


@functools.lru_cache(maxsize=1024)
def _read_yaml(path: Path, _changed: int) -> Any:
    return yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe


def _folders() -> list[Path]:
    """Every folder that may be a study's, the oldest first: then a new study changes no other's id."""
    try:
        entries = [path for path in STUDIES.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError:
        return []
    return sorted(entries, key=lambda path: (_begun(path), path.name))


def _begun(folder: Path) -> float:
    try:
        return (folder / "search.yaml").stat().st_mtime
    except OSError:
        return float("inf")


def _all(warn: Callable[[str], None]) -> Iterator[StudyLocation]:
    for folder in _folders():
        if not any((folder / name).exists() for name in ("journal.log", "multirun.yaml")):
            continue  # no study, or one that is being begun at this moment
        try:
            yield _location(folder)
        except StudyError as error:
            warn(str(error))


def _location(folder: Path) -> StudyLocation:
    """Say where a study's folder keeps its trials. Raises `StudyError`."""
    files = StudyFolder(folder)
    if files.journal.exists():
        return StudyLocation(url=journal_url(files.journal), study=None, folder=folder)
    sweep = read_yaml(files.multirun)
    text = at(sweep, "hydra", "sweeper", "storage")
    if not isinstance(text, str):
        raise StudyError(
            f"a study's folder must hold journal.log, or in multirun.yaml its storage, but {folder} does not: "
            f"give a folder below {STUDIES}, or --storage URL"
        )
    name = at(sweep, "hydra", "sweeper", "study_name") or _name_in_trial(files) or folder.name
    url = resolve_url(text, sweep)
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith((f"{prefix}/", f"{prefix}:")):
        url = f"{prefix}{Path(at(sweep, 'hydra', 'runtime', 'cwd') or '.').absolute() / url.removeprefix(prefix)}"
    return StudyLocation(url=url, study=str(name), folder=folder)


def _name_in_trial(files: StudyFolder) -> str | None:
    """Return the study's name as a trial's job had it: the sweep's own config has none where none was given."""
    settings = next(files.path.glob("*/.hydra/hydra.yaml"), None)
    name = at(read_yaml(settings), "hydra", "sweeper", "study_name") if settings else None
    return name if isinstance(name, str) else None
