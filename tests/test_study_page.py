"""The page of a study: what it shows of real, running, empty and hostile studies."""

import math
import re
from pathlib import Path

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial

from sweeper.study.attributes import FAILED, OWNER, PARAMETERS, REJECTED, RULE
from sweeper.study.owner import identify_process
from sweeper.study.storage import journal_url, open_storage

from .pages import HOSTILE, add_trial, figures_of, make_study, page_of, rows_of, text_of

PAGE_BYTES = 6_000_000
"""A page is at most this large without its trials: plotly alone takes most of it."""
SMALL_BYTES = 100_000
"""A page without plotly is smaller than this."""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies are found below the working directory."""
    monkeypatch.chdir(tmp_path)


def test_an_empty_study_has_a_page() -> None:
    """Without a trial the page says so in one line, and has neither a plot nor plotly."""
    make_study()
    page = page_of()
    assert "Figures need a completed trial." in text_of(page)
    assert "This study has no trials yet" in text_of(page)
    assert len(page) < SMALL_BYTES


def test_a_study_of_failures_shows_their_reasons() -> None:
    """If all trials failed, the page begins with that, and shows each one's reason."""
    study = make_study()
    for _ in range(3):
        add_trial(study, None, {FAILED: "training loss must stay finite"}, TrialState.FAIL)
    text = text_of(page_of())
    assert "All 3 trials failed." in text
    assert text.count("training loss must stay finite") >= 3


def test_a_running_study_says_so() -> None:
    """The page of a running study counts running trials, trials that lost their process, and finished ones."""
    study = make_study()
    add_trial(study, 0.98, {PARAMETERS: 5000})
    study.ask().set_user_attr(OWNER, identify_process())
    study.ask().set_user_attr(OWNER, {**identify_process(), "started": "at another time"})
    text = text_of(page_of())
    assert "1 running when this was written, 1 interrupted with its process" in text
    assert "98.00 %" in text


def test_a_page_begins_with_its_result() -> None:
    """The first sentence says whether the target is met; then come the commands, the counts, the figures, the table."""
    study = make_study()
    for value, parameters in ((0.97, 9000), (0.991, 8000), (0.95, 4000)):
        add_trial(study, value, {PARAMETERS: parameters})
    add_trial(study, 0.5, state=TrialState.PRUNED)
    add_trial(study, None, {REJECTED: "model has 12,000 parameters", RULE: "over budget"}, TrialState.PRUNED)
    text = text_of(page_of())
    assert "Target met by 0.10 points. Best 99.10 % (trial 1, 8,000 parameters)" in text
    order = ["Target met by", "Figures", "Trials", "Rejected proposals", "Search space"]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    assert "2 of 3 completed trials are on the Pareto front" in text
    assert "over budget 1 model has 12,000 parameters" in text
    assert "3 completed trials and 1 pruned" in text
    assert "block1.0" in text
    assert "0.001 to 1, logarithmic" in text


def test_a_minimized_study_has_the_lowest_value_as_its_best() -> None:
    """The study says whether a lower value is better; then its values are no accuracies."""
    study = make_study(direction="minimize")
    for value in (0.3, 0.1, 0.2):
        add_trial(study, value, {PARAMETERS: 5000})
    page = page_of()
    assert [row[:2] for row in rows_of(page)] == [["1", "0.1"], ["2", "0.2"], ["0", "0.3"]]


def test_the_best_trial_is_first_and_of_equals_the_smallest() -> None:
    """The table's first row is the best trial; equal accuracies are ordered by size, rejected proposals come last."""
    study = make_study()
    add_trial(study, None, {REJECTED: "model has 12,000 parameters", RULE: "over budget"}, TrialState.PRUNED)
    for value, parameters in ((0.97, 9000), (0.98, 8000), (0.98, 4000), (0.96, 1000)):
        add_trial(study, value, {PARAMETERS: parameters})
    page = page_of()
    assert [row[0] for row in rows_of(page)] == ["3", "2", "1", "4", "0"]
    assert "Best 98.00 % (trial 3, 4,000 parameters)" in text_of(page)
    assert "over budget" in rows_of(page)[-1]


def test_links_lead_to_reports_that_exist() -> None:
    """A trial's row links to its page, or to its report if it has no page, never to a folder."""
    study = make_study()
    for number in range(3):
        add_trial(study, 0.9 + number / 100, {PARAMETERS: 5000})
        (Path("outputs/studies/one") / str(number)).mkdir()
    Path("outputs/studies/one/0/report.md").write_text("x")
    Path("outputs/studies/one/1/report.md").write_text("x")
    Path("outputs/studies/one/1/report.html").write_text("x")
    assert re.findall(r'<a href="(\d.*?)"', page_of()) == ["1/report.html", "0/report.md"]


