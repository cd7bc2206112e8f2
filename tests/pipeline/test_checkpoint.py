"""Weights and checkpoints on disk: whole, never executed, and the older one behind the newer."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from two_stage.run.checkpoint import (
    CURRENT,
    PREVIOUS,
    flatten_optimiser,
    load_checkpoint,
    load_weights,
    remove_checkpoints,
    restore_optimiser,
    save_checkpoint,
    save_weights,
)
from two_stage.run.errors import UserError
from two_stage.training.model import Autoencoder


def build(width: int = 4) -> Autoencoder:
    return Autoencoder(1, width, latent_channels=8)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def test_weights_survive_the_disk_and_leave_no_partial_file(tmp_path: Path) -> None:
    model = build().to(memory_format=torch.channels_last)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"an older file")
    save_weights(model, path, {"stage": 1, "third": 1 / 3})
    other = build()
    assert load_weights(other, path) == {"stage": 1, "third": 1 / 3}
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_failed_write_keeps_the_older_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(build(), path)
    older = path.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        save_weights(build(), path)
    assert path.read_bytes() == older


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_weights(build(width=8), tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match=r"weights\.safetensors does not fit the network"):
        load_weights(build(), tmp_path / "weights.safetensors")


def test_pickled_weights_are_refused_unread(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "executed",))

    path = tmp_path / "weights.safetensors"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UserError, match="damaged or cut short"):
        load_weights(build(), path)
    torch.save({"weight": torch.ones(2)}, path)
    with pytest.raises(UserError, match="damaged or cut short"):
        load_weights(build(), path)
    assert not (tmp_path / "executed").exists()


def save_number(folder: Path, number: int) -> None:
    save_checkpoint(folder, {"value": torch.full((100,), float(number))}, {"steps": number})


def test_the_newest_checkpoint_is_loaded_and_the_one_before_is_kept(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None
    for number in (1, 2, 3):
        save_number(tmp_path, number)
    tensors, facts = load_checkpoint(tmp_path)
    assert facts == {"steps": 3}
    assert torch.equal(tensors["value"], torch.full((100,), 3.0))
    assert sorted(file.name for file in tmp_path.iterdir()) == [CURRENT, PREVIOUS]
    remove_checkpoints(tmp_path)
    assert load_checkpoint(tmp_path) is None


def test_a_truncated_checkpoint_is_named_and_the_previous_one_used(tmp_path: Path) -> None:
    save_number(tmp_path, 1)
    save_number(tmp_path, 2)
    cut_short(tmp_path / CURRENT)
    with pytest.warns(UserWarning, match=rf"{CURRENT} is damaged .*continuing from {PREVIOUS}"):
        found = load_checkpoint(tmp_path)
    assert found is not None
    assert found[1] == {"steps": 1}
    cut_short(tmp_path / PREVIOUS)
    with pytest.raises(UserError, match=r"start again with --overwrite"):
        load_checkpoint(tmp_path)


def test_stopped_between_the_two_moves_the_previous_checkpoint_is_used(tmp_path: Path) -> None:
    save_number(tmp_path, 1)
    os.replace(tmp_path / CURRENT, tmp_path / PREVIOUS)
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert found[1] == {"steps": 1}
    save_number(tmp_path, 2)
    assert load_checkpoint(tmp_path)[1] == {"steps": 2}


def test_an_optimiser_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    def step(model: torch.nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
        x = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(seed))
        optimiser.zero_grad()
        (model(x) - x).square().mean().backward()
        optimiser.step()

    torch.manual_seed(0)
    model = build()
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    step(model, optimiser, 1)
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    save_checkpoint(tmp_path, weights | flatten_optimiser(optimiser), {})
    step(model, optimiser, 2)

    tensors, _ = load_checkpoint(tmp_path)
    resumed = build()
    resumed.load_state_dict(
        {name.removeprefix("model."): v for name, v in tensors.items() if name.startswith("model.")}
    )
    other = torch.optim.Adam(resumed.parameters(), 1e-3)
    restore_optimiser(other, tensors)
    step(resumed, other, 2)
    for name, value in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
