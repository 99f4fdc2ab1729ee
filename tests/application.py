"""What tests of other Hydra applications share: those of tests/applications, run in this process."""

import re
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeper.search import constraints

from .processes import CHECKOUT, Completed

Application = Callable[..., Completed]
STUDY = ["-m", "hydra/sweeper=study", "hydra.sweeper.n_jobs=1"]


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Application:
    """Runs an application in this process, which saves the seconds a new one takes to import Optuna."""
    shutil.copytree(CHECKOUT / "tests" / "applications", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constraints, "_CONSTRAINTS", {})

    def run(name: str, *arguments: str) -> Completed:
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        try:
            runpy.run_path(f"{name}.py", run_name="__main__")
            status = 0
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        captured = capsys.readouterr()
        return Completed([name, *arguments], status, captured.out, captured.err)

    return run


def text_of(page: Path) -> str:
    """What a person reads on a page."""
    without_code = re.sub(r"<(script|style).*?</\1>", "", page.read_text(), flags=re.DOTALL)
    return re.sub(r"<[^>]+>", " ", without_code)
