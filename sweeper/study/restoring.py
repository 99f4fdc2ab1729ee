"""Writes into a study's folder what it lacks and its server has: search, config of the sweep, and files of each trial.

Only files that were restored before, and have changed, are overwritten. All texts are untrusted: their names come from a
fixed list, and they are written below the folder.
"""

import os
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from sqlalchemy import Engine

from sweeper.config.file_rules import STORAGE
from sweeper.errors import StudyError
from sweeper.run.folder import RunFolder, write_atomically
from sweeper.search.quoting import quoted
from sweeper.study.folder import StudyFolder, check_same_search
from sweeper.study.trial_files import ELSEWHERE, saved_files
from sweeper.study.trial_record import MULTIRUN, SWEEP, read_saved, saved_trials
from sweeper.untrusted import parse_yaml, read_text

RESTORED: Final = "# restored from the study's storage"
"""First line of a restored multirun.yaml: it is not this host's, so a newer one replaces it."""
OF_ANOTHER_HOST: Final = ("hydra.sweep.dir", "data.root", STORAGE)
"""Overrides that mean something on the host alone where they were typed."""
LISTED: Final = 8
"""Maximum number of trials that a sentence names; of more it gives their number."""


def restore_trials(engine: Engine, study: str, folder: StudyFolder, *, known: int, is_ours: bool) -> None:
    """Write the saved files of every trial that has no folder here; the study has `known` trials.

    With `is_ours`, these are trainings of sweeper's own, whose images may be in another folder here. What another
    application's config says stays as it is.
    """
    for number in saved_trials(engine, study):
        if number < known and not folder.trial(number).path.exists():
            _restore_trial(folder, number, read_saved(engine, study, number), is_ours=is_ours)


def restore_sweep(engine: Engine, study: str, folder: StudyFolder, *, storage: str | None) -> None:
    """Write the config of the study's last sweep, unless this host has run it.

    It names the storage as it is named here: by `storage`, or None to keep what an earlier call has written.
    """
    here = _text(folder.multirun)
    if here is not None and not here.startswith(RESTORED):
        return
    sweep = _mapping(read_saved(engine, study, SWEEP).get(MULTIRUN, ""))
    if sweep is None:
        return
    storage = storage or _storage_of(_mapping(here or ""))
    text = f"{RESTORED}\n{yaml.safe_dump(_for_this_host(sweep, storage), sort_keys=False)}"
    if text != here:
        write_atomically(folder.multirun, text.encode())


def check_is_of(folder: StudyFolder, name: str, search: Mapping[str, Any]) -> None:
    """Raise `StudyError` if a folder holds another study than the one in the storage, whose search this is."""
    saved = _mapping(_text(folder.search) or "")
    is_other = folder.journal.exists()
    if saved is not None and not is_other:
        try:
            check_same_search(name, saved, search)
        except (StudyError, KeyError, TypeError, AttributeError):
            is_other = True
    if is_other:
        raise StudyError(
            f"the folder of study {name} in the storage must hold its trials, but {folder.path} holds another study: move "
            "it away, or work in another folder"
        )


def elsewhere(run: RunFolder) -> str | None:
    """Return the host and folder with a restored run's weights and figures; None for a run of this host."""
    text = _text(run.path / ELSEWHERE)
    return None if text is None else " ".join(text.split()).removeprefix("weights and figures: ")


def describe_elsewhere(folder: Path | None, numbers: Collection[int]) -> str:
    """Return a sentence with the hosts and folders of the trials' weights and figures; empty if all are here.

    >>> describe_elsewhere(None, [0])
    ''
    """
    places: dict[str, list[int]] = {}
    for number in sorted(numbers) if folder is not None else ():
        place = elsewhere(RunFolder(folder / str(number))) if folder is not None else None
        if place:
            places.setdefault(place.removesuffix(f"/{number}"), []).append(number)
    found = [f"of {_listed(group)} in {place}" for place, group in places.items()]
    return f"Weights and figures are elsewhere: {', '.join(found)}." if found else ""


def _listed(numbers: list[int]) -> str:
    if len(numbers) > LISTED:
        return f"{len(numbers)} trials"
    return f"trial{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _restore_trial(folder: StudyFolder, number: int, saved: Mapping[str, str], *, is_ours: bool) -> None:
    temporary = folder.path / f".{number}.restored-{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    files = RunFolder(temporary)
    for name, path in saved_files(files).items():
        if name in saved:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = _with_data_here(saved[name]) if is_ours and path == files.config else saved[name]
            write_atomically(path, text.encode())
    temporary.mkdir(exist_ok=True)
    write_atomically(temporary / ELSEWHERE, saved.get(ELSEWHERE, "").encode())
    try:
        os.replace(temporary, folder.trial(number).path)
    except OSError:  # another process of this host has restored it meanwhile
        shutil.rmtree(temporary, ignore_errors=True)


def _with_data_here(config: str) -> str:
    """Return a saved config whose images are looked for in this host's folder, if the other host's does not exist here."""
    found = re.search(r"^data:\n(?:  .*\n)*?  root: *(.*)$", config, re.MULTILINE)
    if found is None or Path(found[1].strip("'\"")).exists():
        return config
    root = Path(os.environ.get("SWEEPER_DATA", "data")).expanduser().absolute()
    return f"{config[: found.start(1)]}{yaml.safe_dump(str(root)).splitlines()[0]}{config[found.end(1) :]}"


def _for_this_host(sweep: dict[str, Any], storage: str | None) -> dict[str, Any]:
    """Return the config of another host's sweep with this host's name of the storage."""
    hydra = sweep.get("hydra")
    hydra = dict(hydra) if isinstance(hydra, Mapping) else {}
    sweeper = hydra.get("sweeper")
    hydra["sweeper"] = {**(sweeper if isinstance(sweeper, Mapping) else {}), "storage": storage}
    overrides = hydra.get("overrides")
    if isinstance(overrides, Mapping):
        lists = {kind: _here(overrides.get(kind)) for kind in ("task", "hydra")}
        if storage is not None:
            written = storage if "${" in storage else quoted(storage)
            lists["hydra"].append(f"{STORAGE}={written}")
        hydra["overrides"] = {**overrides, **lists}
    return {**sweep, "hydra": hydra}


def _here(lines: Any) -> list[str]:
    kept = [line for line in (lines if isinstance(lines, list) else []) if isinstance(line, str)]
    return [line for line in kept if line.partition("=")[0] not in OF_ANOTHER_HOST]


def _storage_of(sweep: Mapping[str, Any] | None) -> str | None:
    storage = ((sweep or {}).get("hydra") or {}).get("sweeper", {}).get("storage")
    return storage if isinstance(storage, str) else None


def _mapping(text: str) -> dict[str, Any] | None:
    try:
        content = parse_yaml(text)
    except yaml.YAMLError:
        return None
    return content if isinstance(content, dict) else None


def _text(path: Path) -> str | None:
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError):
        return None
