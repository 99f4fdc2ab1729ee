"""Reproduces a run: its saved config runs again, to the same bits; under overrides it is another run, and not compared."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sweeper.config.initialized import OWN
from sweeper.config.loading import dotted
from sweeper.config.origin import Origin
from sweeper.config.schema import ExperimentConf
from sweeper.errors import RunFolderError
from sweeper.records import EpochRecord
from sweeper.run.changing import change
from sweeper.run.experiment import run
from sweeper.run.folder import RunFolder, new_run_path
from sweeper.run.listener import Listener

TIMINGS: Final = {"seconds", "images_per_second"}
"""Fields of an epoch that are not compared: they differ between any two runs."""
COMPARED: Final = ("value", "train_accuracy_eval", "train_loss_eval", "weights_sha256")
"""Fields of the result that must be equal, in addition to those of every epoch."""
EXPLAINING: Final = ("versions", "device", "precision", "threads", "data")
"""Fields of the result that may explain a difference."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A run compared with its repetition."""

    original: Path
    """The folder of the run."""
    repetition: Path
    """The folder of its repetition."""
    epochs: int
    """Number of epochs compared."""
    differences: tuple[str, ...]
    """Differing measurements, one line each; empty if the runs are identical."""
    circumstances: tuple[str, ...]
    """Differing versions, hardware and data, one line each: possible causes of the differences."""


def reproduce(folder: Path, listeners: Iterable[Listener] = ()) -> Comparison:
    """Run the config of a run's folder again, for as many epochs as the original completed, and compare.

    Raises the errors of `RunFolder.read_config` and `sweeper.run.experiment.run`, and `RunFolderError` if the run
    completed no epoch.
    """
    original = RunFolder(folder)
    conf, old_epochs, old = original.read_config(), original.read_epochs(), original.read_result()
    if not old_epochs:
        raise RunFolderError(f"a run needs a completed epoch to be compared, but {folder} has none: give another run")
    repetition = RunFolder(new_run_path())
    stop = [] if old is not None else [_StopAfter(len(old_epochs))]
    with suppress(_Stopped):
        run(conf, folder=repetition.path, listeners=[*listeners, *stop], epochs=len(old_epochs))
    differences = list(_epoch_differences(old_epochs, repetition.read_epochs()))
    circumstances: list[str] = []
    new = repetition.read_result()
    if old is not None and new is not None:
        before, after = asdict(old), asdict(new)
        differences += _differences(_pick(before, COMPARED), _pick(after, COMPARED), "")
        circumstances += _differences(_pick(before, EXPLAINING), _pick(after, EXPLAINING), "")
    return Comparison(
        original=folder,
        repetition=repetition.path,
        epochs=len(old_epochs),
        differences=tuple(differences),
        circumstances=tuple(circumstances),
    )


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A saved run's config under overrides, which is another run: nothing of it is compared."""

    original: Path
    """The folder of the run."""
    conf: ExperimentConf
    """The changed config."""
    changes: dict[str, tuple[Any, Any]]
    """The keys that differ: the run's value and the new one; None for a key that one of them lacks."""


def change_run(folder: Path, overrides: Sequence[str], origin: Origin = OWN) -> Changed:
    """Return a run's config under overrides. Raises the errors of `RunFolder.read_config` and of `change`."""
    before = RunFolder(folder).read_config()
    after = change(before, overrides, origin)
    old, new = dict(dotted(asdict(before))), dict(dotted(asdict(after)))
    changes = {key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)}
    return Changed(original=folder, conf=after, changes=changes)


class _Stopped(Exception):  # noqa: N818 - not an error: the original ended here too
    """Ends the repetition after the epoch where the original was pruned or stopped."""


class _StopAfter(Listener):
    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def on_epoch(self, record: EpochRecord) -> None:
        if record.epoch >= self._epochs:
            raise _Stopped


def _epoch_differences(old: tuple[EpochRecord, ...], new: tuple[EpochRecord, ...]) -> Iterator[str]:
    if len(old) != len(new):
        yield f"epochs: {len(old)} before, {len(new)} now"
    for old_record, new_record in zip(old, new, strict=False):
        # An earlier version did not save every measurement.
        unknown = {key for key, value in asdict(old_record).items() if value is None}
        before, after = (
            {key: value for key, value in asdict(record).items() if key not in TIMINGS | unknown}
            for record in (old_record, new_record)
        )
        yield from _differences(before, after, f"epoch {old_record.epoch} ")


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str) -> Iterator[str]:
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key}: {before} before, {after} now"


def _pick(result: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: result[key] for key in keys}
