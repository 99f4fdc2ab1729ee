"""The page of a study: what it shows of real, running, empty and hostile studies."""

import math
import re
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from sweeper.report.study_figures import pareto_front, short_names, study_figures
from sweeper.report.study_snapshot import StudySnapshot
from sweeper.study.attributes import FAILED, OWNER, PARAMETERS, REJECTED, RULE
from sweeper.study.owner import identify_process

from .pages import HOSTILE, add_trial, make_study, page_of, text_of

PAGE_BYTES = 6_000_000
"""A page is at most this large without its trials: plotly alone takes most of it."""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies are found below the working directory."""
    monkeypatch.chdir(tmp_path)


def test_an_empty_study_has_a_page() -> None:
    """Without a trial the page says so, and has no plot."""
    make_study()
    text = text_of(page_of())
    assert "No trial is completed yet" in text
    assert "This study has no trials yet" in text


def test_a_study_of_failures_shows_their_reasons() -> None:
    """If all trials failed, the page counts them and shows each one's reason."""
    study = make_study()
    for _ in range(3):
        add_trial(study, None, {FAILED: "training loss must stay finite"}, TrialState.FAIL)
    text = text_of(page_of())
    assert "3 failed, for the reasons in the table below" in text
    assert text.count("training loss must stay finite") == 3


def test_a_running_study_says_so() -> None:
    """The page of a running study counts running trials, trials that lost their process, and finished ones."""
    study = make_study()
    add_trial(study, 0.98, {PARAMETERS: 5000})
    study.ask().set_user_attr(OWNER, identify_process())
    study.ask().set_user_attr(OWNER, {**identify_process(), "started": "at another time"})
    text = text_of(page_of())
    assert "3 trials; 1 running when this was written, 1 interrupted with its process" in text
    assert "98.00%" in text


def test_a_page_shows_best_trial_states_reasons_and_space() -> None:
    """The best trial, the target, which rule rejected which proposal, and the parameters under short names."""
    study = make_study()
    for value, parameters in ((0.97, 9000), (0.991, 8000), (0.95, 4000)):
        add_trial(study, value, {PARAMETERS: parameters})
    add_trial(study, 0.5, state=TrialState.PRUNED)
    add_trial(study, None, {REJECTED: "model has 12,000 parameters", RULE: "over budget"}, TrialState.PRUNED)
    text = text_of(page_of())
    assert "99.10% validation accuracy, target 99.00%, with 8,000 parameters: trial 1" in text
    assert "2 of 3 completed trials are on the Pareto front" in text
    assert "over budget 1 model has 12,000 parameters" in text
    assert "1 pruned and 3 completed trials" in text
    assert "block1.0" in text
    assert "0.001 to 1, logarithmic" in text


def test_a_minimized_study_has_the_lowest_value_as_its_best() -> None:
    """The study says whether a lower value is better."""
    study = make_study(direction="minimize")
    for value in (0.3, 0.1, 0.2):
        add_trial(study, value, {PARAMETERS: 5000})
    assert "with 5,000 parameters: trial 1" in text_of(page_of())


def test_hostile_text_stays_text() -> None:
    """Names, values and reasons that look like markup, script or template are shown as text."""
    study = make_study()
    for value, choice in ((0.9, HOSTILE), (0.8, "plain")):
        study.add_trial(
            create_trial(
                value=value,
                params={HOSTILE: choice},
                distributions={HOSTILE: CategoricalDistribution([HOSTILE, "plain"])},
                user_attrs={PARAMETERS: 5000},
            )
        )
    add_trial(study, None, {FAILED: HOSTILE}, TrialState.FAIL)
    add_trial(study, None, {REJECTED: HOSTILE, RULE: HOSTILE}, TrialState.PRUNED)
    page = page_of()
    assert "<img" not in page
    assert "window.hit=1</script>" not in page
    assert page.count("</script>") == 3  # the figures, plotly, our own
    assert "&lt;img src=x" in page
    assert "{{7*7}}" in page


def test_a_thousand_trials_are_one_file_of_six_megabytes_and_their_data() -> None:
    """Plotly is in the page once, a trial adds at most two kilobytes, and nothing is loaded from elsewhere."""
    study = make_study()
    add_trial(study, 0.9, {PARAMETERS: 5000})
    small = len(page_of().encode())
    assert small < PAGE_BYTES
    study.add_trials(
        [
            create_trial(
                value=0.9 + 0.09 * math.sin(number),
                params={f"x{key}": number / 1000 for key in range(6)},
                distributions={f"x{key}": FloatDistribution(0, 1) for key in range(6)},
                intermediate_values={epoch: 0.5 + epoch / 10 for epoch in range(1, 5)},
                user_attrs={PARAMETERS: 4000 + number},
            )
            for number in range(1000)
        ]
    )
    page = page_of()
    assert len(page.encode()) < small + 1000 * 2_000
    own = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", own)
    assert "default-src 'none'" in own


def test_trials_are_plotted_under_their_own_numbers() -> None:
    """Points and the best-so-far line use the trials' own numbers, although rejected proposals are not plotted."""
    study = optuna.create_study(direction="maximize")
    rejected = {REJECTED: "model has 12,000 parameters", RULE: "over budget"}
    for value in (None, 0.9, None, 0.95, None, 0.8):
        add_trial(
            study,
            value,
            rejected if value is None else None,
            TrialState.PRUNED if value is None else TrialState.COMPLETE,
        )
    history = study_figures(StudySnapshot.of(study), target=None, budget=None)[0]
    assert history.plot is not None
    assert [list(trace.x) for trace in history.plot.data if trace.x] == [[1, 3, 5], [1, 3, 5]]
    assert [list(trace.y) for trace in history.plot.data if trace.x] == [[0.9, 0.95, 0.8], [0.9, 0.95, 0.95]]


@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.integers()), min_size=1),
    st.booleans(),
)
def test_no_point_beats_one_on_the_front(points: list[tuple[int, float, int]], maximize: bool) -> None:  # noqa: FBT001
    """Every point is on the front or beaten by a point on it; no point on the front beats another."""

    def beats(one: tuple[int, float, int], other: tuple[int, float, int]) -> bool:
        return one[0] <= other[0] and (one[1] >= other[1] if maximize else one[1] <= other[1])

    front = pareto_front(points, maximize=maximize)
    assert set(front) <= set(points)
    assert all(any(beats(kept, point) for kept in front) for point in points)
    assert not any(beats(one, other) for one in front for other in front if one is not other)


@given(
    st.lists(st.sampled_from(["a.lr", "b.lr", "model.groups.x.channels.0", "model.groups.x.channels.1", "x.0", "lr"]))
)
def test_short_names_tell_keys_apart(keys: list[str]) -> None:
    """No two keys share a short name."""
    names = short_names(keys)
    assert len(set(names.values())) == len(set(keys))
