"""Write-ups: what each rule sees and does not see, what a report says, what it refuses, how it looks in Markdown."""

import json
import math
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sweeper
from sweeper.config.composition import compose
from sweeper.data.images import LabelledImages
from sweeper.design import analyze, analyze_within_budget
from sweeper.errors import RunFolderError, TrainingDivergedError
from sweeper.records import DataRecord, EpochRecord, Mistakes, RunResult, VersionsRecord
from sweeper.report.analysis import Observation, analyse, standard_error
from sweeper.report.png_figures import plot_confusion, plot_curves
from sweeper.report.record import Baseline, RunRecord, baseline, differences, read_run
from sweeper.report.run_report import as_markdown, make_report, write_partial_report, write_report
from sweeper.run.experiment import run
from sweeper.training.evaluate import WORST, Score, mistakes

from .conftest import Completed

DEFAULT = "the default"


def _record(
    *overrides: str,
    val: list[float],
    train: list[float] | None = None,
    train_eval: float | None = None,
    images: int = 5000,
    lr: list[float] | None = None,
    finished: bool = True,
) -> RunRecord:
    """A run that measured these accuracies."""
    conf = compose([f"training.epochs={len(val)}", *overrides])
    rates = lr or [0.1] * len(val)
    epochs = tuple(
        EpochRecord(
            epoch=at + 1,
            train_loss=0.5,
            train_accuracy=(train or val)[at],
            val_loss=0.4,
            val_accuracy=accuracy,
            lr=rates[at],
            seconds=1.0,
            images_per_second=1000.0,
        )
        for at, accuracy in enumerate(val)
    )
    design = analyze(conf)
    result = RunResult(
        value=val[-1],
        target=conf.target,
        target_met=val[-1] >= conf.target,
        val_accuracy=val[-1],
        val_loss=0.4,
        best_val_accuracy=max(val),
        best_epoch=val.index(max(val)) + 1,
        train_accuracy=(train or val)[-1],
        train_accuracy_eval=val[-1] if train_eval is None else train_eval,
        train_loss_eval=0.3,
        parameters=design.summary.parameters,
        macs=design.summary.macs,
        epochs=len(val),
        seed=conf.seed,
        weights_sha256="",
        versions=VersionsRecord(python="3", torch="2", sweeper="0", git_commit=None, git_dirty=None),
        device="cpu",
        precision="fp32",
        threads=1,
        data=DataRecord(
            name="mnist", sha256="", train_images=55_000, validation_images=images, validation_is_test=False
        ),
        seconds=3.0,
    )
    return RunRecord(
        folder=Path("outputs/runs/2026-01-01/00-00-00"),
        conf=conf,
        design=design,
        typed=tuple(overrides),
        from_command_line=True,
        epochs=epochs,
        result=result if finished else None,
        mistakes=None,
    )


def _seen(record: RunRecord, against: RunRecord | None = None) -> dict[str, Observation]:
    held_against = (
        Baseline(name=DEFAULT, conf=compose(), record=None)
        if against is None
        else Baseline(name="trial 0", conf=against.conf, record=against)
    )
    return {observation.rule: observation for observation in analyse(record, held_against)}


CASES: list[tuple[str, RunRecord, RunRecord]] = [
    (
        "erased_signal_ceiling",
        _record("model=notebook", val=[0.97, 0.985], train=[0.78, 0.8067], train_eval=0.984),
        _record("model=gap", val=[0.97, 0.985], train=[0.78, 0.8067], train_eval=0.984),
    ),
    (
        "erased_signal",
        _record("model=notebook", val=[0.3, 0.6], train=[0.2, 0.5]),
        _record("model=notebook", "model.dropout=0", val=[0.3, 0.6], train=[0.2, 0.5]),
    ),
    (
        "under_fitting",
        _record(val=[0.90, 0.901], train_eval=0.902),
        # The training accuracy with dropout on is low, with it off it is not.
        _record(val=[0.98, 0.985], train=[0.7, 0.8], train_eval=0.995),
    ),
    (
        "over_fitting",
        _record(val=[0.96, 0.96], train_eval=0.999),
        _record(val=[0.96, 0.96], train_eval=0.963),
    ),
    (
        "bottleneck",
        _record("model=notebook", val=[0.9, 0.9]),
        _record(val=[0.9, 0.9]),
    ),
    (
        "oscillation",
        _record(val=[0.97, 0.99, 0.96, 0.99, 0.965, 0.99]),
        _record(val=[0.97, 0.975, 0.98, 0.983, 0.987, 0.99]),
    ),
    (
        "still_improving",
        _record(val=[0.95, 0.97, 0.985]),
        _record(val=[0.95, 0.9849, 0.985]),
    ),
    (
        "unused_budget",
        _record("model.groups.block2.channels=[4,4]", val=[0.95, 0.95]),
        _record("model.groups.block2.channels=[4,4]", val=[0.995, 0.995]),
    ),
    (
        "within_noise",
        _record(val=[0.98, 0.9905]),
        _record(val=[0.98, 0.9990]),
    ),
]


