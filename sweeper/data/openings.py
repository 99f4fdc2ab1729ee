"""Logs each opening of a test set before its images are returned, and counts the openings. Imports no torch.

The log is `test_openings.jsonl` in the folder outputs/ that holds the run or study which needs the images, otherwise in
outputs/ of the working folder. Folders in it are relative to the log, so moving outputs/ as a whole keeps all counts.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sweeper.config.schema import DataConf
from sweeper.errors import DataError
from sweeper.shell import join, program

OUTPUTS: Final = Path("outputs")
"""Folder of all runs and studies, relative to the working directory."""
LOG: Final = "test_openings.jsonl"
_PASSWORD: Final = re.compile(r"(?<=://)\S*(?=@)|(?<=[?&]password=)[^&\s]*")


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a test set is opened for."""

    folder: Path | None = None
    """The folder of the run that needs it; None outside a run."""
    weights_sha256: str | None = None
    """Checksum of the weights to evaluate; None if they are still to be trained, or if only images are shown."""


@dataclass(frozen=True, kw_only=True)
class OpeningCount:
    """How often the test set of one dataset was opened."""

    own: int
    """For one run, or for all runs of one study."""
    total: int
    """According to the whole log."""
    log: Path
    """The log, whether it exists or not."""

    def describe(self, subject: str) -> str:
        """Return the count in words; `subject` is ``run`` or ``study``.

        >>> OpeningCount(own=0, total=1, log=Path("outputs/test_openings.jsonl")).describe("run")
        'the test set was opened 0 times for this run, 1 time in all'
        """
        return f"the test set was opened {_times(self.own)} for this {subject}, {_times(self.total)} in all"


def record_opening(conf: DataConf, opening: Opening) -> None:
    """Append one line to the log. Raises `DataError` if that fails: a test set is not opened without a record."""
    log = log_path(opening.folder)
    entry = {
        "when": datetime.now().astimezone().isoformat(timespec="milliseconds"),
        "weights_sha256": opening.weights_sha256,
        "command": _command(),
        "dataset": conf.name,
        "folder": None if opening.folder is None else os.path.relpath(opening.folder.absolute(), log.parent),
    }
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(log, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # One write to a file opened for appending is one piece, whatever other processes append.
            line = (json.dumps(entry) + "\n").encode()
            if os.write(file, _separator(file) + line) < len(line):
                raise OSError(0, "the disk is full")
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise DataError(
            f"every opening of the test set must be recorded in {log}, but it cannot be written ({error.strerror}): "
            "make it writable, or do not open the test set"
        ) from error


def log_path(folder: Path | None) -> Path:
    """Return the absolute path of the log that a run's or study's openings are recorded in."""
    parents = [] if folder is None else list(folder.absolute().parents)
    return next((parent for parent in parents if parent.name == OUTPUTS.name), OUTPUTS.absolute()) / LOG


def count_openings(folder: Path | None, dataset: str) -> OpeningCount:
    """Count the openings of a dataset's test set: for runs in `folder` or below it, and all in its log.

    Raises `DataError` if the log exists but cannot be read.
    """
    log = log_path(folder)
    entries = [entry for entry in _read(log) if entry.get("dataset") == dataset]
    inside = None if folder is None else os.path.normpath(folder.absolute())
    own = sum(inside is not None and _is_inside(entry, log, inside) for entry in entries)
    return OpeningCount(own=own, total=len(entries), log=log)


def without_passwords(command: str) -> str:
    """Return a shell command in which a URL has no user and no password.

    >>> without_passwords("confirm s --storage=postgresql://me:secret@host/db")
    'confirm s --storage=postgresql://***@host/db'
    """
    return _PASSWORD.sub("***", command)


def _read(log: Path) -> Iterator[dict[str, Any]]:
    """Yield the log's records; a line that a crash cut short is left out."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"{log} cannot be read ({error.strerror}): make it readable") from error
    for line in filter(str.strip, lines):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def _is_inside(entry: dict[str, Any], log: Path, folder: str) -> bool:
    recorded = entry.get("folder")
    if not isinstance(recorded, str):
        return False
    path = os.path.normpath(log.parent / recorded)
    return path == folder or path.startswith(folder + os.sep)


def _separator(file: int) -> bytes:
    """Return a line end if the last line has none: a crash may have cut it short."""
    size = os.fstat(file).st_size
    return b"\n" if size and os.pread(file, 1, size - 1) != b"\n" else b""


def _command() -> str:
    """Return this process's command line, without passwords; a worker has that of its parent."""
    started = Path(sys.argv[0])
    is_ours = started.name == "sweeper" or started.parts[-2:] == ("sweeper", "__main__.py")
    words = program() if is_ours else [str(started)]
    return join(_PASSWORD.sub("***", word) for word in [*words, *sys.argv[1:]])


def _times(count: int) -> str:
    return f"{count:,} time{'' if count == 1 else 's'}"
