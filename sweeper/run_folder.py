"""Which files a run leaves on disk, and how each is written: whole or not at all."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from sweeper.errors import RunFolderError
from sweeper.schema import ExperimentConf, dump
from sweeper.training.loop import EpochMetrics

OUTPUTS = Path("outputs")
"""Where runs and studies lie, below the working directory."""


def new_run_path() -> Path:
    """Return a path for a new run: ``outputs/runs/<date>/<time>``, the time to the microsecond."""
    return OUTPUTS / "runs" / datetime.now().astimezone().strftime("%Y-%m-%d/%H-%M-%S-%f")


class RunFolder:
    """A run's folder, one property per file. `claim` makes it; nothing else may create files in it."""

    def __init__(self, path: Path) -> None:
        """Name the folder at `path`, there or not."""
        self.path = path

    @property
    def config(self) -> Path:
        """The resolved config: no `auto`, no interpolation. It runs again to the same bits."""
        return self.path / ".hydra" / "config.yaml"

    @property
    def hydra(self) -> Path:
        """What Hydra ran with; only from the command line."""
        return self.path / ".hydra" / "hydra.yaml"

    @property
    def overrides(self) -> Path:
        """What was typed."""
        return self.path / ".hydra" / "overrides.yaml"

    @property
    def log(self) -> Path:
        """What was logged."""
        return self.path / "run.log"

    @property
    def metrics(self) -> Path:
        """One JSON object per finished epoch, on disk as soon as the epoch ends."""
        return self.path / "metrics.jsonl"

    @property
    def result(self) -> Path:
        """The summary. It is there if and only if the run reached its last epoch."""
        return self.path / "result.json"

    @property
    def weights(self) -> Path:
        """The state dict; loads with ``weights_only=True``."""
        return self.path / "model.pt"

    @property
    def report(self) -> Path:
        """Target, result, analysis: the run's write-up in Markdown."""
        return self.path / "report.md"

    @property
    def curves(self) -> Path:
        """Loss, accuracy and learning rate by epoch, drawn."""
        return self.path / "curves.png"

    @property
    def confusion(self) -> Path:
        """Which classes are taken for which, drawn."""
        return self.path / "confusion.png"

    def claim(self) -> None:
        """Make the folder ours. Raises `RunFolderError` where something lies already or nothing can be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # Hydra may have begun a log and its own copy of the config, for an application that is not ours to set up.
            if any(entry.name != ".hydra" and entry.suffix != ".log" for entry in self.path.iterdir()):
                raise FileExistsError  # noqa: TRY301 - the same answer as to a run that comes in between
            # Exclusive creation: of two runs that want one folder, one gets it.
            with self.metrics.open("x"):
                pass
        except FileExistsError as error:
            raise RunFolderError(f"a run needs an empty folder, but {self.path} holds files: name another") from error
        except OSError as error:
            raise RunFolderError(f"{self.path} cannot be written ({error.strerror}): name another folder") from error

    def write_config(self, conf: ExperimentConf, *, overrides: str, hydra: str | None) -> None:
        """Write what the run was asked for, `overrides` and `hydra` being YAML."""
        self.config.parent.mkdir(exist_ok=True)
        _write(self.config, dump(conf).encode())
        _write(self.overrides, overrides.encode())
        if hydra is not None:
            _write(self.hydra, hydra.encode())

    def append_epoch(self, metrics: EpochMetrics) -> None:
        """Add one line to the metrics."""
        with self.metrics.open("a") as file:
            file.write(json.dumps(asdict(metrics)) + "\n")

    def write_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Write the state dict."""
        temporary = _beside(self.weights)
        torch.save(dict(state), temporary)
        os.replace(temporary, self.weights)

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write the summary: the last file of a run."""
        _write(self.result, (json.dumps(result, indent=2) + "\n").encode())

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Send what is logged meanwhile, from INFO up, to the run's log."""
        root = logging.getLogger()
        handler = logging.FileHandler(self.log)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handler.setLevel(logging.INFO)
        level = root.level
        root.addHandler(handler)
        root.setLevel(min(level, logging.INFO))
        try:
            yield
        finally:
            root.setLevel(level)
            root.removeHandler(handler)
            handler.close()


def _write(path: Path, content: bytes) -> None:
    temporary = _beside(path)
    temporary.write_bytes(content)
    os.replace(temporary, path)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")
