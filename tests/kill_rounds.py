"""Kills real searches at random moments, and counts what that cost: ``python -m tests.kill_rounds --rounds 200 --seed 1``.

A round starts a search with two workers, kills -9 its coordinator, a worker or its database at a seeded moment, types the
same command until it completes, and compares what is there with what was there.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

from sweeper.errors import StudyError
from sweeper.reading.storage_reader import StorageReader
from sweeper.study.attributes import DEATHS
from sweeper.study.retries import MAX_DEATHS
from sweeper.study.storage import journal_url
from sweeper.study.summary import state_of

from .postgresql import Server, installed_programs
from .processes import command, environment
from .studies import TINY

WHATS: Final = ("coordinator", "worker", "database")
PHASES: Final = ("start-up", "opening", "asking", "training", "telling", "ending")
DEFECTS: Final = ("lost", "doubled", "orphans", "half-written", "traceback", "status", "silent", "count")
MARK: Final = "KILL_ROUND"
"""The environment variable by which a round knows its processes."""
ORPHAN_SECONDS: Final = 5.0
MAX_RUNS: Final = 8
APPLICATION: Final = """
import os, time
import hydra
import sweeper

def say(text):
    with open(os.environ["KILL_ROUND_LOG"], "a") as log:
        log.write(text + "\\n")

@hydra.main(config_path=None, config_name=None, version_base=None)
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
            sweep.append(f"hydra.sweeper.storage='{self.storage}'")
        if self.is_cnn:
            search = ["-m", "search=dropout_lr", *TINY, "training.epochs=2", "hydra.sweeper.stop_at_target=false"]
            return [*command(*search), "hydra/sweeper/pruner=none", *sweep]
        search = ["-m", "hydra/sweeper=study", "+x=interval(0,1)", f"+seconds={self.seconds}"]
        return [sys.executable, "app.py", *search, *sweep]

    def start(self) -> subprocess.Popen[bytes]:
        """Type the command."""
        variables = {MARK: str(self.folder), "KILL_ROUND_LOG": str(self.folder / "log"), "OMP_NUM_THREADS": "1"}
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
        return [pid for pid, environ in _environs() if mark in environ.split(b"\0")]

    def workers(self) -> list[int]:
        """The workers that live."""
        return [pid for pid in self.processes() if b"spawn_main" in _command_line(pid)]

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


def kill_coordinator(one: Round) -> dict[int, float | None]:
    """Kill the coordinator up to three times; return the values that were there after the last kill."""
    before: dict[int, float | None] = {}
    for _ in range(one.dice.choice((1, 1, 1, 2, 3))):
        process = one.start()
        phase = one.await_moment(process)
        if process.poll() is not None:
            one.story.append(f"{phase}: over before")
            check_said(one, process.returncode, ())
            break
        process.kill()
        process.wait()
        check_orphans(one)
        check_files(one)
        trials = one.trials()
        running = [trial.number for trial in trials if trial.state is TrialState.RUNNING]
        before |= {trial.number: trial.value for trial in trials if trial.state is TrialState.COMPLETE}
        one.story.append(f"killed in {phase}: {len(before)} done, running {running}")
    return before


def kill_worker(one: Round) -> dict[int, float | None]:
    """Kill up to four workers of one search while it runs."""
    process = one.start()
    for _ in range(one.dice.choice((1, 2, 3, 4))):
        phase = one.await_moment(process)
        while not (workers := one.workers()) and process.poll() is None:
            time.sleep(0.002)
        if workers and process.poll() is None:
            try:
                os.kill(one.dice.choice(workers), signal.SIGKILL)
            except ProcessLookupError:
                continue
            one.story.append(f"killed a worker in {phase}")
    process.wait(timeout=300)
    trials = one.trials()
    lines = [
        f"trial {trial.number} failed, its point is tried again: " for trial in trials if state_of(trial) == "retried"
    ]
    check_said(one, process.returncode, lines)
    check_orphans(one)
    return {trial.number: trial.value for trial in trials if trial.state is TrialState.COMPLETE}


def kill_database(one: Round, server: Server) -> dict[int, float | None]:
    """Kill the server of a search, once or twice, and start it again after a while."""
    process = one.start()
    before: dict[int, float | None] = {}
    for _ in range(one.dice.choice((1, 1, 2))):
        phase = one.await_moment(process)
        server.kill()
        time.sleep(one.dice.choice((0, 0.5, 2.0)))
        server.start()
        values = {trial.number: trial.value for trial in one.trials() if trial.state is TrialState.COMPLETE}
        before |= values
        one.story.append(f"killed in {phase}: {len(values)} done")
    process.wait(timeout=600)
    out, err = one.said()
    if process.returncode == 1 and not one.trials() and err.count("\n") == 1:
        one.story.append("it had not been reached before: one line")  # the same command goes on
    else:
        check_said(one, process.returncode, ())
    del out
    check_orphans(one)
    return before


