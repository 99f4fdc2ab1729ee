"""Labelled images as uint8 tensors: read once, selected by index without copying, normalized batch by batch."""

import functools
import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sweeper.config.schema import DataConf
from sweeper.data.catalogue import DATASETS
from sweeper.data.files import Part, read_files
from sweeper.data.openings import Opening


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """A selection of a dataset's images and labels, all on one device.

    Images of torchvision's datasets are memory maps of the files: all processes that read them, such as a study's
    workers, share one copy in the page cache.
    """

    source_nhw: Tensor
    """uint8, ``[n, height, width]``: all images of the file."""
    labels_n: Tensor
    """int64, ``[n]``: all labels of the file."""
    indices_b: Tensor
    """int64, ``[b]``: the positions of the selected images, in order."""
    mean: float
    """Subtracted by `normalise_`, as a fraction of 255."""
    std: float
    """Divided by in `normalise_`, as a fraction of 255."""

    def __len__(self) -> int:
        return len(self.indices_b)

    @property
    def images_bhw(self) -> Tensor:
        """A copy of the selected images: uint8, ``[b, height, width]``."""
        return self.source_nhw[self.indices_b]

    @functools.cached_property
    def labels_b(self) -> Tensor:
        """The selected images' labels: int64, ``[b]``."""
        return self.labels_n[self.indices_b]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of an image, pixels."""
        return self.source_nhw.shape[1], self.source_nhw.shape[2]

    def take(self, indices_b: Tensor) -> "LabelledImages":
        """Select from these images by position, in this order; copies no image."""
        return replace(self, indices_b=self.indices_b[indices_b])

    def to(self, device: torch.device) -> "LabelledImages":
        """Move images, labels and indices to the device."""
        moved = {name: getattr(self, name).to(device) for name in ("source_nhw", "labels_n", "indices_b")}
        return replace(self, **moved)

    def pixels(self, start: int, stop: int) -> Tensor:
        """Return the images from `start` to `stop`, not normalized: float32 ``[b, 1, height, width]``, 0 to 255."""
        return self.source_nhw.index_select(0, self.indices_b[start:stop]).unsqueeze(1).float()

    def normalise_(self, pixels_bchw: Tensor) -> Tensor:
        """Normalize pixels from 0 to 255 in place: subtract `mean`, divide by `std`, both scaled by 255."""
        return pixels_bchw.sub_(255 * self.mean).div_(255 * self.std)

    def sha256(self) -> str:
        """Return the checksum of all images and labels of the file, selected or not, as hexadecimal digits."""
        digest = hashlib.sha256(self.source_nhw.cpu().contiguous().numpy().data)
        digest.update(self.labels_n.cpu().contiguous().numpy().data)
        return digest.hexdigest()


def read(conf: DataConf, part: Part, *, opening: Opening | None = None) -> LabelledImages:
    """Read a dataset's training or test images, all selected; a missing dataset is downloaded to `data.root` first.

    Reading test images is recorded; `opening` says what they are read for.

    Raises the errors of `sweeper.data.files.read_files`.
    """
    facts = DATASETS.facts(conf.name)
    images_nhw, labels_n = read_files(conf, part, opening=opening)
    return LabelledImages(
        source_nhw=torch.from_numpy(images_nhw),
        labels_n=torch.from_numpy(labels_n),
        indices_b=torch.arange(len(labels_n)),
        mean=facts.mean,
        std=facts.std,
    )
