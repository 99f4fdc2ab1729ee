"""One search that is killed: its command, a random moment of it, and the checks of what a kill leaves."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import optuna
import yaml
from optuna.trial import FrozenTrial

from sweeper.errors import StudyError
from sweeper.reading.storage_reader import StorageReader
from sweeper.study.storage import journal_url

from .processes import command, environment
from .studies import TINY

PHASES: Final = ("start-up", "opening", "asking", "training", "telling", "ending")
MARK: Final = "KILL_ROUND"
"""The environment variable by which a round knows its processes."""
ORPHAN_SECONDS: Final = 5.0
APPLICATION: Final = """
import os, time
import hydra
import sweeper

def say(text):
    with open(os.environ["KILL_ROUND_LOG"], "a") as log:
        log.write(text + "\\n")

@hydra.main(config_path=None, config_name=None)
def task(config):
    say(f"start {config.x!r}")
    for step in range(3):
        time.sleep(config.seconds / 3)
        sweeper.report(config.x + step, step)
    say(f"end {config.x!r}")
    return config.x ** 2

task()
"""


@dataclass
class Round:
    """One search in a folder of its own."""

    number: int
    what: str
    is_cnn: bool
    folder: Path
    storage: str | None
    """The storage's URL; None for a journal."""
    dice: random.Random
    found: Counter[str] = field(default_factory=Counter)
    """How often each defect was found."""
    story: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Write the application."""
        self.folder.mkdir(parents=True)
        (self.folder / "app.py").write_text(APPLICATION)
        self.total = 3 if self.is_cnn else 8
        self.study = self.folder / "outputs" / "studies" / self.name
        self.seconds = self.dice.choice((0.05, 0.3))

    @property
    def name(self) -> str:
        """The study's name."""
        return f"round{self.number}"

    @property
    def url(self) -> str:
        """The storage's URL."""
        return self.storage or journal_url(self.study / "journal.log")

    def words(self) -> list[str]:
        """The command line, always the same."""
        sweep = [
            f"hydra.sweeper.study_name={self.name}",
            f"hydra.sweeper.n_trials={self.total}",
            "hydra.sweeper.n_jobs=2",
        ]
        if self.storage is not None:
            # A typed URL holds no password.
            is_server = self.storage.startswith("postgresql")
            sweep.append(f"hydra.sweeper.storage={'${oc.env:STUDY_URL}' if is_server else self.storage}")
        if self.is_cnn:
            search = ["-m", "search=dropout_lr", *TINY, "training.epochs=2", "hydra.sweeper.stop_at_target=false"]
            return [*command(*search), "hydra/sweeper/pruner=none", *sweep]
        search = ["-m", "hydra/sweeper=study", "+x=interval(0,1)", f"+seconds={self.seconds}"]
        return [sys.executable, "app.py", *search, *sweep]

    def start(self) -> subprocess.Popen[bytes]:
        """Type the command."""
        variables = {MARK: str(self.folder), "KILL_ROUND_LOG": str(self.folder / "log"), "OMP_NUM_THREADS": "1"}
        variables |= {"STUDY_URL": self.url}
        number = len(list(self.folder.glob("out-*")))
        with (self.folder / f"out-{number}").open("wb") as out, (self.folder / f"err-{number}").open("wb") as err:
            return subprocess.Popen(self.words(), cwd=self.folder, env=environment(**variables), stdout=out, stderr=err)

    def said(self) -> tuple[str, str]:
        """Stdout and stderr of the last command."""
        number = len(list(self.folder.glob("out-*"))) - 1
        return (self.folder / f"out-{number}").read_text(), (self.folder / f"err-{number}").read_text()

    def counts(self) -> tuple[int, int]:
        """How many jobs have started and ended, in all commands."""
        if self.is_cnn:
            return len(list(self.study.glob("[0-9]*/metrics.jsonl"))), len(list(self.study.glob("[0-9]*/result.json")))
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        return sum(line.startswith("start") for line in lines), sum(line.startswith("end") for line in lines)

    def trials(self) -> list[FrozenTrial]:
        """The trials as they stand in the storage."""
        with StorageReader(self.url) as reader:
            try:
                return reader.read(lambda opened: optuna.load_study(study_name=self.name, storage=opened).trials)
            except (KeyError, StudyError):
                return []

    def processes(self) -> list[int]:
        """The processes of this round that live."""
        mark = f"{MARK}={self.folder}".encode()
        return [pid for pid, environ in environs() if mark in environ.split(b"\0")]

    def workers(self) -> list[int]:
        """The workers that live."""
        return [pid for pid in self.processes() if b"spawn_main" in command_line(pid)]

    def await_moment(self, process: subprocess.Popen[bytes]) -> str:
        """Wait for a random moment of the search; return its phase."""
        phase = self.dice.choice(PHASES)
        started, ended = self.counts()
        left = max(1, self.total - ended)
        nth = self.dice.randint(1, left)
        conditions: dict[str, tuple[Callable[[], bool], float]] = {
            "start-up": (lambda: True, 2.0),
            "opening": ((self.study / "search.yaml").exists, 0.3),
            "asking": (lambda: self.counts()[0] >= started + nth, 0.02),
            "training": (lambda: self.counts()[0] >= started + nth, 1.0 if self.is_cnn else self.seconds),
            "telling": (lambda: self.counts()[1] >= ended + nth, 0.1),
            "ending": (lambda: self.counts()[1] >= ended + left, 1.0),
        }
        condition, spread = conditions[phase]
        while process.poll() is None and not condition():
            time.sleep(0.002)
        time.sleep(self.dice.uniform(0, spread))
        return f"{phase} {nth}"

    def note(self, defect: str, text: str) -> None:
        """Count a defect."""
        self.found[defect] += 1
        self.story.append(f"{defect}: {text}")


def check_said(one: Round, status: int, lines: Sequence[str]) -> None:
    """Count tracebacks, a wrong exit status, and a line that was not said, or twice."""
    out, err = one.said()
    if "Traceback" in out + err:
        one.note("traceback", (out + err)[-1500:])
    if status != 0:
        one.note("status", f"{status}: {err[-500:]}")
    one.found["silent"] += (wrong := sum(out.count(line) != 1 for line in lines))
    if wrong:
        one.story.append(f"silent: {lines} in {out}")


def check_orphans(one: Round) -> None:
    """Count processes that live on, and end them."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while (left := one.processes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        one.note("orphans", command_line(pid).decode(errors="replace")[-200:])
        os.kill(pid, signal.SIGKILL)


def check_files(one: Round) -> None:
    """Count files that are half written. A journal and metrics may end in the middle of a line; nothing else may."""
    for path in one.study.rglob("*"):
        if path.suffix not in {".json", ".yaml"} or ".hydra" in path.parts or path.name.startswith("."):
            continue
        try:
            text = path.read_text()
            content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        except (ValueError, yaml.YAMLError) as error:
            one.note("half-written", f"{path}: {error}")
        else:
            if not content:
                one.note("half-written", f"{path} is empty")


def environs() -> Iterator[tuple[int, bytes]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield int(folder.name), (folder / "environ").read_bytes()
        except OSError:
            continue


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
