"""What tests of training share: a small config, a few of the embedded digits, a fit of both."""

import functools

import torch

from sweeper.config.schema import ExperimentConf
from sweeper.data.splits import Splits, split
from sweeper.design import analyze
from sweeper.network.build import build
from sweeper.records import EpochRecord
from sweeper.training import device
from sweeper.training.loop import fit

from .composed import compose

SMALL = ["data=mnist5k", "model=compact", "precision=fp32", "training.epochs=2", "training.batch_size=64"]


def splits_of(conf: ExperimentConf, images: int = 640) -> Splits:
    """Train on a few embedded digits, so that an epoch takes a fraction of a second."""
    whole = split(conf.data)
    return Splits(
        train=whole.train.take(torch.arange(0, 3500, 3500 // images)[:images]),
        validation=whole.validation,
        validation_is_test=False,
        sha256="",
    )


@functools.cache
def tiny_splits() -> Splits:
    """Train on 128 digits."""
    return splits_of(compose(SMALL), 128)


def fitted(conf: ExperimentConf, splits: Splits) -> tuple[list[EpochRecord], torch.nn.Sequential]:
    """Train as a run does; returns the epochs' records and the network."""
    conf = device.resolve(conf)
    with device.reproducible(conf):
        network = build(analyze(conf).plan)
        return list(fit(network, splits, conf)), network
