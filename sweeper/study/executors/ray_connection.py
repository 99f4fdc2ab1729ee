"""Connects to a Ray cluster, or starts one on this machine, and keeps Ray from writing to the terminal."""

import importlib
import math
import os
import re
import signal
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from sweeper.errors import StudyError

LOCAL: Final = "local"
"""The address with which Ray starts a cluster of its own instead of looking for a running one."""
PRINTED: Final = "RAY_DEDUP_LOGS_SKIP_REGEX"
"""Environment variable: Ray prints none of the cluster's messages that match. It is read when ray is imported."""
ABORTS: Final = "RAY_DISABLE_FAILURE_SIGNAL_HANDLER"
"""Environment variable: with 1, SIGTERM does not abort this process while Ray starts. It is read when ray is imported."""
USAGE: Final = "RAY_USAGE_STATS_ENABLED"
"""Environment variable: a cluster started with 0 sends no statistics to Ray's makers."""

HEAD_SECONDS: Final = 20.0
"""The time that a cluster's head has to answer again. After a minute Ray ends the process that has connected."""
LISTED_SECONDS: Final = 1.0
"""The time for which a list of nodes counts as current."""
CONNECT_SECONDS: Final = 5.0
"""The time that a node has to take a connection."""


def import_ray() -> Any:
    """Import ray so that it prints no messages of a cluster. Where it was imported before, it may."""
    with _variables({PRINTED: ".", ABORTS: "1"}):
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
        self.is_lost = False
        """Whether the cluster's head is gone: what is asked of it blocks."""
        self._listed: list[dict[str, Any]] = []
        self._listed_at = -math.inf
        if self._is_ours:
            self._connect(str(address), settings)
        self._head = str(ray.get_runtime_context().gcs_address)

    def _connect(self, address: str, settings: Mapping[str, Any]) -> None:
        defaults: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
        if self.is_local:
            defaults |= {"include_dashboard": False, "num_cpus": len(os.sched_getaffinity(0))}
        with _variables({USAGE: "0"}), _sigterm_kept(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tips about later versions of Ray
            try:
                reached = re.fullmatch(r"(?:ray://)?(.+:\d+)", address)
                if reached:  # Ray itself would try for minutes, and say so on stderr
                    _reach(reached[1])
                self._ray.init(**{**defaults, **settings, "address": address})
            except Exception as error:
                self._ray.shutdown()
                raise StudyError(_refusal(address, error)) from error
            except BaseException:  # a signal: what has been started ends now
                self._ray.shutdown()
                raise

    def nodes(self) -> list[dict[str, Any]]:
        """Return the nodes that are in the cluster now, as of a second ago. Raises `StudyError` if its head is gone."""
        if time.monotonic() - self._listed_at > LISTED_SECONDS:
            self._check_head()
            self._listed, self._listed_at = self._ray.nodes(), time.monotonic()
        return [node for node in self._listed if node["Alive"] and node["NodeID"] not in self._left]

    def has_left(self, name: str) -> bool:
        """Whether the node with this id has left the cluster. Ray itself may take half a minute to notice."""
        node = next((node for node in self.nodes() if node["NodeID"] == name), None)
        if node is None:
            return True
        try:
            _reach(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}")
        except OSError:
            self._left.add(name)
            return True
        return False

    def _check_head(self) -> None:
        deadline = time.monotonic() + HEAD_SECONDS
        while True:
            try:
                _reach(self._head)
            except OSError as error:
                if time.monotonic() > deadline:
                    self.is_lost = True
                    raise StudyError(
                        f"the Ray cluster must answer, but {self._head} has not for {HEAD_SECONDS:.0f} s: start it, and type "
                        "the command again"
                    ) from error
                time.sleep(1)
            else:
                return

    def close(self) -> None:
        """Disconnect, which also stops a cluster that was started here. A second call does nothing."""
        if self._is_ours:
            self._is_ours = False
            self._ray.shutdown()


def _reach(address: str) -> None:
    """Raise `OSError` if nothing listens at ``host:port``."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


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


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Handle SIGTERM as before, after the block too: Ray's own handler would end a sweep at once, wherever it is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:  # from Ray's handler: the signal came within the block
        signal.signal(signal.SIGTERM, before)
        signal.raise_signal(signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
