"""The verb `report`: what was named, a run, a study or several runs, becomes one page on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from sweeper.errors import RunFolderError, StudyError
from sweeper.reading.locations import STUDIES, find_locations
from sweeper.reading.read_only_storage import ReadOnlyStorage, none_of_that_name
from sweeper.report.record import read_run
from sweeper.report.run_page import comparison_page, run_page
from sweeper.report.study_page import study_page
from sweeper.run.folder import OUTPUTS, RunFolder, write_atomically
from sweeper.study.folder import StudyFolder
from sweeper.terminal.console import display_path


@dataclass(frozen=True, kw_only=True)
class BuiltPage:
    """A page that was written."""

    path: Path
    about: str
    """What it is about, a few words."""


def build_page(names: Sequence[str], *, storage: str | None, out: Path | None) -> BuiltPage:
    """Write the page of a study (by name or folder), of a run, or of several runs; by default beside what it is about.

    Raises `StudyError` or `RunFolderError` for a name that is neither, for what is damaged, and for a page that cannot be
    written.
    """
    runs = [display_path(Path(name)) for name in names if storage is None and is_run(Path(name))]
    if len(names) > 1 and len(runs) < len(names):
        other = next(name for name in names if not is_run(Path(name)))
        raise RunFolderError(
            f"a comparison is of runs' folders alone, but {other} is none: "
            f"give folders below {OUTPUTS / 'runs'}, or trials'; a study has a page of its own"
        )
    if not runs:
        return _publish_study(names[0], storage, out)
    records = [read_run(folder) for folder in runs]
    if len(records) == 1:
        path, content = out or RunFolder(runs[0]).page, run_page(records[0])
        return _written(path, content, f"{records[0].value:.2%} {records[0].judges} accuracy")
    path, content = out or OUTPUTS / "comparison.html", comparison_page(records)
    return _written(path, content, f"{len(records)} runs side by side")


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's, damaged or not."""
    files = RunFolder(folder)
    return files.metrics.exists() or files.config.exists()


def _publish_study(name: str, storage: str | None, out: Path | None) -> BuiltPage:
    problems: list[str] = []
    (location,) = find_locations(_known(name) if storage is None else name, storage, problems.append)
    shelf = ReadOnlyStorage(lambda: [location], problems.append)
    try:
        studies = shelf.get_all_studies()
        if problems:
            raise StudyError(problems[0])
        if not studies:
            raise none_of_that_name(location)
        study = optuna.load_study(study_name=studies[0].study_name, storage=shelf)
        folder = location.folder_of(studies[0].study_name)
        if out is None and folder is None:
            raise StudyError(f"{name} has no folder here to write its page into: say where with --out FILE")
        path = out or StudyFolder(folder or Path()).report
        trials = len(study.get_trials(deepcopy=False))
        content = study_page(study, folder=folder, url=location.url, page=path.absolute())
    finally:
        shelf.close()
    return _written(path, content, f"{trials} trial{'' if trials == 1 else 's'}")


def _known(name: str) -> str:
    """Return the name of a study or its folder. Raises `StudyError` for anything else."""
    if (
        (Path(name).name == name and (STUDIES / name).is_dir())
        or (Path(name) / "search.yaml").exists()
        or (Path(name) / "journal.log").exists()
    ):
        return name
    there = sorted(path.name for path in STUDIES.iterdir() if path.is_dir()) if STUDIES.is_dir() else []
    raise StudyError(
        f"a report is of a run's folder, a study's folder or a study's name, but {name} is none of these: "
        f"studies in {STUDIES}: {', '.join(there) or 'none'}"
    )


def _written(path: Path, content: str, about: str) -> BuiltPage:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.encode())
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written ({error.strerror}): name another with --out FILE") from error
    return BuiltPage(path=display_path(path), about=about)
