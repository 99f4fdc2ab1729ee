"""Reading, splitting and augmenting images: real digits, damaged files, a download from a local server."""

import gc
import gzip
import hashlib
import http.server
import math
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
import torchvision.datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.config.composition import compose
from sweeper.config.schema import AugmentConf, DataConf
from sweeper.data.augment import augment, draw_variations
from sweeper.data.files import read_files
from sweeper.data.images import LabelledImages, read
from sweeper.data.splits import split, stratified
from sweeper.errors import ConfigError, DataError

from .conftest import environment

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


def _affine(rotation: float = 0.0, shift: float = 0.0, scale: float = 0.0) -> AugmentConf:
    return AugmentConf(name="affine", rotation=rotation, shift=shift, scale=scale)


def _digits(count: int) -> torch.Tensor:
    images: LabelledImages = read(compose(["data=mnist5k"]).data, "train")
    return images.pixels(0, count)


def _augment(pixels_bchw: torch.Tensor, conf: AugmentConf, *, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return augment(pixels_bchw, conf, draw_variations(len(pixels_bchw), conf, generator, shape=(28, 28)))


def test_augmentation_without_any_range_changes_nothing() -> None:
    """`none` returns the same tensor; `affine` with all ranges 0 returns the same values."""
    digits = _digits(32)
    assert _augment(digits, AugmentConf(name="none"), seed=0) is digits
    torch.testing.assert_close(_augment(digits, _affine(), seed=0), digits, atol=255e-5, rtol=0)


def test_each_image_is_augmented_on_its_own_and_repeatably() -> None:
    """Thirty-two copies of one digit become thirty-two different images; the same seed gives the same ones."""
    copies = _digits(1).repeat(32, 1, 1, 1)
    conf = _affine(rotation=0.15, shift=0.08, scale=0.1)
    augmented = _augment(copies, conf, seed=3)
    assert len({image.numpy().tobytes() for image in augmented}) == 32
    assert torch.equal(augmented, _augment(copies, conf, seed=3))


@pytest.mark.parametrize("width", [0.05, 0.15])
def test_shift_moves_the_centre_of_mass_by_at_most_its_width(width: float) -> None:
    """A shift of s moves a dot by at most s times the image's side, in both directions, and the draws fill that range."""
    dot = torch.zeros(500, 1, 28, 28)
    dot[:, :, 13:15, 13:15] = 1
    moved = _augment(dot, _affine(shift=width), seed=0)[:, 0]
    columns = (moved.sum(1) * torch.arange(28)).sum(1) / moved.sum((1, 2)) - 13.5
    assert columns.abs().max().item() <= width * 28 + 1e-3
    assert columns.max().item() > 0.9 * width * 28
    assert columns.min().item() < -0.9 * width * 28


def test_rotation_is_by_at_most_its_angle() -> None:
    """Rotated by up to a radians, a bar's principal axis stays within that angle, and the draws fill the range."""
    bar = torch.zeros(500, 1, 28, 28)
    bar[:, :, 13:15, 4:24] = 1
    turned = _augment(bar, _affine(rotation=0.5), seed=0)[:, 0]
    y, x = torch.meshgrid(torch.arange(28) - 13.5, torch.arange(28) - 13.5, indexing="ij")
    angle = 0.5 * torch.atan2(2 * (turned * x * y).sum((1, 2)), (turned * (x**2 - y**2)).sum((1, 2)))
    assert angle.abs().max().item() <= 0.5 + 0.02
    assert angle.max().item() > 0.45
    assert angle.min().item() < -0.45


def test_scale_changes_the_size_by_at_most_its_share() -> None:
    """Scaled by up to s, a square's side changes by at most that share, and the draws fill the range."""
    square = torch.zeros(500, 1, 28, 28)
    square[:, :, 8:20, 8:20] = 1
    sized = _augment(square, _affine(scale=0.25), seed=0)[:, 0]
    sides = sized.sum((1, 2)).sqrt() / 12
    assert 0.74 < sides.min().item() < 0.78
    assert 1.22 < sides.max().item() < 1.26


def _elastic(amplitude: float, sigma: float = 4.0) -> AugmentConf:
    return AugmentConf(name="elastic", elastic=amplitude, elastic_sigma=sigma)


def test_the_affine_grid_is_torchs_to_the_bit() -> None:
    """Rotated, scaled and shifted images are those of torch's affine_grid with the same draws, bit by bit."""
    digits, conf = _digits(50), _affine(rotation=0.15, shift=0.08, scale=0.1)
    draws = torch.rand(50, 4, generator=torch.Generator().manual_seed(7)) * 2 - 1
    angle, size = draws[:, 0] * conf.rotation, 1 + draws[:, 1] * conf.scale
    cosine, sine, shift = angle.cos() / size, angle.sin() / size, draws[:, 2:] * 2 * conf.shift
    theta = torch.stack((cosine, -sine, shift[:, 0], sine, cosine, shift[:, 1]), dim=1).view(-1, 2, 3)
    grid = F.affine_grid(theta, [50, 1, 28, 28], align_corners=False)
    expected = F.grid_sample(digits, grid, align_corners=False)
    assert torch.equal(_augment(digits, conf, seed=7), expected)


@pytest.mark.parametrize("name", ["affine", "elastic", "erasing"])
def test_augmentation_of_no_amplitude_is_the_identity(name: Literal["affine", "elastic", "erasing"]) -> None:
    """With every value 0 the images stay the same to the bit, whatever the option is called."""
    digits = _digits(32)
    assert torch.equal(_augment(digits, AugmentConf(name=name), seed=0), digits)


@pytest.mark.parametrize(("amplitude", "sigma"), [(1.0, 4.0), (0.5, 2.0), (2.0, 10.0)])
def test_elastic_displaces_by_its_amplitude_and_smoothness(amplitude: float, sigma: float) -> None:
    """Displacements along both axes have mean 0, deviation `elastic` at every pixel, also at the corners, and the
    correlation exp(-d² / 4σ²) of white noise under a Gaussian filter.

    The images are ramps, which show each pixel's displacement in their value.
    """
    ramp = (torch.arange(28.0) + 50).expand(4000, 1, 28, 28)
    conf = _elastic(amplitude, sigma)
    inside = slice(8, 20)  # where no pixel comes from outside the image
    across = (_augment(ramp, conf, seed=1) - ramp)[:, 0, inside, inside]
    down = (_augment(ramp.mT.contiguous(), conf, seed=1) - ramp.mT)[:, 0, inside, inside]
    for shift in (across, down):
        assert shift.mean().item() == pytest.approx(0, abs=0.05 * amplitude)
        torch.testing.assert_close(shift.std(0), torch.full((12, 12), amplitude), rtol=0.07, atol=0)
        correlation = torch.corrcoef(torch.stack((shift[:, 6, 3], shift[:, 6, 6])))[0, 1].item()
        assert correlation == pytest.approx(math.exp(-9 / (4 * sigma**2)), abs=0.06)
    assert abs(torch.corrcoef(torch.stack((across[:, 5, 5], down[:, 5, 5])))[0, 1].item()) < 0.06


def test_affine_and_elastic_are_one_interpolation() -> None:
    """Displaced and transformed at once, a square keeps its greatest value, which a second interpolation would lower."""
    dot = torch.zeros(200, 1, 28, 28)
    dot[:, :, 12:16, 12:16] = 255
    conf = AugmentConf(name="affine", rotation=0.2, shift=0.1, scale=0.1, elastic=0.5)
    both = _augment(dot, conf, seed=0)
    alone = _augment(dot, replace(conf, elastic=0.0), seed=0)
    assert not torch.equal(both, alone)
    assert both.amax((1, 2, 3)).min().item() > 0.95 * 255
    assert both.sum().item() == pytest.approx(alone.sum().item(), rel=0.02)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from([(28, 28), (32, 20), (9, 40)]), st.sampled_from([0.0, 0.3, 1.0]))
