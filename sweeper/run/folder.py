"""The files of a run's folder: their names, writing them atomically, and reading them back with checks."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

import yaml

from sweeper.config.loading import dump, load
from sweeper.config.schema import ExperimentConf
from sweeper.data import openings
from sweeper.errors import RunFolderError
from sweeper.records import EpochRecord, Mistake, Mistakes, RefitResult, RunResult, SealedTestResult
from sweeper.run.near_folders import nearest_runs
from sweeper.untrusted import parse_json, parse_yaml, read_text

OUTPUTS: Final = openings.OUTPUTS
"""Folder of all runs and studies, relative to the working directory."""
UNMEASURED: Final = ("val_loss", "val_accuracy")
"""Fields of an epoch that are null in the file of a run without validation."""
_Record = TypeVar("_Record", RunResult, RefitResult, SealedTestResult)


def new_run_path() -> Path:
    """Return a path for a new run: ``outputs/runs/<date>/<time>``, local time to the microsecond."""
    return OUTPUTS / "runs" / datetime.now().astimezone().strftime("%Y-%m-%d/%H-%M-%S-%f")


class RunFolder:
    """A run's folder, with one property per file. `sweeper.run.claiming` creates it."""

    def __init__(self, path: Path) -> None:
        """Refer to the folder at `path`, which need not exist."""
        self.path = path

    @property
    def config(self) -> Path:
        """The resolved config: no `auto`, no interpolation. Running it again gives bit-identical results."""
        return self.path / ".hydra" / "config.yaml"

    @property
    def hydra(self) -> Path:
        """Hydra's own settings; exists only for a run started from the command line."""
        return self.path / ".hydra" / "hydra.yaml"

    @property
    def overrides(self) -> Path:
        """The overrides given on the command line."""
        return self.path / ".hydra" / "overrides.yaml"

    @property
    def log(self) -> Path:
        """The log: INFO and above."""
        return self.path / "run.log"

    @property
    def metrics(self) -> Path:
        """One JSON object per completed epoch, written as soon as the epoch ends."""
        return self.path / "metrics.jsonl"

    @property
    def result(self) -> Path:
        """The `RunResult`. The file exists if and only if the run reached its last epoch."""
        return self.path / "result.json"

    @property
    def refit(self) -> Path:
        """The `RefitResult` of a run on all training images, which has no `result`."""
        return self.path / "refit.json"

    @property
    def test(self) -> Path:
        """The `SealedTestResult` of such a run; exists once its weights were evaluated on the test set."""
        return self.path / "test.json"

    @property
    def weights(self) -> Path:
        """The state dict; loads with ``weights_only=True``."""
        return self.path / "model.pt"

    @property
    def checkpoint(self) -> Path:
        """What the run is resumed from; a completed run keeps it if its schedule allows more epochs."""
        return self.path / "checkpoint.pt"

    @property
    def mistakes(self) -> Path:
        """Confusion matrix and mistakes on the validation images; exists only after the last epoch."""
        return self.path / "mistakes.json"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's event files; exists only with ``logging=tensorboard``."""
        return self.path / "tensorboard"

    @property
    def report(self) -> Path:
        """The run report in Markdown: target, result, analysis."""
        return self.path / "report.md"

    @property
    def page(self) -> Path:
        """The run's HTML page, written by the command `report`."""
        return self.path / "report.html"

    @property
    def curves(self) -> Path:
        """Figure of loss, accuracy and learning rate by epoch."""
        return self.path / "curves.png"

    @property
    def confusion(self) -> Path:
        """Figure of the confusion matrix."""
        return self.path / "confusion.png"

    def write_config(self, conf: ExperimentConf, *, overrides: str, hydra: str | None) -> None:
        """Write the config, the command line's overrides and Hydra's settings; the last two are YAML texts."""
        self.config.parent.mkdir(exist_ok=True)
        write_atomically(self.config, dump(conf).encode())
        write_atomically(self.overrides, overrides.encode())
        if hydra is not None:
            write_atomically(self.hydra, hydra.encode())

    def append_epoch(self, record: EpochRecord) -> None:
        """Append one epoch to the metrics."""
        saved = asdict(record) | {key: None for key in UNMEASURED if math.isnan(getattr(record, key))}
        with self.metrics.open("a") as file:
            file.write(json.dumps(saved) + "\n")

    def write_mistakes(self, mistakes: Mistakes) -> None:
        """Write the mistakes: one line per row of the confusion matrix and per misclassified image."""
        rows = ",\n".join(json.dumps(row) for row in mistakes.confusion)
        worst = ",\n".join(json.dumps(asdict(mistake)) for mistake in mistakes.worst)
        wrong = "" if mistakes.wrong is None else f',\n"wrong": {json.dumps(mistakes.wrong)}'
        write_atomically(self.mistakes, f'{{"confusion": [\n{rows}\n],\n"worst": [\n{worst}\n]{wrong}}}\n'.encode())

    def write_result(self, result: RunResult) -> None:
        """Write the result, which marks the run as completed."""
        _write_record(self.result, result)

    def write_refit(self, result: RefitResult) -> None:
        """Write the result of a run on all training images."""
        _write_record(self.refit, result)

    def write_test(self, result: SealedTestResult) -> None:
        """Write the accuracy on the test set."""
        _write_record(self.test, result)

    def write_report(self, markdown: str) -> None:
        """Write the run report."""
        write_atomically(self.report, markdown.encode())

    def read_config(self) -> ExperimentConf:
        """Read the config. The file may be untrusted: only plain values are read, and nothing is run or interpolated.

        Raises `RunFolderError` if the folder is not a run's, `ConfigError` if the config breaks a rule of the schema.
        """
        try:
            text = read_text(self.config)
            plain = parse_yaml(text)
        except OSError as error:
            raise RunFolderError(
                f"a run's folder must hold .hydra/config.yaml, but {self.path} does not ({error.strerror}){nearest_runs(self.path)}: "
                "give a folder below outputs/runs, or a trial's in outputs/studies"
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunFolderError(f"{self.config} must be YAML, but it is damaged: {_first_line(error)}") from error
        if not isinstance(plain, dict) or "${" in repr(plain) or not {"model", "training"} <= set(plain):
            raise RunFolderError(
                f"{self.config} must hold the resolved config of one of sweeper's own runs, but it does not: of another "
                "application's trials give the study to report"
            )
        return load(plain)

    def read_overrides(self) -> list[str]:
        """Read the overrides given on the command line. Raises `RunFolderError`."""
        try:
            overrides = parse_yaml(read_text(self.overrides))
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunFolderError(f"{self.overrides} cannot be read: {_first_line(error)}") from error
        if not isinstance(overrides, list):
            raise RunFolderError(f"{self.overrides} must hold a list of overrides, but it is damaged")
        return [str(override) for override in overrides]

    def read_epochs(self) -> tuple[EpochRecord, ...]:
        """Read the completed epochs, possibly none; an incomplete last line is ignored. Raises `RunFolderError`."""
        content = "one epoch per line"
        try:
            lines = read_text(self.metrics).rpartition("\n")[0].splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise _damaged(self.metrics, content, f"it cannot be read ({_first_line(error)})") from error
        epochs = []
        for number, line in enumerate(lines, 1):
            try:
                epochs.append(EpochRecord.from_json(_with_nan(parse_json(line))))
            except ValueError as error:
                raise _damaged(self.metrics, content, f"line {number} is damaged ({_first_line(error)})") from error
        return tuple(epochs)

    def read_result(self) -> RunResult | None:
        """Read the result; None if the run did not reach its last epoch. Raises `RunFolderError`."""
        return _read_record(self.result, RunResult, "a run's result")

    def read_refit(self) -> RefitResult | None:
        """Read the result of a run on all training images; None if this is no such run. Raises `RunFolderError`."""
        return _read_record(self.refit, RefitResult, "the result of a run without validation")

    def read_test(self) -> SealedTestResult | None:
        """Read the accuracy on the test set; None if the weights were not evaluated there. Raises `RunFolderError`."""
        return _read_record(self.test, SealedTestResult, "an accuracy on the test set")

    def read_mistakes(self) -> Mistakes | None:
        """Read the mistakes; None if the run left no such file. Raises `RunFolderError`."""
        return _read_mistakes(self.mistakes)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file completely or not at all. If several processes write it at once, the last one to finish wins."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary file in the folder of `path`; it replaces `path` when the block ends without an error."""
    # A unique name: another process may be writing the same file.
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_record(path: Path, record: RunResult | RefitResult | SealedTestResult) -> None:
    write_atomically(path, (json.dumps(asdict(record), indent=2) + "\n").encode())


def _read_record(path: Path, kind: type[_Record], content: str) -> _Record | None:
    try:
        return kind.from_json(parse_json(read_text(path)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path, content, f"it is damaged ({_first_line(error)})") from error


def _read_mistakes(path: Path) -> Mistakes | None:
    try:
        saved = parse_json(read_text(path))
        confusion = [[int(count) for count in row] for row in saved["confusion"]]
        worst = [Mistake.from_json(mistake) for mistake in saved["worst"]]
        wrong = saved.get("wrong")
        if wrong is not None:
            wrong = {int(index): int(predicted) for index, predicted in wrong.items()}
        return Mistakes(confusion=confusion, worst=worst, wrong=wrong)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, "a run's mistakes", f"it is damaged ({_first_line(error)})") from error


def _with_nan(saved: Any) -> Any:
    """Return an epoch's parsed JSON with NaN for validation figures that are null: without validation there are none."""
    if not isinstance(saved, dict):
        return saved
    is_unmeasured = all(saved.get(key, 0) is None for key in UNMEASURED)
    return {**saved, **dict.fromkeys(UNMEASURED, math.nan)} if is_unmeasured else saved


def _damaged(path: Path, content: str, damage: str) -> RunFolderError:
    return RunFolderError(f"{path} must hold {content}, but {damage}: restore the file, or give another run")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
