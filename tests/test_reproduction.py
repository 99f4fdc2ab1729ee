"""`reproduce`: identical results, or each difference; a damaged or hostile folder is one line."""

import json
from pathlib import Path

import pytest

from .processes import Sweeper
from .studies import (
    TINY,
    Call,
    only_study,
)


@pytest.mark.slow
def test_a_trial_of_a_worker_is_reproduced_to_the_bit(sweeper_process: Sweeper, tmp_path: Path) -> None:
    """A trial that ran in one of two workers is reproduced by a single run with the same weights and metrics."""
    assert sweeper_process("-m", *TINY, "model.dropout=0.05,0.1", "hydra.sweeper.n_jobs=2").returncode == 0
    done = sweeper_process("reproduce", str((only_study(tmp_path) / "1").relative_to(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert "identical: " in done.stdout


def test_a_changed_run_is_different(sweeper_call: Call, tmp_path: Path) -> None:
    """A changed metric is printed with both values, and the exit status is 1; a folder without a run is refused."""
    assert sweeper_call(*TINY, "hydra.run.dir=run").returncode == 0
    metrics = tmp_path / "run" / "metrics.jsonl"
    epoch = json.loads(metrics.read_text())
    metrics.write_text(json.dumps({**epoch, "train_loss": 9.5}) + "\n")
    done = sweeper_call("reproduce", "run")
    assert done.returncode == 1
    assert f"epoch 1 train_loss: 9.5 before, {epoch['train_loss']} now" in done.stdout
    (tmp_path / "empty").mkdir()
    done = sweeper_call("reproduce", "empty")
    assert done.returncode == 1
    assert done.stderr.startswith("sweeper: a run's folder must hold .hydra/config.yaml, but empty does not")


@pytest.mark.parametrize("damage", ["[]", "{", '{"value": 1}'])
def test_a_damaged_result_is_named_before_training(sweeper_call: Call, tmp_path: Path, damage: str) -> None:
    """`reproduce` reads everything it compares before it trains: a damaged file is one line with its name."""
    assert sweeper_call(*TINY, "hydra.run.dir=run").returncode == 0
    (tmp_path / "run" / "result.json").write_text(damage)
    done = sweeper_call("reproduce", "run")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("sweeper: run/result.json must hold a run's result, but it is damaged (")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("hostile", ["!!python/object/apply:os.abort []", "{seed: '${oc.env:HOME}'}", "[1", "7"])
def test_a_strangers_config_runs_no_code(sweeper_call: Call, tmp_path: Path, hostile: str) -> None:
    """A saved config with YAML tags, interpolations or broken YAML is refused in one line."""
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    (tmp_path / "run" / ".hydra" / "config.yaml").write_text(hostile)
    done = sweeper_call("reproduce", "run")
    assert done.returncode == 1
    assert done.stderr.startswith("sweeper: run/.hydra/config.yaml must ")
    assert done.stderr.count("\n") == 1
