"""Command lines drawn at random, valid, invalid and hostile: each ends in what it says, or in one clear line.

``python -m tests.fuzz --count 5000 --seed 1`` tries more of them.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from .fuzz.command_lines import CommandLine, command_lines
from .fuzz.oracles import faults
from .fuzz.running import Outcome, run_as_process, run_in_process
from .fuzz.trying import describe, prepare

Run = Callable[[CommandLine, Path, float], Outcome]
SEED = 16
LIMIT = 120.0
"""Seconds for one line, on a machine with much else to do."""


def _faults(run: Run, folder: Path, first: int, count: int) -> list[str]:
    """Every fault of these lines of the seed, with the command and how to try it again."""
    prepare(folder)
    found = []
    for line in list(command_lines(SEED, first + count))[first:]:
        outcome = run(line, folder, LIMIT)
        found += [f"{kind}: {details}\n    {describe(line, outcome)}" for kind, details in faults(outcome)]
    return found


def test_any_command_line_ends_in_what_it_says_or_in_one_line(tmp_path: Path) -> None:
    """25 lines in this process: no traceback, no file left, no other meaning than what was typed."""
    assert _faults(run_in_process, tmp_path, 0, 25) == []


@pytest.mark.slow
def test_many_command_lines(tmp_path: Path) -> None:
    """415 more."""
    assert _faults(run_in_process, tmp_path, 25, 415) == []


@pytest.mark.slow
def test_many_commands(tmp_path: Path) -> None:
    """60 more, each as a command of its own."""
    assert _faults(run_as_process, tmp_path, 440, 60) == []
