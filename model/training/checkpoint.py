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
    from torch.optim import Optimizer

STATE = "checkpoint.json"


class ResumeError(ValueError):
    """A checkpoint of another run than the one asked for."""


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


def check(asked: Mapping[str, Mapping[str, Any]], state: Mapping[str, Any], *, directory: Path) -> None:
    """Refuse the ``state`` of a run that is not the one ``asked`` for by its ``recipe`` and its ``data``.

    Raises:
        ResumeError: they differ; the message says in what.
    """
    wanted = {**asked["data"], **asked["recipe"]}
    found = {**state["data"], **state["recipe"]}
    differing = [f"{key} {found.get(key)!r}, not {value!r}" for key, value in wanted.items() if found.get(key) != value]
    if differing:
        raise ResumeError(
            f"the checkpoint in {directory} is of another run: its {'; its '.join(differing)}. "
            "Ask for the same again to resume it, or start afresh"
        )


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with ``prefix``, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def moments(optimizer: Optimizer) -> dict[str, Tensor]:
    """An optimiser's moments as ``adam.<parameter>.<name>``."""
    state = optimizer.state_dict()["state"]
    return {f"adam.{index}.{name}": tensor for index, kept in state.items() for name, tensor in kept.items()}


def restore(optimizer: Optimizer, kept: Mapping[str, Tensor]) -> None:
    """Give an optimiser the moments that a checkpoint holds as ``<parameter>.<name>``."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in kept.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _replace(temporary: Path, final: Path) -> None:
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(final)
