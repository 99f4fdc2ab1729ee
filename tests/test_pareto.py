"""Searches with two objectives: their front, what is pruned, where proposals come from, how the result reads."""

import io
import json
import random
import shlex
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console

from sweeper.report.study_page import study_page
from sweeper.report.study_snapshot import StudySnapshot
from sweeper.study.front import LEAST_ERROR, answer, front_trials, hypervolume
from sweeper.study.front_pruner import FrontPruner
from sweeper.study.front_sentence import count_epochs
from sweeper.study.front_table import front_status, live_front
from sweeper.study.goal import GOAL, Goal
from sweeper.study.headline import study_headline
from sweeper.study.optuna_private import FrontStudy, report, should_prune
from sweeper.study.samplers.front import FrontSampler
from sweeper.study.storage import journal_url, open_storage

from .studies import TINY, Call, only_study, storage_of, trials_of

WIDTH = "model.groups.block1.channels.0"
SPACE: dict[str, BaseDistribution] = {
    WIDTH: IntDistribution(1, 32, log=True),
    "optimizer.lr": FloatDistribution(0.01, 1, log=True),
}
FRONT = Goal(direction=StudyDirection.MAXIMIZE, cost="parameters", target=0.99)
SMALLEST = Goal(direction=StudyDirection.MAXIMIZE, cost="parameters", target=0.99, smallest=True)
POINTS = st.lists(st.tuples(st.sampled_from([0.5, 0.9, 0.98, 0.99, 0.995, 1.0]), st.integers(1, 12)), max_size=25)


def trial(number: int, accuracy: float, parameters: int, *curve: float, pruned: bool = False) -> FrozenTrial:
    """A finished trial as a search leaves it; `curve` holds the epochs' accuracies."""
    made = create_trial(
        state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
        values=None if pruned else [accuracy, parameters],
        params={WIDTH: 8, "optimizer.lr": 0.1},
        distributions=SPACE,
        user_attrs={"parameters": parameters, "macs": 100 * parameters},
        intermediate_values=dict(enumerate(curve, 1)),
    )
    made.number = number
    return made


def study_of(trials: list[FrozenTrial], goal: Goal = FRONT, *, storage: Any = None, **made_of: Any) -> optuna.Study:
    """A study with two objectives and these trials."""
    storage = storage or InMemoryStorage()
    study = optuna.create_study(study_name="front", directions=goal.directions, storage=storage)
    study.set_user_attr(GOAL, goal.record)
    study.add_trials(trials)
    return FrontStudy("front", storage, **made_of)


def headline_of(trials: list[FrozenTrial], goal: Goal, n_trials: int | None = None) -> tuple[str, str]:
    """The headline's sentence and details of a search that asked for `n_trials`, or for as many as there are."""
    search = {"base": {"target": 0.99, "training": {"epochs": 3}, "data": {"name": "mnist"}}, "space": {}, "fixed": []}
    sweep = {"hydra": {"sweeper": {"n_trials": n_trials or len(trials)}}}
    found = study_headline(trials, goal, folder=None, search=search, sweep=sweep)
    return found.sentence, found.details


@given(POINTS)
def test_no_trial_beats_one_on_the_front(points: list[tuple[float, int]]) -> None:
    """A brute-force comparison of all pairs finds the same accuracies and costs as the front; the smallest is first."""
    trials = [trial(number, *point) for number, point in enumerate(points)]
    found = [(t.values[0], t.values[1]) for t in front_trials(trials, FRONT)]
    undominated = {
        one for one in points if not any(other != one and other[0] >= one[0] and other[1] <= one[1] for other in points)
    }
    assert set(found) == undominated
    assert found == sorted(undominated, key=lambda one: one[1])


@given(POINTS)
def test_the_answer_is_the_smallest_at_the_target_and_the_best_trial(points: list[tuple[float, int]]) -> None:
    """Of the trials at the target the smallest is the answer and the best; without any, the most accurate is best."""
    trials = [trial(number, *point) for number, point in enumerate(points)]
    found = answer(trials, FRONT)
    at_target = [size for accuracy, size in points if accuracy >= 0.99]
    assert (found.values[1] if found else None) == min(at_target, default=None)
    if trials:
        best = min(trials, key=FRONT.order)
        assert best.values[1] == min(at_target) if at_target else best.values[0] == max(a for a, _ in points)


