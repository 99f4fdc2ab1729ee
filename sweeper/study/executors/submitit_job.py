"""What a job of submitit runs: one trial, with the coordinator's working folder and module paths."""

import os
import pickle
import signal
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import submitit
from omegaconf import open_dict, read_write
from submitit.core.utils import DelayedSubmission, UncompletedJobError
from submitit.local.local import LOCAL_REQUEUE_RETURN_CODE

from sweeper.study.executors.submitter import attempt_file
from sweeper.study.executors.worker import ORPHAN_CHECK_SECONDS, pack_result, unpack_shared
from sweeper.study.owner import Owner, identify_process, may_be_alive


@dataclass
class SubmittedTrial:
    """One trial, as submitit pickles and calls it. submitit calls `checkpoint` before it has the engine start it again."""

    shared: bytes
    """What `pack_shared` packed. Unpickled once the module paths are set."""
    config: bytes
    """The job's pickled config."""
    time_limit: str
    """The job's time limit for messages."""
    folder: Path = field(default_factory=Path.cwd)
    """The coordinator's working folder: a node may start jobs in another one."""
    paths: list[str] = field(default_factory=lambda: [str(Path(path).absolute()) for path in sys.path])
    """The coordinator's module paths."""
    coordinator: Owner = field(default_factory=identify_process)
    is_timed: bool = False
    """Whether the trial has a limit of time, and says when it begins."""
    is_leaving: bool = False
    """Whether submitit has been told to have this job started again."""

    def __call__(self) -> bytes:
        """Run the trial and return its pickled result. Exits with submitit's code if the job is to be started again."""
        # submitit ignores SIGTERM, so that a cancelled job would hold its node for half a minute more.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        threading.Thread(target=_exit_with, args=(self.coordinator,), daemon=True).start()
        os.chdir(self.folder)
        sys.path.extend(path for path in self.paths if path not in sys.path)
        run = unpack_shared(self.shared)
        config = pickle.loads(self.config)  # noqa: S301 - our coordinator's own
        if self.is_timed:
            attempt_file(submitit.JobEnvironment().paths).write_text(os.environ.get("SLURM_RESTART_COUNT", "0"))
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.job.id = submitit.JobEnvironment().job_id
        result = run(config)
        error = result.error or ""
        if error.startswith(UncompletedJobError.__name__):
            result = replace(result, error=f"its job reached its time limit of {self.time_limit}")
        elif self.is_leaving and error:
            sys.exit(LOCAL_REQUEUE_RETURN_CODE)
        return pack_result(result)

    def checkpoint(self) -> DelayedSubmission:
        """Return what runs when the job is started again: the same trial, which finds its own checkpoint."""
        self.is_leaving = True
        return DelayedSubmission(replace(self, is_leaving=False))


def _exit_with(coordinator: Owner) -> None:
    """End this process when its coordinator has died, unless that is on another machine."""
    while may_be_alive(coordinator):
        time.sleep(ORPHAN_CHECK_SECONDS)
    os._exit(1)
