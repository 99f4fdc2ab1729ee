"""What tests of printed commands share: a folder with a difficult name, a config folder in it, and pasting into shells."""

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest

from .processes import CHECKOUT, Completed, environment
from .studies import TINY

SHELLS = [
    "bash",
    pytest.param("zsh", marks=pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")),
]
DIFFICULT = "it's [a] $b! =x"
"""A folder's name that a shell would not read as it is."""
CONFIGS = "~my 'conf' [1]"
"""The folder of configs of one's own, in the working directory."""
OWN = ["--config-dir", CONFIGS, "model=mine", *(word for word in TINY if word != "model=compact")]
"""The command line of a cheap run whose network is in `CONFIGS`."""


def make_configs(folder: Path) -> None:
    """Create a folder of configs with the network ``model=mine``."""
    models = folder / CONFIGS / "model"
    models.mkdir(parents=True)
    shutil.copy(CHECKOUT / "conf" / "model" / "compact.yaml", models / "mine.yaml")


def paste(command: str, shell: str, folder: Path) -> Completed:
    """Run a command as a user who pastes it into a shell in that folder, which knows no setting of the tests."""
    words = [shell, "--norc", "-c", command] if shell == "bash" else [shell, "-f", "-c", command]
    return subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, check=False)


def printed(output: str) -> dict[str, str]:
    """The commands in a terminal's output by their labels: each stands alone on the line below its label."""
    lines = output.splitlines()
    return {
        label.removesuffix(":"): command
        for label, command in itertools.pairwise(lines)
        if label.endswith(":") and command.startswith("python")
    }