@pytest.mark.filterwarnings("ignore:.*is experimental:optuna.exceptions.ExperimentalWarning")
@given(st.lists(st.tuples(st.floats(0, 1.2), st.floats(0, 1.2)), max_size=30))
@settings(max_examples=50)
def test_the_hypervolume_is_optunas(points: list[tuple[float, float]]) -> None:
    """For any points and a reference point, it equals the last value of Optuna's plot of the hypervolume."""
    study = optuna.create_study(directions=["minimize", "minimize"], storage=InMemoryStorage())
    study.add_trials([create_trial(values=list(point)) for point in points])
    ours = hypervolume(points, (1.0, 1.0))
    if not points:
        assert ours == 0
        return
    plot: Any = optuna.visualization.plot_hypervolume_history(study, [1.0, 1.0])
    assert ours == pytest.approx(plot.data[0].y[-1])


FIRST = 5
"""The first points of a search keep their places in a replay: every search begins with networks of several sizes."""


def _recorded() -> list[list[FrozenTrial]]:
    """Unpruned trials of real searches: five convolutions on 4,000 digits, 4 epochs, one-cycle schedule, by NSGA-II."""
    studies = json.loads((Path(__file__).parent / "front_curves.json").read_text())
    return [
        [trial(number, curve[-1], size, *curve) for number, (size, curve) in enumerate(curves)] for curves in studies
    ]


def _replay(trials: list[FrozenTrial]) -> tuple[list[FrozenTrial], int]:
    """Return the trials of a study that the pruner would have pruned, and the epochs that it would have saved."""
    study, pruned, saved = study_of([]), [], 0
    for full in trials:
        curve = full.intermediate_values
        for epoch in range(1, len(curve)):
            seen = (curve[step] for step in range(1, epoch + 1))
            if FrontPruner().prune(study, trial(full.number, 0, int(full.values[1]), *seen, pruned=True)):
                pruned.append(full)
                saved += len(curve) - epoch
                break
        else:
            study.add_trial(full)
    return pruned, saved


def test_pruning_keeps_the_front_and_saves_epochs() -> None:
    """In replays of recorded curves, at most a tenth of the trials on the final front are pruned, and epochs are saved."""
    lost = on_front = saved = epochs = 0
    for recorded in _recorded():
        for seed in range(8):
            later = random.Random(seed).sample(recorded[FIRST:], len(recorded) - FIRST)  # noqa: S311 - no secret
            front = front_trials(recorded, FRONT)
            pruned, epochs_saved = _replay([*recorded[:FIRST], *later])
            lost += sum(each in front for each in pruned)
            on_front += len(front)
            saved += epochs_saved
            epochs += sum(len(each.intermediate_values) for each in recorded)
    assert lost <= 0.1 * on_front
    assert saved >= 0.1 * epochs


def test_a_search_for_the_smallest_prunes_what_cannot_reach_the_target() -> None:
    """Once one is at the target, a trial that leads is pruned if its error could not shrink enough, by what others' did."""
    ahead = [trial(number, 0.9 + number / 1000, 500 + number, 0.8, 0.9 + number / 1000) for number in range(9)]
    running = trial(10, 0, 600, 0.85, pruned=True)
    assert not FrontPruner().prune(study_of(ahead, SMALLEST), running)
    ahead.append(trial(9, 0.99, 7000, 0.98, 0.99))
    assert not FrontPruner().prune(study_of(ahead, FRONT), running)
    assert FrontPruner().prune(study_of(ahead, SMALLEST), running)
    assert not FrontPruner().prune(study_of(ahead, SMALLEST), trial(10, 0, 600, 0.985, pruned=True))


def test_a_trial_is_pruned_only_for_smaller_ones_of_as_many_epochs() -> None:
    """Few trials prune nothing, nor do larger ones, another number of epochs, or a study where errors shrank by as much."""
    small = [trial(number, 0.98, 500 + number, 0.9, 0.98) for number in range(9)]
    running = trial(12, 0, 600, 0.88, pruned=True)
    rule = FrontPruner()
    assert rule.prune(study_of(small), running)
    assert not rule.prune(study_of(small[:8]), running)
    assert not rule.prune(study_of(small), trial(12, 0, 400, 0.88, pruned=True))
    assert not rule.prune(study_of(small), trial(12, 0, 600, 0.91, pruned=True))
    late = [trial(9 + step, 0.97, 520 + step, 0.7, 0.97) for step in range(2)]
    assert not rule.prune(study_of([*small, *late]), running)
    for other in small:
        other.distributions["training.epochs"] = IntDistribution(1, 9)
        other.params["training.epochs"] = 7
    assert not rule.prune(study_of(small), running)


