"""Claims a run's folder: one process at a time trains into it."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from sweeper.errors import RunFolderError
from sweeper.run.folder import RunFolder


@contextmanager
def claimed(files: RunFolder, *, resume: bool = False) -> Iterator[None]:
    """Create a run's folder and hold it within the block; the kernel releases it when the process dies.

    With `resume` the folder may hold an earlier attempt, of which its checkpoint, its config and its logs are kept.

    Raises `RunFolderError` if the folder holds other files, if another process trains into it, or if it cannot be
    written.
    """
    try:
        file = _claim(files, resume=resume)
    except BlockingIOError as error:
        raise RunFolderError(
            f"a run is resumed once it has stopped, but another process trains in {files.path}: wait for it, or end it"
        ) from error
    except FileExistsError as error:
        raise RunFolderError(
            f"a run needs an empty folder, but {files.path} holds files: name another with hydra.run.dir"
        ) from error
    except OSError as error:
        raise RunFolderError(
            f"{files.path} cannot be written ({error.strerror}): name another with hydra.run.dir"
        ) from error
    with file:
        yield


def _claim(files: RunFolder, *, resume: bool) -> IO[str]:
    """Return the open metrics file, whose lock this process holds."""
    files.path.mkdir(parents=True, exist_ok=True)
    if not resume and any(not _is_of_hydra(entry.name) for entry in files.path.iterdir()):
        raise FileExistsError  # reported like a run that claims the folder at this moment
    # Exclusive creation: of two runs that claim one folder, exactly one succeeds.
    file = files.metrics.open("a" if resume else "x")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if resume:
            _clear(files)
            file.truncate(0)
    except BaseException:
        file.close()
        raise
    return file


def _clear(files: RunFolder) -> None:
    """Delete what an earlier attempt at the run left, except what `claimed` keeps; the result goes first."""
    files.result.unlink(missing_ok=True)
    for entry in files.path.iterdir():
        if _is_of_hydra(entry.name) or entry in (files.metrics, files.checkpoint):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _is_of_hydra(name: str) -> bool:
    """Whether Hydra may have written an entry of the folder before the run starts, as other applications configure it to."""
    return name == ".hydra" or name.endswith(".log")
