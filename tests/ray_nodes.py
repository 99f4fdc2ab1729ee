"""A Ray cluster of two nodes on this machine, with one CPU each."""

from collections.abc import Iterator
from typing import Any

import pytest

from sweeper.study.executors.ray_connection import import_ray

ONE_CPU = {"num_cpus": 1, "include_dashboard": False}


@pytest.fixture(scope="session")
def two_nodes() -> Iterator[Any]:
    """The cluster, as ``ray.cluster_utils.Cluster``; skips the test where Ray is not installed."""
    pytest.importorskip("ray", exc_type=ImportError)
    import_ray()
    utils = pytest.importorskip("ray.cluster_utils")
    cluster = utils.Cluster(initialize_head=True, head_node_args=ONE_CPU)
    cluster.add_node(**ONE_CPU)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def ray_cluster(two_nodes: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The cluster, to which Ray connects in this test and in processes that it starts."""
    monkeypatch.setenv("RAY_ADDRESS", two_nodes.address)
    return two_nodes
