"""The torch devices that tests run on: the CPU, and a GPU under the marker ``gpu`` where there is one."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def has_gpu() -> bool:
    """Whether torch is there and finds a CUDA device."""
    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


PLACES = ("cpu", pytest.param("cuda:0", marks=(pytest.mark.gpu,
    pytest.mark.skipif(not has_gpu(), reason="torch finds no CUDA device"))))  # fmt: skip