@pytest.mark.parametrize(("rule", "shows", "does_not"), CASES, ids=[case[0] for case in CASES])
def test_each_rule_sees_its_case_and_not_the_other(rule: str, shows: RunRecord, does_not: RunRecord) -> None:
    """A rule speaks for a run that shows it, with numbers as evidence, and not for its near neighbour."""
    observation = _seen(shows)[rule]
    assert observation.evidence
    assert all(math.isfinite(number) for number in observation.evidence.values())
    assert rule not in _seen(does_not)


@pytest.mark.parametrize("record", [case[1] for case in CASES], ids=[case[0] for case in CASES])
def test_each_observation_ends_in_a_command_that_composes_within_the_budget(record: RunRecord) -> None:
    """What is advised can be typed: Hydra composes it to a network within its budget, and it changes something."""
    for observation in _seen(record).values():
        words = shlex.split(observation.command)
        assert words[:3] == ["python", "-m", "sweeper"]
        overrides = [word for word in words[3:] if word != "-m"]
        fixed = [word for word in overrides if not word.startswith("seed=1,")]
        conf = compose(fixed)
        analyze_within_budget(conf)
        assert conf != record.conf or fixed != overrides or "search=" in observation.command


def test_the_notebooks_ceiling_is_explained_with_its_numbers() -> None:
    """For the reference: 81 % is what two single-channel dropouts let through, it is not under-fitting, and why."""
    record = _record("experiment=notebook", val=[0.97, 0.985], train=[0.78, 0.8067], train_eval=0.9841, images=10_000)
    text = _seen(record)["erased_signal_ceiling"].text
    for words in (
        "not under-fitting",
        "0.9 × 0.9 = 81.0%",
        "transition1.0 and transition2.0",
        "83.1%",
        "80.67%",
        "98.41%",
    ):
        assert words in text
    assert "under_fitting" not in _seen(record)


def test_a_gain_over_the_first_trial_is_held_against_both_trials_noise() -> None:
    """Half a point over the first trial is no gain on 500 images, and one on 50,000."""
    first, later = _record(val=[0.98, 0.98], images=500), _record(val=[0.98, 0.985], images=500)
    assert "trial 0's 98.00%" in _seen(later, first)["within_noise"].text
    many = [_record(val=list(val), images=50_000) for val in ((0.98, 0.98), (0.98, 0.985))]
    assert "within_noise" not in _seen(many[1], many[0])


def test_a_run_that_was_cut_short_is_not_judged_by_what_it_has_not_measured() -> None:
    """Without a result there is no talk of fitting, and the report says how far it came."""
    record = _record(val=[0.5, 0.6], finished=False)
    assert {"under_fitting", "over_fitting"}.isdisjoint(_seen(record))
    assert "after 2 of 2 epochs" in as_markdown(make_report(record))


@given(accuracy=st.floats(0, 1), images=st.integers(1, 100_000))
def test_the_standard_error_shrinks_with_images_and_is_never_nothing(accuracy: float, images: int) -> None:
    """Four times the images never leave more noise, and even 100 % leaves some."""
    assert 0 < standard_error(accuracy, 4 * images) <= standard_error(accuracy, images) <= 0.5


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.floats(0, 20, width=32)), min_size=1, max_size=60))
def test_mistakes_count_every_image_once(judged: list[tuple[int, int, float]]) -> None:
    """The confusion matrix holds every image, its diagonal the right ones; the worst are wrong ones, surest first."""
    labels, predicted, losses = (torch.tensor(column) for column in zip(*judged, strict=True))
    images = LabelledImages(
        source_nhw=torch.zeros(100 + len(judged), 1, 1, dtype=torch.uint8),
        labels_n=torch.cat([torch.zeros(100, dtype=torch.int64), labels]),
        indices_b=torch.arange(100, 100 + len(judged)),
        mean=0.0,
        std=1.0,
    )
    right = int((labels == predicted).sum())
    score = Score(loss=0.0, accuracy=0.0, losses_n=losses, predicted_n=predicted)
    found = mistakes(score, images, classes=3)
    assert sum(map(sum, found.confusion)) == len(judged)
    assert sum(found.confusion[label][label] for label in range(3)) == right
    assert len(found.worst) == min(WORST, len(judged) - right)
    probabilities = [mistake.probability for mistake in found.worst]
    assert probabilities == sorted(probabilities)
    for mistake in found.worst:
        assert (mistake.label, mistake.predicted) == judged[mistake.index - 100][:2]
        assert mistake.label != mistake.predicted


