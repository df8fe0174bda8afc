"""Checkpoints: tensors as safetensors and the rest as JSON, replaced in one rename.

A checkpoint is two files, but only the JSON names the tensor file that belongs to it, so a kill between the two writes
leaves the old pair whole.
"""

from __future__ import annotations

import json
import os
import secrets
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

STATE = "checkpoint.json"


def save(directory: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Replace the checkpoint in ``directory`` by ``tensors`` and the JSON-able ``state``."""
    directory.mkdir(parents=True, exist_ok=True)
    # a name never used before: the pair that is there stays whole until the new one is
    name = f"checkpoint-{secrets.token_hex(8)}.safetensors"
    temporary = directory / f".{name}"
    save_file({key: tensor.detach().contiguous() for key, tensor in tensors.items()}, temporary)
    _replace(temporary, directory / name)
    described = directory / f".{STATE}"
    described.write_text(json.dumps({**state, "tensors": name}), encoding="utf-8")
    _replace(described, directory / STATE)
    for stale in directory.glob("*checkpoint-*.safetensors"):
        if stale.name != name:
            stale.unlink()


def load(directory: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The checkpoint in ``directory``, or None where there is none."""
    path = directory / STATE
    if not path.is_file():
        return None
    state: dict[str, Any] = json.loads(path.read_bytes())
    return load_file(directory / state["tensors"]), state


def _replace(temporary: Path, final: Path) -> None:
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(final)
