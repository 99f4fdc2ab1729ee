"""What whole commands take: a run to its target, a sweep's time between two trainings."""

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import optuna

from sweeper.config.schema import ExperimentConf
from sweeper.design import analyze_within_budget
from sweeper.errors import BenchError
from sweeper.run.folder import RunFolder
from sweeper.study.storage import journal_url, open_storage

POLL_SECONDS: Final = 0.02
PLAN_SECONDS: Final = 0.5
"""How long plans are counted."""
OVERHEAD_TRIALS: Final = 10
TINY: Final = (
    "data=mnist5k",
    "augment=none",
    "training.epochs=1",
    "model.groups.block1.channels=[1]",
    "model.groups.block2.channels=[1]",
)
"""A trial that is over at once, so that what it leaves is what a sweep adds to every trial."""


def seconds_to_target(overrides: Sequence[str], target: float) -> float | None:
    """Start ``python -m sweeper`` and return the seconds until an epoch reached the target; None if none did."""
    with _scratch() as folder:
        started = time.perf_counter()
        with _sweeper(*overrides, f"hydra.run.dir={folder}/run") as process:
            reached = None
            while process.poll() is None and reached is None:
                time.sleep(POLL_SECONDS)
                if _best_epoch(folder / "run") >= target:
                    reached = time.perf_counter() - started
        return reached


def trial_overhead_ms() -> float:
    """Return what a sweep adds to a trial: the median time from a trial's end to the next one's, less its epoch.

    One job at a time, in process. The first trial is left out, with all that is done once.
    """
    with _scratch() as folder:
        values = ",".join(str(seed) for seed in range(1, OVERHEAD_TRIALS + 1))
        study = folder / "study"
        options = ("hydra.sweeper.n_jobs=1", "hydra.sweeper.study_name=bench", f"hydra.sweep.dir={study}")
        with _sweeper("-m", *TINY, f"seed={values}", *options):
            pass  # to its end
        trials = optuna.load_study(
            study_name="bench", storage=open_storage(journal_url(study / "journal.log"))
        ).get_trials()
        overheads: list[float] = []
        for before, after in pairwise(trials):
            assert before.datetime_complete is not None
            assert after.datetime_complete is not None
            epochs = (study / str(after.number) / "metrics.jsonl").read_text().splitlines()
            seconds = sum(float(json.loads(line)["seconds"]) for line in epochs)
            overheads.append((after.datetime_complete - before.datetime_complete).total_seconds() - seconds)
        return 1000 * statistics.median(overheads)


def plans_per_second(conf: ExperimentConf) -> float:
    """Return how often a second a network is planned, dissected, diagnosed and held against its budget."""
    count, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < PLAN_SECONDS:
        analyze_within_budget(conf)
        count += 1
    return count / seconds


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sweeper-bench-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def _sweeper(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``python -m sweeper``, to its end when the block is left, and not beyond an exception from the block."""
    command = [sys.executable, "-m", "sweeper", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # noqa: S603 - our own words
    try:
        yield process
        _, errors = process.communicate()
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise BenchError(f"a command that is measured failed: {errors.strip() or process.returncode}")


def _best_epoch(folder: Path) -> float:
    """The best validation accuracy on disk; a line that is being written counts next time."""
    metrics = RunFolder(folder).metrics
    lines = metrics.read_text().splitlines(keepends=True) if metrics.exists() else []
    return max((json.loads(line)["val_accuracy"] for line in lines if line.endswith("\n")), default=0.0)
