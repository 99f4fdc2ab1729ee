"""What tests of the program as a process share: its command line, its environment, the types of their fixtures."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
Completed = subprocess.CompletedProcess[str]
Sweeper = Callable[..., Completed]
Start = Callable[..., subprocess.Popen[str]]


def command(*arguments: str) -> list[str]:
    """The command line ``python -m sweeper`` with these arguments."""
    return [sys.executable, "-m", "sweeper", *arguments]


def started(ending: ExitStack, words: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a real process, killed if it still runs at the end."""
    process = subprocess.Popen(words, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ending.enter_context(process)
    ending.callback(process.kill)
    return process


def environment(**variables: str) -> dict[str, str]:
    """This process's environment, in which the checkout can be imported from any folder."""
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), **variables}
