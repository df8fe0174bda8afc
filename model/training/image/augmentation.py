"""Pictures never seen twice alike: mirrored, moved, turned, scaled and tinted a little, as photographers differ."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

_SCALE = 0.15
_SHIFT = 0.1
_TURN = math.radians(8.0)
_BRIGHTNESS = 0.2
_TINT = 0.06


def augmented(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """``pixels`` (N, 3, H, W) between 0 and 1, each changed in its own way; what comes in at the rim is the rim's."""
    count, _, height, width = pixels.shape

    def drawn(*shape: int) -> Tensor:
        """Between −1 and 1."""
        return 2.0 * torch.rand(*shape, generator=generator) - 1.0

    scale, angle = 1.0 + _SCALE * drawn(count), _TURN * drawn(count)
    mirror = torch.sign(drawn(count))
    aspect = height / width
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = mirror * scale * angle.cos()
    theta[:, 0, 1] = -scale * angle.sin() * aspect
    theta[:, 1, 0] = mirror * scale * angle.sin() / aspect
    theta[:, 1, 1] = scale * angle.cos()
    theta[:, :, 2] = _SHIFT * drawn(count, 2)
    grid = affine_grid(theta, list(pixels.shape), align_corners=False)
    moved = grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    light = (1.0 + _BRIGHTNESS * drawn(count, 1, 1, 1)) * (1.0 + _TINT * drawn(count, 3, 1, 1))
    return (moved * light).clamp(0.0, 1.0)
