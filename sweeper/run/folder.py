"""Which files a run leaves on disk, how each is written, whole or not at all, and how each is read."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import yaml

from sweeper.config.loading import dump, load
from sweeper.config.schema import ExperimentConf
from sweeper.errors import RunFolderError
from sweeper.records import EpochRecord, Mistake, Mistakes, RunResult

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
    def mistakes(self) -> Path:
        """How the last epoch judged the validation images: confusion matrix and worst mistakes; of a finished run."""
        return self.path / "mistakes.json"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files; of a run with ``logging=tensorboard``."""
        return self.path / "tensorboard"

    @property
    def report(self) -> Path:
        """Target, result, analysis: the run's write-up in Markdown."""
        return self.path / "report.md"

    @property
    def page(self) -> Path:
        """The run's page, once it was asked for."""
        return self.path / "report.html"

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
            raise RunFolderError(
                f"a run needs an empty folder, but {self.path} holds files: name another with hydra.run.dir"
            ) from error
        except OSError as error:
            raise RunFolderError(
                f"{self.path} cannot be written ({error.strerror}): name another with hydra.run.dir"
            ) from error

    def write_config(self, conf: ExperimentConf, *, overrides: str, hydra: str | None) -> None:
        """Write what the run was asked for, `overrides` and `hydra` being YAML."""
        self.config.parent.mkdir(exist_ok=True)
        write_atomically(self.config, dump(conf).encode())
        write_atomically(self.overrides, overrides.encode())
        if hydra is not None:
            write_atomically(self.hydra, hydra.encode())

    def append_epoch(self, metrics: EpochRecord) -> None:
        """Add one line to the metrics."""
        with self.metrics.open("a") as file:
            file.write(json.dumps(asdict(metrics)) + "\n")

    def write_mistakes(self, mistakes: Mistakes) -> None:
        """Write what was taken for what, a row or an image a line."""
        rows = ",\n".join(json.dumps(row) for row in mistakes.confusion)
        worst = ",\n".join(json.dumps(asdict(mistake)) for mistake in mistakes.worst)
        write_atomically(self.mistakes, f'{{"confusion": [\n{rows}\n],\n"worst": [\n{worst}\n]}}\n'.encode())

    def write_result(self, result: RunResult) -> None:
        """Write the result: the last file of a run."""
        write_atomically(self.result, (json.dumps(asdict(result), indent=2) + "\n").encode())

    def write_report(self, markdown: str) -> None:
        """Write the write-up."""
        write_atomically(self.report, markdown.encode())

    def read_config(self) -> ExperimentConf:
        """Read the config, which may be a stranger's: plain values only, no code, nothing to look up.

        Raises `RunFolderError` for a folder that is no run, `ConfigError` for a config that is none of ours.
        """
        try:
            text = self.config.read_text()
            plain = yaml.load(text, Loader=yaml.CSafeLoader)
        except OSError as error:
            raise RunFolderError(
                f"a run's folder must hold .hydra/config.yaml, but {self.path} does not ({error.strerror}): "
                "give a folder below outputs/runs, or a trial's in outputs/studies"
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunFolderError(f"{self.config} must be YAML, but it is damaged: {_first_line(error)}") from error
        if not isinstance(plain, dict) or "${" in text:
            raise RunFolderError(
                f"{self.config} must hold a resolved config, but it does not: give a run that sweeper left"
            )
        return load(plain)

    def read_overrides(self) -> list[str]:
        """Read what was typed. Raises `RunFolderError`."""
        try:
            typed = yaml.safe_load(self.overrides.read_text())
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise RunFolderError(f"{self.overrides} cannot be read: {_first_line(error)}") from error
        if not isinstance(typed, list):
            raise RunFolderError(f"{self.overrides} must hold a list of overrides, but it is damaged")
        return [str(override) for override in typed]

    def read_epochs(self) -> tuple[EpochRecord, ...]:
        """Read the epochs, of which there may be none yet; a line that is just being written is left out.

        Raises `RunFolderError`.
        """
        what = "a run's epochs, one a line"
        try:
            lines = self.metrics.read_text().rpartition("\n")[0].splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise _damaged(self.metrics, what, f"it cannot be read ({_first_line(error)})") from error
        epochs = []
        for number, line in enumerate(lines, 1):
            try:
                epochs.append(EpochRecord(**json.loads(line)))
                if not all(isinstance(value, int | float) for value in asdict(epochs[-1]).values()):
                    raise ValueError(line)  # noqa: TRY301 - the same answer
            except (ValueError, TypeError) as error:
                raise _damaged(self.metrics, what, f"line {number} is none") from error
        return tuple(epochs)

    def read_result(self) -> RunResult | None:
        """Read the result; None for a run that did not reach its last epoch. Raises `RunFolderError`."""
        try:
            saved = json.loads(self.result.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _damaged(self.result, "a run's result", f"it is damaged ({_first_line(error)})") from error
        try:
            return RunResult.from_json(saved)
        except ValueError as error:
            raise _damaged(self.result, "a run's result", str(error)) from error

    def read_mistakes(self) -> Mistakes | None:
        """Read what was taken for what; None for a run that left no such file. Raises `RunFolderError`."""
        try:
            parts = json.loads(self.mistakes.read_text())
            worst = [Mistake(**image) for image in parts["worst"]]
            return Mistakes(confusion=[[int(n) for n in row] for row in parts["confusion"]], worst=worst)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(self.mistakes, "a run's mistakes") from error

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


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; of several processes that write it at once, the last to end is read."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a file to write beside `path`, which takes its place once it is written."""
    # A name of its own: another process may be writing the same file.
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _damaged(path: Path, what: str, how: str = "it is damaged") -> RunFolderError:
    return RunFolderError(f"{path} must hold {what}, but {how}: restore the file, or give another run")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
