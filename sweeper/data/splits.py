"""Which images train the network and which judge it; the test set stays sealed unless asked for by name."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sweeper.config.schema import DataConf
from sweeper.data.images import LabelledImages, read
from sweeper.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The two parts a run sees."""

    train: LabelledImages
    validation: LabelledImages
    validation_is_test: bool
    """Whether the test set itself judges: the notebook's protocol, which flatters."""
    sha256: str
    """Checksum of all training images of the data set, before the split."""


def split(conf: DataConf) -> Splits:
    """Read the data and part it. With ``validation=split`` the test files are not even opened.

    Raises `DataError` for data that cannot be read, `ConfigError` for a split that leaves nothing to train on.
    """
    whole = read(conf, "train")
    sha256 = whole.sha256()
    if conf.validation == "test":
        return Splits(train=whole, validation=read(conf, "test"), validation_is_test=True, sha256=sha256)
    if conf.validation_size >= len(whole):
        raise ConfigError(
            f"data.validation_size must be less than the {len(whole):,} training images, but got {conf.validation_size}"
        )
    validation_b = stratified(whole.labels_b, conf.validation_size, conf.split_seed)
    return Splits(
        train=whole.take((~validation_b).nonzero().squeeze(1)),
        validation=whole.take(validation_b.nonzero().squeeze(1)),
        validation_is_test=False,
        sha256=sha256,
    )


def stratified(labels_b: Tensor, size: int, seed: int) -> Tensor:
    """Choose `size` of the labels so that each class keeps its share, to within one image: a bool mask ``[n]``.

    Seats go by largest remainder, ties to the smaller class number; who sits in them is drawn with the seed.
    """
    counts = torch.bincount(labels_b)
    exact = counts * size  # in units of 1/n, so that the arithmetic is in whole numbers
    seats = exact // len(labels_b)
    remainders = exact % len(labels_b)
    for label in torch.argsort(remainders, descending=True, stable=True)[: size - int(seats.sum())]:
        seats[label] += 1
    generator = torch.Generator().manual_seed(seed)
    chosen_b = torch.zeros(len(labels_b), dtype=torch.bool)
    for label, count in enumerate(seats.tolist()):
        members = (labels_b == label).nonzero().squeeze(1)
        chosen_b[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    return chosen_b
