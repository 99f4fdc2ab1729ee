"""Sweeps that fail or are refused: failing trials, other searches under a name, damaged journals, bad options."""

import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from sweeper.errors import StudyError
from sweeper.study.storage import journal_url, open_storage
from sweeper.study.storage_url import redacted

from .processes import environment
from .studies import (
    HERE,
    TINY,
    Call,
    only_study,
    trials_of,
)


def test_a_failing_trial_costs_itself(sweeper_call: Call, tmp_path: Path) -> None:
    """A diverging learning rate fails with its reason and leaves the rest of the grid alone.

    It is not tried again: the same config would diverge to the same bits.
    """
    values = ["optimizer.lr=0.1,1e30", "scheduler=constant", "augment=none", "training.epochs=3"]
    done = sweeper_call("-m", *TINY, *HERE, *values)
    assert done.returncode == 0, done.stderr
    states = [(trial.params["optimizer.lr"], trial.state) for trial in trials_of(only_study(tmp_path))]
    assert sorted(states, key=str) == [(0.1, TrialState.COMPLETE), (1e30, TrialState.FAIL)]
    assert all(
        "training loss must stay finite" in trial.user_attrs["failed"]
        for trial in trials_of(only_study(tmp_path))
        if trial.state is TrialState.FAIL
    )


def test_an_edited_search_is_refused(sweeper_call: Call, tmp_path: Path) -> None:
    """A search.yaml that differs from this command is refused with the difference, even if its hash was not edited."""
    arguments = ["-m", *TINY, *HERE, "model.dropout=0.05,0.1"]
    assert sweeper_call(*arguments).returncode == 0
    search = only_study(tmp_path) / "search.yaml"
    search.write_text(search.read_text().replace("seed: 1", "seed: 2"))
    done = sweeper_call(*arguments)
    assert done.returncode == 1
    assert "holds another search: seed is 2 there and 1 here" in done.stderr


def test_too_many_failures_end_the_study(sweeper_call: Call) -> None:
    """More failures than max_failure_rate allows of n_trials: one line, said once, exit 1."""
    values = ["optimizer.lr=1e30,1e31,1e32", "scheduler=constant", "augment=none", "training.epochs=3"]
    done = sweeper_call("-m", *TINY, *HERE, *values, "hydra.sweeper.max_failure_rate=0.1", "hydra.sweeper.max_retry=0")
    assert done.returncode == 1
    assert "at most 10 % of 3 trials may fail (hydra.sweeper.max_failure_rate), but 1 did" in done.stderr
    assert (done.stdout + done.stderr).count("may fail") == 1


BAD = {
    "hydra/sweeper/sampler=grid": "for every point once choose brute_force",
    "search=crd": "search has no option 'crd' (did you mean card?): it has architecture, card, dropout_lr, pareto, smallest, widths",
    "seed=3": "-m needs something to sweep: list values as in model.dropout=0.05,0.1, or choose a preset with search=NAME",
    "model.droput=0.1,0.2": "the config has no key 'model.droput' (did you mean model.dropout",
    "hydra.sweeper.n_trials=0": "hydra.sweeper.n_trials must be at least 1, but got 0",
    "hydra.sweeper.n_trials=abc": "hydra.sweeper.n_trials must be a whole number, but got abc",
    "hydra.sweeper.cost=size": "hydra.sweeper.cost must be parameters, macs or null, but got size",
    "+hydra.sweeper.n_trial=3": "hydra.sweeper has no option 'n_trial' (did you mean n_trials",
    "hydra.sweeper.dry_run=maybe": "hydra.sweeper.dry_run must be true or false, but got maybe",
    "hydra.sweeper.dry_run=2": "hydra.sweeper.dry_run must be true or false, but got 2",
    "hydra.sweeper.study_name=..": "hydra.sweeper.study_name must be letters, digits and . _ + - or spaces",
    "hydra.sweeper.study_name=a/b": "since it names a folder, but got 'a/b'",
    "model.dropout=0.3,0.4": "model.dropout must be swept once, but is swept twice: put all its values into one list",
    "model=compact,nope": "model has no option 'nope'",
    "model.groups.block1.channels.0=interval(4.5,8)": "takes whole numbers, but got an interval from 4.5 to 8.0",
    "hydra.sweeper.sampler.seed=abc": "hydra.sweeper.sampler.seed must be a whole number or null, but got abc",
    "+hydra.sweeper.sampler.nope=3": "unexpected keyword argument 'nope'",
    "hydra.sweeper.sampler._target_=os.system": "a config that os.system accepts, but it is not: Target 'os.system'",
    "+hydra.sweeper.pruner.nope=3": "hydra.sweeper.pruner must be a config that optuna.pruners.NopPruner accepts",
    "+hydra.sweeper.foo=1": "hydra.sweeper has no option 'foo': it has direction, storage, study_name, n_trials",
    "hydra.sweeper.n_jobs=0": "hydra.sweeper.n_jobs must be at least 1, but got 0",
    "hydra.sweeper.direction=up": "hydra.sweeper.direction must be maximize or minimize, or a list with one for each of several values, but got up",
    "hydra.sweeper.max_failure_rate=2": "hydra.sweeper.max_failure_rate must be in [0, 1], but got 2",
    "hydra.sweeper.storage=sqlite:////proc/no.db": "hydra.sweeper.storage must be the URL of a storage, but",
    "hydra.sweeper.storage=nosql://x": "hydra.sweeper.storage must be the URL of a storage, but nosql://x",
    "hydra/sweeper/sampler=tpy": "hydra/sweeper/sampler has no option 'tpy' (did you mean tpe?)",
}