def test_differences_name_what_was_changed_and_not_the_machine() -> None:
    """Two configs differ in the keys that were changed; a key that one lacks is None there."""
    one = compose(["data.root=/one", "threads=1"])
    other = compose(["data.root=/other", "model.dropout=0.1", "scheduler=constant"])
    changed = differences([one, other])
    assert changed["model.dropout"] == [0.0, 0.1]
    assert changed["scheduler.pct_start"] == [0.3, None]
    assert not {"data.root", "threads"} & set(changed)


HOSTILE = "<img src=x onerror=alert(1)> | `code` *bold* [link](x)"


def test_hostile_words_stay_words_in_markdown() -> None:
    """What a config or command line holds is shown, not rendered: no tag, no link, no broken table or fence."""
    record = replace(
        _record(val=[0.5, 0.6]),
        folder=Path("outputs/runs") / HOSTILE,
        typed=(f"data.root={HOSTILE} ```",),
    )
    text = as_markdown(make_report(record))
    outside, fence = [], ""
    for line in text.splitlines():
        mark = re.match(r"`{3,}", line)
        if mark and not fence:
            fence = mark[0]
        elif fence and line == fence:
            fence = ""
        elif not fence:
            outside.append(line)
    assert fence == ""
    assert "<img" not in "\n".join(outside)
    assert "](x)" not in "\n".join(outside).replace(r"\](x)", "")


