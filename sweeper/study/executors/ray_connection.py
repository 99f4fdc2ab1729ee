"""Connects to a Ray cluster, or starts one on this machine, and keeps Ray from writing to the terminal."""

import importlib
import os
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from sweeper.errors import StudyError

LOCAL: Final = "local"
"""The address with which Ray starts a cluster of its own instead of looking for a running one."""
PRINTED: Final = "RAY_DEDUP_LOGS_SKIP_REGEX"
"""Environment variable: Ray prints none of the cluster's messages that match. It is read when ray is imported."""
USAGE: Final = "RAY_USAGE_STATS_ENABLED"
"""Environment variable: a cluster started with 0 sends no statistics to Ray's makers."""

CONNECT_SECONDS: Final = 5.0
"""The time that a node has to take a connection."""


def import_ray() -> Any:
    """Import ray so that it prints no messages of a cluster. Where it was imported before, it may."""
    with _variables({PRINTED: "."}):
        return importlib.import_module("ray")


class RayConnection:
    """This process's connection to a cluster. A connection that the process had before is used, and never closed."""

    def __init__(self, ray: Any, settings: Mapping[str, Any]) -> None:
        """Connect with `settings`, the arguments of ``ray.init``. Raises `StudyError` if Ray refuses."""
        self._ray = ray
        self._left: set[str] = set()
        """Ids of nodes that no longer answer."""
        self._is_ours = not ray.is_initialized()
        address = settings.get("address") or os.environ.get("RAY_ADDRESS") or LOCAL
        self.is_local = address == LOCAL and self._is_ours
        """Whether the cluster was started here, so that no node joins it."""
        if self._is_ours:
            self._connect(str(address), settings)

    def _connect(self, address: str, settings: Mapping[str, Any]) -> None:
        defaults: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
        if self.is_local:
            defaults |= {"include_dashboard": False, "num_cpus": len(os.sched_getaffinity(0))}
        with _variables({USAGE: "0"}), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tips about later versions of Ray
            try:
                _check_reachable(address)
                self._ray.init(**{**defaults, **settings, "address": address})
            except Exception as error:
                self._ray.shutdown()
                raise StudyError(_refusal(address, error)) from error

    def nodes(self) -> list[dict[str, Any]]:
        """Return the nodes that are in the cluster now."""
        return [node for node in self._ray.nodes() if node["Alive"] and node["NodeID"] not in self._left]

    def has_left(self, name: str) -> bool:
        """Whether the node with this id has left the cluster. Ray itself may take half a minute to notice."""
        node = next((node for node in self.nodes() if node["NodeID"] == name), None)
        if node is None:
            return True
        try:
            socket.create_connection((node["NodeManagerAddress"], node["NodeManagerPort"]), CONNECT_SECONDS).close()
        except OSError:
            self._left.add(name)
            return True
        return False

    def close(self) -> None:
        """Disconnect, which also stops a cluster that was started here."""
        if self._is_ours:
            self._ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise `OSError` if nothing listens at ``host:port``: Ray itself would try for two minutes, and say so on stderr."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()


def first_sentence(error: Exception) -> str:
    """Return the first sentence of an error's text, without a full stop: Ray's go on for lines."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0].rstrip(".")


def _refusal(address: str, error: Exception) -> str:
    reason = first_sentence(error)
    if address == LOCAL:
        return f"hydra/launcher=ray must start Ray on this machine, but Ray refuses ({reason}): correct hydra.launcher.ray.init"
    return (
        f"hydra.launcher.ray.init.address must be that of a running Ray cluster, but {address} is not ({reason}): start one "
        "with ray start --head, or leave the address out for one of this command's own"
    )


@contextmanager
def _variables(defaults: Mapping[str, str]) -> Iterator[None]:
    """Within the block, set the environment variables that are not set."""
    missing = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)
