"""What a trial holds of a Ray cluster: the launcher's options as those of an actor, and how many trials a node can hold."""

from collections.abc import Iterable, Mapping
from typing import Any

from sweeper.errors import StudyError
from sweeper.study.executors.ray_connection import first_sentence


class RayResources:
    """The options of ``hydra.launcher.ray.remote``, which are those of Ray's tasks. A trial holds one CPU by default."""

    def __init__(self, remote: Mapping[str, Any]) -> None:
        """Read the options. Raises `StudyError` for an amount that is no number."""
        # Without num_cpus an actor would hold no CPU. The study tries a trial again itself: Ray does so only if asked.
        self._options = {"num_cpus": 1, **remote}
        retries = self._options.pop("max_retries", 0)
        self._options = {"max_restarts": retries, "max_task_retries": retries, **self._options}
        named = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
        try:
            amounts = {name: self._options.get(key) for name, key in named.items()} | (remote.get("resources") or {})
            self._needs = {name: float(amount) for name, amount in amounts.items() if amount}
        except (ValueError, TypeError) as error:
            raise _refusal(error) from error

    def actor_class(self, ray: Any, plain: type) -> Any:
        """Return `plain` as a class of Ray's actors with these options. Raises `StudyError` if Ray refuses one of them."""
        try:
            return ray.remote(**self._options)(plain)
        except (ValueError, TypeError) as error:
            raise _refusal(error) from error

    def fitting(self, node: Mapping[str, float]) -> int:
        """Return how many trials a node with these resources can hold if all of them are free."""
        # Ray counts in ten thousandths: ten times 0.1 is a little less than 1.
        limited = [int(node.get(name, 0.0) / amount + 1e-4) for name, amount in self._needs.items()]
        return min(limited) if limited else int(node.get("CPU", 1.0))

    def compared_with(self, nodes: Iterable[Mapping[str, float]]) -> str:
        """Say what a trial needs, and the most that a node has of it."""
        most = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in self._needs}
        return f"a trial needs {_amounts(self._needs)}, and a node has at most {_amounts(most)}"


def _refusal(error: Exception) -> StudyError:
    return StudyError(
        f"hydra.launcher.ray.remote must hold options that Ray takes, but it refuses one ({first_sentence(error)})"
    )


def _amounts(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in resources.items())