def test_a_drawing_shows_its_run_alone(tmp_path: Path) -> None:
    """PageFigure again after another run, with more epochs and other classes, a figure is the same to the byte."""
    short = _record(val=[0.5, 0.9])
    long = _record(val=[0.1 + 0.01 * epoch for epoch in range(30)], lr=[0.5] * 30, finished=False)
    few, many = Mistakes(confusion=[[3, 1], [0, 4]], worst=[]), Mistakes(confusion=[[9] * 10] * 10, worst=[])
    seen = []
    for record, judged in ((short, few), (long, many), (short, few)):
        plot_curves(record, tmp_path / "curves.png")
        plot_confusion(judged, tmp_path / "confusion.png", of="8 test")
        seen.append((tmp_path / "curves.png").read_bytes() + (tmp_path / "confusion.png").read_bytes())
    assert seen[0] == seen[2]
    assert seen[0] != seen[1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on the embedded digits, not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    sweeper.run(compose(["data=mnist5k", "model=compact", "training.epochs=2"]), folder=folder, show=False)
    return folder


@pytest.fixture
def run_folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_every_run_is_written_up(sweeper_call: Callable[..., Completed], tmp_path: Path) -> None:
    """A run leaves report.md with target, result, analysis and next, and drawings that hold more than one colour."""
    done = sweeper_call("data=mnist5k", "model=compact", "training.epochs=2", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    run_folder = tmp_path / "run"
    text = (run_folder / "report.md").read_text()
    result = json.loads((run_folder / "result.json").read_text())
    headings = re.findall("^## (.+)$", text, re.MULTILINE)
    assert headings == ["Target", "Result", "Analysis", "Next"]
    assert f"{result['val_accuracy']:.2%}" in text
    assert f"{result['train_accuracy_eval']:.2%}" in text
    assert r"| model.groups.block2.channels | \[16, 16, 18, 18\] | \[16, 16, 16\] |" in text
    for layer in analyze(compose(["model=compact"])).summary.layers:
        assert f"| {layer.name} |" in text
    confusion = json.loads((run_folder / "mistakes.json").read_text())["confusion"]
    right = sum(confusion[label][label] for label in range(10))
    assert right / sum(map(sum, confusion)) == result["val_accuracy"]
    for name in ("curves.png", "confusion.png"):
        assert (run_folder / name).stat().st_size > 5_000


def test_a_diverged_run_is_written_up_as_far_as_it_came(tmp_path: Path) -> None:
    """What was measured before the divergence is in the report; a run without an epoch has none."""
    conf = compose(["data=mnist5k", "model=compact", "training.epochs=2", "scheduler=step", "scheduler.step_size=1"])
    conf.scheduler.gamma = 1e30  # type: ignore[attr-defined]  # past the schema's bound, to diverge after epoch 1
    with pytest.raises(TrainingDivergedError):
        run(conf, folder=tmp_path / "run")
    config = tmp_path / "run" / ".hydra" / "config.yaml"
    config.write_text(config.read_text().replace("gamma: 1.0e+30", "gamma: 0.1"))
    write_partial_report(tmp_path / "run")
    assert "after 1 of 2 epochs" in (tmp_path / "run" / "report.md").read_text()
    (tmp_path / "run" / "report.md").unlink()
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    write_partial_report(tmp_path / "run")
    assert not (tmp_path / "run" / "report.md").exists()


def test_a_trial_is_held_against_the_studys_first(run_folder: Path, tmp_path: Path) -> None:
    """A trial's baseline is the lowest trial with an epoch, the first one's is the default."""
    study = tmp_path / "study"
    study.mkdir()
    (study / "search.yaml").write_text("space: {}\n")
    (study / "0").mkdir()  # rejected, or cut short: nothing to compare with
    for number in (1, 2):
        shutil.copytree(run_folder, study / str(number))
    assert baseline(read_run(study / "1")).name == DEFAULT
    assert baseline(read_run(study / "2")).name == "trial 1"
    assert "Nothing is changed against trial 1" in as_markdown(make_report(read_run(study / "2")))


def test_a_run_from_python_is_run_again_from_its_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its overrides make no config, so the commands name the folder; they compose to the config with the change."""
    import sweeper  # noqa: PLC0415 - the public façade

    monkeypatch.chdir(tmp_path)
    conf = compose(["data=mnist5k", "model=compact", "training.epochs=1"])
    result = sweeper.run(conf, folder=tmp_path / "run", show=False)
    words = shlex.split(make_report(read_run(result.folder)).record.command("training.epochs=7"))
    assert words[3:] == [
        "--config-path",
        str(tmp_path / "run" / ".hydra"),
        "--config-name",
        "config",
        "training.epochs=7",
    ]
    assert (tmp_path / "run" / "report.md").exists()


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("metrics.jsonl", "", "must have at least one epoch"),
        ("metrics.jsonl", "{}\n", "metrics.jsonl must hold one epoch per line, but line 1 is damaged ("),
        (
            "metrics.jsonl",
            "no json\n",
            "metrics.jsonl must hold one epoch per line, but line 1 is damaged (",
        ),
        ("result.json", "{}", "result.json must hold a run's result, but it is damaged (value is missing): restore"),
        ("mistakes.json", '{"confusion": 3}', "mistakes.json must hold a run's mistakes, but it is damaged ("),
        (".hydra/overrides.yaml", "{}", "must hold a list of overrides"),
        (".hydra/config.yaml", "[", "must be YAML"),
    ],
)
def test_a_damaged_folder_is_one_line(run_folder: Path, file: str, content: str, said: str) -> None:
    """Whatever file is damaged is named in one line, and nothing is written."""
    (run_folder / file).write_text(content)
    (run_folder / "report.md").unlink()
    with pytest.raises(RunFolderError, match=re.escape(said)) as caught:
        write_report(run_folder)
    assert "\n" not in str(caught.value)
    assert not (run_folder / "report.md").exists()


def test_an_epoch_that_is_being_written_is_left_out(run_folder: Path) -> None:
    """A report of a run that goes on reads whole lines only."""
    with (run_folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "train_lo')
    assert len(read_run(run_folder).epochs) == 2


def test_tensorboard_is_told_every_epoch(sweeper_call: Callable[..., Any], tmp_path: Path) -> None:
    """With logging=tensorboard the event file holds each epoch's accuracy; the config that is searched stays the same."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415 - a second

    done = sweeper_call(
        "data=mnist5k", "model=compact", "training.epochs=2", "logging=tensorboard", "hydra.run.dir=run"
    )
    assert done.returncode == 0, done.stderr
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    told = [(event.step, event.value) for event in events.Scalars("accuracy/validation")]
    epochs = read_run(tmp_path / "run").epochs
    assert told == [(epoch.epoch, pytest.approx(epoch.val_accuracy)) for epoch in epochs]
    assert {"loss/training", "loss/validation", "accuracy/training", "lr"} <= set(events.Tags()["scalars"])
