"""`hydra.sweeper.trial_timeout`: every executor ends a job that has run too long, whatever the job does about it."""

from pathlib import Path

import pytest

from sweeper.errors import StudyError

from .executor_tasks import open_executor
from .studies import wait_for
from .test_executors import BATCHES, EVERY, SLOW, _children, _lives, _processes, _run, kind  # noqa: F401 - a fixture

LIMIT = ["+hydra.sweeper.trial_timeout=1.5"]
REASON = "it ran longer than 1.5 s (hydra.sweeper.trial_timeout)"


def test_a_job_that_runs_too_long_is_ended(kind: str, tmp_path: Path) -> None:  # noqa: F811
    """Stopped, ignoring SIGTERM, or in C code without signals: it failed, its processes are gone, its neighbours are well.

    A launcher in batches cannot do that, and is refused.
    """
    if kind in BATCHES:
        with pytest.raises(StudyError, match="trial_timeout needs a launcher whose trials can be ended"):
            open_executor(kind, tmp_path, overrides=LIMIT)
        return
    executor = open_executor(kind, tmp_path, overrides=LIMIT)
    actions = ("stop", "ignore", "block", "one") if kind in {*SLOW, "workers"} else ("stop", "one")
    results = _run(executor, *actions)
    assert results.pop("one").value == 1.0
    assert {(each.error, each.retryable) for each in results.values()} == {(REASON, True)}
    one = next(int(path.name.split("-")[1]) for path in tmp_path.glob("started-*-one"))
    wait_for(lambda: not any(_lives(pid) for pid in _processes(tmp_path) if pid != one))
    executor.cancel()
