"""Writes the page for the command `report`: of a study, of a run, or of several studies or runs side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
from optuna.storages import BaseStorage

from sweeper.errors import RunFolderError, StudyError
from sweeper.reading.locations import StudyLocation, find_locations, lookup, nearest_studies, read_yaml
from sweeper.reading.named_runs import is_study, named_run
from sweeper.reading.storage_reader import StorageReader, study_name
from sweeper.reading.study_files import lost, restored_folder
from sweeper.report.record import read_run
from sweeper.report.run_page import comparison_page, run_page
from sweeper.report.search_comparison import ComparedSearch, compare_searches
from sweeper.report.search_comparison_page import search_comparison_page
from sweeper.report.study_figures import study_view
from sweeper.report.study_page import study_page
from sweeper.report.study_snapshot import StudySnapshot
from sweeper.report.value_scale import flat_config
from sweeper.run.folder import OUTPUTS, RunFolder, write_atomically
from sweeper.study.folder import StudyFolder
from sweeper.study.restoring import describe_elsewhere, elsewhere
from sweeper.terminal.console import display_path
from sweeper.terminal.formats import percent


@dataclass(frozen=True, kw_only=True)
class BuiltPage:
    """The path and subject of a page that was written."""

    path: Path
    about: str
    """Its subject in a few words."""
    elsewhere: str = ""
    """A sentence with the hosts and folders of files that this machine lacks; empty if it has all."""


def build_page(names: Sequence[str], *, storage: str | None, out: Path | None) -> BuiltPage:
    """Write the page of a study or of a run, each by name or folder, or of several studies or several runs.

    Without `out`, a study's and a run's page go into its folder, a comparison into `OUTPUTS`. Raises `StudyError` or
    `RunFolderError` if a name is neither a study nor a run, if its files are damaged, or if the page cannot be written.
    """
    found = [None if storage is not None else named_run(name) for name in names]
    runs = [display_path(folder) for folder in found if folder is not None]
    if runs and len(runs) < len(names):
        other = names[found.index(None)]
        raise RunFolderError(
            f"several names must all be runs' folders, or all be studies, but {other} is no run: give folders below "
            f"{OUTPUTS / 'runs'} or trials' folders, or studies alone"
        )
    if not runs:
        distinct = list(dict.fromkeys(names))
        return _build_study_page(names[0], storage, out) if len(distinct) == 1 else _compare(distinct, storage, out)
    # A folder given twice, for example with and without a slash, is one run.
    records = [read_run(folder) for folder in dict.fromkeys(runs)]
    if len(records) == 1:
        path, content = out or RunFolder(runs[0]).page, run_page(records[0])
        page = _write(path, content, f"{percent(records[0].value)} {records[0].evaluated_on} accuracy")
        place = elsewhere(RunFolder(runs[0]))
        return replace(page, elsewhere=f"Weights and figures are elsewhere: in {place}." if place else "")
    path, content = out or OUTPUTS / "comparison.html", comparison_page(records)
    return _write(path, content, f"{len(records)} runs side by side")


def _build_study_page(name: str, storage: str | None, out: Path | None) -> BuiltPage:
    study, folder, location = _read_study(name, storage)
    if out is None and folder is None:
        raise StudyError(f"a study's page needs a folder, but {name} has none on this machine: add --out FILE")
    path = out or StudyFolder(folder or Path()).report
    content = study_page(study, folder=folder, url=location.url, page=path.absolute())
    page = _write(path, content, f"{len(study.trials)} trial{'' if len(study.trials) == 1 else 's'}")
    return replace(page, elsewhere=describe_elsewhere(folder, [trial.number for trial in study.trials]))


def _compare(names: Sequence[str], storage: str | None, out: Path | None) -> BuiltPage:
    """Write the page of several searches."""
    searches: list[ComparedSearch] = []
    again = [] if storage is None else ["--storage", storage]
    for name in names:
        study, folder, _ = _read_study(name, storage)
        config = flat_config(read_yaml(folder / "search.yaml") or {}) if folder is not None else {}
        options = lookup(read_yaml(folder / "multirun.yaml"), "hydra", "sweeper") if folder is not None else None
        # Two folders may hold studies of one name.
        shown = study.name if study.name not in {each.name for each in searches} else name
        view = study_view(study, config)
        searches.append(
            ComparedSearch(
                name=shown, view=view, config=config, folder=folder, options=options or {}, arguments=[name, *again]
            )
        )
    compared = compare_searches(searches)
    content = search_comparison_page(compared)
    return _write(out or OUTPUTS / "comparison.html", content, f"{len(searches)} searches: {compared.sentence}")


def _read_study(name: str, storage: str | None) -> tuple[StudySnapshot, Path | None, StudyLocation]:
    """Return a study as it stands now, its folder on this machine, and its location."""
    if storage is None:
        _check_is_study(name)
    (location,) = find_locations(name, storage, warn=lambda _: None)
    with StorageReader(location.url) as reader:
        opened = reader.read(lambda storage: _load(storage, location))
        folder = restored_folder(reader, location, opened)
        gone = lost(reader, location, opened, folder)
        study = reader.read(lambda _: StudySnapshot.of(opened, lost=gone))
    return study, folder, location


def _load(storage: BaseStorage, location: StudyLocation) -> optuna.Study:
    return optuna.load_study(study_name=study_name(storage, location), storage=storage)


def _check_is_study(name: str) -> None:
    """Raise `StudyError` unless `name` is the name or the folder of a study."""
    if is_study(name):
        return
    raise StudyError(
        f"a report needs a run's folder or name, or a study's, but {name} is none of these{nearest_studies(name)}"
    )


def _write(path: Path, content: str, about: str) -> BuiltPage:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.encode())
    except OSError as error:
        raise RunFolderError(f"{path} cannot be written ({error.strerror}): name another with --out FILE") from error
    return BuiltPage(path=display_path(path), about=about)