def test_an_erased_square_keeps_to_its_bounds(seed: int, shape: tuple[int, int], probability: float) -> None:
    """Each image loses nothing or one square of 2 to 20 % of its area, wholly inside; the rest stays as it was."""
    images = torch.rand(100, 1, *shape) + 1
    before = images.clone()
    generator = torch.Generator().manual_seed(seed)
    conf = AugmentConf(name="erasing", erasing=probability)
    erased = augment(images, conf, draw_variations(100, conf, generator, shape=shape))
    assert torch.equal(images, before)
    lost = (erased == 0)[:, 0]
    assert torch.equal(erased[:, 0][~lost], images[:, 0][~lost])
    areas = lost.sum((1, 2))
    hit = areas > 0
    height, width = shape
    assert (areas[hit] >= 0.02 * height * width).all()
    assert (areas[hit] <= 0.2 * height * width).all()
    assert torch.equal(lost.any(2).sum(1) ** 2, areas)
    assert torch.equal(lost.any(1).sum(1), lost.any(2).sum(1))
    share = hit.float().mean().item()
    assert share == probability if probability in {0, 1} else 0.1 < share < 0.5


def test_erased_squares_fill_their_range() -> None:
    """Over many images every pixel is erased at times, and sides go from 4 to 12 pixels of 28."""
    lost = _augment(torch.ones(4000, 1, 28, 28), AugmentConf(name="erasing", erasing=1.0), seed=0)[:, 0] == 0
    assert lost.any(0).all()
    sides = lost.any(2).sum(1)
    assert (sides.min().item(), sides.max().item()) == (4, 12)


