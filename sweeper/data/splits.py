"""Splits the images into training and validation; opens the test set only for ``data.validation=test``."""

import functools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sweeper.config.schema import DataConf
from sweeper.data.catalogue import training_images
from sweeper.data.images import LabelledImages, read
from sweeper.data.openings import Opening


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The images of a run."""

    train: LabelledImages
    validation: LabelledImages
    """Empty with ``data.validation=none``."""
    validation_is_test: bool
    """Whether `validation` is the test set: the notebook's protocol, whose accuracies are optimistic."""
    sha256: str
    """Checksum of the dataset's training images and labels, before the split."""


def split(conf: DataConf, *, folder: Path | None = None) -> Splits:
    """Read the data and split it. Only with ``validation=test`` is the test set opened, for the run in `folder`.

    Raises `DataError` for data that cannot be read, `ConfigError` for an unknown dataset or a split that leaves no
    training images.
    """
    images = read(conf, "train")
    sha256 = images.sha256()
    if conf.validation == "test":
        # The weights do not exist yet, so the record has no checksum: each epoch's are evaluated.
        test = read(conf, "test", opening=Opening(folder=folder))
        return Splits(train=images, validation=test, validation_is_test=True, sha256=sha256)
    if conf.validation == "none":
        nothing = images.take(torch.empty(0, dtype=torch.int64))
        return Splits(train=images, validation=nothing, validation_is_test=False, sha256=sha256)
    training_images(conf, len(images))
    validation_b = stratified(images.labels_b, conf.validation_size, conf.split_seed)
    return Splits(
        train=images.take((~validation_b).nonzero().squeeze(1)),
        validation=images.take(validation_b.nonzero().squeeze(1)),
        validation_is_test=False,
        sha256=sha256,
    )


def split_cached(conf: DataConf, *, folder: Path | None = None) -> Splits:
    """Return `split(conf, folder=folder)`; consecutive calls of a process with the same config read the files once.

    Test images are read each time: each run that is validated on them opens the test set.
    """
    return split(conf, folder=folder) if conf.validation == "test" else _split(**asdict(conf))


@functools.lru_cache(maxsize=1)
def _split(**fields: Any) -> Splits:
    return split(DataConf(**fields))


def stratified(labels_b: Tensor, size: int, seed: int) -> Tensor:
    """Select `size` of the labels so that each class keeps its share, to within one image: a bool mask ``[b]``.

    The largest-remainder method sets each class's quota; ties go to the smaller class number. The seed decides which
    images of a class are selected.
    """
    counts = torch.bincount(labels_b)
    exact = counts * size  # in units of 1 / len(labels_b), so that the arithmetic is exact
    quotas = exact // len(labels_b)
    remainders = exact % len(labels_b)
    for label in torch.argsort(remainders, descending=True, stable=True)[: size - int(quotas.sum())]:
        quotas[label] += 1
    generator = torch.Generator().manual_seed(seed)
    chosen_b = torch.zeros(len(labels_b), dtype=torch.bool)
    for label, count in enumerate(quotas.tolist()):
        members = (labels_b == label).nonzero().squeeze(1)
        chosen_b[members[torch.randperm(len(members), generator=generator)[:count]]] = True
    return chosen_b
