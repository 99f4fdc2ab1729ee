"""Another Hydra application on several hosts, which share a PostgreSQL server and nothing else."""

import re
import shutil
from pathlib import Path

import pytest

from sweeper.cli.report import report

from .application import STUDY, Application
from .postgresql import PASSWORD

SEARCH = [
    *(
        *STUDY,
        "hydra.sweeper.storage=${oc.env:STUDY_URL}",
        "hydra.sweeper.study_name=abroad",
        "hydra.sweeper.n_trials=3",
    ),
    *("lr=tag(log,interval(1e-4,1))", "depth=2", "+data.root=/images/of/that/host"),
]


def test_every_host_has_every_trials_config_and_the_best(
    application: Application, postgresql: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A host that ran no trial, and one that only looks: they say where the rest is. What its config says stays as it is."""
    monkeypatch.setenv("STUDY_URL", postgresql)
    first = application("train", *SEARCH)
    assert (first.returncode, first.stderr) == (0, "")
    assert "elsewhere" not in first.stdout
    there = Path("outputs").rename("outputs-of-another-host") / "studies" / "abroad"
    best = (there / "best.yaml").read_text()

    second = application("train", *SEARCH)
    assert (second.returncode, second.stderr) == (0, "")
    where = rf"Weights and figures are elsewhere: of trials 0, 1, 2 in [^ ]+:{tmp_path}/outputs/studies/abroad\."
    assert re.search(where, second.stdout)
    here = Path("outputs/studies/abroad")
    assert (here / "best" / "elsewhere.txt").exists()
    for number in range(3):
        for name in ("config.yaml", "overrides.yaml"):
            saved = Path(str(number), ".hydra", name)
            assert (here / saved).read_text() == (there / saved).read_text()
    assert (here / "best.yaml").read_text() == best
    assert "/images/of/that/host" in best

    shutil.rmtree("outputs")
    assert report(["abroad", "--storage", "${oc.env:STUDY_URL}"]) == 0
    assert (here / "best.yaml").read_text() == best
    assert (here / "best" / "elsewhere.txt").exists()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path


def test_files_that_are_no_text_cost_themselves_alone(
    application: Application, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application may write a result.json of its own, whatever it holds."""
    monkeypatch.setenv("STUDY_URL", postgresql)
    script = Path("train.py").read_text().replace('Path("weights.txt").write_text(str(loss))', "_leave_files()")
    leaving = (
        "from hydra.core.hydra_config import HydraConfig\n\n\ndef _leave_files():\n"
        "    folder = Path(HydraConfig.get().runtime.output_dir)\n"
        '    (folder / "result.json").write_bytes(b"\\xff")\n    (folder / "metrics.jsonl").write_text("a\\0b")\n\n\n'
    )
    Path("train.py").write_text(script.replace("@sweeper.constraint", f"{leaving}@sweeper.constraint"))
    search = [line.replace("=abroad", "=binary") for line in SEARCH]
    assert application("train", *search).returncode == 0
    shutil.rmtree("outputs")
    second = application("train", *search)
    assert (second.returncode, second.stderr) == (0, "")
    assert "other hosts will lack" not in second.stdout
    files = {path.name for path in Path("outputs/studies/binary/1").rglob("*") if path.is_file()}
    assert files == {"config.yaml", "overrides.yaml", "elsewhere.txt"}