@pytest.mark.parametrize("override", BAD)
def test_bad_studies_are_one_line(sweeper_call: Call, override: str, tmp_path: Path) -> None:
    """What cannot be a study is answered by one line with the rule, the value and the fix, exit 1, no traceback."""
    swept = [] if override in {"seed=3", "search=crd"} else ["model.dropout=0.05,0.1"]
    done = sweeper_call("-m", *TINY, *HERE, *swept, override)
    assert done.returncode == 1
    assert BAD[override] in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    "arguments", [["-m", "search=card"], ["ablate", "--variants", "residual"], ["-m", "model.dropout=0,0.1"]]
)
def test_data_that_no_run_can_read_are_one_line(arguments: list[str], sweeper_call: Call, tmp_path: Path) -> None:
    """A damaged file is found once, before the study begins, not by each of its trials; nothing is left."""
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (raw / name).write_bytes(b"")
    command, rest = arguments[0], arguments[1:]
    done = sweeper_call(command, f"data.root={tmp_path / 'data'}", *rest)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "train-images-idx3-ubyte is damaged" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


APPLICATION = """
import hydra

@hydra.main(config_path=None, config_name=None)
def main(cfg):
    raise AssertionError("no job starts")

main()
"""


def test_a_refused_study_of_another_application_is_one_line(tmp_path: Path) -> None:
    """Hydra prints the rule alone, without a traceback, and exits with 1, as for its own errors."""
    (tmp_path / "app.py").write_text(APPLICATION)
    ours = ["-m", "hydra/sweeper=study", "+x=interval(0,1)"]
    done = subprocess.run(
        [sys.executable, "app.py", *ours, "hydra.sweeper.n_trials=0"],
        cwd=tmp_path,
        env=environment(HYDRA_FULL_ERROR="0"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "hydra.sweeper.n_trials must be at least 1, but got 0\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.py"]


def test_another_search_under_the_same_name_is_refused(sweeper_call: Call, tmp_path: Path) -> None:
    """Another space, other fixed overrides or other values in the base config: refused, saying what differs."""
    base = ["-m", *TINY, *HERE, "hydra.sweeper.study_name=mine"]
    assert sweeper_call(*base, "model.dropout=0.05,0.1").returncode == 0
    for changed, says in (
        (["model.dropout=0.05,0.2"], "model.dropout is searched differently"),
        (["model.dropout=0.05,0.1", "seed=9"], "seed is 1 there and 9 here"),
    ):
        done = sweeper_call(*base, *changed)
        assert done.returncode == 1
        assert "study mine holds another search" in done.stderr
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
    assert len(trials_of(tmp_path / "outputs" / "studies" / "mine")) == 2


def test_a_torn_journal_is_cut_and_a_damaged_one_refused(sweeper_call: Call, tmp_path: Path) -> None:
    """An incomplete last line is cut off; damage in the middle is refused with the file's name and the line."""
    arguments = ["-m", *TINY, *HERE, "model.dropout=0.05,0.1"]
    assert sweeper_call(*arguments).returncode == 0
    journal = only_study(tmp_path) / "journal.log"
    complete = journal.read_bytes()
    journal.write_bytes(complete + b'{"op_code": 5, "wor')
    assert sweeper_call(*arguments).returncode == 0
    assert journal.read_bytes().startswith(complete)
    assert b'"wor{' not in journal.read_bytes()
    lines = complete.splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], b"damaged\n", *lines[3:]]))
    done = sweeper_call(*arguments)
    assert done.returncode == 1
    assert (
        f"{journal} must hold one JSON record a line, but line 3 of {len(lines)} is damaged (it is no JSON)"
        in done.stderr
    )
    assert done.stderr.count("\n") == 1


@given(st.binary(max_size=40).filter(lambda tail: b"\n" not in tail))
@settings(max_examples=30)
def test_cutting_a_torn_line_loses_no_complete_line(tail: bytes) -> None:
    """Whatever stands after the last newline is cut off, and nothing before it."""
    import tempfile  # noqa: PLC0415 - Hypothesis and tmp_path do not go together

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "journal.log"
        study = optuna.create_study(storage=open_storage(journal_url(path)), study_name="s")
        study.enqueue_trial({"x": 1})
        complete = path.read_bytes()
        path.write_bytes(complete + tail)
        assert len(optuna.load_study(storage=open_storage(journal_url(path)), study_name="s").trials) == 1
        assert path.read_bytes() == complete


def test_a_password_is_not_shown() -> None:
    """An error names a storage without its password."""
    assert redacted("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    with pytest.raises(StudyError) as caught:
        open_storage("postgresql+nodriver://me:secret@host/db")
    assert "secret" not in str(caught.value)


def test_another_direction_is_another_search(sweeper_call: Call) -> None:
    """Optuna would keep the direction that the study began with, without a word."""
    search = [
        "-m",
        *TINY,
        *HERE,
        "model.dropout=interval(0.0,0.3)",
        "hydra.sweeper.study_name=up",
        "hydra.sweeper.n_trials=1",
    ]
    assert sweeper_call(*search).returncode == 0
    other = sweeper_call(*search, "hydra.sweeper.direction=minimize")
    assert other.returncode == 1
    assert "study up holds another search: its direction is maximize there and minimize here" in other.stderr
    assert other.stderr.count("\n") == 1
