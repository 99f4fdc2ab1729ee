"""Searches with two objectives: where proposals come from, how a search runs, resumes and is refused."""

import shlex
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from sweeper.study.goal import Goal
from sweeper.study.optuna_private import report
from sweeper.study.samplers.front import FrontSampler
from sweeper.study.storage import journal_url, open_storage

from .fronts import FRONT, SMALLEST, SPACE, WIDTH, study_of
from .studies import TINY, Call, only_study, trials_of


@pytest.mark.parametrize("goal", [FRONT, SMALLEST])
def test_proposals_stay_in_the_space_and_repeat_with_the_seed(goal: Goal) -> None:
    """Near the front or from TPE, also with pruned trials, a proposal is within its bounds; equal seeds propose alike."""

    def proposals(seed: int) -> list[dict[str, Any]]:
        study = study_of([], goal, sampler=FrontSampler(seed=seed))
        for number in range(40):
            asked = study.ask(SPACE)
            size = 100 * asked.params[WIDTH]
            asked.set_user_attr("parameters", size)
            if number % 4 == 3:
                report(asked, 0.5, 1)
                study.tell(asked, state=TrialState.PRUNED)
            else:
                study.tell(asked, [1 - 1 / (asked.params[WIDTH] + 1), size])
        return [t.params for t in study.trials]

    found = proposals(1)
    assert found == proposals(1) != proposals(2)
    assert all(1 <= point[WIDTH] <= 32 and isinstance(point[WIDTH], int) for point in found)
    assert all(0.01 <= point["optimizer.lr"] <= 1 for point in found)


def test_a_width_near_the_front_may_be_one_of_a_list() -> None:
    """Where widths are choices, all widths times a factor are still choices."""
    space = {**SPACE, WIDTH: CategoricalDistribution((4, 8, 12))}
    study = study_of([], FRONT, sampler=FrontSampler(seed=1, local=1))
    for _ in range(25):
        asked = study.ask(space)
        asked.set_user_attr("parameters", 100 * asked.params[WIDTH])
        study.tell(asked, [1 - 1 / asked.params[WIDTH], 100 * asked.params[WIDTH]])
    assert {trial.params[WIDTH] for trial in study.trials[6:]} == {4, 8, 12}


PARETO = ["-m", "search=pareto", *TINY, "training.epochs=2", "hydra.sweeper.n_jobs=1", "target=0.05"]


def test_a_search_for_a_front_runs_resumes_and_leaves_a_front(sweeper_call: Call, tmp_path: Path) -> None:
    """Start points of several sizes are trained first; values are accuracy and size; the same command resumes it."""
    done = sweeper_call(*PARETO, "hydra.sweeper.n_trials=5")
    assert done.returncode == 0, done.stderr
    assert "A front of " in done.stdout
    assert "Smallest at 5 %" in done.stdout
    folder = only_study(tmp_path)
    trials = trials_of(folder)
    assert len({t.values[1] for t in trials}) > 3
    assert all(t.values[1] == t.user_attrs["parameters"] and len(t.intermediate_values) == 2 for t in trials)
    assert (folder / "best" / "result.json").exists()
    again = sweeper_call(*PARETO, "hydra.sweeper.n_trials=6")
    assert (again.returncode, len(trials_of(folder))) == (0, 6)
    assert sweeper_call("report", folder.name).returncode == 0
    assert sweeper_call("reproduce", str(folder / "best")).returncode == 0


def test_a_proposal_of_two_objectives_that_repeats_a_trial_gets_its_values(sweeper_call: Call, tmp_path: Path) -> None:
    """Both points of a space of two are trained first; later trials repeat them and have both of their values."""
    space = ["hydra.sweeper.widths=false", "optimizer.lr=choice(0.1,0.2)", "hydra.sweeper.n_trials=4"]
    done = sweeper_call(*PARETO, *space, "training.epochs=1")
    assert done.returncode == 0, done.stderr
    assert " repeats trial " in done.stdout
    trials = trials_of(only_study(tmp_path))
    repeats = [t for t in trials if "duplicate_of" in t.user_attrs]
    assert [t.number for t in repeats] == [2, 3]
    assert all(t.values == trials[t.user_attrs["duplicate_of"]].values for t in repeats)


