"""Runs one search for its minutes of processor time, and reads what it found after each of them."""

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from sweeper.bench.search_methods import STUDY, search_command, storage_url, trial_config
from sweeper.config.schema import ExperimentConf
from sweeper.errors import BenchError
from sweeper.run.folder import write_atomically
from sweeper.study.storage import open_storage

STOPPING_SECONDS: Final = 120
"""A search that takes longer to stop is killed."""
POLL_SECONDS: Final = 0.5
"""Interval at which a search's processor time is read."""
Clock = list[tuple[float, float]]
"""Readings of a process: seconds since the epoch, and processor seconds used until then."""


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """One search of one method with one seed."""

    method: str
    seed: int
    seconds: tuple[float, ...]
    """Processor time at which each trial completed, since the start of the command, in rising order."""
    values: tuple[float, ...]
    """The trials' validation accuracies, in the same order."""
    trials: tuple[int, ...]
    """Their numbers."""
    rejected: int
    """Proposals that were not trained."""
    pruned: int

    def best_after(self, seconds: float) -> float | None:
        """Return the best accuracy so far; None before the first trial completed."""
        return max((value for at, value in zip(self.seconds, self.values, strict=True) if at <= seconds), default=None)

    def best_trial_after(self, seconds: float) -> int | None:
        """Return the number of the best trial so far; None before the first trial completed."""
        best = self.best_after(seconds)
        return None if best is None else self.trials[self.values.index(best)]


class SearchRun:
    """One search in a folder of its own, which holds it to its end or not at all."""

    def __init__(self, folder: Path, overrides: Sequence[str], *, method: str, seed: int, minutes: float) -> None:
        """Name a search; nothing is read or run."""
        self._folder = folder
        self._overrides, self._method, self._seed, self._minutes = list(overrides), method, seed, minutes

    def result(self) -> SearchResult:
        """Return the result of the search, which is run if the folder does not hold it.

        Raises `BenchError` if it fails or does not start in its time, or if the folder holds one with other overrides
        or minutes; `ConfigError` for overrides that do not compose.
        """
        if not self._file.exists():
            study = self._folder / f"{time.time_ns()}"
            clock = self._run(study)
            saved = {"study": study.name, "clock": clock, **self._asked}
            write_atomically(self._file, json.dumps(saved).encode())
        saved = self._saved()
        return _read(self._method, self._seed, self._trials(saved), saved["clock"])

    def config(self, number: int) -> ExperimentConf:
        """Return the config of a completed trial of the search. Raises `RunFolderError` if its folder is damaged."""
        saved = self._saved()
        trial = next(trial for trial in self._trials(saved) if trial.number == number)
        return trial_config(self._method, self._overrides, trial, self._folder / saved["study"])

    @property
    def _file(self) -> Path:
        return self._folder / "done.json"

    @property
    def _asked(self) -> dict[str, Any]:
        return {"overrides": self._overrides, "minutes": self._minutes}

    def _saved(self) -> dict[str, Any]:
        saved: dict[str, Any] = json.loads(self._file.read_text())
        there, here = (_described(asked) for asked in (saved, self._asked))
        if there != here:
            raise BenchError(f"{self._folder} must hold {here}, but holds {there}: choose another --folder")
        return saved

    def _trials(self, saved: dict[str, Any]) -> list[FrozenTrial]:
        storage = open_storage(storage_url(self._method, self._folder / saved["study"]))
        try:
            return optuna.load_study(study_name=STUDY, storage=storage).get_trials(deepcopy=False)
        except KeyError as error:
            raise BenchError(
                f"the search {self._method} must start within its time, but did not: give more --minutes in another "
                "--folder"
            ) from error

    def _run(self, study: Path) -> Clock:
        """Search until the time is over; return the readings of its processor time, the first at its start."""
        study.mkdir(parents=True)
        command = search_command(self._method, self._overrides, self._seed, study)
        # A shell's background jobs ignore interrupts, and would pass that on to the search.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        output = study / "output.log"
        with output.open("w") as log:
            clock = [(time.time(), 0.0)]
            with subprocess.Popen(command, stdout=log, stderr=log) as process:  # noqa: S603 - our own command
                try:
                    while process.poll() is None and clock[-1][1] < 60 * self._minutes:
                        time.sleep(POLL_SECONDS)
                        with suppress(OSError):  # it has ended
                            clock.append((time.time(), processor_seconds(process.pid)))
                    if process.poll() is None:
                        process.send_signal(signal.SIGINT)
                        with suppress(subprocess.TimeoutExpired):
                            process.wait(STOPPING_SECONDS)
                    elif process.returncode != 0:
                        reason = next(iter(output.read_text().strip().splitlines()[-1:]), "no message")
                        raise BenchError(
                            f"the search {self._method} failed: {reason.removeprefix('sweeper: ')}: see {output}"
                        )
                finally:
                    process.kill()
        return clock


def _described(asked: Mapping[str, Any]) -> str:
    return f"{asked['minutes']:g} minutes of {shlex.join(asked['overrides']) or 'the default network'}"


def processor_seconds(pid: int) -> float:
    """Return the user and system time of a process that runs; its children's count once they have ended.

    The fields of ``/proc/PID/stat`` are those of proc(5). Raises `OSError` if there is no such process.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _read(method: str, seed: int, trials: Sequence[FrozenTrial], clock: Clock) -> SearchResult:
    wall, used = zip(*clock, strict=True)
    completed = sorted(
        (float(np.interp(trial.datetime_complete.timestamp(), wall, used)), trial.values[0], trial.number)
        for trial in trials
        if trial.state is TrialState.COMPLETE and trial.datetime_complete is not None
    )
    without_value = [trial for trial in trials if trial.state in {TrialState.PRUNED, TrialState.FAIL}]
    pruned = sum(bool(trial.intermediate_values) for trial in without_value)
    return SearchResult(
        method=method,
        seed=seed,
        seconds=tuple(seconds for seconds, _, _ in completed),
        values=tuple(value for _, value, _ in completed),
        trials=tuple(number for _, _, number in completed),
        rejected=len(without_value) - pruned,
        pruned=pruned,
    )
