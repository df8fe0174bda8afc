"""Larger trunks, from torchvision's architectures and weights on the user's disk; nothing is ever fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safetensors.torch import load_file
from torch import nn

if TYPE_CHECKING:
    from pathlib import Path

_HEADS = ("fc", "classifier", "head", "heads")
"""What torchvision calls the last layers, which tell its own classes apart."""


class BackboneError(ValueError):
    """A backbone that cannot be had: no torchvision, no such architecture, or weights that do not fit it."""


def backbone(name: str, weights: Path) -> tuple[nn.Module, int]:
    """The trunk of torchvision's architecture ``name`` with ``weights`` (safetensors), and how many features it gives.

    Raises:
        BackboneError: see there; the message says what to do.
    """
    try:
        from torchvision import models
    except ModuleNotFoundError as error:
        raise BackboneError(
            f"the backbone {name} is torchvision's, which is not installed: pip install torchvision, of the release "
            "that belongs to the torch that is here"
        ) from error
    if name not in models.list_models(module=models):
        raise BackboneError(
            f"torchvision has no architecture {name!r}, but {', '.join(models.list_models(module=models))}"
        )
    if weights.suffix != ".safetensors" or not weights.is_file():
        raise BackboneError(f"weights are read from a .safetensors file on disk, which {weights} is not")
    trunk: nn.Module = models.get_model(name, weights=None)
    head = next((head for head in _HEADS if hasattr(trunk, head)), None)
    features = _inputs(getattr(trunk, head)) if head else None
    if head is None or features is None:
        raise BackboneError(
            f"the last layer of {name} is none of {', '.join(_HEADS)}, so it is not known what to replace"
        )
    setattr(trunk, head, nn.Flatten())
    found = {key: value for key, value in load_file(weights).items() if not key.startswith(f"{head}.")}
    try:
        trunk.load_state_dict(found)
    except RuntimeError as error:
        raise BackboneError(
            f"{weights} does not hold the weights of {name}: {' '.join(str(error).split())[:300]}"
        ) from error
    return trunk, features


def _inputs(head: nn.Module) -> int | None:
    """How many numbers go into a last layer, or into the first of several."""
    return next((layer.in_features for layer in head.modules() if isinstance(layer, nn.Linear)), None)
