"""Reports of runs: what they say, what they are compared with, which damage they refuse, and how they look as files."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sweeper
from sweeper.data.images import LabelledImages
from sweeper.design import analyze
from sweeper.errors import RunFolderError, TrainingDivergedError
from sweeper.records import Mistakes
from sweeper.report.png_figures import plot_confusion, plot_curves
from sweeper.report.record import find_baseline, read_run
from sweeper.report.run_command import Composition, differences
from sweeper.report.run_report import as_markdown, make_report, write_partial_report, write_report
from sweeper.run.experiment import run
from sweeper.search.repeating import Repeated
from sweeper.training.evaluate import WORST, Score, mistakes

from .composed import compose
from .processes import Completed
from .runs import make_record


def test_a_run_that_stopped_early_is_not_analyzed_for_fitting() -> None:
    """Without a result no rule mentions fitting, and the report says how many epochs were finished."""
    record = make_record(val=[0.5, 0.6], finished=False)
    report = make_report(record)
    assert {"under_fitting", "over_fitting"}.isdisjoint(observation.rule for observation in report.observations)
    assert "after 2 of 2 epochs" in as_markdown(report)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.floats(0, 20, width=32)), min_size=1, max_size=60))
def test_mistakes_count_every_image_once(outcomes: list[tuple[int, int, float]]) -> None:
    """The confusion matrix counts every image, its diagonal the correct ones; the worst mistakes come first."""
    labels, predicted, losses = (torch.tensor(column) for column in zip(*outcomes, strict=True))
    images = LabelledImages(
        source_nhw=torch.zeros(100 + len(outcomes), 1, 1, dtype=torch.uint8),
        labels_n=torch.cat([torch.zeros(100, dtype=torch.int64), labels]),
        indices_b=torch.arange(100, 100 + len(outcomes)),
        mean=0.0,
        std=1.0,
    )
    correct = int((labels == predicted).sum())
    score = Score(loss=0.0, accuracy=0.0, losses_n=losses, predicted_n=predicted)
    found = mistakes(score, images, classes=3)
    assert sum(map(sum, found.confusion)) == len(outcomes)
    assert sum(found.confusion[label][label] for label in range(3)) == correct
    assert len(found.worst) == min(WORST, len(outcomes) - correct)
    assert found.wrong == {
        100 + at: predicted for at, (label, predicted, _) in enumerate(outcomes) if label != predicted
    }
    probabilities = [mistake.probability for mistake in found.worst]
    assert probabilities == sorted(probabilities)
    for mistake in found.worst:
        assert (mistake.label, mistake.predicted) == outcomes[mistake.index - 100][:2]
        assert mistake.label != mistake.predicted


def test_differences_leave_out_the_machine() -> None:
    """Two configs differ in the keys that were changed, not in those of the machine; a key that one lacks is None there."""
    one = compose(["data.root=/one", "threads=1"])
    other = compose(["data.root=/other", "model.dropout=0.1", "scheduler=constant"])
    changed = differences([one, other])
    assert changed["model.dropout"] == [0.0, 0.1]
    assert changed["scheduler.pct_start"] == [0.3, None]
    assert not {"data.root", "threads"} & set(changed)


HOSTILE = "<img src=x onerror=alert(1)> | `code` *bold* [link](x)"


def test_hostile_text_stays_text_in_markdown() -> None:
    """Text from a config or a command line is shown, not rendered: no tag, no link, no broken table or fence."""
    record = replace(
        make_record(val=[0.5, 0.6]),
        folder=Path("outputs/runs") / HOSTILE,
        composition=Composition(typed=Repeated(kept=(f"data.root={HOSTILE} ```",))),
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


def test_a_png_figure_shows_only_its_own_run(tmp_path: Path) -> None:
    """Plotted again after another run, with more epochs and other classes, a figure has the same bytes."""
    short = make_record(val=[0.5, 0.9])
    long = make_record(val=[0.1 + 0.01 * epoch for epoch in range(30)], lr=[0.5] * 30, finished=False)
    few, many = Mistakes(confusion=[[3, 1], [0, 4]], worst=[]), Mistakes(confusion=[[9] * 10] * 10, worst=[])
    files = []
    for record, mistakes_of_run in ((short, few), (long, many), (short, few)):
        plot_curves(record, tmp_path / "curves.png")
        plot_confusion(mistakes_of_run, tmp_path / "confusion.png", evaluated_on="test")
        files.append((tmp_path / "curves.png").read_bytes() + (tmp_path / "confusion.png").read_bytes())
    assert files[0] == files[2]
    assert files[0] != files[1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on 5,000 digits, not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    sweeper.run(compose(["data=mnist5k", "model=compact", "training.epochs=2"]), folder=folder, show=False)
    return folder


@pytest.fixture
def run_folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_every_run_leaves_a_report(sweeper_call: Callable[..., Completed], tmp_path: Path) -> None:
    """A run leaves report.md with target, result, analysis and next command, and two PNG figures."""
    done = sweeper_call("data=mnist5k", "model=compact", "training.epochs=2", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    run_folder = tmp_path / "run"
    text = (run_folder / "report.md").read_text()
    result = json.loads((run_folder / "result.json").read_text())
    headings = re.findall("^## (.+)$", text, re.MULTILINE)
    assert headings == ["Analysis", "Next", "Target", "Result", "Network"]
    assert f"{result['val_accuracy'] * 100:.2f} % validation accuracy (5" in text.splitlines()[2]
    assert f"{result['train_accuracy_eval'] * 100:.2f} %" in text
    assert r"| model.groups.block2.channels | \[16, 16, 18, 18\] | \[16, 16, 16\] |" in text
    for layer in analyze(compose(["model=compact"])).summary.layers:
        assert f"| {layer.name} |" in text
    confusion = json.loads((run_folder / "mistakes.json").read_text())["confusion"]
    right = sum(confusion[label][label] for label in range(10))
    assert right / sum(map(sum, confusion)) == result["val_accuracy"]
    for name in ("curves.png", "confusion.png"):
        assert (run_folder / name).stat().st_size > 5_000


def test_a_diverged_run_is_reported_up_to_its_last_epoch(tmp_path: Path) -> None:
    """The report has the epochs before the divergence; a run without an epoch has no report."""
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


def test_a_trial_is_compared_with_the_studys_first(run_folder: Path, tmp_path: Path) -> None:
    """A trial's baseline is the first trial with an epoch; that trial's own baseline is the default."""
    study = tmp_path / "study"
    study.mkdir()
    (study / "search.yaml").write_text("space: {}\n")
    (study / "0").mkdir()  # rejected or interrupted: nothing to compare with
    for number in (1, 2):
        shutil.copytree(run_folder, study / str(number))
    assert find_baseline(read_run(study / "1")).name == "the default"
    assert find_baseline(read_run(study / "2")).name == "trial 1"
    assert "Nothing differs from trial 1" in as_markdown(make_report(read_run(study / "2")))


def test_a_run_from_python_is_run_again_from_its_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its overrides compose no config, so commands start from its saved one."""
    import sweeper  # noqa: PLC0415 - the public façade

    monkeypatch.chdir(tmp_path)
    conf = compose(["data=mnist5k", "model=compact", "training.epochs=1"])
    result = sweeper.run(conf, folder=tmp_path / "run", show=False)
    record = read_run(result.folder)
    assert record.command("training.epochs=7") == "python -m sweeper reproduce run training.epochs=7"
    saved = tmp_path / "run" / ".hydra"
    several = f"python -m sweeper -m --config-path {saved} hydra/sweeper=study seed=2,3"
    assert record.command("seed=2,3", sweep=True) == several
    assert (tmp_path / "run" / "report.md").exists()


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("metrics.jsonl", "", "a report needs a run with at least one epoch"),
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
    """A damaged file is named in one line, and nothing is written."""
    (run_folder / file).write_text(content)
    (run_folder / "report.md").unlink()
    with pytest.raises(RunFolderError, match=re.escape(said)) as caught:
        write_report(run_folder)
    assert "\n" not in str(caught.value)
    assert not (run_folder / "report.md").exists()


def test_an_epoch_that_is_being_written_is_left_out(run_folder: Path) -> None:
    """A report of a running run reads only complete lines."""
    with (run_folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "train_lo')
    assert len(read_run(run_folder).epochs) == 2
