"""The coordinator's view of a worker on Ray, and what a worker gets of its surroundings."""

import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from sweeper.study.executors.base import Job

if TYPE_CHECKING:
    from sweeper.study.executors.ray_process import Identity


class RayWorker:
    """A Ray actor, and the job that it runs."""

    def __init__(self, actor: Any) -> None:
        """Wait for an actor that was created, and may not have started."""
        self.actor = actor
        self.identity: Identity | None = None
        """Where it runs; None until it has started."""
        self.job: Job | None = None
        self.awaited: Any = actor.identify.remote()
        """Ray's reference to what it returns next: its identity, then the result of its job; None if it is idle."""
        self.idle_since = 0.0
        """When it became idle, on `time.monotonic`."""

    @property
    def is_idle(self) -> bool:
        """Whether it has started and runs no job."""
        return self.awaited is None

    def rest(self) -> None:
        """Note that it has returned what was awaited, and has nothing to do."""
        self.job = self.awaited = None
        self.idle_since = time.monotonic()

    def run(self, job: Job, config: bytes) -> None:
        """Send it a job."""
        self.job, self.awaited = job, self.actor.run.remote(config)


def describe_surroundings(config: DictConfig) -> dict[str, Any]:
    """Return what a worker needs of this process to find the modules, data and folders of a sweep with this config.

    Ray starts its processes elsewhere: with other module paths, another working directory, other variables.
    """
    installed = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    folders = [str(Path(entry).absolute()) for entry in sys.path]
    named = re.findall(r"\boc\.env:\s*(\w+)", OmegaConf.to_yaml(config))
    return {
        "folders": [folder for folder in folders if installed.isdisjoint(Path(folder).resolve().parents)],
        # Only these: others describe this machine, and Ray writes a runtime_env into its logs, passwords included.
        "variables": {name: os.environ[name] for name in named if name in os.environ},
        "folder": str(Path.cwd()),
    }


def make_worker_class() -> type:
    """Return the class of Ray's actors. As a local class it is sent by value: sweeper can be imported only within it."""

    class SweeperWorker:
        """Keeps its imports and its data between jobs."""

        def __init__(self, folders: list[str], variables: dict[str, str], folder: str, shared: bytes) -> None:
            sys.path[:0] = [each for each in folders if each not in sys.path and os.path.exists(each)]  # noqa: PTH110
            os.environ.update(variables)
            if os.path.isdir(folder):  # noqa: PTH112 - a host without it writes its files where Ray was started
                os.chdir(folder)
            from sweeper.study.executors.ray_process import Runner  # noqa: PLC0415 - see above

            self.runner = Runner(shared)

        def identify(self) -> Any:
            return self.runner.identify()

        def run(self, job: bytes) -> bytes:
            return self.runner.run(job)

    return SweeperWorker
