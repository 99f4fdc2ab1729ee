"""hydra/sweeper/sampler=brute_force: every point of a finite space once."""

from pathlib import Path

import optuna

from sweeper.study.attributes import OWNER
from sweeper.study.owner import identify_process
from sweeper.study.storage import journal_url, open_storage

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


def test_the_headline_says_that_every_point_was_tried(sweeper_call: Call, tmp_path: Path) -> None:
    """Not that a search was interrupted; the page says the same, and the same command again adds no trial."""
    searched = [*BRUTE, "model.groups.block1.channels.0=interval(4,6)", "hydra.sweeper.study_name=all"]
    done = sweeper_call(*searched)
    assert "Target missed by" in done.stdout
    assert "3 of 3 trials, every point of the space tried" in done.stdout
    assert "Interrupted" not in done.stdout
    assert "go on:" not in done.stdout
    again = sweeper_call(*searched)
    assert again.returncode == 0, again.stderr
    assert "3 of 3 trials, every point of the space tried" in again.stdout
    assert len(trials_of(only_study(tmp_path))) == 3
    assert sweeper_call("report", "all").returncode == 0
    assert "every point of the space tried" in (only_study(tmp_path) / "report.html").read_text()


def test_points_over_budget_are_rejected_not_repaired(sweeper_call: Call, tmp_path: Path) -> None:
    """Repaired they would be other points, and proposed again for ever."""
    done = sweeper_call(*BRUTE, "model.groups.block1.channels.0=interval(4,7)", "budget.parameters=7300")
    assert done.returncode == 0, done.stderr
    assert "every point of the space tried" in done.stdout
    trials = trials_of(only_study(tmp_path))
    assert sorted(next(iter(trial.params.values())) for trial in trials) == [4, 5, 6, 7]
    assert any("rejected" in trial.user_attrs for trial in trials)
    assert any("rejected" not in trial.user_attrs for trial in trials)


def test_a_dead_processs_last_point_is_tried(sweeper_call: Call, tmp_path: Path) -> None:
    """A running trial counts as tried, until it is queued again."""
    searched = [*BRUTE, "model.groups.block1.channels.0=interval(4,5)", "hydra.sweeper.study_name=dead"]
    assert sweeper_call(*searched, "hydra.sweeper.n_trials=1").returncode == 0
    folder = only_study(tmp_path)
    storage = open_storage(journal_url(folder / "journal.log"))
    study = optuna.load_study(study_name="dead", storage=storage)
    key = "model.groups.block1.channels.0"
    (left,) = {4, 5} - {trial.params[key] for trial in study.trials}
    study.enqueue_trial({key: left})
    dead = study.ask()
    dead.suggest_int(key, 4, 5)
    dead.set_user_attr(OWNER, {**identify_process(), "process": "dead", "started": "0"})
    done = sweeper_call(*searched)
    assert done.returncode == 0, done.stderr
    assert "lost its process: queued again" in done.stdout
    assert "2 of 2 trials, every point of the space tried" in done.stdout


def test_a_target_means_nothing_when_the_lowest_is_asked_for(sweeper_call: Call, tmp_path: Path) -> None:
    """One line, and no study."""
    arguments = ["model.dropout=interval(0.0,0.3)", "hydra.sweeper.direction=minimize", "target=0.5"]
    done = sweeper_call("-m", *TINY, *HERE, *arguments)
    assert done.returncode == 1
    assert (
        "hydra.sweeper.direction=minimize looks for the lowest, and target=0.5 was given: leave one out" in done.stderr
    )
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def test_a_space_without_end_is_refused(sweeper_call: Call, tmp_path: Path) -> None:
    """An interval of real numbers has too many points: one line, and no study."""
    done = sweeper_call(*BRUTE, "model.dropout=interval(0.0,0.3)")
    assert done.returncode == 1
    assert "tries every point, but model.dropout is an interval without a step" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "outputs").exists()