def test_seconds_in_training_and_of_the_whole_trial_have_their_own_columns() -> None:
    """Training is the sum over the epochs of its metrics; whole is from the proposal to its result."""
    study = make_study()
    add_trial(study, 0.9, {PARAMETERS: 5000})
    folder = Path("outputs/studies/one/0")
    folder.mkdir()
    (folder / "metrics.jsonl").write_text('{"epoch": 1, "seconds": 1.25}\n{"epoch": 2, "seconds": 2}\n')
    page = page_of()
    assert "3.2 s" in rows_of(page)[0]
    assert re.findall(r'<button type="button">(training|whole)<', page) == ["training", "whole"]


def test_a_study_in_which_nothing_is_feasible_shows_sizes() -> None:
    """Sizes of rejected proposals are plotted against the budget without plotly; the smallest is marked and first."""
    study = make_study()
    for count in (15_000, 12_000, 30_000):
        attrs = {REJECTED: f"model has {count:,} parameters", RULE: "over budget", PARAMETERS: count}
        add_trial(study, None, attrs, TrialState.PRUNED)
    page = page_of()
    assert len(page) < SMALL_BYTES
    assert "Nothing feasible: the smallest of 3 proposals has 12,000 parameters" in text_of(page)
    assert "smallest 12,000" in text_of(page)
    assert "budget 9,999" in text_of(page)
    assert page.count("<circle") == 4
    assert [row[0] for row in rows_of(page)] == ["1", "0", "2"]


def test_another_applications_study_has_plain_values() -> None:
    """Without accuracies there are no percentages; a study without parameters and one of choices have pages too."""
    study = optuna.create_study(
        study_name="one",
        storage=open_storage(journal_url(Path("outputs/studies/one/journal.log"))),
        direction="minimize",
    )
    for number in range(25):
        study.add_trial(
            create_trial(
                value=number * 1.5,
                params={"db": "ab"[number % 2], "+n": number},
                distributions={"db": CategoricalDistribution(["a", "b"]), "+n": IntDistribution(0, 30)},
            )
        )
    page = page_of()
    assert "Best 0 in trial 0." in text_of(page)
    assert "accuracy" not in text_of(page)
    assert rows_of(page)[1][:2] == ["1", "1.5"]
    bare = optuna.create_study(storage=InMemoryStorage())
    bare.add_trials([create_trial(value=value) for value in (3.0, math.inf)])
    assert {figure.name for figure in figures_of(bare) if figure.plot} == {"history"}


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
    assert page.count("</script>") == 4  # the table's details, the figures, plotly, our own
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


@pytest.mark.parametrize("low", [0.101, 0.105, 0.13, 0.21, 0.51, 0.9])
@pytest.mark.parametrize("factor", [1.5, 4.4, 6, 40])
def test_a_logarithmic_axis_has_two_ticks_in_its_range(low: float, factor: float) -> None:
    """One tick would say nothing of the scale."""
    study = optuna.create_study(direction="maximize")
    for number in range(20):
        params = {"lr": low * factor ** (number / 19)}
        kinds: dict[str, BaseDistribution] = {"lr": FloatDistribution(0.01, 100, log=True)}
        study.add_trial(create_trial(value=number / 100, params=params, distributions=kinds))
    (slices,) = [figure.plot for figure in figures_of(study) if figure.name == "slices"]
    assert slices is not None
    ticks = slices.layout.xaxis.tickvals
    assert sum(low <= tick <= factor * low for tick in ticks) >= 2


def test_values_that_are_not_finite_have_a_page() -> None:
    """Another program's study may hold infinite values and parameters, and report values that are no numbers."""
    study = make_study(direction="minimize")
    for number in range(150):
        study.add_trial(
            create_trial(
                value=math.inf if number % 5 == 0 else float(number),
                params={"x": number / 10, "choice": math.inf if number % 2 else None},
                distributions={"x": FloatDistribution(0, 20), "choice": CategoricalDistribution([math.inf, None])},
                intermediate_values={1: math.nan, 2: -math.inf, 3: float(number)},
            )
        )
    page = page_of()
    assert rows_of(page)[0][:2] == ["1", "1"]
    assert 'data-value="inf"' not in page  # which a script does not read as a number
    assert 'data-value="Infinity"' in page
