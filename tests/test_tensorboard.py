"""What TensorBoard shows of runs and of trials."""

from pathlib import Path
from typing import Any

import pytest
import torch

import sweeper
from sweeper.run import tensorboard

from .studies import HERE, TINY, Call


def hyperparameters(folder: Path) -> dict[str, Any]:
    """The hyperparameters in a run's event file."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415 - takes a second
    from tensorboard.plugins.hparams import plugin_data_pb2  # noqa: PLC0415 - likewise

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    return dict(plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams)


def test_tensorboard_shows_what_a_study_searches_and_each_trial_once(sweeper_call: Call, tmp_path: Path) -> None:
    """A trial's hyperparameters are the searched values and the network's size; best/ holds no second event file."""
    arguments = ["logging=tensorboard", "model.dropout=0,0.1", "model=compact,gap", "hydra.sweeper.study_name=s"]
    done = sweeper_call("-m", *TINY, *HERE, *arguments)
    assert done.returncode == 0, done.stderr
    study = tmp_path / "outputs" / "studies" / "s"
    assert set(hyperparameters(study / "0")) == {"model", "model.dropout", "parameters", "macs"}
    assert hyperparameters(study / "3")["model"].string_value == "gap"
    assert (study / "best" / "result.json").exists()
    assert len(list(study.glob("**/events.*"))) == 4


def test_tensorboard_shows_what_sets_a_run_apart_and_its_mistakes(tmp_path: Path) -> None:
    """One event file has what differs from the default config, each epoch's figures, the target, and two pictures.

    This exercises the undocumented parts of torch that sweeper/run/tensorboard.py uses.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415 - takes a second

    overrides = ["model.dropout=0.1", "logging=tensorboard"]
    conf = sweeper.compose([*TINY, "training.epochs=2", *overrides])
    epochs = sweeper.run(conf, folder=tmp_path / "run", show=False).epochs
    compared = f"torch {torch.__version__} is installed, compared with torch {tensorboard.VERSION}"
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1, compared
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    values = hyperparameters(tmp_path / "run")
    assert values["model.dropout"].number_value == 0.1, compared
    assert values["model.groups.block1.channels"].string_value == "[8, 12]", compared
    assert values["parameters"].number_value == 7578, compared
    assert not {"optimizer.lr", "seed", "data.root", "logging.name", "model.kernel_size"} & set(values)
    assert [event.step for event in events.Scalars(tensorboard.METRIC)] == [1, 2], compared
    logged = [(event.step, event.value) for event in events.Scalars("accuracy/validation")]
    assert logged == [(epoch.epoch, pytest.approx(epoch.val_accuracy)) for epoch in epochs]
    assert {"loss/training", "loss/validation", "accuracy/training", "lr"} <= set(events.Tags()["scalars"])
    assert [event.value for event in events.Scalars(tensorboard.TARGET)] == pytest.approx([0.99, 0.99])
    assert set(events.Tags()["images"]) == {"mistakes/confusion", "mistakes/worst"}
    assert all(image.encoded_image_string.startswith(b"\x89PNG") for image in events.Images("mistakes/worst"))
