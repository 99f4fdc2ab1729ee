"""What users of other Hydra applications meet: typed configs, several values, warm starts, comparisons, Ctrl-C."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from sweeper.cli.report import report
from sweeper.errors import RunFolderError
from sweeper.reading.others import read_other

from .application import STUDY, Application, text_of
from .studies import only_study, trials_of

TRAINING = [*STUDY, "lr=tag(log,interval(1e-4,1))", "depth=range(1,5)"]
TYPED = ["-m", "hydra/sweeper=study", "hydra.sweeper.n_jobs=1", "db=mysql,postgres", "rows=3"]


def test_a_typed_application_in_sqlite_is_read_by_other_commands(application: Application, tmp_path: Path) -> None:
    """Paths and enums of its config hide neither its storage from `report` nor its settings from the printed command."""
    named = [*TYPED, "hydra.sweeper.storage=sqlite:///s.db", "hydra.sweeper.study_name=typed"]
    done = application("typed", *named, "cache=NONE,ALL", "hydra.job.chdir=true")
    assert (done.returncode, done.stderr) == (0, "")
    assert "run it again:\npython typed.py rows=3 hydra.job.chdir=true db=postgres cache=ALL\n" in done.stdout
    assert (tmp_path / "outputs/studies/typed/best/query.txt").read_text() == "postgres.sock"
    assert read_other("typed").name == "typed"
    with pytest.raises(
        RunFolderError, match=r"one of sweeper's own runs, but it does not: .* give the study to report"
    ):
        report(["outputs/studies/typed/best"])


@pytest.mark.parametrize("wrong", ["db=mysql,oracle", "cache=choice(NONE,SOME)"])
def test_an_option_that_does_not_exist_is_told_before_any_job_runs(
    application: Application, tmp_path: Path, wrong: str
) -> None:
    """A typing error in the last value must not end a search halfway; no folder is left."""
    done = application("typed", *STUDY, "rows=3", wrong, "hydra.sweeper.n_trials=9")
    assert done.returncode == 1
    assert "oracle" in done.stderr or "SOME" in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_a_warm_start_needs_the_same_application_and_config(application: Application) -> None:
    """What a config file sets elsewhere is another measurement, though nothing else was typed."""
    search = [
        *STUDY,
        "x=interval(0,1)",
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.params=null",
        "hydra.sweeper.sampler.seed=1",
    ]
    assert application("sphere", *search, "hydra.sweeper.study_name=first").returncode == 0
    warm = [*search, "hydra.sweeper.warm_start=first"]
    same = application("sphere", *warm, "hydra.sweeper.study_name=same")
    assert "warm start: 2 of 2 completed trials of study first fit\n" in same.stdout
    config = Path("sphere.yaml")
    config.write_text(config.read_text().replace("z: 1", "z: 2"))
    changed = application("sphere", *warm, "hydra.sweeper.study_name=changed")
    assert "none does (2: z is 1 there and 2 here)" in changed.stderr
    assert not Path("outputs/studies/changed").exists()
    shutil.copy("sphere.py", "ball.py")
    other = application("ball", *warm, "hydra.sweeper.study_name=other")
    assert "the application is sphere there and ball here" in other.stderr


def test_an_interrupt_shows_no_traceback_and_stays_one(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The study has said how it ended; an application may still catch the interrupt, other errors print as before."""
    printed: list[object] = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: printed.append(error[1]))
    Path("stopped.py").write_text(
        "import hydra\n\n@hydra.main(config_path=None)\ndef main(cfg):\n    raise KeyboardInterrupt\n\nmain()\n"
    )
    with pytest.raises(KeyboardInterrupt) as caught:
        application("stopped", *STUDY, "+x=1,2")
    sys.excepthook(KeyboardInterrupt, caught.value, None)
    assert not printed
    other = KeyboardInterrupt()
    sys.excepthook(KeyboardInterrupt, other, None)
    assert printed == [other]


@pytest.mark.slow
def test_a_study_that_begins_anew_loses_no_reports(application: Application) -> None:
    """Joblib keeps its workers for the next sweep of a process, in which the old study has been deleted."""
    joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2"]
    grid = ["lr=0.01,0.1", "hydra.sweeper.study_name=anew"]
    for _ in range(2):
        shutil.rmtree("outputs", ignore_errors=True)
        assert application("train", "-m", "hydra/sweeper=study", *joblib, *grid).returncode == 0
        assert [len(trial.intermediate_values) for trial in trials_of(Path("outputs/studies/anew"))] == [3, 3]


def test_a_comparison_of_applications_speaks_of_steps(application: Application) -> None:
    """Neither epochs nor network sizes are words of other applications."""
    for name in ("one", "two"):
        assert (
            application("train", *TRAINING, "hydra.sweeper.n_trials=3", f"hydra.sweeper.study_name={name}").returncode
            == 0
        )
    assert report(["one", "two"]) == 0
    page = text_of(Path("outputs/comparison.html"))
    assert "Best so far by steps" in page
    assert not re.findall("epoch|accura|parameters", page)


def test_a_page_of_several_values_shows_each(application: Application, tmp_path: Path) -> None:
    """The table has a column for each value, and the headline says which trials are on the front."""
    done = application("binh_and_korn", *STUDY, "x=0,5", "y=0,3", "hydra.sweeper.params=null")
    assert "A front of 4 trials in 2 values: 0, 1, 2, 3.\n" in done.stdout
    page = text_of(only_study(tmp_path) / "report.html")
    assert "value 2" in page
    assert re.search(r"\b50\s+done", page)
