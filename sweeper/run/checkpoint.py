"""A run's checkpoint: what a run that was stopped is resumed from, in one file."""

import io
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sweeper.errors import RunFolderError
from sweeper.records import EpochRecord
from sweeper.run.folder import write_atomically
from sweeper.training.state import TrainingState


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A run after one of its epochs."""

    state: TrainingState
    epochs: tuple[EpochRecord, ...]
    """The completed epochs, in order."""
    data_sha256: str
    """Checksum of the training images and labels."""

    def write(self, path: Path) -> None:
        """Write the checkpoint completely or not at all."""
        saved = {
            "state": self.state.to_dict(),
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "data_sha256": self.data_sha256,
        }
        save_tensors(path, saved)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Read a checkpoint; None if there is no such file. The file may be untrusted: it runs no code.

    Raises `RunFolderError` if it is damaged.
    """
    try:
        return _checked(load_tensors(path))
    except FileNotFoundError:
        return None
    except Exception as error:  # torch raises whatever a damaged file makes it raise
        raise RunFolderError(
            f"{path} must hold a run's checkpoint, but it is damaged: delete it to train from the start"
        ) from error


def save_tensors(path: Path, tensors: object) -> None:
    """Write a file for `load_tensors`, completely or not at all. Raises `OSError`."""
    # In memory first: on a full disk, torch's own writing of a file raises an error that does not say so.
    content = io.BytesIO()
    torch.save(tensors, content)
    write_atomically(path, content.getvalue())


def load_tensors(path: Path) -> Any:
    """Load what ``torch.save`` wrote, on the CPU. The file may be untrusted: nothing but tensors and plain values is made.

    Raises whatever a damaged file makes torch raise.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of pickles that it then refuses
        return torch.load(path, weights_only=True, map_location="cpu")


def _checked(saved: Any) -> Checkpoint:
    epochs = tuple(EpochRecord.from_json(epoch) for epoch in saved["epochs"])
    state = TrainingState.from_dict(saved["state"])
    if [epoch.epoch for epoch in epochs] != list(range(1, state.epoch + 1)):
        raise ValueError(f"epochs 1 to {state.epoch} are expected")
    return Checkpoint(state=state, epochs=epochs, data_sha256=str(saved["data_sha256"]))
