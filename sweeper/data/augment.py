"""How training images are varied: one affine map per image, drawn and applied for a whole batch at once."""

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Generator, Tensor

from sweeper.schema import AugmentConf


def augment(pixels_bchw: Tensor, conf: AugmentConf, generator: Generator) -> Tensor:
    """Rotate, scale and shift each image by its own uniform draw; zeros come in from outside.

    Takes pixels before normalisation, so that what comes in is the background. The draws come from a CPU
    generator whatever the device, so that the device does not change them.
    """
    if conf.name == "none":
        return pixels_bchw
    draws_db = torch.rand(4, len(pixels_bchw), generator=generator).mul_(2).sub_(1).to(pixels_bchw.device)
    angle_b = draws_db[0] * conf.rotation
    size_b = 1 + draws_db[1] * conf.scale
    # affine_grid asks where each output pixel comes from: the inverse map, in coordinates from -1 to 1.
    cosine_b, sine_b = angle_b.cos() / size_b, angle_b.sin() / size_b
    shift_x_b, shift_y_b = draws_db[2] * 2 * conf.shift, draws_db[3] * 2 * conf.shift
    theta_b23 = torch.stack((cosine_b, -sine_b, shift_x_b, sine_b, cosine_b, shift_y_b), dim=1).view(-1, 2, 3)
    grid_bhw2 = F.affine_grid(theta_b23, list(pixels_bchw.shape), align_corners=False)
    return F.grid_sample(pixels_bchw, grid_bhw2, mode="bilinear", padding_mode="zeros", align_corners=False)
