"""Asks Slurm, or this machine, how submitit's jobs are, and ends them."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from sweeper.study.executors.process import kill_descendants, sigint_blocked
from sweeper.study.owner import identify_process, is_alive

POLL_SECONDS: Final = 5.0
"""Time between two questions to Slurm's controller, which serves a whole cluster."""
COMMAND_SECONDS: Final = 60.0
"""The time that a command of Slurm has to answer."""
END_SECONDS: Final = 10.0
"""The time that cancelled jobs have to end."""
CHECK_SECONDS: Final = 0.2
FIELDS: Final = "JobID:24,State:24,RestartCnt:12,Reason:80"
OVER: Final = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    }
)
"""The states of Slurm in which a job has ended."""
GONE: Final = "GONE"
"""The state of a job that its engine no longer knows."""


@dataclass(frozen=True)
class JobState:
    """What an engine says of a job."""

    name: str
    """One of Slurm's states, or `GONE`."""
    restarts: int = 0
    """How often the engine has started the job again."""
    reason: str = ""
    """Why a pending job waits."""


class JobQueue(Protocol):
    """Where submitit's jobs are. Jobs are known by their ids."""

    def states(self, jobs: Mapping[str, Any]) -> dict[str, JobState] | None:
        """Return the state of each job; None if the engine was asked a short while ago, or does not answer."""

    def record(self, job: str) -> None:
        """Note that this process has submitted a job."""

    def forget(self, job: str) -> None:
        """Note that a job has ended."""

    def end(self, job: str) -> None:
        """Kill a job that may not heed signals, and do not wait until it is gone."""

    def cancel(self, jobs: Mapping[str, Any]) -> str | None:
        """End the jobs and wait until they are gone. Return the command that ends them if Slurm did not answer."""

    def cancel_abandoned(self) -> int:
        """Cancel the jobs of this folder's coordinators that have died; return their number."""


class LocalQueue:
    """Jobs of submitit's own on this machine: processes that end with this one."""

    def states(self, jobs: Mapping[str, Any]) -> dict[str, JobState] | None:
        """Look at the jobs' processes."""
        return {job: JobState("RUNNING" if handle.state == "RUNNING" else GONE) for job, handle in jobs.items()}

    def record(self, job: str) -> None:
        """Do nothing: the jobs end with this process."""

    def forget(self, job: str) -> None:
        """Do nothing."""

    def end(self, job: str) -> None:
        """Kill the job's process, which this one has started and not yet waited for, and the processes below it."""
        kill_descendants(int(job))
        with suppress(ProcessLookupError):
            os.kill(int(job), signal.SIGKILL)

    def cancel(self, jobs: Mapping[str, Any]) -> None:
        """Send SIGTERM, as Slurm does, until the processes have ended; a job is known by its process's id."""
        deadline = time.monotonic() + END_SECONDS
        while running := [job for job, handle in jobs.items() if handle.state == "RUNNING"]:
            for job in running:
                if time.monotonic() < deadline:
                    with suppress(ProcessLookupError):
                        os.kill(int(job), signal.SIGTERM)
                else:
                    self.end(job)
            time.sleep(CHECK_SECONDS)

    def cancel_abandoned(self) -> int:
        """Return 0: the jobs of a dead process have ended themselves."""
        return 0


class SlurmQueue:
    """Jobs in Slurm's queue. `sacct` is not asked: it needs an accounting that many clusters do not have."""

    def __init__(self, records: Path) -> None:
        """Keep a file for each submitted job in the folder `records`, so that a later process finds them."""
        self._records = records
        self._asked_at = -POLL_SECONDS

    def states(self, jobs: Mapping[str, Any]) -> dict[str, JobState] | None:
        """Ask the controller for this user's jobs, a few seconds after the last time."""
        if time.monotonic() - self._asked_at < POLL_SECONDS:
            return None
        found = self._ask()
        self._asked_at = time.monotonic()
        return None if found is None else {job: found.get(job, JobState(GONE)) for job in jobs}

    def record(self, job: str) -> None:
        """Write the job's file, if the disk takes it: the search goes on without."""
        with suppress(OSError):
            self._records.mkdir(parents=True, exist_ok=True)
            self._file(job).write_text(json.dumps(identify_process()))

    def forget(self, job: str) -> None:
        """Delete the job's file."""
        self._file(job).unlink(missing_ok=True)
        with suppress(OSError):  # missing, or not empty: other jobs have files here
            self._records.rmdir()

    def end(self, job: str) -> None:
        """Cancel the job. Slurm also ends one that is stopped and, half a minute later, one that ignores SIGTERM."""
        _run(["scancel", job])

    def cancel(self, jobs: Mapping[str, Any]) -> str | None:
        """Cancel the jobs with one command."""
        if not jobs:
            return None
        command = ["scancel", *sorted(jobs, key=int)]
        if _run(command) is None:
            return " ".join(command)
        deadline = time.monotonic() + END_SECONDS
        while self._runs(jobs) and time.monotonic() < deadline:
            time.sleep(1)
        for job in jobs:
            self.forget(job)
        return None

    def cancel_abandoned(self) -> int:
        """Cancel the jobs whose file names a dead process of this machine."""
        abandoned = []
        for file in self._records.glob("slurm-*.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                if is_alive(json.loads(file.read_text())) is False:
                    abandoned.append(file.stem.removeprefix("slurm-"))
        known = (self._ask() or {}) if abandoned else {}
        left = {job: None for job in abandoned if job in known and known[job].name not in OVER}
        if self.cancel(left) is not None:
            return 0
        for job in abandoned:
            self.forget(job)
        return len(left)

    def _runs(self, jobs: Collection[str]) -> bool:
        found = self._ask() or {}
        return any(job in found and found[job].name not in OVER for job in jobs)

    def _ask(self) -> dict[str, JobState] | None:
        """Return this user's jobs that wait, run, or ended a few minutes ago; None if the controller does not answer."""
        listed = _run(["squeue", "--me", "--states=all", "--noheader", f"--Format={FIELDS}"])
        return None if listed is None else parse_states(listed)

    def _file(self, job: str) -> Path:
        return self._records / f"slurm-{job}.json"


def parse_states(listed: str) -> dict[str, JobState]:
    """Return the jobs in the output of ``squeue``.

    >>> parse_states("12   PENDING   1   BeginTime   ")
    {'12': JobState(name='PENDING', restarts=1, reason='BeginTime')}
    """
    rows = (line.split(maxsplit=3) for line in listed.splitlines())
    return {row[0]: JobState(row[1], int(row[2]), row[3].strip()) for row in rows if len(row) == 4}


def _run(command: list[str]) -> str | None:
    """Run a command of Slurm's; return its output, or None if it failed or took too long."""
    try:
        with sigint_blocked():
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=COMMAND_SECONDS)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
