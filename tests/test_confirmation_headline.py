"""What a confirmation says: its headline, its table, its section of a page."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sweeper.cli.confirm import _show
from sweeper.confirm.headline import COLUMNS, headline, row
from sweeper.confirm.record import Confirmation
from sweeper.report.confirmation_section import confirmation_section
from sweeper.study.folder import CONFIRM


def _configuration(name: str, accuracies: list[float], **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "trial": int(name.partition("-")[2]),
        "parameters": 9_000,
        "epochs": 15,
        "seeds": list(range(1001, 1001 + len(accuracies))),
        "test_accuracies": accuracies,
        "mean": sum(accuracies) / len(accuracies),
        "sd": 0.0005,
        "ci95": [0.9935, 0.9950],
        "ci95_new_images": [0.9925, 0.9960],
        "target": 0.99,
        "probability_of_target": 0.995,
        "val_accuracy": 0.9950,
        "selection_bias": 0.0008,
        "selection_bias_ci95": [-0.001, 0.003],
        "test_images": 10_000,
        **changes,
    }


def _record(*configurations: dict[str, Any], **changes: Any) -> Confirmation:
    fields = {
        "study": "s",
        "command": "python -m sweeper confirm s",
        "updated": "2026-01-01T00:00:00+00:00",
        "dataset": "mnist",
        "test_openings": 10,
        "test_openings_in_all": 12,
        "comparison": None,
        "configurations": list(configurations),
    }
    return Confirmation(**{**fields, **changes})


def test_the_headline_says_what_holds() -> None:
    """Target, interval, probability, promise, the second best and the count of openings, in this order."""
    first = _configuration("trial-7", [0.994, 0.9945])
    second = _configuration("trial-3", [0.994, 0.994], parameters=5_000, val_accuracy=0.996)
    found = {"winner": "trial-7", "runner_up": "trial-3", "difference": 0.00025, "ci95": [-0.001, 0.002]}
    said = headline(_record(first, second, comparison={**found, "beyond_noise": False}), subject=["s"])
    assert said.lead == "Target met by 0.43 points on average over 2 seeds."
    assert said.details == (
        "Best: trial 7, 9,000 parameters, 99.43 ± 0.05 % (10,000 test images, 95 % interval 99.35–99.50 %, on other images "
        "99.25–99.60 %); another seed reaches 99.00 % with probability 99.5 %. Validation had promised 99.50 %: 0.08 points "
        "too much, within noise. It is 0.03 points above trial 3, within noise; trial 3 is smaller: take it. Validation "
        "preferred trial 3: that trial 7 is best was chosen on the test set, so its mean is a little optimistic. The test "
        "set of MNIST was opened 10 times for this study, 12 in all."
    )
    assert said.commands[0].text == "python -m sweeper confirm s --top 2 --seeds 4"
    failed = headline(_record({**first, "failed_seeds": [1003], "ci95_new_images": first["ci95"]}), subject=["s"])
    assert "With 1 seed trial 7 failed, which its mean leaves out." in failed.details
    assert "on other images" not in failed.details  # it would say the same again
    front = headline(_record(first, second, command="python -m sweeper confirm s --pareto"), subject=["s"])
    assert front.commands[0].text == "python -m sweeper confirm s --pareto --seeds 4"
    assert len(row(first)) == len(COLUMNS)
    poor = {**second, "mean": 0.985}  # smaller, but it misses the target
    assert (
        "take it"
        not in headline(_record(first, poor, comparison={**found, "beyond_noise": False}), subject=["s"]).details
    )
    equal = headline(
        _record(first, second, comparison={**found, "difference": 0.0, "beyond_noise": False}), subject=["s"]
    )
    assert "It equals trial 3; trial 3 is smaller: take it." in equal.details
    one = _configuration("trial-1", [0.98], sd=None, probability_of_target=None, selection_bias=None)
    assert headline(_record(one), subject=["s"]).lead == "Target missed by 1.00 points with 1 seed."


@pytest.mark.parametrize("width", [60, 80])
def test_the_table_reads_in_a_narrow_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cell is cut: the columns that do not fit are left out, and named."""
    shown = Console(width=width, record=True, file=io.StringIO(), markup=False)
    monkeypatch.setattr("sweeper.cli.confirm.make_console", lambda: shown)
    _show(_record(_configuration("trial-12", [0.994, 0.9945])), subject=["s"])
    text = shown.export_text()
    assert "…" not in text
    assert all(cell in text for cell in ("trial 12", "9,000", "99.43 %", "99.35–99.50 %", "99.5 %"))
    assert ("In a wider terminal also: sd, validation" in text) == (width == 60)


def test_a_page_shows_what_was_confirmed_and_a_damaged_record_is_one_line(tmp_path: Path) -> None:
    """Without a record there is no section; a record that other software wrote fails with its fix."""
    assert confirmation_section(tmp_path) is None
    _record(_configuration("trial-7", [0.994, 0.9945])).write(tmp_path)
    section = confirmation_section(tmp_path)
    assert section is not None
    assert section.rows[0][0] == "trial 7"
    assert 0 < section.figure.rows[0].low < section.figure.rows[0].mean < section.figure.rows[0].high < 100
    (tmp_path / CONFIRM).write_text('{"configurations": []}')
    with pytest.raises(Exception, match=r"must hold a confirmation, but is damaged .*: delete it"):
        confirmation_section(tmp_path)
