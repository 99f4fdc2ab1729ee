"""Reading and splitting images: real digits, damaged files, a download from a local server."""

import gc
import gzip
import hashlib
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
import torchvision.datasets
from hypothesis import given
from hypothesis import strategies as st

from sweeper.config.schema import DataConf
from sweeper.data.files import read_files
from sweeper.data.images import read
from sweeper.data.splits import split, stratified
from sweeper.errors import DataError

from .composed import compose
from .processes import environment

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def _conf(name: str, root: Path | str = "data", validation: str = "split", size: int = 10) -> DataConf:
    return compose(
        [f"data={name}", f"data.root={root}", f"data.validation={validation}", f"data.validation_size={size}"]
    ).data


def _write_idx(path: Path, values: torch.Tensor) -> None:
    """Write bytes as an IDX file: magic number, big-endian sizes, values."""
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(header + values.to(torch.uint8).numpy().tobytes())


@pytest.fixture
def tiny_root(tmp_path: Path) -> Path:
    """A torchvision root with 100 training and 20 test images of noise."""
    raw = tmp_path / "root" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for prefix, count in (("train", 100), ("t10k", 20)):
        _write_idx(raw / f"{prefix}-images-idx3-ubyte", torch.randint(256, (count, 28, 28), generator=generator))
        _write_idx(raw / f"{prefix}-labels-idx1-ubyte", torch.arange(count) % 10)
    return tmp_path / "root"


def test_embedded_digits_need_no_download() -> None:
    """mnist5k has 4,000 training and 1,000 test digits, 28×28 bytes, balanced; normalised, they have mean 0, deviation 1."""
    conf = compose(["data=mnist5k"]).data
    train, test = read(conf, "train"), read(conf, "test")
    assert train.images_bhw.shape == (4000, 28, 28)
    assert train.images_bhw.dtype == torch.uint8
    assert torch.bincount(train.labels_b).tolist() == [400] * 10
    assert torch.bincount(test.labels_b).tolist() == [100] * 10
    pixels_bchw = train.normalise_(train.pixels(0, len(train)))
    assert pixels_bchw.mean().item() == pytest.approx(0, abs=0.02)
    assert pixels_bchw.std().item() == pytest.approx(1, abs=0.02)


def test_embedded_test_digits_are_not_among_the_training_ones() -> None:
    """No image is in both parts."""
    conf = compose(["data=mnist5k"]).data
    train = {image.numpy().tobytes() for image in read(conf, "train").images_bhw}
    test = {image.numpy().tobytes() for image in read(conf, "test").images_bhw}
    assert not train & test


@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=300).flatmap(
        lambda labels: st.tuples(st.just(labels), st.integers(1, len(labels) - 1))
    ),
    st.integers(0, 2**40),
)
def test_split_is_stratified(drawn: tuple[list[int], int], seed: int) -> None:
    """For any labels, size and seed, exactly `size` are selected, each class within one of its share, repeatably."""
    labels, size = torch.tensor(drawn[0]), drawn[1]
    chosen = stratified(labels, size, seed)
    assert int(chosen.sum()) == size
    for label in set(drawn[0]):
        members = labels == label
        share = int(members.sum()) * size / len(labels)
        assert abs(int((chosen & members).sum()) - share) < 1
    assert torch.equal(chosen, stratified(labels, size, seed))


def test_split_divides_the_training_set(tiny_root: Path) -> None:
    """Training and validation images together are the training set; another split seed divides it differently."""
    conf = _conf("mnist", tiny_root, size=20)
    whole = read(conf, "train")
    splits = split(conf)
    assert (len(splits.train), len(splits.validation)) == (80, 20)
    together = torch.cat([splits.train.images_bhw, splits.validation.images_bhw])
    assert sorted(i.numpy().tobytes() for i in together) == sorted(i.numpy().tobytes() for i in whole.images_bhw)
    conf.split_seed = 1
    assert not torch.equal(split(conf).validation.images_bhw, splits.validation.images_bhw)


def test_the_test_set_is_sealed(tiny_root: Path) -> None:
    """Without data.validation=test the test files are not opened: damage in them goes unnoticed."""
    for name in FILES[2:]:
        (tiny_root / "MNIST" / "raw" / name).write_bytes(b"sealed")
    assert not split(_conf("mnist", tiny_root)).validation_is_test
    with pytest.raises(DataError):
        split(_conf("mnist", tiny_root, validation="test"))


def test_the_test_set_validates_on_request(tiny_root: Path) -> None:
    """data.validation=test trains on the whole training set and validates on the test set."""
    splits = split(_conf("mnist", tiny_root, validation="test"))
    assert (len(splits.train), len(splits.validation), splits.validation_is_test) == (100, 20, True)


@pytest.mark.parametrize(
    "damage",
    [b"", b"\x00", b"not an idx file at all", b"\x00\x00\x08\x03" + b"\x00\x00\x00\x64" * 3, b"\x00\x00\x08\x09"],
    ids=["empty", "one byte", "text", "cut short", "nine dimensions"],
)
@pytest.mark.parametrize("name", FILES[:2])
def test_damaged_file_is_named(tiny_root: Path, name: str, damage: bytes) -> None:
    """The error names the damaged file and the fix."""
    path = tiny_root / "MNIST" / "raw" / name
    path.write_bytes(damage)
    with pytest.raises(DataError, match=f"{name}.*: delete .* or use data=mnist5k"):
        read(_conf("mnist", tiny_root), "train")


