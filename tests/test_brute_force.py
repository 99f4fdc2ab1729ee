"""hydra/sweeper/sampler=brute_force: every point of a finite space once."""

from pathlib import Path

from .studies import HERE, TINY, Call, only_study, trials_of

BRUTE = ["-m", *TINY, *HERE, "hydra/sweeper/sampler=brute_force", "hydra.sweeper.stop_at_target=false"]


def test_the_search_ends_when_every_point_was_tried(sweeper_call: Call, tmp_path: Path) -> None:
    """Three widths are three trials of twenty; the end says why, and no trial is a repeat."""
    done = sweeper_call(*BRUTE, "model.groups.block1.channels.0=interval(4,6)")
    assert done.returncode == 0, done.stderr
    assert "every point of the space was tried" in done.stdout
    assert "repeats" not in done.stdout
    trials = trials_of(only_study(tmp_path))
    assert sorted(next(iter(trial.params.values())) for trial in trials) == [4, 5, 6]


def test_a_space_without_end_is_refused(sweeper_call: Call, tmp_path: Path) -> None:
    """An interval of real numbers has too many points: one line, and no study."""
    done = sweeper_call(*BRUTE, "model.dropout=interval(0.0,0.3)")
    assert done.returncode == 1
    assert "tries every point, but model.dropout is an interval without a step" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "outputs").exists()
