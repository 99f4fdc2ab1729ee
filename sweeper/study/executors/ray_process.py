"""What a process of Ray does: it says where it is, and runs one job after another."""

import pickle
from dataclasses import dataclass

from sweeper.study.executors.worker import pack_result, unpack_shared
from sweeper.study.owner import Owner, identify_process


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Where a worker runs."""

    owner: Owner
    """Its process."""
    node: str
    """The id of its node."""


class Runner:
    """Runs jobs in this process."""

    def __init__(self, shared: bytes) -> None:
        """Unpack what `pack_shared` packed."""
        self._run = unpack_shared(shared)

    def identify(self) -> Identity:
        """Return where this process is."""
        import ray  # noqa: PLC0415 - imported already, by Ray itself

        return Identity(owner=identify_process(), node=ray.get_runtime_context().get_node_id())

    def run(self, job: bytes) -> bytes:
        """Run a job from its pickled config; return its pickled result."""
        return pack_result(self._run(pickle.loads(job)))  # noqa: S301 - our coordinator's own
