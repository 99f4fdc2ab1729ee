"""Hydra's own tests for plugin authors, run against our sweeper with applications that know nothing of it."""

from pathlib import Path

import pytest
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, IntegrationTestSuite, LauncherTestSuite
from hydra.test_utils.test_utils import TSweepRunner

from sweeper.cli.hydra_app import register_plugins

OURS = [
    "hydra/sweeper=study",
    "hydra.sweeper.n_jobs=2",
    "hydra.sweeper.max_retry=0",
    "hydra.sweeper.max_failure_rate=1",
]

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # Hydra's tests are held to Hydra's warnings


@pytest.fixture(autouse=True)
def _registered() -> None:
    register_plugins()


@pytest.mark.parametrize(("launcher_name", "overrides"), [("basic", OURS)])
class TestLauncherSuite(LauncherTestSuite):
    """One and two jobs, defaults, resolvers, tracebacks."""

    def test_failure_preserves_task_traceback(
        self, hydra_sweep_runner: TSweepRunner, launcher_name: str, overrides: list[str], tmpdir: Path
    ) -> None:
        """In process only: cloudpickle 3.1.3 loses the file name of a function that is sent to a worker by value."""
        in_process = [*overrides, "hydra.sweeper.n_jobs=1"]
        super().test_failure_preserves_task_traceback(hydra_sweep_runner, launcher_name, in_process, tmpdir)


@pytest.mark.parametrize(("launcher_name", "overrides"), [("basic", OURS)])
class TestBatchedSuite(BatchedSweeperTestSuite):
    """Six jobs, two at a time."""


@pytest.mark.parametrize(("task_launcher_cfg", "extra_flags"), [({}, ["-m", *OURS])])
class TestIntegrationSuite(IntegrationTestSuite):
    """Small applications as processes: job names, folders, environment, working directories."""

    # It runs the same sweep twice in one folder and expects the second to run again: a finished study stays finished.
    test_to_absolute_path_multirun = None  # type: ignore[assignment]
