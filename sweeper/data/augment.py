"""Augments training images: a random warp, mirroring and an erased square per image, applied to a whole batch at once."""

import functools
import math
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Generator, Tensor

from sweeper.config.schema import AugmentConf

AFFINE_COLUMNS: Final = 4
"""Columns of the affine transform: rotation, scale, horizontal and vertical shift, uniform in [-1, 1)."""
ERASING_COLUMNS: Final = 3
"""Columns of the erased square: its centre's column and row, and half its side, pixels."""
ERASED_AREA: Final = (0.02, 0.2)
"""Least and greatest area of an erased square, as fractions of the image's. Zhong et al. go up to 0.4; on a digit that
fills half of its image, this hides most of the digit."""
NODE_SPACING: Final = 1.5
"""Distance of the nodes of an elastic displacement, in units of `elastic_sigma`: as far apart as they can be while the
displacement still has the correlations of filtered white noise, to within 3 %."""


def draw_variations(images: int, conf: AugmentConf, generator: Generator, *, shape: tuple[int, int]) -> Tensor:
    """Draw the variations of this many images of `shape`, height and width: float32 ``[images, columns]``.

    The columns are `AFFINE_COLUMNS`, as fractions of the config's values, then `ERASING_COLUMNS` if anything is erased,
    then -1 for a mirrored image and 1 for any other if there is `flip`, then the nodes of the elastic displacement,
    uniform in [-1, 1), horizontal before vertical, if there is one. Without augmentation there are none. `generator` must
    be a CPU generator, so that all devices get the same draws.
    """
    if conf.name == "none":
        return torch.empty(images, 0)
    columns = [torch.rand(images, AFFINE_COLUMNS, generator=generator).mul_(2).sub_(1)]
    if conf.erasing > 0:
        columns.append(_draw_squares(images, conf.erasing, generator, shape))
    if conf.flip > 0:
        columns.append(1 - 2 * (torch.rand(images, 1, generator=generator) < conf.flip).float())
    if conf.elastic > 0:
        nodes = math.prod(len(_nodes(side, conf.elastic_sigma)) for side in shape)
        columns.append(torch.rand(images, 2 * nodes, generator=generator).mul_(2).sub_(1))
    return columns[0] if len(columns) == 1 else torch.cat(columns, dim=1)


def augment(pixels_bchw: Tensor, conf: AugmentConf, variations_bk: Tensor) -> Tensor:
    """Mirror, warp and erase each image by its variation: ``[b, 1, h, w]`` to the same shape, zero outside the image.

    The pixels must not be normalized yet: zero is then the background, and what an erased square is filled with.
    """
    if conf.name == "none":
        return pixels_bchw
    if any((conf.rotation, conf.shift, conf.scale, conf.elastic)):
        pixels_bchw = _warp(pixels_bchw, conf, variations_bk)
    elif conf.flip > 0:
        pixels_bchw = torch.where(
            _directions(conf, variations_bk).view(-1, 1, 1, 1) < 0, pixels_bchw.flip(3), pixels_bchw
        )
    if conf.erasing > 0:
        pixels_bchw = _erase(pixels_bchw, variations_bk[:, AFFINE_COLUMNS : AFFINE_COLUMNS + ERASING_COLUMNS])
    return pixels_bchw


def _warp(pixels_bchw: Tensor, conf: AugmentConf, variations_bk: Tensor) -> Tensor:
    """Mirror, rotate, scale, shift and displace in one interpolation.

    The grid holds, for each output pixel, the coordinates of the input, from -1 to 1 between the image's outer edges.
    It is that of `affine_grid`, to the bit, without its one small matrix product per image, which takes three times as
    long as the interpolation.
    """
    b, _, h, w = pixels_bchw.shape
    angle_b = variations_bk[:, 0] * conf.rotation
    size_b = 1 + variations_bk[:, 1] * conf.scale
    cosine_b, sine_b = angle_b.cos() / size_b, angle_b.sin() / size_b
    shifts_b2 = variations_bk[:, 2:4] * 2 * conf.shift
    along_x_b2 = torch.stack((cosine_b, sine_b), dim=1)
    along_y_b2 = torch.stack((-sine_b, cosine_b), dim=1)
    x_w, y_h = _centres(w, pixels_bchw.device), _centres(h, pixels_bchw.device)
    grid_b2hw = along_x_b2.view(b, 2, 1, 1) * x_w + along_y_b2.view(b, 2, 1, 1) * y_h.view(h, 1)
    grid_b2hw += shifts_b2.view(b, 2, 1, 1)
    if conf.elastic > 0:
        basis_np = _displacement_basis(h, w, conf.elastic, conf.elastic_sigma, pixels_bchw.device)
        nodes_b2n = variations_bk[:, -2 * len(basis_np) :].view(b, 2, -1)
        pixel_2 = torch.tensor((2 / w, 2 / h), device=pixels_bchw.device)  # a pixel's side in the grid's coordinates
        nodes_qn = (nodes_b2n * pixel_2.view(2, 1)).view(2 * b, -1)
        grid_b2hw.view(2 * b, h * w).addmm_(nodes_qn, basis_np)
    if conf.flip > 0:
        grid_b2hw[:, 0] *= _directions(conf, variations_bk).view(b, 1, 1)
    return F.grid_sample(
        pixels_bchw, grid_b2hw.permute(0, 2, 3, 1), mode="bilinear", padding_mode="zeros", align_corners=False
    )