@settings(max_examples=20)
@given(st.integers(1, 40), st.integers(1, 40))
def test_an_image_is_varied_the_same_in_any_batch(size: int, other: int) -> None:
    """The variations are drawn for all images at once: how these are batched changes nothing but rounding."""
    digits = 255 * torch.rand(40, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    conf = AugmentConf(name="affine", rotation=0.2, shift=0.1, scale=0.1, elastic=1.0, erasing=0.5)
    variations = draw_variations(40, conf, torch.Generator().manual_seed(3), shape=(28, 28))
    first, second = (
        torch.cat([augment(digits[at : at + n], conf, variations[at : at + n]) for at in range(0, 40, n)])
        for n in (size, other)
    )
    torch.testing.assert_close(first, second, atol=0.05, rtol=0)


def test_new_keys_leave_the_draws_of_the_affine_transform_as_they_were() -> None:
    """The affine columns come first from the generator: they are those of a plain uniform draw."""
    conf = AugmentConf(name="affine", rotation=0.1, elastic=1.0, erasing=0.5)
    variations = draw_variations(30, conf, torch.Generator().manual_seed(5), shape=(28, 28))
    plain = torch.rand(30, 4, generator=torch.Generator().manual_seed(5)) * 2 - 1
    assert torch.equal(variations[:, :4], plain)


@pytest.mark.parametrize(
    ("overrides", "rule"),
    [
        (["augment=elastic", "augment.elastic=-1"], r"augment.elastic must be in \[0, 4\]"),
        (["augment=elastic", "augment.elastic=4.1"], r"augment.elastic must be in \[0, 4\]"),
        (
            ["augment=elastic", "augment.elastic=9", "augment.elastic_sigma=50"],
            r"augment.elastic must be in \[0, 8\], pixels, but got 9",
        ),
        (["augment=elastic", "augment.elastic=nan"], r"augment.elastic must be in \[0, 4\]"),
        (["augment=elastic", "augment.elastic_sigma=1"], r"augment.elastic_sigma must be in \[2, 100\]"),
        (["augment=erasing", "augment.erasing=1.1"], r"augment.erasing must be in \[0, 1\]"),
        (["+augment.erasing=0.5"], "augment.erasing needs augment=affine, elastic or erasing, but got erasing=0.5"),
    ],
)
def test_augmentation_out_of_bounds_is_refused(overrides: list[str], rule: str) -> None:
    """A value that makes no sense, or has no effect, is an error with the rule and the value."""
    with pytest.raises(ConfigError, match=rule):
        compose(overrides)


def test_real_mnist_is_what_the_catalogue_says(mnist_root: Path) -> None:
    """The real training set has the sizes, mean, deviation and most frequent digit that the catalogue states."""
    train = read(_conf("mnist", mnist_root), "train")
    assert (len(train), len(read(_conf("mnist", mnist_root), "test"))) == (60_000, 10_000)
    fractions = train.pixels(0, len(train)) / 255
    assert fractions.mean().item() == pytest.approx(train.mean, abs=1e-4)
    assert fractions.std().item() == pytest.approx(train.std, abs=1e-4)
    assert torch.bincount(train.labels_b).max().item() / 60_000 == pytest.approx(0.1124, abs=1e-4)