@given(st.lists(st.tuples(st.floats(0.1, 0.99), st.floats(0.1, 0.99)), max_size=20), st.sampled_from([0.05, 0.1, 0.3]))
@settings(max_examples=25, deadline=None)
def test_an_epoch_prunes_at_most_the_spare_share_wrongly(curves: list[tuple[float, float]], spare: float) -> None:
    """Of any trials, each held against all others, at most the share `spare` is pruned that would have ended ahead."""
    trials = [trial(n, end, 500 + n, now, end) for n, (now, end) in enumerate(curves)]
    rule = FrontPruner(n_startup_trials=1, spare=spare)
    lost = 0
    for n, (now, _) in enumerate(curves):
        others = [*trials[:n], *trials[n + 1 :]]
        is_ahead = trials[n] in front_trials(trials, FRONT)
        lost += is_ahead and rule.prune(study_of(others), trial(n, 0, 500 + n, now, pruned=True))
    assert lost <= spare * len(trials)


def test_trials_report_and_are_pruned_where_optuna_refuses() -> None:
    """Optuna's report and should_prune raise for two objectives; ours save the curve, and ask the pruner."""
    ahead = [trial(number, 0.98, 500 + number, 0.9, 0.98) for number in range(9)]
    study = study_of(ahead, pruner=FrontPruner())
    running = study.ask(SPACE)
    running.set_user_attr("parameters", 600)
    with pytest.raises(NotImplementedError):
        running.report(0.5, 1)
    with pytest.raises(NotImplementedError):
        running.should_prune()
    report(running, 0.5, 1)
    assert should_prune(running)
    study.tell(running, state=TrialState.PRUNED)
    assert study.trials[-1].intermediate_values == {1: 0.5}


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


def test_a_front_is_told_in_words() -> None:
    """A front says its ends, the smallest network at the target, what best/ is, and the epochs that pruning saved."""
    trials = [trial(0, 0.995, 9000, 0.9, 0.95, 0.995), trial(1, 0.99, 5000), trial(2, 0.9, 700)]
    trials.append(trial(3, 0, 6000, 0.5, pruned=True))
    sentence, details = headline_of(trials, FRONT)
    assert sentence == "A front of 3 networks: from 700 parameters and 90.00 % to 9,000 parameters and 99.50 %."
    assert details.startswith(
        "Smallest at 99 %: 5,000 parameters, 99.00 % (trial 1). best/ is trial 1, the smallest at 99 %. "
        "Pruning saved 2 of 6 epochs (33 %)."
    )
    assert "None reaches the target of 99 %: 9.00 points short." in headline_of(trials[2:], FRONT)[1]


def test_the_smallest_network_at_the_target_comes_first() -> None:
    """The answer opens the result, also of a search that goes on; without one, the distance to the target does."""
    trials = [trial(0, 0.995, 9000), trial(17, 0.99, 2310)]
    assert headline_of(trials, SMALLEST)[0] == "Smallest at 99 %: 2,310 parameters, trial 17."
    assert headline_of(trials, SMALLEST, 40)[0].startswith("Smallest at 99 % so far: 2,310 parameters, trial 17;")
    assert headline_of([trial(0, 0.98, 9000)], SMALLEST)[0] == "No network reaches 99 %: 1.00 points short."


def test_saved_epochs_are_those_of_pruned_trials() -> None:
    """A completed trial saves none; a pruned one what it did not train; a rejected one was never planned."""
    counted = count_epochs(
        [trial(0, 0.9, 1, 0.5, 0.9), trial(1, 0, 1, 0.1, pruned=True), trial(2, 0, 1, pruned=True)], 2
    )
    assert (counted.planned, counted.saved) == (4, 1)


