"""Whether a run comes out again: its saved config run once more, in a new folder, and compared to the bit."""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from sweeper.errors import RunFolderError
from sweeper.experiment import Listener, run
from sweeper.run_folder import RunFolder, new_run_path
from sweeper.schema import ExperimentConf, load
from sweeper.training.loop import EpochMetrics

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


def read_config(folder: Path) -> ExperimentConf:
    """Read a run's saved config, which may be a stranger's: plain values only, no code, nothing to look up.

    Raises `RunFolderError` for a folder that is no run, `ConfigError` for a config that is none of ours.
    """
    path = RunFolder(folder).config
    try:
        text = path.read_text()
        plain = yaml.safe_load(text)
    except OSError as error:
        raise RunFolderError(
            f"a run's folder must hold .hydra/config.yaml, but {folder} does not ({error.strerror}): "
            "give a folder below outputs/runs, or a trial's in outputs/studies"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RunFolderError(f"{path} must be YAML, but it is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(plain, dict) or "${" in text:
        raise RunFolderError(f"{path} must hold a resolved config, but it does not: give a run that sweeper left")
    return load(plain)


def reproduce(folder: Path, listeners: Iterable[Listener] = ()) -> Comparison:
    """Run a folder's config again, as far as the original got, and compare.

    Raises what `read_config` and `sweeper.experiment.run` raise, and `RunFolderError` for a run without an epoch.
    """
    conf = read_config(folder)
    original = RunFolder(folder)
    epochs = _read_epochs(original)
    finished = original.result.exists()
    old = _read_result(original) if finished else {}
    again = RunFolder(new_run_path())
    stop = [] if finished else [_StopAfter(len(epochs))]
    with suppress(_Enough):
        run(conf, folder=again.path, listeners=[*listeners, *stop])
    differences = list(_epoch_differences(epochs, _read_epochs(again)))
    circumstances: list[str] = []
    if finished:
        new = _read_result(again)
        differences += _differences({key: old[key] for key in COMPARED}, {key: new[key] for key in COMPARED}, "")
        circumstances += _differences({key: old[key] for key in EXPLAINING}, {key: new[key] for key in EXPLAINING}, "")
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

    def on_epoch(self, metrics: EpochMetrics) -> None:
        if metrics.epoch >= self._epochs:
            raise _Enough


def _read_result(folder: RunFolder) -> dict[str, Any]:
    try:
        result = json.loads(folder.result.read_text())
        return {key: result[key] for key in (*COMPARED, *EXPLAINING)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{folder.result} must hold a run's result, but it is damaged ({error!r})") from error


def _read_epochs(folder: RunFolder) -> list[dict[str, Any]]:
    try:
        epochs = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{folder.metrics} must hold a run's epochs, but it cannot be read: {error}") from error
    if not epochs:
        raise RunFolderError(f"a run must have at least one epoch to be compared, but {folder.path} has none")
    if not all(isinstance(epoch, dict) and isinstance(epoch.get("epoch"), int) for epoch in epochs):
        raise RunFolderError(f"{folder.metrics} must hold one epoch a line, but it is damaged")
    return epochs


def _epoch_differences(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> Iterator[str]:
    if len(old) != len(new):
        yield f"epochs: {len(old)} there, {len(new)} here"
    for before, after in zip(old, new, strict=False):
        kept = [{key: epoch[key] for key in epoch if key not in MEASURED_IN_TIME} for epoch in (before, after)]
        yield from _differences(kept[0], kept[1], f"epoch {before['epoch']} ")


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str) -> Iterator[str]:
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key}: {before} there, {after} here"
