"""Fixtures shared by several tests: the program as a process, the program in this process, real MNIST."""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from sweeper.cli import main as cli
from sweeper.data import openings

from .application import application  # noqa: F401 - a fixture
from .browsed_pages import quiet, searched, studies  # noqa: F401 - fixtures
from .browser import visit  # noqa: F401 - likewise
from .postgresql import postgresql, server  # noqa: F401 - likewise
from .processes import Completed, Start, Sweeper, command, environment, started
from .ray_nodes import ray_cluster, two_nodes  # noqa: F401 - likewise
from .slurm import slurm  # noqa: F401 - likewise

# Hypothesis's deadline would be a timed assertion, which fails on a busy machine although the code is right.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

collect_ignore = ["applications"]
"""Programs, which run when they are imported: not to be searched for doctests."""

# Commands name the interpreter as the shell finds it: here it is the one that runs the tests.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])

# A shell's background jobs ignore SIGINT, and processes inherit that; tests interrupt processes that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what was imported: going through it again and again takes a tenth of all time."""
    gc.freeze()
    gc.set_threshold(10_000)


@pytest.fixture(autouse=True)
def _own_log_of_test_openings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test opens in this process is recorded in its own folder, not in the checkout."""
    monkeypatch.setattr(openings, "OUTPUTS", tmp_path / "outputs")


@pytest.fixture
def sweeper_process(tmp_path: Path) -> Sweeper:
    """Runs ``python -m sweeper`` as a process in an empty working directory."""

    def run(*arguments: str, **variables: str) -> Completed:
        return subprocess.run(
            command(*arguments),
            cwd=tmp_path,
            env=environment(**variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """``python -m sweeper`` started as a real process, killed if it still runs when the test ends."""
    with ExitStack() as ending:

        def start_process(*arguments: str, **variables: str) -> subprocess.Popen[str]:
            return started(ending, command(*arguments), cwd=tmp_path, env=environment(**variables))

        yield start_process


@pytest.fixture
def sweeper_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Completed]:
    """Runs the same command line in this process, which saves the two seconds a new one takes to import torch."""

    def run(*arguments: str) -> Completed:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # the program sets it; monkeypatch restores it
        monkeypatch.setattr(sys, "argv", ["sweeper", *arguments])
        try:
            status = cli.main()
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        captured = capsys.readouterr()
        return Completed(["sweeper", *arguments], status, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """A torchvision root with real MNIST, from SWEEPER_DATA; skips the test if there is none."""
    root = os.environ.get("SWEEPER_DATA")
    if not root or not (Path(root) / "MNIST" / "raw").is_dir():
        pytest.skip("SWEEPER_DATA must name a folder with MNIST/raw")
    return Path(root).resolve()
