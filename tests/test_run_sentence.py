"""The sentence that a run's report begins with, and the commands that a report prints."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sweeper
from sweeper.records import EpochRecord
from sweeper.report.accuracy_axis import AccuracyAxis
from sweeper.report.record import read_run
from sweeper.report.run_command import differences
from sweeper.report.run_report import as_markdown, make_report, write_partial_report
from sweeper.report.run_sentence import run_sentence
from sweeper.run.experiment import run
from sweeper.run.listener import Listener

from .composed import compose
from .runs import make_record
from .studies import Call

SMALL = ("data=mnist5k", "model=compact", "training.epochs=3", "data.validation_size=3500")


def test_the_result_comes_first() -> None:
    """Gap to the target, accuracy with its noise, best epoch, cost, time, data and seed, in this order."""
    sentence = run_sentence(make_record("data=mnist5k", val=[0.978, 0.976], images=1500))
    assert sentence.lead == "Target missed by 1.40 points."
    assert re.fullmatch(
        r"97\.60 % validation accuracy \(1,500 images, ±0\.\d\d\), best epoch 97\.80 %, 9,\d\d\d of 9,999 parameters, "
        r"2 epochs, 3\.0 s, MNIST 5,000 digits, seed 1\.",
        sentence.details,
    )


@pytest.mark.parametrize(
    ("value", "lead", "tone"),
    [
        (0.99, "Target met exactly.", "met"),
        (0.992, "Target met by 0.20 points, within noise.", "met"),
        (0.9999, "Target met by 0.99 points.", "met"),
        (0.98999, "Target missed by less than 0.01 points, within noise.", "missed"),
    ],
)
def test_a_gap_within_noise_is_called_that(value: float, lead: str, tone: str) -> None:
    """A gap that the number of images explains is named as noise, and none is rounded to zero."""
    sentence = run_sentence(make_record(val=[value]))
    assert (sentence.lead, sentence.tone) == (lead, tone)


@pytest.mark.parametrize(
    ("ending", "lead"),
    [
        ("TrialPruned", "Pruned after 2 of 4 epochs."),
        ("KeyboardInterrupt", "Interrupted after 2 of 4 epochs."),
        ("training loss must stay finite, but in epoch 3 it is nan with lr=1", "Diverged after 2 of 4 epochs."),
        ("No space left on device", "Failed after 2 of 4 epochs."),
        (None, "Not complete after 2 of 4 epochs."),
    ],
)
def test_a_stopped_run_says_where_and_why(ending: str | None, lead: str) -> None:
    """A run without a result says at which epoch of how many it stopped; no rule claims anything about its end."""
    record = make_record("training.epochs=4", val=[0.4, 0.9], finished=False, ending=ending)
    report = make_report(record)
    assert report.sentence.lead == lead
    assert "short of the target" in report.sentence.details
    assert {observation.rule for observation in report.observations} <= {"divergence"}
    assert ("optimizer.lr=" in report.next) == lead.startswith("Diverged")


def test_an_interrupted_run_is_read_from_its_log(tmp_path: Path) -> None:
    """The reason in run.log is that of the report; an incomplete folder without a log has none."""

    class Stop(Listener):
        def on_epoch(self, record: EpochRecord) -> None:
            assert record.epoch == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(compose(list(SMALL)), folder=tmp_path / "run", listeners=[Stop()])
    write_partial_report(tmp_path / "run")
    assert "**Interrupted after 1 of 3 epochs.**" in (tmp_path / "run" / "report.md").read_text().splitlines()[2]
    (tmp_path / "run" / "run.log").unlink()
    assert make_report(read_run(tmp_path / "run")).sentence.lead == "Not complete after 1 of 3 epochs."


def test_commands_are_on_one_line_each() -> None:
    """In report.md every command is one line of a code block, so it can be copied whole."""
    text = as_markdown(make_report(make_record("model=notebook", val=[0.3, 0.6], train=[0.2, 0.5])))
    blocks = re.findall(r"```sh\n(.*?)\n```", text, re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        assert "\n" not in block
        assert shlex.split(block)[:3] == ["python", "-m", "sweeper"]


def test_the_report_begins_with_the_result() -> None:
    """Sentence, analysis and next command come before the first table."""
    text = as_markdown(make_report(make_record(val=[0.9, 0.901], train_eval=0.902)))
    places = [text.index(part) for part in ("**Target missed", "## Analysis", "## Next", "\n|")]
    assert places == sorted(places)


def test_a_run_of_a_config_folder_is_run_again_with_it(sweeper_call: Call, tmp_path: Path) -> None:
    """A command keeps --config-dir: without it, the model of that folder does not exist."""
    (tmp_path / "mine" / "model").mkdir(parents=True)
    model = (Path(__file__).parent.parent / "conf/model/compact.yaml").read_text()
    (tmp_path / "mine" / "model" / "own.yaml").write_text(model)
    own = [SMALL[0], "model=own", *SMALL[2:], "training.epochs=1", "hydra.run.dir=run"]
    done = sweeper_call("--config-dir", "mine", *own)
    assert done.returncode == 0, done.stderr
    words = shlex.split(read_run(tmp_path / "run").command("seed=2"))
    assert words[3] == "--config-dir"
    assert "model=own" in words


def test_a_change_of_group_is_possible_for_a_saved_config(sweeper_call: Call, tmp_path: Path) -> None:
    """A run started from Python has no groups to choose from, so its commands set their keys; they compose."""
    sweeper.run(compose([*SMALL, "training.epochs=1"]), folder=tmp_path / "run", show=False)
    record = read_run(tmp_path / "run")
    for changes, wanted in (
        (["augment=affine"], compose([*SMALL, "training.epochs=1", "augment=affine"])),
        (["scheduler=constant"], compose([*SMALL, "training.epochs=1", "scheduler=constant"])),
    ):
        words = shlex.split(record.command(*changes))[3:]
        done = sweeper_call(*words)
        assert done.returncode == 0, done.stderr
        (folder,) = (tmp_path / "outputs" / "runs").glob("*/*")
        again = read_run(folder)
        assert not differences([again.conf, wanted])
        # Started from that config, the run is not one of the default config with its few overrides.
        assert shlex.split(again.command())[3] == "reproduce"
        folder.rename(tmp_path / changes[0])


def test_an_unfinished_run_on_the_test_set_counts_its_images() -> None:
    """Without a result the number of images comes from the data set, not from the size of a split it did not use."""
    record = make_record("data.validation=test", val=[0.9], finished=False)
    assert "90.00 % test accuracy (10,000 images, ±" in run_sentence(replace(record, result=None)).details


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(1, 100_000))
def test_an_axis_holds_its_accuracies_and_has_few_ticks(accuracies: list[float], images: int) -> None:
    """Every accuracy is on the axis, which has ticks within its ends and 100 % at half an image."""
    axis = AccuracyAxis.of(accuracies, images=images)
    assert all(axis.low <= axis.place(accuracy) <= axis.high for accuracy in accuracies)
    assert 1 <= len(axis.ticks) <= 15
    assert len(set(axis.labels)) == len(axis.ticks)
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks)
    assert axis.place(1.0) == 0.5 / images
