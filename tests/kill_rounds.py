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
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from optuna.trial import TrialState

from sweeper.study.attributes import DEATHS
from sweeper.study.retries import MAX_DEATHS
from sweeper.study.summary import state_of

from .kill_round import Round, check_files, check_orphans, check_said, lines_of
from .postgresql import Server, installed_programs

WHATS: Final = ("coordinator", "worker", "database")
DEFECTS: Final = ("lost", "doubled", "orphans", "half-written", "traceback", "status", "silent", "count")
MAX_RUNS: Final = 8


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
    _, err = one.said()
    if process.returncode == 1 and not one.trials() and err.count("\n") == 1:
        one.story.append("it had not been reached before: one line")  # the same command goes on
    else:
        check_said(one, process.returncode, ())
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
    started = Counter(line for line in lines_of(one.folder / "log") if line.startswith("start"))
    again = sum(started.values()) - len(started)
    retried = sum(state_of(trial) == "retried" for trial in trials)
    if twice or again > retried:
        one.note("doubled", f"{twice} points twice; {again} jobs again for {retried} killed")


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
    if any(counts[defect] for counts in found.values() for defect in DEFECTS):
        print(f"the files of the rounds with a defect are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
