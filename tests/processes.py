"""What tests of the program as a process share: its command line, its environment, the types of their fixtures."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
Completed = subprocess.CompletedProcess[str]
Sweeper = Callable[..., Completed]
Start = Callable[..., subprocess.Popen[str]]


def command(*arguments: str) -> list[str]:
    """The command line ``python -m sweeper`` with these arguments."""
    return [sys.executable, "-m", "sweeper", *arguments]


def environment(**variables: str) -> dict[str, str]:
    """This process's environment, in which the checkout can be imported from any folder."""
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), **variables}
