"""Tells a disk that is full or read-only from other errors, whoever met it, and says so in one line."""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sweeper.errors import DiskError

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
REFUSED: Final = (errno.EROFS, errno.EACCES, errno.EPERM)
SQLITE_FULL, SQLITE_READONLY = 13, 8
POSTGRESQL_FULL: Final = "53100"
SCARCE_BYTES: Final = 2**20
"""A disk with less than this is taken for the one that is full, if an error names no file."""
GO_ON: Final = "run the same command again"


def is_full(error: BaseException) -> bool:
    """Whether an error, or what it was raised from, is that of a full disk: the system's, sqlite's or PostgreSQL's."""
    return any(_is_full(each) for each in _chain(error))


def disk_error(error: BaseException, *, go_on: str = GO_ON) -> DiskError | None:
    """Return the error of a disk that is full, or that must not be written, as one line; None for any other error.

    `go_on` says what to do once there is space.
    """
    if is_full(error):
        server = any(getattr(each, "sqlstate", None) == POSTGRESQL_FULL for each in _chain(error))
        where = "of the storage's server" if server else f"of {_where(error)}"
        return DiskError(f"no space left on the disk {where}: free some, then {go_on}")
    for each in _chain(error):
        # Only what was to be written has a file in its error: a write into an open one cannot be refused.
        if isinstance(each, OSError) and each.errno in REFUSED and each.filename is not None:
            return DiskError(f"{each.filename} cannot be written ({each.strerror}): allow it, then {go_on}")
        if _sqlite_code(each) == SQLITE_READONLY:
            return DiskError(f"the study's database cannot be written ({each}): allow it, then {go_on}")
    return None


def _is_full(error: BaseException) -> bool:
    is_servers = getattr(error, "sqlstate", None) == POSTGRESQL_FULL
    return is_servers or _sqlite_code(error) == SQLITE_FULL or (isinstance(error, OSError) and error.errno in FULL)


def _sqlite_code(error: BaseException) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, and the errors that it was raised from."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _where(error: BaseException) -> Path:
    """Return the folder whose disk is full: a write into an open file names none, then it is one with little space."""
    for each in _chain(error):
        if isinstance(each, OSError) and isinstance(each.filename, str):
            return Path(each.filename).absolute().parent
    folders = [Path("outputs").absolute(), Path.cwd(), Path(tempfile.gettempdir())]
    return next((folder for folder in folders if folder.is_dir() and _is_scarce(folder)), Path.cwd())


def _is_scarce(folder: Path) -> bool:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < SCARCE_BYTES or (disk.f_files > 0 and disk.f_favail == 0)
