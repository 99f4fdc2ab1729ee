"""Times whole commands: a run until it reaches its target, the overhead of a search, planning."""

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
"""Interval at which a run's metrics file is read: the resolution of `seconds_to_target`."""
PLAN_SECONDS: Final = 0.5
"""Duration for which plans per second are counted."""
OVERHEAD_TRIALS: Final = 10
"""Trials of the search whose overhead is measured."""
TINY: Final = (
    "data=mnist5k",
    "augment=none",
    "training.epochs=1",
    "model.groups.block1.channels=[1]",
    "model.groups.block2.channels=[1]",
)
"""Overrides of a trial that hardly trains, so that most of its time is the search's overhead."""


def seconds_to_target(overrides: Sequence[str], target: float) -> float | None:
    """Run ``python -m sweeper``; return the seconds from its start to the first epoch at the target, None without one.

    `target` is a validation accuracy, a fraction. Waits for the run to end. Raises `BenchError` if it fails.
    """
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
    """Return the milliseconds that a search adds to each trial. Raises `BenchError` if the search fails.

    This is the median time between the ends of two consecutive trials, minus the epochs of the second. Trials run one
    at a time, in process. The first trial does not count, because it includes one-time work.
    """
    with _scratch() as folder:
        values = ",".join(str(seed) for seed in range(1, OVERHEAD_TRIALS + 1))
        study = folder / "study"
        options = ("hydra.sweeper.n_jobs=1", "hydra.sweeper.study_name=bench", f"hydra.sweep.dir={study}")
        with _sweeper("-m", *TINY, f"seed={values}", *options):
            pass  # leaving the block waits for the search to end
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
    """Return the number of networks planned, summarized, diagnosed and checked against their budget per second."""
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
    """Run ``python -m sweeper``; leaving the block waits for its end, an exception in the block kills it.

    Raises `BenchError` if its exit status is not 0.
    """
    command = [sys.executable, "-m", "sweeper", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # noqa: S603 - our own command
    try:
        yield process
        _, errors = process.communicate()
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise BenchError(f"a measured command failed: {errors.strip() or process.returncode}")


def _best_epoch(folder: Path) -> float:
    """Return the best validation accuracy so far, 0 without an epoch; ignores a line that is still being written."""
    metrics = RunFolder(folder).metrics
    lines = metrics.read_text().splitlines(keepends=True) if metrics.exists() else []
    return max((json.loads(line)["val_accuracy"] for line in lines if line.endswith("\n")), default=0.0)
