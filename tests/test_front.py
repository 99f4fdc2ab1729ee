"""Of trials with two objectives: their front, the answer, the sentence, the table and the pages that show them."""

import io
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, create_trial
from rich.console import Console

from sweeper.report.study_page import study_page
from sweeper.report.study_snapshot import StudySnapshot
from sweeper.study.front import answer, front_trials, hypervolume
from sweeper.study.front_sentence import count_epochs
from sweeper.study.front_table import front_status, live_front
from sweeper.study.goal import Goal
from sweeper.study.headline import study_headline
from sweeper.study.storage import journal_url, open_storage

from .fronts import FRONT, SMALLEST, SPACE, recorded_studies, study_of, trial
from .pages import figures_of
from .studies import storage_of

POINTS = st.lists(st.tuples(st.sampled_from([0.5, 0.9, 0.98, 0.99, 0.995, 1.0]), st.integers(1, 12)), max_size=25)


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


def test_the_hypervolume_has_its_price_in_epochs() -> None:
    """The figure counts the epochs of completed and pruned trials: searches compare at equal epochs, not trials."""
    study = study_of(
        [trial(0, 0.9, 900, 0.5, 0.9), trial(1, 0, 3000, 0.1, pruned=True), trial(2, 0.95, 2000, 0.6, 0.95)]
    )
    (figure,) = [each for each in figures_of(study) if each.name == "hypervolume"]
    assert figure.plot is not None
    assert list(figure.plot.data[0].text) == ["2", "5", "5"]
    assert figure.caption.endswith("after 5 trained epochs.")


@pytest.mark.parametrize("count", [0, 1, 3, 30, 150])
@pytest.mark.parametrize("goal", [FRONT, SMALLEST])
def test_a_page_and_the_dashboard_show_any_number_of_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goal: Goal, count: int
) -> None:
    """An empty study has a page too; the dashboard's storage finds the best trial; no number of trials is an error."""
    monkeypatch.chdir(tmp_path)
    folder = Path("outputs/studies/front")
    made = [t if n % 3 else trial(n, 0, 900, 0.5, pruned=True) for n, t in enumerate(recorded_studies()[0] * 5)][
        1 : 1 + count
    ]
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
    assert front_status(trials, SMALLEST, 9999) == ["front of 20", "smallest at 99 % 2,300"]
