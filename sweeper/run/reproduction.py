"""Whether a run comes out again: its saved config run once more, in a new folder, and compared to the bit."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sweeper.errors import RunFolderError
from sweeper.records import EpochRecord
from sweeper.run.experiment import run
from sweeper.run.folder import RunFolder, new_run_path
from sweeper.run.listener import Listener

MEASURED_IN_TIME: Final = {"seconds", "images_per_second"}
"""What no two runs share."""
COMPARED: Final = ("value", "train_accuracy_eval", "train_loss_eval", "weights_sha256")
"""Of a finished run's result, beside its epochs."""
EXPLAINING: Final = ("versions", "device", "precision", "threads", "data")
"""What may explain a difference."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A run and its repetition."""

    original: Path
    again: Path
    epochs: int
    """Compared."""
    differences: tuple[str, ...]
    """In what was measured, a line each; none when the two are identical."""
    circumstances: tuple[str, ...]
    """What else differs: versions, machine, data."""


def reproduce(folder: Path, listeners: Iterable[Listener] = ()) -> Comparison:
    """Run a folder's config again, as far as the original got, and compare.

    Raises what `RunFolder` and `sweeper.run.experiment.run` raise, and `RunFolderError` for a run without an epoch.
    """
    original = RunFolder(folder)
    conf, epochs, old = original.read_config(), original.read_epochs(), original.read_result()
    if not epochs:
        raise RunFolderError(
            f"a run must have at least one epoch to be compared, but {folder} has none: give one that got so far"
        )
    again = RunFolder(new_run_path())
    stop = [] if old is not None else [_StopAfter(len(epochs))]
    with suppress(_Enough):
        run(conf, folder=again.path, listeners=[*listeners, *stop])
    differences = list(_epoch_differences(epochs, again.read_epochs()))
    circumstances: list[str] = []
    new = again.read_result()
    if old is not None and new is not None:
        there, here = asdict(old), asdict(new)
        differences += _differences({key: there[key] for key in COMPARED}, {key: here[key] for key in COMPARED}, "")
        circumstances += _differences(
            {key: there[key] for key in EXPLAINING}, {key: here[key] for key in EXPLAINING}, ""
        )
    return Comparison(
        original=folder,
        again=again.path,
        epochs=len(epochs),
        differences=tuple(differences),
        circumstances=tuple(circumstances),
    )


class _Enough(Exception):  # noqa: N818 - no error: the original got no further
    """The repetition has got as far as a run that was pruned or stopped."""


class _StopAfter(Listener):
    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def on_epoch(self, metrics: EpochRecord) -> None:
        if metrics.epoch >= self._epochs:
            raise _Enough


def _epoch_differences(old: tuple[EpochRecord, ...], new: tuple[EpochRecord, ...]) -> Iterator[str]:
    if len(old) != len(new):
        yield f"epochs: {len(old)} there, {len(new)} here"
    for before, after in zip(old, new, strict=False):
        there, here = (
            {key: value for key, value in asdict(epoch).items() if key not in MEASURED_IN_TIME}
            for epoch in (before, after)
        )
        yield from _differences(there, here, f"epoch {before.epoch} ")


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str) -> Iterator[str]:
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key}: {before} there, {after} here"