def _directions(conf: AugmentConf, variations_bk: Tensor) -> Tensor:
    """Return -1 for each mirrored image and 1 for each other one: float32 ``[b]``."""
    return variations_bk[:, AFFINE_COLUMNS + (ERASING_COLUMNS if conf.erasing > 0 else 0)]


def _draw_squares(images: int, probability: float, generator: Generator, shape: tuple[int, int]) -> Tensor:
    """Draw each image's erased square, of side 0 if none is erased: float32 ``[images, ERASING_COLUMNS]``.

    The area is uniform in `ERASED_AREA`, up to whole pixels within it; the place is uniform in the image.
    """
    h, w = shape
    chosen_n, size_n, across_n, down_n = torch.rand(images, 4, generator=generator).unbind(1)
    least, most = (area * h * w for area in ERASED_AREA)
    side_n = (least + size_n * (most - least)).sqrt().round()
    side_n = side_n.clamp(math.ceil(math.sqrt(least)), min(math.floor(math.sqrt(most)), h, w))
    left_n, top_n = (across_n * (w - side_n + 1)).floor(), (down_n * (h - side_n + 1)).floor()
    half_n, to_centre_n = side_n / 2 * (chosen_n < probability), (side_n - 1) / 2
    return torch.stack((left_n + to_centre_n, top_n + to_centre_n, half_n), dim=1)


def _erase(pixels_bchw: Tensor, squares_b3: Tensor) -> Tensor:
    """Set the pixels whose centre lies in an image's square to zero."""
    across_b1, down_b1, half_b1 = (column_b.unsqueeze(1) for column_b in squares_b3.unbind(1))
    h, w = pixels_bchw.shape[-2:]
    columns_bw, rows_bh = (
        ((torch.arange(side, device=pixels_bchw.device) - centre_b1).abs_() < half_b1).float()
        for side, centre_b1 in ((w, across_b1), (h, down_b1))
    )
    # A product of floats is a third of the time of `masked_fill`.
    kept_bhw = 1 - rows_bh.unsqueeze(2) * columns_bw.unsqueeze(1)
    return pixels_bchw * kept_bhw.unsqueeze(1)


@functools.lru_cache(maxsize=4)
def _centres(side: int, device: torch.device) -> Tensor:
    """Return the centres of a row's pixels, from -1 to 1 between its ends: float32 ``[side]``."""
    centres: Tensor = torch.linspace(-1, 1, side, device=device) * (side - 1) / side
    return centres


def _nodes(side: int, sigma: float) -> Tensor:
    """Return the nodes along an axis, pixels: evenly spaced, `sigma` or more beyond the first and last pixel's centre."""
    spacing = NODE_SPACING * sigma
    count = math.ceil((side - 1 + 2 * sigma) / spacing) + 1
    return (torch.arange(count, dtype=torch.float64) - (count - 1) / 2) * spacing + (side - 1) / 2


@functools.lru_cache(maxsize=4)
def _displacement_basis(h: int, w: int, amplitude: float, sigma: float, device: torch.device) -> Tensor:
    """Return what turns the draws at the nodes into displacements, pixels: float32 ``[nodes, h * w]``.

    Each node adds a Gaussian of standard deviation `sigma` around it, as the filter of Simard et al. (2003) does around
    each pixel of its white noise. Scaled so that every pixel's displacement has the standard deviation `amplitude`.
    """
    along_h_gh, along_w_gw = (
        torch.exp(-((_nodes(side, sigma).unsqueeze(1) - torch.arange(side)) ** 2) / (2 * sigma**2)) for side in (h, w)
    )
    basis_np: Tensor = torch.kron(along_h_gh, along_w_gw)
    deviation = 1 / math.sqrt(3)  # of a draw
    basis_np *= amplitude / deviation / basis_np.norm(dim=0)
    return basis_np.float().to(device)
