"""Trains a config on all training images, without validation, and later evaluates the weights once on the test set."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from sweeper.config.schema import DataConf, ExperimentConf
from sweeper.data.images import read
from sweeper.data.openings import Opening
from sweeper.data.splits import Splits
from sweeper.design import analyze
from sweeper.errors import RunFolderError
from sweeper.network.build import build
from sweeper.records import EpochRecord, RefitResult, SealedTestResult
from sweeper.run.checkpoint import load_tensors, save_tensors
from sweeper.run.claiming import claimed
from sweeper.run.experiment import logging_to, resolved
from sweeper.run.folder import RunFolder
from sweeper.run.provenance import data_record, versions, weights_sha256
from sweeper.training.device import keep_freed_memory, place, reproducible, resolve
from sweeper.training.evaluate import evaluate
from sweeper.training.loop import fit, make_autocast

_log = logging.getLogger(__name__)


def refit(conf: ExperimentConf, *, folder: Path, read_splits: Callable[[DataConf], Splits]) -> RefitResult:
    """Train a config with ``data.validation=none`` into a new folder: every training image, no validation, no test image.

    Metrics have no validation figures, and the folder gets `refit.json` in place of `result.json`.

    Raises the errors of `sweeper.run.experiment.run`.
    """
    assert conf.data.validation == "none"
    started = time.perf_counter()
    design = analyze(conf)
    conf = resolved(conf)
    device = torch.device(conf.device)
    keep_freed_memory()
    with reproducible(conf):
        splits = read_splits(conf.data)
        assert len(splits.validation) == 0
        conf.training.check_batch_size(len(splits.train))
        splits = replace(splits, train=splits.train.to(device), validation=splits.validation.to(device))
        files = RunFolder(folder)
        with claimed(files), logging_to(files.log):
            files.write_config(conf, overrides="[]\n", hydra=None)
            network = place(build(design.plan), device)
            last: EpochRecord | None = None
            for last in fit(network, splits, conf):
                files.append_epoch(last)
                _log.info("%s", last)
            assert last is not None
            assert math.isnan(last.val_accuracy)
            state = network.state_dict()
            save_tensors(files.weights, dict(state))
            assert isinstance(conf.threads, int)
            result = RefitResult(
                train_accuracy=last.train_accuracy,
                train_loss=last.train_loss,
                parameters=design.summary.parameters,
                macs=design.summary.macs,
                epochs=conf.training.epochs,
                seed=conf.seed,
                weights_sha256=weights_sha256(state),
                versions=versions(),
                device=conf.device,
                precision=conf.precision,
                threads=conf.threads,
                data=data_record(conf.data, splits),
                seconds=round(time.perf_counter() - started, 3),
            )
            files.write_refit(result)
    return result


def evaluate_on_test(folder: Path) -> SealedTestResult:
    """Evaluate the weights of a refit run on the test set, and save the result in the run's folder.

    A run that has a result keeps it: the test set is opened once for each network. The opening is recorded first.

    Raises `RunFolderError` if the folder is damaged or its weights are not those that were trained, `DataError` if the
    test set cannot be read, and the errors of `resolve`.
    """
    files = RunFolder(folder)
    done = files.read_test()
    if done is not None:
        return done
    trained, conf = files.read_refit(), resolve(files.read_config())
    if trained is None:
        raise RunFolderError(
            f"{folder} must hold a run without validation, but has no {files.refit.name}: delete it to train it again"
        )
    device = torch.device(conf.device)
    with reproducible(conf):
        network = place(build(analyze(conf).plan), device)
        try:
            network.load_state_dict(load_tensors(files.weights))
        except Exception as error:  # torch raises whatever a damaged file makes it raise
            raise RunFolderError(f"{files.weights} is damaged: delete {folder} to train it again") from error
        weights = weights_sha256(network.state_dict())
        if weights != trained.weights_sha256:
            raise RunFolderError(f"{files.weights} is not what was trained: delete {folder} to train it again")
        images = read(conf.data, "test", opening=Opening(folder=folder, weights_sha256=weights)).to(device)
        score = evaluate(network, images, autocast=make_autocast(conf))
        wrong = (score.predicted_n != images.labels_b).nonzero().squeeze(1)
    result = SealedTestResult(weights_sha256=weights, accuracy=score.accuracy, images=len(images), wrong=wrong.tolist())
    files.write_test(result)
    return result
