"""The folder that command lines are tried in, and how one is described so that it can be tried again."""

import contextlib
import shlex
from pathlib import Path

from tests.studies import make_journal

from .command_lines import CommandLine
from .running import Outcome


def prepare(folder: Path) -> None:
    """Make a working folder with a study called own, an empty run, and a file that is neither."""
    with contextlib.chdir(folder):
        make_journal("own")
        Path("outputs/studies/own/0").mkdir()
        Path("outputs/runs/one").mkdir(parents=True)
        Path("file.txt").write_text("nothing")


def describe(line: CommandLine, outcome: Outcome) -> str:
    """The command, and how to try it again."""
    words = [word if len(word) < 300 else f"{word[:100]}...({len(word)} characters)" for word in outcome.arguments]
    again = f"python -m tests.fuzz --seed {line.seed} --only {line.number}"
    return f"python -m sweeper {shlex.join(words)!r}  # {again}"
