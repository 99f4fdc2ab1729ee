"""Where a result comes from: the versions of the software, the data, and the checksum of the weights."""

import functools
import hashlib
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

import torch

from sweeper.config.schema import DataConf
from sweeper.data.splits import Splits
from sweeper.records import DataRecord, VersionsRecord
from sweeper.version import __version__


def weights_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """Return the hexadecimal SHA-256 of a state dict's names and bytes, in the dict's order."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def data_record(conf: DataConf, splits: Splits) -> DataRecord:
    """Return which images a run was trained and validated on."""
    return DataRecord(
        name=conf.name,
        sha256=splits.sha256,
        train_images=len(splits.train),
        validation_images=len(splits.validation),
        validation_is_test=splits.validation_is_test,
    )


@functools.cache
def versions() -> VersionsRecord:
    """Return the versions of this process's software, as they were when it was first asked for them."""
    checkout = Path(__file__).resolve().parent.parent.parent
    status = _git(checkout, "status", "--porcelain")
    return VersionsRecord(
        python=platform.python_version(),
        torch=torch.__version__,
        sweeper=__version__,
        git_commit=_git(checkout, "rev-parse", "HEAD") or None,
        git_dirty=None if status is None else bool(status),
    )


def _git(checkout: Path, *arguments: str) -> str | None:
    """Return git's output for sweeper's own checkout; None for an installed package, or if git is missing or fails."""
    if not (checkout / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(checkout), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - our own arguments
    except (OSError, subprocess.CalledProcessError):
        return None
