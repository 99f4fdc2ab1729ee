"""What tests of studies share: searches that are over at once, and studies as a search leaves them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial

from sweeper.dashboard.read_only_storage import ReadOnlyStorage
from sweeper.reading.locations import find_locations
from sweeper.study.storage import journal_url, open_storage

from .processes import Completed

Call = Callable[..., Completed]
SAVED = Path(__file__).parent / "saved"
"""A run and a study that an earlier version saved."""
# A hundred training images, so that an epoch takes a tenth of a second; one process, which pytest has already.
TINY = ["data=mnist5k", "model=compact", "training.epochs=1", "data.validation_size=3900", "training.batch_size=50"]
LONG = ["-m", "search=dropout_lr", *TINY, "training.epochs=30", "hydra.sweeper.study_name=long"]
HERE = ["hydra.sweeper.n_jobs=1"]
PRUNING = [
    *("-m", *TINY, "data.validation_size=2500", "training.epochs=4", "optimizer.lr=0.1,0.09,0.08,0.07,1e-7,1e-8"),
    *("hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=2", "optimizer.nesterov=false"),
]


def only_study(tmp_path: Path) -> Path:
    """The folder of the one study there."""
    (folder,) = (tmp_path / "outputs" / "studies").iterdir()
    return folder


def trials_of(folder: Path) -> list[FrozenTrial]:
    """The trials in a study's journal."""
    storage = open_storage(journal_url(folder / "journal.log"))
    return optuna.load_study(study_name=folder.name, storage=storage).trials


def wait_for(found: Callable[[], bool]) -> None:
    """Wait until it is so; a test fails rather than waits for ever.

    What another process makes may be there in part, or be gone by now: a file of a listing, a study of a journal.
    """
    deadline = time.monotonic() + 300
    while not _is_found(found):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_found(found: Callable[[], bool]) -> bool:
    try:
        return found()
    except (FileNotFoundError, KeyError):
        return False


def make_journal(name: str, values: tuple[float, ...] = (0.5, 0.9), study: str | None = None) -> Path:
    """A study's folder with a journal of finished trials, as a search leaves it."""
    folder = Path("outputs/studies") / name
    created = optuna.create_study(
        study_name=study or name, storage=open_storage(journal_url(folder / "journal.log")), direction="maximize"
    )
    for value in values:
        trial = created.ask()
        trial.suggest_float("optimizer.lr", 0, 1)
        created.tell(trial, value)
    (folder / "search.yaml").write_text(f"base: {{target: 0.99}}\nspace: {{}}\nsha256: {name}\n")
    return folder


def make_database(name: str = "lite", *, named: str = "sqlite:///my.db") -> tuple[Path, optuna.Study]:
    """A study in the database my.db, whose storage is `named` in its folder as a search names it."""
    folder = Path("outputs/studies") / name
    folder.mkdir(parents=True)
    storage = open_storage("sqlite:///my.db")
    study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
    study.tell(study.ask(), 0.7)
    sweeper = {"storage": named, "study_name": name}
    hydra = {"sweeper": sweeper, "runtime": {"cwd": str(Path.cwd())}}
    (folder / "multirun.yaml").write_text(yaml.safe_dump({"hydra": hydra}))
    return folder, study


def close(study: optuna.Study) -> None:
    """Let go of a database's connections."""
    backend: Any = study._storage
    (getattr(backend, "_backend", backend)).engine.dispose()


def storage_of(warned: list[str], study: str | None = None, storage: str | None = None) -> ReadOnlyStorage:
    """The studies below the working directory, or those named; warnings are added to `warned`."""
    return ReadOnlyStorage(lambda: find_locations(study, storage, warned.append), warned.append)


def modules_imported(stderr: str) -> set[str]:
    """The modules that a process with PYTHONPROFILEIMPORTTIME=1 imported, from its stderr."""
    return {line.rpartition("|")[2].strip() for line in stderr.splitlines() if line.startswith("import time:")}
