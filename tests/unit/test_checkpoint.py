from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from model.training import checkpoint


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"model.a": torch.full((2, 3), value), "adam.0.step": torch.tensor(value), "best.b": torch.arange(4)}


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def failing_replace(monkeypatch):
    """The given renames (counted from 1) fail, as if the process had been killed there."""

    def arrange(*fatal: int) -> None:
        count = 0
        replace = Path.replace

        def counted(self, target):
            nonlocal count
            count += 1
            if count in fatal:
                raise KeyboardInterrupt
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", counted)

    yield arrange
    monkeypatch.undo()


def test_what_is_saved_is_loaded(tmp_path):
    state = {"step": 7, "best": 0.25, "metrics": {"nDCG@10": 0.5}, "recipe": {"steps": None, "terms": "word"}}
    transposed = torch.arange(6.0).reshape(2, 3).T.requires_grad_()
    checkpoint.save(tmp_path / "new", {**tensors(1.5), "model.c": transposed}, state)
    loaded = checkpoint.load(tmp_path / "new")
    assert loaded is not None
    found, described = loaded
    assert {key: described[key] for key in state} == state
    assert set(found) == {*tensors(1.5), "model.c"}
    for name, tensor in {**tensors(1.5), "model.c": transposed.detach()}.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


def test_where_there_is_no_checkpoint_there_is_nothing_to_load(tmp_path):
    assert checkpoint.load(tmp_path) is None
    assert checkpoint.load(tmp_path / "nowhere") is None


def test_a_checkpoint_replaces_the_one_before_and_leaves_nothing_stale(tmp_path):
    for step in (1, 20, 300):
        checkpoint.save(tmp_path, tensors(float(step)), {"step": step})
    assert len(names(tmp_path)) == 2
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded[1]["step"] == 300
    assert torch.equal(loaded[0]["model.a"], tensors(300.0)["model.a"])


@pytest.mark.parametrize("killed_at", [1, 2])
@pytest.mark.parametrize("next_step", [5, 6])
def test_a_kill_while_saving_leaves_the_old_pair_whole(tmp_path, failing_replace, killed_at, next_step):
    checkpoint.save(tmp_path, tensors(5.0), {"step": 5, "stage": 0})
    failing_replace(killed_at)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, tensors(9.0), {"step": next_step, "stage": 1})
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded[1]["stage"] == 0
    assert torch.equal(loaded[0]["model.a"], tensors(5.0)["model.a"])


def test_the_save_after_a_kill_cleans_up_what_the_kill_left(tmp_path, failing_replace):
    checkpoint.save(tmp_path, tensors(5.0), {"step": 5})
    failing_replace(1, 3)
    for step in (6, 7):
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path, tensors(float(step)), {"step": step})
    assert len(names(tmp_path)) > 2
    checkpoint.save(tmp_path, tensors(8.0), {"step": 8})
    assert len(names(tmp_path)) == 2
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded[1]["step"] == 8


def test_a_kill_after_the_rename_leaves_the_new_pair(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, tensors(5.0), {"step": 5})

    def killed(self, *, missing_ok=False):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path, tensors(6.0), {"step": 6})
    loaded = checkpoint.load(tmp_path)
    assert loaded is not None
    assert loaded[1]["step"] == 6
    assert torch.equal(loaded[0]["model.a"], tensors(6.0)["model.a"])


def test_the_state_is_plain_json_beside_safetensors(tmp_path):
    checkpoint.save(tmp_path, tensors(1.0), {"step": 1})
    state = json.loads((tmp_path / checkpoint.STATE).read_text())
    assert state["step"] == 1
    assert state["tensors"].endswith(".safetensors")
    assert names(tmp_path) == sorted([checkpoint.STATE, state["tensors"]])