@pytest.mark.parametrize("count", [0, 1, 3, 30, 150])
@pytest.mark.parametrize("goal", [FRONT, SMALLEST])
def test_a_page_and_the_dashboard_show_any_number_of_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goal: Goal, count: int
) -> None:
    """An empty study has a page too; the dashboard's storage finds the best trial; no number of trials is an error."""
    monkeypatch.chdir(tmp_path)
    folder = Path("outputs/studies/front")
    made = [t if n % 3 else trial(n, 0, 900, 0.5, pruned=True) for n, t in enumerate(_recorded()[0] * 5)][1 : 1 + count]
    study = study_of(made, goal, storage=open_storage(journal_url(folder / "journal.log")))
    page = study_page(StudySnapshot.of(study), folder=folder, url="", page=folder / "report.html")
    assert ("Hypervolume of the front" in page) == (count > 1)
    assert ('id="front-table-title"' in page) == (count > 0)
    studies = storage_of([])
    (shown,) = studies.get_all_studies()
    assert len(studies.get_all_trials(0)) == count
    if count:
        assert studies.get_best_trial(0).values == min(StudySnapshot.of(study).completed, key=goal.order).values
    assert len(shown.directions) == 2


@pytest.mark.parametrize("objectives", [2, 3])
def test_another_programs_study_of_several_objectives_has_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objectives: int
) -> None:
    """It is shown by its first objective; the page, the headline and the dashboard's storage raise nothing."""
    monkeypatch.chdir(tmp_path)
    folder = Path("outputs/studies/foreign")
    storage = open_storage(journal_url(folder / "journal.log"))
    study = optuna.create_study(study_name="foreign", directions=["minimize"] * objectives, storage=storage)
    for _ in range(25):
        asked = study.ask(SPACE)
        study.tell(asked, [asked.params["optimizer.lr"]] * objectives)
    page = study_page(StudySnapshot.of(study), folder=folder, url="", page=folder / "report.html")
    assert "Optimization history" in page
    assert "Hypervolume" not in page
    studies = storage_of([])
    assert len(studies.get_all_studies()) == 1
    assert studies.get_best_trial(0).values[0] == min(t.values[0] for t in study.trials)


def test_the_live_front_fits_a_terminal() -> None:
    """At 80 columns: the smallest first, a star at the answer, and of a long front some, with both ends."""
    trials = [trial(n, 0.9 + n / 200, 500 + 100 * n) for n in range(20)]
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    console.print(live_front(trials, FRONT, 80))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].split()[:4] == ["0", "90.00", "%", "500"]
    assert lines[-1].split()[0] == "19"
    assert [line.split()[0] for line in lines if line.lstrip().startswith("*")] == ["*18"]
    assert len(lines) <= 11
    assert front_status(trials, FRONT, 9999)[::2] == ["front of 20", "smallest at 99 % 2,300"]


PARETO = ["-m", "search=pareto", *TINY, "training.epochs=2", "hydra.sweeper.n_jobs=1", "target=0.05"]


def test_a_search_for_a_front_runs_resumes_and_leaves_a_front(sweeper_call: Call, tmp_path: Path) -> None:
    """Start points of several sizes are trained first; values are accuracy and size; the same command resumes it."""
    done = sweeper_call(*PARETO, "hydra.sweeper.n_trials=6")
    assert done.returncode == 0, done.stderr
    assert "A front of " in done.stdout
    assert "Smallest at 5 %" in done.stdout
    folder = only_study(tmp_path)
    trials = trials_of(folder)
    assert len({t.values[1] for t in trials}) > 3
    assert all(t.values[1] == t.user_attrs["parameters"] and len(t.intermediate_values) == 2 for t in trials)
    assert (folder / "best" / "result.json").exists()
    again = sweeper_call(*PARETO, "hydra.sweeper.n_trials=7")
    assert (again.returncode, len(trials_of(folder))) == (0, 7)
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
    smallest = ["-m", "search=smallest", *PARETO[2:], "hydra.sweeper.n_trials=6", "hydra.sweeper.sampler.seed=1"]
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


def test_a_perfect_accuracy_has_a_logarithm() -> None:
    """100 % counts as a small error: it is neither infinite nor an exception."""
    perfect = [trial(number, 1.0, 500 + number, 1.0, 1.0) for number in range(9)]
    assert not FrontPruner().prune(study_of(perfect), trial(9, 0, 400, 1.0, pruned=True))
    assert LEAST_ERROR > 0


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