def complete(one: Round, before: dict[int, float | None]) -> None:
    """Type the same command until it completes, and check what is there then."""
    for _ in range(MAX_RUNS):
        running = [trial.number for trial in one.trials() if trial.state is TrialState.RUNNING]
        process = one.start()
        process.wait(timeout=600)
        check_said(one, process.returncode, [f"trial {number} lost its process: queued again" for number in running])
        if process.returncode == 0:
            break
    check_orphans(one)
    check_files(one)
    trials = one.trials()
    done = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    # Three kills in a row at the last point look like that point's fault: the rule of `study.retries`.
    blamed = sum(state_of(t) == "failed" and t.user_attrs.get(DEATHS) == MAX_DEATHS - 1 for t in trials)
    one.found["blamed"] += blamed
    if len(done) + blamed != one.total or any(not trial.state.is_finished() for trial in trials):
        one.note("count", f"{Counter(state_of(trial) for trial in trials)}, not {one.total} complete")
    for number, value in before.items():
        if trials[number].state is not TrialState.COMPLETE or trials[number].value != value:
            one.note("lost", f"trial {number} had {value}")
    points = Counter(json.dumps(trial.params) for trial in done)
    # A sampler may propose the network's own values again; such a trial is not trained.
    twice = sum(points.values()) - len(points)
    started = Counter(line for line in _lines(one.folder / "log") if line.startswith("start"))
    again = sum(started.values()) - len(started)
    retried = sum(state_of(trial) == "retried" for trial in trials)
    if twice or again > retried:
        one.note("doubled", f"{twice} points twice; {again} jobs again for {retried} killed")


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
        one.note("orphans", _command_line(pid).decode(errors="replace")[-200:])
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


def _environs() -> Iterator[tuple[int, bytes]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield int(folder.name), (folder / "environ").read_bytes()
        except OSError:
            continue


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def run_rounds(
    rounds: int, seed: int, whats: Sequence[str], folder: Path, say: Callable[[str], None] = print
) -> dict[str, Counter[str]]:
    """Play the rounds, each thing to kill in turn; return by what was killed the number of rounds and of each defect."""
    found: dict[str, Counter[str]] = {what: Counter() for what in whats}
    with ExitStack() as ending:
        server: Server | None = None
        for number in range(rounds):
            what = whats[number % len(whats)]
            dice = random.Random(f"{seed}-{number}")  # noqa: S311 - which moments are tried
            storage, place = None, folder / f"{number}"
            is_cnn = dice.random() < 0.1
            if what == "database":
                if server is None:
                    (folder / "server").mkdir()
                    server = Server(folder / "server", installed_programs())
                    server.start()
                    ending.callback(server.stop)
                storage = server.url
            elif dice.random() < 0.25:
                storage = f"sqlite:///{place}/studies.db"
            one = Round(number, what, is_cnn, place, storage, dice)
            if what == "database":
                assert server is not None
                before = kill_database(one, server)
            else:
                before = kill_coordinator(one) if what == "coordinator" else kill_worker(one)
            complete(one, before)
            found[what] += one.found
            found[what]["rounds"] += 1
            kind = "network" if is_cnn else "application"
            place_of = "a journal" if storage is None else storage.partition(":")[0]
            say(f"{number} {what}, {kind} in {place_of}: {'; '.join(one.story)}")
            if not any(one.found[defect] for defect in DEFECTS):
                shutil.rmtree(place)
    return found


def table(found: dict[str, Counter[str]]) -> str:
    """The counts as a table in Markdown."""
    heads = ("rounds", "blamed", *DEFECTS)
    rows = [[what, *(str(counts[head]) for head in heads)] for what, counts in found.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in [["killed", *heads], ["---"] * (len(heads) + 1), *rows])


def main() -> int:
    """Play the rounds and print the table; return 1 if there is a defect."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--what", choices=WHATS, action="append")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kill-rounds-"))
    found = run_rounds(
        options.rounds, options.seed, options.what or WHATS, folder, lambda line: print(line, flush=True)
    )
    print(table(found))
    return int(any(counts[defect] for counts in found.values() for defect in DEFECTS))


if __name__ == "__main__":
    sys.exit(main())