def test_wrong_shapes_are_named(tiny_root: Path) -> None:
    """The error for images of the wrong size, or the wrong number of labels, states both shapes."""
    raw = tiny_root / "MNIST" / "raw"
    _write_idx(raw / FILES[1], torch.zeros(99))
    with pytest.raises(DataError, match=r"must hold uint8 of shape 100, but holds uint8 of shape 99"):
        read(_conf("mnist", tiny_root), "train")
    _write_idx(raw / FILES[0], torch.zeros(99, 32, 32))
    with pytest.raises(DataError, match=r"must hold uint8 of shape n×28×28, but holds uint8 of shape 99×32×32"):
        read(_conf("mnist", tiny_root), "train")


def test_processes_share_one_copy_of_the_images(tiny_root: Path) -> None:
    """Images are a memory map of the file: selecting and shuffling copy none, and writing to them leaves the file alone."""
    conf = _conf("mnist", tiny_root, size=20)
    file = tiny_root / "MNIST" / "raw" / FILES[0]
    before = file.read_bytes()
    whole = read(conf, "train")
    chosen = whole.take(torch.tensor([3, 1])).take(torch.tensor([1, 0]))
    assert chosen.source_nhw.data_ptr() == whole.source_nhw.data_ptr()
    assert str(file) in Path("/proc/self/maps").read_text()
    assert torch.equal(chosen.images_bhw, whole.images_bhw[[1, 3]])
    assert torch.equal(chosen.labels_b, whole.labels_b[[1, 3]])
    whole.source_nhw.zero_()
    assert file.read_bytes() == before


def test_label_out_of_range_is_refused(tiny_root: Path) -> None:
    """A label beyond the classes is an error before it can index past the scores."""
    _write_idx(tiny_root / "MNIST" / "raw" / FILES[1], torch.full((100,), 10))
    with pytest.raises(DataError, match="must hold labels below 10, but holds 10"):
        read(_conf("mnist", tiny_root), "train")


def test_unreadable_root_is_one_error(tmp_path: Path) -> None:
    """A data.root that is a file is an error with its path and the fix."""
    file = tmp_path / "file"
    file.write_text("no folder")
    with pytest.raises(DataError, match=f"data.root={file} cannot be read .*data=mnist5k"):
        read(_conf("mnist", file), "train")


@pytest.fixture
def mirror(tmp_path: Path, tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a local HTTP server serves as torchvision's mirror."""
    served = tmp_path / "served"
    served.mkdir()
    resources = []
    for name in FILES:
        (served / f"{name}.gz").write_bytes(gzip.compress((tiny_root / "MNIST" / "raw" / name).read_bytes()))
        digest = hashlib.md5((served / f"{name}.gz").read_bytes(), usedforsecurity=False).hexdigest()
        resources.append((f"{name}.gz", digest))
    handler = partial(_Quiet, directory=str(served))
    with _Mirror(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
        yield served
        server.shutdown()
        thread.join()


class _Mirror(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a closed connection: torchvision first asks where a file is, and hangs up before the content."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


def test_missing_data_is_downloaded_once(
    mirror: Path, tmp_path: Path, tiny_root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A missing data set is downloaded into data.root without output; the second read needs no server."""
    conf = _conf("mnist", tmp_path / "new" / "root")
    fetched = read(conf, "train")
    assert fetched.sha256() == read(_conf("mnist", tiny_root), "train").sha256()
    for file in mirror.iterdir():
        file.unlink()
    assert len(read(conf, "test")) == 20
    assert capfd.readouterr() == ("", "")
    assert {path.name for path in (tmp_path / "new" / "root").iterdir()} == {"MNIST"}


def test_a_forbidden_download_is_an_error(mirror: Path, tmp_path: Path) -> None:
    """With download=False a missing data set is an error that says where to copy it, even if a download would work."""
    assert mirror.exists()
    folder = tmp_path / "new" / "MNIST" / "raw"
    with pytest.raises(DataError, match=f"data=mnist is not in data.root={tmp_path / 'new'}, .*: copy .* to {folder}"):
        read_files(_conf("mnist", tmp_path / "new"), "train", download=False)
    assert not (tmp_path / "new").exists()


def test_reading_files_imports_no_torch(tiny_root: Path, tmp_path: Path) -> None:
    """Reports read images without torch, which takes two seconds to import."""
    code = (
        "import sys; from sweeper.config.schema import DataConf; from sweeper.data.files import read_files; "
        "root = sys.argv[1]; data = DataConf(name='mnist', root=root, validation='test', validation_size=1, split_seed=0); "
        "assert read_files(data, 'test', download=False).images_nhw.shape == (20, 28, 28); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tiny_root)], cwd=tmp_path, env=environment(), check=True)


# torchvision keeps urllib's error, and with it an open socket, until it is collected: here, not in a later test.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_broken_download_leaves_nothing(mirror: Path, tmp_path: Path) -> None:
    """If one of four files cannot be downloaded, the error names data.root and mnist5k, and no file stays behind."""
    (mirror / f"{FILES[3]}.gz").unlink()
    before = set(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=r"data\.root=.*downloading it failed.*data=mnist5k"):
        read(_conf("mnist", tmp_path / "new"), "train")
    gc.collect()
    assert set(tmp_path.rglob("*")) == before


def test_real_mnist_is_what_the_catalogue_says(mnist_root: Path) -> None:
    """The real training set has the sizes, mean, deviation and most frequent digit that the catalogue states."""
    train = read(_conf("mnist", mnist_root), "train")
    assert (len(train), len(read(_conf("mnist", mnist_root), "test"))) == (60_000, 10_000)
    fractions = train.pixels(0, len(train)) / 255
    assert fractions.mean().item() == pytest.approx(train.mean, abs=1e-4)
    assert fractions.std().item() == pytest.approx(train.std, abs=1e-4)
    assert torch.bincount(train.labels_b).max().item() / 60_000 == pytest.approx(0.1124, abs=1e-4)