def test_a_search_for_the_smallest_network_rejects_what_is_not_smaller(sweeper_call: Call, tmp_path: Path) -> None:
    """Once a network is at the target, only smaller ones are trained, and each is smaller than the answer before it."""
    smallest = [
        "-m",
        "search=smallest",
        *PARETO[2:],
        "training.epochs=1",
        "hydra.sweeper.n_trials=6",
        "hydra.sweeper.sampler.seed=1",
    ]
    done = sweeper_call(*smallest)
    assert done.returncode == 0, done.stderr
    assert "Smallest at 5 %: " in done.stdout
    trials = trials_of(only_study(tmp_path))
    least = float("inf")
    for t in trials:
        if t.user_attrs.get("rejected_by") == "not smaller than the answer":
            assert t.user_attrs["parameters"] >= least
        elif t.state is TrialState.COMPLETE:
            assert t.values[1] < least
            least = t.values[1] if t.values[0] >= 0.05 else least


@pytest.mark.parametrize(
    ("overrides", "fix"),
    [
        (["hydra/sweeper/pruner=percentile"], "choose hydra/sweeper/pruner=front or none"),
        (["hydra/sweeper/sampler=cmaes"], "choose hydra/sweeper/sampler=front, tpe or nsgaii"),
        (["hydra.sweeper.direction=minimize"], "leave one out"),
        (["hydra.sweeper.cost=bytes"], "parameters"),
        (["hydra.sweeper.cost=null"], "add hydra.sweeper.cost=parameters"),
        (["hydra.sweeper.cost=null", "hydra.sweeper.smallest=true"], "add hydra.sweeper.cost=parameters"),
        (["hydra.sweeper.pruner.spare=2"], "spare in [0, 1)"),
        (["hydra.sweeper.pruner.spare=x"], "pruner.spare must be a number, but got x: correct it"),
        (["hydra.sweeper.sampler.seed=true"], "sampler.seed must be a whole number or null, but got true"),
        (["hydra.sweeper.pruner.n_startup_trials=1.5"], "a whole number, but got 1.5"),
    ],
)
def test_what_two_objectives_cannot_have_is_one_line(sweeper_call: Call, overrides: list[str], fix: str) -> None:
    """Pruners and samplers of one objective, and options that contradict each other, are refused with the fix."""
    done = sweeper_call(*PARETO, *overrides)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert fix in done.stderr


def test_another_goal_under_the_same_name_is_refused(sweeper_call: Call) -> None:
    """A study of a front is not resumed as a search for the smallest network."""
    named = ["hydra.sweeper.study_name=one", "hydra.sweeper.n_trials=1"]
    assert sweeper_call(*PARETO, *named).returncode == 0
    other = sweeper_call(*PARETO, *named, "hydra.sweeper.smallest=true")
    assert other.returncode == 1
    assert "it is after accuracy against parameters there and the fewest parameters at the target here" in other.stderr


def test_a_renamed_folder_says_how_to_go_on(sweeper_call: Call, tmp_path: Path) -> None:
    """Its journal knows the trials under the old name: the message has the settings that resume them."""
    options = [*PARETO, "training.epochs=1"]
    assert sweeper_call(*options, "hydra.sweeper.n_trials=1", "hydra.sweeper.study_name=old").returncode == 0
    only_study(tmp_path).rename(tmp_path / "outputs" / "studies" / "fronts (2), new")
    moved = ["hydra.sweep.dir='outputs/studies/fronts (2), new'", "hydra.sweeper.study_name=my front"]
    refused = sweeper_call(*options, "hydra.sweeper.n_trials=2", *moved)
    assert refused.returncode == 1
    given = refused.stderr.partition("go on with ")[2]
    again = sweeper_call(*options, "hydra.sweeper.n_trials=2", *shlex.split(given))
    assert again.returncode == 0, again.stderr
    storage = open_storage(journal_url(only_study(tmp_path) / "journal.log"))
    (study,) = optuna.get_all_study_summaries(storage)
    assert study.study_name == "old"
    complete = [
        t for t in optuna.load_study(study_name="old", storage=storage).trials if t.state is TrialState.COMPLETE
    ]
    assert len(complete) == 2
