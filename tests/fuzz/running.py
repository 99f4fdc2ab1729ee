"""Runs a command line up to the moment of training: in this process, or as a real one."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
import traceback
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hydra.conf import HydraConf
from omegaconf import DictConfig

from sweeper.cli import main as cli
from sweeper.config.schema import ExperimentConf
from sweeper.plugin import StudySweeper
from sweeper.search import dry_run
from sweeper.search.definition import Search

from .command_lines import VERBS, CommandLine
from .vocabulary import files

DRY_RUN: Final = "hydra.sweeper.dry_run=true"
PRINTING: Final = {"--cfg", "-c", "--help", "-h", "--hydra-help", "--version", "--info"}
"""Options with which Hydra prints and trains nothing."""
SAMPLES: Final = 20
"""Random points of a dry run in this process, instead of a thousand."""


class TimeLimit(BaseException):
    """A command took too long."""


@dataclass
class Job:
    """One config that a command line composes."""

    conf: ExperimentConf
    settings: HydraConf


@dataclass
class Outcome:
    """How a command line ended."""

    arguments: list[str]
    """As they were run."""
    status: int | None
    """None if an exception or the time limit ended it."""
    out: str
    err: str
    seconds: float
    raised: str = ""
    """The traceback, or ``time limit``."""
    changed: list[str] = field(default_factory=list)
    """Files and folders that are new, gone or of another size."""
    jobs: list[Job] = field(default_factory=list)
    search: Search | None = None
    sweep_config: DictConfig | None = None


def run_in_process(line: CommandLine, folder: Path, limit: float) -> Outcome:
    """Run the line in `folder` without training; a sweep is a dry run."""
    arguments = arguments_of(line)
    jobs: list[Job] = []

    def train(_folder: Path, conf: ExperimentConf, settings: HydraConf) -> object:
        jobs.append(Job(conf, settings))
        return 0.5

    before, start, raised, status = files(folder), time.monotonic(), "", None
    StudySweeper.last_sweep = None
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        _arguments(arguments),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            with _limited(limit):
                status = cli.main(train)
        except SystemExit as exit_:
            status = exit_.code if isinstance(exit_.code, int) else 0 if exit_.code is None else 1
        except TimeLimit:
            raised = "time limit"
        except BaseException:  # noqa: BLE001 - whatever it is, it is the finding
            raised = traceback.format_exc()
    sweep: Any = StudySweeper.last_sweep
    return Outcome(
        arguments=arguments,
        status=status,
        out=out.getvalue(),
        err=err.getvalue(),
        seconds=time.monotonic() - start,
        raised=raised,
        changed=_changed(before, files(folder)),
        jobs=jobs,
        search=None if sweep is None else sweep.search,
        sweep_config=None if sweep is None else sweep._config,
    )


def run_as_process(line: CommandLine, folder: Path, limit: float) -> Outcome:
    """Run the line as a user would; a run is inspected instead, a sweep is a dry run."""
    arguments = arguments_of(line)
    if not line.is_sweep and arguments[0] not in VERBS and not PRINTING & set(arguments):
        arguments = ["inspect", *arguments]
    before, start = files(folder), time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sweeper", *arguments],
            cwd=folder,
            capture_output=True,
            timeout=limit,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Outcome(arguments, None, "", "", limit, "time limit", _changed(before, files(folder)))
    except ValueError:  # a null character or a lone surrogate: no shell can pass it on
        return Outcome(arguments, 0, "", "", 0.0)
    err = done.stderr.decode(errors="replace")
    raised = err if "Traceback" in err else ""
    out, seconds = done.stdout.decode(errors="replace"), time.monotonic() - start
    return Outcome(arguments, done.returncode, out, err, seconds, raised, _changed(before, files(folder)))


def arguments_of(line: CommandLine) -> list[str]:
    """The line's arguments, so that it trains nothing."""
    arguments = list(line.arguments)
    if line.is_sweep and not any("hydra/sweeper=" in word and "study" not in word for word in arguments):
        arguments.append(DRY_RUN)
    return arguments


def _changed(before: dict[str, int], after: dict[str, int]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


@contextlib.contextmanager
def _arguments(words: list[str]) -> Iterator[None]:
    saved, variables, samples = sys.argv, dict(os.environ), dry_run.SAMPLES
    sys.argv = ["sweeper", *words]
    dry_run.SAMPLES = SAMPLES  # type: ignore[misc]
    try:
        yield
    finally:
        sys.argv, dry_run.SAMPLES = saved, samples  # type: ignore[misc]
        os.environ.clear()
        os.environ.update(variables)


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise `TimeLimit` in the block after so many seconds."""

    def stop(_signal: int, _frame: types.FrameType | None) -> None:
        raise TimeLimit

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
