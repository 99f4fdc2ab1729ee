"""The two training loops that `bench` compares: the notebook's, and sweeper's own, which is called the engine.

Both train in blocks of `PROGRESS_EVERY` steps and report the images per second of each block.
"""

import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import nn
from torch.utils.data import DataLoader, Dataset

from sweeper.config.schema import ExperimentConf, SgdConf
from sweeper.data.images import LabelledImages
from sweeper.data.splits import split
from sweeper.design import analyze
from sweeper.network.build import build
from sweeper.network.cpu.fast_paths import ALL_FAST_PATHS, NO_FAST_PATHS, FastPaths
from sweeper.records import BatchProgress
from sweeper.training.device import keep_freed_memory, reproducible
from sweeper.training.loop import PROGRESS_EVERY, fit

OnBlock = Callable[[float], None]
"""Receives the images per second of each block. Its own time counts toward no block."""


def notebook_loop(conf: ExperimentConf, on_block: OnBlock) -> None:
    """Train without end as the notebook does, see `NotebookTraining`."""
    training = NotebookTraining(conf)
    step = seen = 0
    started = time.perf_counter()
    while True:
        for images in training.epoch():
            step, seen = step + 1, seen + images
            if step % PROGRESS_EVERY == 0:
                on_block(seen / (time.perf_counter() - started))
                seen, started = 0, time.perf_counter()


def engine_loop(conf: ExperimentConf, on_block: OnBlock, *, fast_paths: FastPaths = ALL_FAST_PATHS) -> None:
    """Train a resolved config with `sweeper.training.loop.fit` and these hand-written CPU paths."""
    keep_freed_memory()
    seen, started = 0, time.perf_counter()

    def on_batch(progress: BatchProgress) -> None:
        nonlocal seen, started
        if progress.images > seen:  # otherwise a new epoch has started, and the time includes an evaluation
            on_block((progress.images - seen) / (time.perf_counter() - started))
        seen, started = progress.images, time.perf_counter()

    with reproducible(conf):
        network = build(analyze(conf).plan, fast_paths).to(memory_format=torch.channels_last)
        for _epoch in fit(network, split(conf.data), conf, on_batch=on_batch):
            pass


class NotebookTraining:
    """The notebook's training, with the network, batch size and SGD of a resolved config.

    As there, a DataLoader reads PIL images through torchvision's transforms, the modules are torch's own with a
    log-softmax, and a second forward pass of each batch measures the training accuracy.
    """

    def __init__(self, conf: ExperimentConf) -> None:
        """Read the images and initialize the network; `conf.threads` must be resolved."""
        assert isinstance(conf.threads, int)
        assert isinstance(conf.optimizer, SgdConf)
        torch.set_num_threads(conf.threads)
        torch.manual_seed(conf.seed)
        splits, batch_size = split(conf.data), conf.training.batch_size
        self._train = DataLoader(_PilImages(splits.train), batch_size=batch_size, shuffle=True)
        self._validation = DataLoader(_PilImages(splits.validation), batch_size=batch_size)
        self._network = nn.Sequential(build(analyze(conf).plan, NO_FAST_PATHS), nn.LogSoftmax(dim=1))
        self._optimizer = torch.optim.SGD(
            self._network.parameters(), lr=conf.optimizer.lr, momentum=conf.optimizer.momentum
        )

    def epoch(self) -> Iterator[int]:
        """Train one epoch; yield the number of images after each step."""
        self._network.train()
        correct = 0
        for images_bchw, labels_b in self._train:
            self._optimizer.zero_grad()
            loss = F.nll_loss(self._network(images_bchw), labels_b)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            self._optimizer.step()
            correct += int(self._network(images_bchw).argmax(dim=1).eq(labels_b).sum())
            yield len(labels_b)

    def validate(self) -> float:
        """Return the validation accuracy, a fraction."""
        self._network.eval()
        correct = images = 0
        with torch.no_grad():
            for images_bchw, labels_b in self._validation:
                correct += int(self._network(images_bchw).argmax(dim=1).eq(labels_b).sum())
                images += len(labels_b)
        return correct / images


class _PilImages(Dataset[tuple[torch.Tensor, int]]):
    """Images in memory, served as `torchvision.datasets.MNIST` serves them with the notebook's transforms."""

    def __init__(self, images: LabelledImages) -> None:
        from torchvision import transforms  # noqa: PLC0415 - takes a second; only this loop needs it

        self._images_bhw, self._labels = images.images_bhw, images.labels_b.tolist()
        normalise = transforms.Normalize((images.mean,), (images.std,))
        self._transform = transforms.Compose([transforms.ToTensor(), normalise])

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        from PIL import Image  # noqa: PLC0415 - likewise

        return self._transform(Image.fromarray(self._images_bhw[index].numpy(), mode="L")), self._labels[index]
