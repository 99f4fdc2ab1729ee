"""What a person sees in a terminal of any width: no number broken, commands that can be copied, columns dropped."""

import contextlib
import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from rich.console import Console

from sweeper.design import analyze
from sweeper.records import BatchProgress, EpochRecord
from sweeper.search.space import Space
from sweeper.study.headline import study_headline
from sweeper.study.live_table import joined, live_table
from sweeper.study.progress import StudyProgress
from sweeper.study.trials import TrialStore
from sweeper.terminal import network_table
from sweeper.terminal.console import wrapped
from sweeper.terminal.run_progress import RunProgress

from .composed import compose
from .processes import command, environment
from .studies import TINY

WIDTHS = (60, 80, 140)
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
MODEL = "model.groups"


def in_terminal(
    arguments: Sequence[str], folder: Path, width: int, *, when: Callable[[str], bool] = lambda _: False
) -> str:
    """Run the program in a pseudo-terminal and return all it showed; press Ctrl-C once `when` holds of that."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    process = subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env={name: value for name, value in environment(TERM="xterm-256color").items() if name != "COLUMNS"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    shown, pressed, deadline = b"", False, time.monotonic() + 300
    with contextlib.suppress(OSError):  # how a pseudo-terminal reports that its other end is closed
        while chunk := os.read(leader, 65536):
            shown += chunk
            if not pressed and when(shown.decode(errors="replace")):
                process.send_signal(signal.SIGINT)
                pressed = True
            assert time.monotonic() < deadline
    os.close(leader)
    process.wait()
    return ESCAPE.sub("", shown.decode()).replace("\r\n", "\n")


def console(width: int) -> Console:
    """A terminal that keeps what it shows."""
    return Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, markup=False, emoji=False)


def shown_in(terminal: Console) -> str:
    """What the terminal showed."""
    assert isinstance(terminal.file, io.StringIO)
    return ESCAPE.sub("", terminal.file.getvalue())


def running(number: int, reported: dict[int, float]) -> FrozenTrial:
    """A running trial that searches five widths."""
    keys = [f"{MODEL}.block{group}.channels.{index}" for group in (1, 2) for index in range(2 + group // 2)]
    trial = create_trial(
        state=TrialState.RUNNING,
        params=dict.fromkeys(keys, 12),
        distributions=dict.fromkeys(keys, IntDistribution(1, 20)),
        user_attrs={"parameters": 9876},
        intermediate_values=reported,
    )
    trial.number = number
    return trial


# -- lines ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.from_regex(r"\A[a-z=.,0-9%]{1,30}\Z"), min_size=1), st.integers(1, 100))
def test_wrapping_breaks_no_word(words: list[str], width: int) -> None:
    """Wrapped text has the same words, and no line longer than the width but for a longer word or a kept pair."""
    lines = wrapped(" ".join(words), width, "  ").splitlines()
    assert " ".join(" ".join(lines).split()) == " ".join(words)


def test_a_number_stays_with_its_unit() -> None:
    """A line does not end between a number and its unit, or between a trial and its number."""
    text = "best 97.60 % in trial 31 with 9,890 parameters of 500 images, seed 1, 4 min"
    for width in range(10, 80):
        for line in wrapped(text, width).splitlines():
            assert not re.match(r"%|min|parameters|images", line), line
            assert not re.search(r"(trial|seed)$", line), line


@pytest.mark.parametrize("width", [20, 40, *WIDTHS])
def test_a_status_line_breaks_between_phrases_alone(width: int) -> None:
    """Phrases that do not fit on one line go on the next."""
    phrases = ["7 of 24", "22 rejected", "best 97.60 %, 1.40 short", "1:52, ~3 min left"]
    lines = joined(phrases, width).splitlines()
    assert " · ".join(lines) == " · ".join(phrases)
    assert all(len(line) <= max(width, 24) for line in lines)
    assert (len(lines) == 1) == (width >= 70)


# -- the table of running trials -----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [20, 30, 40, *WIDTHS])
def test_the_live_table_cuts_no_value(width: int) -> None:
    """Every value is whole or left out with an ellipsis; columns are left out where there is no room for them."""
    terminal = console(width)
    trials = [running(3, {1: 0.5, 2: 0.976}), running(4, {})]
    terminal.print(live_table(trials, width, epochs=4, is_accuracy=True))
    heading, first, second = shown_in(terminal).splitlines()
    assert "epoch" in heading
    assert ("parameters" in heading) == (width >= 60)
    assert re.match(r" +3 +2/4 +97\.60 %", first)
    assert second.split()[:2] == ["4", "0/4"]
    for line in (heading, first, second):
        assert len(line.rstrip()) <= width
    values = first.partition("%")[2].split()
    assert set(values) <= {"9,876", "block1=12,12", "block2=12,12,12", "…"}
    assert ("block2=12,12,12" in values) == (width >= 80)


def test_another_applications_values_are_no_percentages() -> None:
    """Without accuracies and parameters, the columns of both are absent."""
    trial = running(0, {3: 12.5})
    trial.user_attrs = {}
    terminal = console(80)
    terminal.print(live_table([trial], 80, epochs=None, is_accuracy=False))
    heading, row = shown_in(terminal).splitlines()
    assert heading.split() == ["trial", "step", "value", "with"]
    assert row.split()[:3] == ["0", "3", "12.5"]


# -- the end of a study --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
def test_the_end_of_a_study_begins_with_its_headline(width: int, tmp_path: Path) -> None:
    """Sentence, details, best values, then each command as one line that only the terminal wraps."""
    study = optuna.create_study(direction="maximize")
    for index, value in enumerate((0.95, 0.976)):
        trial = running(index, {1: value})
        trial.state, trial.values, trial.datetime_complete = TrialState.COMPLETE, [value], trial.datetime_start
        study.add_trial(trial)
    base = {"target": 0.99, "seed": 1, "data": {"name": "mnist5k", "validation": "split", "validation_size": 500}}
    arguments = ["search=card", *(f"model.groups.block{number}.dropout=0.1" for number in range(9))]
    headline = study_headline(
        study.trials,
        StudyDirection.MAXIMIZE,
        folder=None,
        search={"base": base, "fixed": [], "space": {}, "grid": False},
        sweep={"hydra": {"sweeper": {"n_trials": 2}}},
        arguments=arguments,
    )
    terminal = console(width)
    store = TrialStore(study, Space(distributions={}, template=(), grid=None), max_retry=1)
    progress = StudyProgress(store, name="s", total=2, folder=tmp_path, console=terminal)
    progress.show_end(headline, "", elsewhere="Weights are elsewhere.")
    lines = shown_in(terminal).splitlines()
    assert lines[:2] == ["", "Target missed by 1.40 points."]
    assert "best: trial 1, block1=12,12 block2=12,12,12" in lines
    assert "Weights are elsewhere." in lines
    assert " ".join(lines[2 : lines.index("best: trial 1, block1=12,12 block2=12,12,12")]).startswith(headline.details)
    for label in ("more seeds", "go on"):
        line = lines[lines.index(f"{label}:") + 1]
        assert line.startswith("python -m sweeper -m ")
        assert len(line) > 100
    others = [line for line in lines if not line.startswith("python")]
    assert max(map(len, others)) <= width


# -- inspect -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("model", ["notebook", "deep"])
def test_inspect_shows_whole_cells(width: int, model: str) -> None:
    """A narrow terminal has fewer columns and says which are missing; no name or number is cut off."""
    conf = compose([f"model={model}"])
    terminal = console(width)
    network_table.show(terminal, conf, analyze(conf))
    shown = shown_in(terminal)
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    words = shown.split()
    for cells in network_table.layer_rows(analyze(conf)):
        assert cells[0] in words
        assert cells[3] == "" or cells[3] in words
    missing = [title for title in network_table.DROPPED if title not in shown.splitlines()[1].split()]
    assert bool(missing) == ("In a wider terminal also: " in shown)
    assert ("jump" in missing) == (width < 140)


def test_a_long_operation_takes_two_lines_before_a_column_goes() -> None:
    """At 80 columns separable units keep MACs and receptive field, and a part such as ``+ input`` stays on one line."""
    unit = ["model.conv=separable", "model.residual=true", "model.squeeze_excite=4", "model.activation=prelu"]
    terminal = console(80)
    network_table.show(terminal, conf := compose(["model=deep", *unit]), analyze(conf))
    shown = shown_in(terminal)
    assert shown.splitlines()[1].split() == ["layer", "operation", "output", "params", "MACs", "RF"]
    assert shown.count("+ input") == 7
    assert max(map(len, shown.splitlines())) <= 80


def test_the_time_left_counts_validation() -> None:
    """Where validation takes most of an epoch, the time left does not count training alone."""
    console = Console(file=io.StringIO(), force_terminal=True, width=140)
    conf = compose(["data=mnist5k", "training.epochs=101"])
    splits: Any = SimpleNamespace(train=range(100), validation=range(3900), validation_is_test=False)
    metrics: Any = {"train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5, "lr": 0.1}
    with RunProgress(console) as progress:
        progress.on_start(conf, analyze(conf), splits, Path("run"))
        progress.on_epoch(EpochRecord(epoch=1, seconds=0.6, images_per_second=1000.0, **metrics))
        progress.on_batch(
            BatchProgress(epoch=2, images=100, images_total=100, loss=1.0, accuracy=0.5, images_per_second=1000.0)
        )
        assert "~60 s left" in progress._progress.tasks[0].fields["status"]  # 99 trainings, 100 validations


# -- real terminals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, *(pytest.param(width, marks=pytest.mark.slow) for width in (80, 140))])
def test_a_run_in_a_terminal(width: int, tmp_path: Path) -> None:
    """The box holds the result, its title says it; commands stand below it, and no bar claims 0 % at 0 images/s."""
    shown = in_terminal([*TINY, "training.epochs=2", "hydra.run.dir=run"], tmp_path, width)
    assert re.search(r"╭─ Target missed by \d+\.\d\d points\. ─", shown)
    assert "run it again:\npython -m sweeper reproduce run\n" in shown
    assert re.search(r"\nnext:\npython -m sweeper data=mnist5k .*\n", shown)
    assert "report: run/report.md\n" in shown
    assert " 0 %" not in shown
    assert " 0 images/s" not in shown
    assert "% after training" in re.sub(r"[\s│]+", " ", shown)  # the network has no dropout
    assert "dropout" not in shown
    box = [line for line in shown.splitlines() if line.startswith("│")]
    assert box
    assert all(line.endswith("│") and len(line) <= width for line in box)
    assert not any("python" in line for line in box)
    table = [line for line in shown.splitlines() if re.match(r" +\d/2 ", line) or " val acc" in line]
    assert len(table) >= 3
    assert all(len(line) <= width for line in table)
    assert ("images/s" in table[0]) == (width >= 80)


@pytest.mark.parametrize("width", [80, *(pytest.param(width, marks=pytest.mark.slow) for width in (60, 140))])
def test_a_search_in_a_terminal_that_is_interrupted(width: int, tmp_path: Path) -> None:
    """While it runs, a table; after Ctrl-C, where it stopped and the command that goes on, on one line."""
    arguments = ["-m", "search=card", *TINY, "training.epochs=400", "hydra.sweeper.n_jobs=2"]
    total, name = "hydra.sweeper.n_trials=24", "hydra.sweeper.study_name=s"
    shown = in_terminal([*arguments, total, name], tmp_path, width, when=lambda text: bool(re.search(r"\d/400", text)))
    assert re.search(r"0 of 24( · \d+ rejected)? · starting workers", shown)
    assert re.search(r"\d+/400 +\d+\.\d\d %", shown)
    assert "Interrupted at 0 of 24 trials, none completed.\n" in shown
    assert f"\ngo on:\npython -m sweeper {' '.join(arguments)} {total} {name}\n" in shown
    assert "report: outputs/studies/s/report.html\n" in shown
    cut = [line for line in shown.splitlines() if "block" in line and "python" not in line]
    assert not any(re.search(r"block\d=?$|[,=]$", line.rstrip()) for line in cut)
