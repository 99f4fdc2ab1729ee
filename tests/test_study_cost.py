"""`bench --study`: what a big study costs, measured on real storages with jobs that sleep."""

import json
from pathlib import Path

import pytest

from .processes import Sweeper

ARGUMENTS = ("bench", "--study", "--trials", "30", "--workers", "2", "--json", "--folder", "costs")


@pytest.mark.slow
def test_each_storage_is_measured_at_each_size(sweeper_process: Sweeper, tmp_path: Path, postgresql: str) -> None:
    """A row for each storage and size, every figure of it above zero; a table and a figure beside them."""
    done = sweeper_process(*ARGUMENTS, "--storage", "${oc.env:STUDY_URL}", STUDY_URL=postgresql)
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert [(row["storage"], row["trials"]) for row in rows] == [
        (storage, size) for storage in ("journal", "sqlite", "postgresql") for size in (10, 30)
    ]
    assert all(value > 0 for row in rows for value in row.values() if not isinstance(value, str))
    assert {path.name for path in (tmp_path / "costs").iterdir()} == {
        "study_costs.json",
        "study_costs.md",
        "study_costs.png",
    }


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--workers", "x", "must be 1 to 1000, but got 'x'"),
        ("--trials", "5", "must be 20 to 100000, but got '5'"),
        ("--storage", "sqlite:///x.db", "--storage must be the URL of a PostgreSQL server, but got sqlite:///x.db"),
        ("--storage", "${oc.env:NO_SUCH}", "a storage's URL must resolve"),
    ],
)
def test_a_wrong_option_is_one_line(sweeper_call: Sweeper, option: str, value: str, says: str) -> None:
    """The option, the rule, the value."""
    done = sweeper_call("bench", "--study", option, value)
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
