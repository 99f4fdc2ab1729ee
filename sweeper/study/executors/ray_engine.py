"""What a search has of Ray before its study is opened: a connection, and the class of workers that hold a trial each."""

from omegaconf import DictConfig, OmegaConf

from sweeper.errors import StudyError
from sweeper.study.executors.ray_connection import RayConnection, import_ray
from sweeper.study.executors.ray_resources import RayResources
from sweeper.study.executors.ray_worker import make_worker_class


class RayEngine:
    """A cluster that answers, and takes the options of the launcher's config."""

    def __init__(self, config: DictConfig) -> None:
        """Connect as the sweep's launcher says.

        Raises `StudyError` if there is no such cluster, if Ray refuses an option, or if a cluster started here cannot
        hold a trial.
        """
        launcher = OmegaConf.to_container(config.hydra.launcher.ray, resolve=True)
        assert isinstance(launcher, dict)
        self.ray = import_ray()
        self._resources = RayResources(launcher["remote"])
        self.worker_class = self._resources.actor_class(self.ray, make_worker_class())
        self.connection = RayConnection(self.ray, launcher["init"])
        if self.connection.is_local and not self.room():
            lack = self.lack()
            self.close()
            raise StudyError(
                f"hydra.launcher.ray.remote must fit this machine, but {lack}: ask for less, or give a cluster with "
                "hydra.launcher.ray.init.address"
            )

    def room(self) -> int:
        """Return how many trials the cluster's nodes can hold if nothing else runs there."""
        return sum(self._resources.fitting(node["Resources"]) for node in self.connection.nodes())

    def lack(self) -> str:
        """Say what a trial needs, and the most that a node has of it."""
        return self._resources.compared_with([node["Resources"] for node in self.connection.nodes()])

    def close(self) -> None:
        """Disconnect, which also stops a cluster that was started here. A second call does nothing."""
        self.connection.close()
