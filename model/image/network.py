"""The image network: a small convolutional network from pixels to a point on a surface, or a larger one from disk."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from model.image.surface import Surface


class NetworkConfig(BaseModel):
    """Shape of an image network; ``height`` and ``width`` are those of its input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    surface: Surface = Surface()
    height: Annotated[int, Field(ge=16, le=512)] = 80
    width: Annotated[int, Field(ge=16, le=512)] = 60
    channels: Annotated[int, Field(ge=4)] = 16
    """Of the first convolution; each of the three stages after it has twice as many as the one before."""


class ImageNetwork(nn.Module):
    """Pictures (N, H, W, 3) uint8 → points (N, d) on ``config.surface``.

    ``trunk`` turns normalised pixels (N, 3, H, W) into ``features`` numbers a picture; without one it is a small one,
    made to be trained from nothing.
    """

    def __init__(self, config: NetworkConfig, trunk: nn.Module | None = None, *, features: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.trunk = trunk or SmallTrunk(config.channels)
        self.project = nn.Linear(features or SmallTrunk.features(config.channels), config.surface.dim)
        # of photographs in general, as the networks that people keep on disk were trained with
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """Points of uint8 pictures (N, H, W, 3)."""
        pixels = pictures.permute(0, 3, 1, 2).to(self.project.weight.dtype) / 255.0
        placed: Tensor = self.config.surface.place(self.vectors(pixels))
        return placed

    def encode(self, pixels: Tensor) -> Tensor:
        """What the loss sees of ``pixels`` (N, 3, H, W) between 0 and 1: their points."""
        placed: Tensor = self.config.surface.place(self.vectors(pixels))
        return placed

    def vectors(self, pixels: Tensor) -> Tensor:
        """What is then placed on the surface (N, d), of ``pixels`` (N, 3, H, W) between 0 and 1."""
        normal = (pixels - self.get_buffer("mean")) / self.get_buffer("deviation")
        projected: Tensor = self.project(self.trunk(normal))
        return projected


class SmallTrunk(nn.Module):
    """A stem and three residual stages, each at half the resolution, then mean and maximum over what is left."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        stages: list[nn.Module] = [_convolution(3, channels, stride=2), nn.ReLU()]
        for stage in range(3):
            stages += [_Residual(channels << stage, channels << (stage + 1))]
        self.stages = nn.Sequential(*stages)

    @staticmethod
    def features(channels: int) -> int:
        """How many features come out."""
        return 2 * (channels << 3)

    def forward(self, normal: Tensor) -> Tensor:
        """Features (N, F) of normalised pixels (N, 3, H, W)."""
        maps: Tensor = self.stages(normal)
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)


class _Residual(nn.Module):
    """Half the resolution by a convolution, then two more around which a shortcut leads."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.down = nn.Sequential(_convolution(before, after, stride=2), nn.ReLU())
        self.branch = nn.Sequential(_convolution(after, after), nn.ReLU(), _convolution(after, after))

    def forward(self, maps: Tensor) -> Tensor:
        half = self.down(maps)
        return torch.relu(half + self.branch(half))


def _convolution(before: int, after: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(after)
    )
