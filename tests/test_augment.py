"""Augmentation: its bounds, its draws, one interpolation, nothing that depends on the batch."""

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.config.schema import AugmentConf
from sweeper.data.augment import augment, draw_variations
from sweeper.data.images import LabelledImages, read
from sweeper.errors import ConfigError

from .composed import compose


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


@pytest.mark.parametrize("name", ["affine", "elastic", "erasing", "flip"])
def test_augmentation_of_no_amplitude_is_the_identity(name: Literal["affine", "elastic", "erasing", "flip"]) -> None:
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


@pytest.mark.parametrize("probability", [0.3, 1.0])
def test_flip_mirrors_its_share_of_the_images(probability: float) -> None:
    """Each image stays as it is or is mirrored left to right, to the bit, and that share is mirrored."""
    images = torch.rand(2000, 1, 9, 14, generator=torch.Generator().manual_seed(0))
    conf = AugmentConf(name="flip", flip=probability)
    flipped = augment(images, conf, draw_variations(2000, conf, torch.Generator().manual_seed(1), shape=(9, 14)))
    mirrored = (flipped == images.flip(3)).all(3).all(2).all(1)
    kept = (flipped == images).all(3).all(2).all(1)
    assert (mirrored ^ kept).all()
    assert mirrored.float().mean().item() == pytest.approx(probability, abs=0.03)


@pytest.mark.parametrize("erasing", [0.0, 1.0])
def test_a_flipped_image_is_warped_and_erased_like_any_other(erasing: float) -> None:
    """With flip 1, transform, displacement and erased square are those that the mirrored image has without it."""
    digits = _digits(50)
    mirror = AugmentConf(name="affine", rotation=0.2, shift=0.1, scale=0.1, elastic=1.0, erasing=erasing, flip=1.0)
    plain = replace(mirror, flip=0.0)
    variations = draw_variations(50, plain, torch.Generator().manual_seed(2), shape=(28, 28))
    at = 7 if erasing else 4
    flipping = torch.cat((variations[:, :at], torch.full((50, 1), -1.0), variations[:, at:]), dim=1)
    expected = augment(digits.flip(3), plain, variations)
    torch.testing.assert_close(augment(digits, mirror, flipping), expected, atol=0.05, rtol=0)


@settings(max_examples=20)
@given(st.integers(1, 40), st.integers(1, 40))
def test_an_image_is_varied_the_same_in_any_batch(size: int, other: int) -> None:
    """The variations are drawn for all images at once: how these are batched changes nothing but rounding."""
    digits = 255 * torch.rand(40, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    conf = AugmentConf(name="affine", rotation=0.2, shift=0.1, scale=0.1, elastic=1.0, erasing=0.5, flip=0.5)
    variations = draw_variations(40, conf, torch.Generator().manual_seed(3), shape=(28, 28))
    first, second = (
        torch.cat([augment(digits[at : at + n], conf, variations[at : at + n]) for at in range(0, 40, n)])
        for n in (size, other)
    )
    torch.testing.assert_close(first, second, atol=0.05, rtol=0)


def test_new_keys_leave_the_draws_of_the_affine_transform_as_they_were() -> None:
    """The affine columns come first from the generator: they are those of a plain uniform draw."""
    conf = AugmentConf(name="affine", rotation=0.1, elastic=1.0, erasing=0.5, flip=0.5)
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
        (
            ["+augment.erasing=0.5"],
            "augment.erasing needs augment=affine, elastic, erasing or flip, but got erasing=0.5",
        ),
        (["augment=flip", "augment.flip=-0.1"], r"augment.flip must be in \[0, 1\], but got -0.1"),
        (["+augment.flip=0.5"], "augment.flip needs augment=affine, elastic, erasing or flip, but got flip=0.5"),
    ],
)
def test_augmentation_out_of_bounds_is_refused(overrides: list[str], rule: str) -> None:
    """A value that makes no sense, or has no effect, is an error with the rule and the value."""
    with pytest.raises(ConfigError, match=rule):
        compose(overrides)
