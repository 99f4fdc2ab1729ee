"""Augments training images: one random affine transform per image, applied to a whole batch at once."""

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Generator, Tensor

from sweeper.config.schema import AugmentConf


def draw_variations(images: int, conf: AugmentConf, generator: Generator) -> Tensor:
    """Draw the transforms of this many images: float32 ``[images, 4]``, or ``[images, 0]`` without augmentation.

    The columns are rotation, scale, horizontal and vertical shift, uniform in [-1, 1) as fractions of the config's
    values. `generator` must be a CPU generator, so that all devices get the same draws.
    """
    return torch.rand(images, 0 if conf.name == "none" else 4, generator=generator).mul_(2).sub_(1)


def augment(pixels_bchw: Tensor, conf: AugmentConf, draws_b4: Tensor) -> Tensor:
    """Rotate, scale and shift each image by its draws: ``[b, 1, h, w]`` to the same shape, zero outside the image.

    The pixels must not be normalized yet: zero is then the background.
    """
    if conf.name == "none":
        return pixels_bchw
    angle_b = draws_b4[:, 0] * conf.rotation
    size_b = 1 + draws_b4[:, 1] * conf.scale
    # affine_grid takes the inverse transform, from output to input pixels, in coordinates from -1 to 1.
    cosine_b, sine_b = angle_b.cos() / size_b, angle_b.sin() / size_b
    shift_x_b, shift_y_b = draws_b4[:, 2] * 2 * conf.shift, draws_b4[:, 3] * 2 * conf.shift
    theta_b23 = torch.stack((cosine_b, -sine_b, shift_x_b, sine_b, cosine_b, shift_y_b), dim=1).view(-1, 2, 3)
    grid_bhw2 = F.affine_grid(theta_b23, list(pixels_bchw.shape), align_corners=False)
    return F.grid_sample(pixels_bchw, grid_bhw2, mode="bilinear", padding_mode="zeros", align_corners=False)
