"""Weights and checkpoints on disk as safetensors: whole or absent, and never executed."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from .errors import UserError
from .folder import parse_json, write_atomically

CURRENT = "checkpoint.safetensors"
PREVIOUS = "checkpoint_previous.safetensors"
NEXT = "checkpoint_next.safetensors"
CHECKPOINTS = (CURRENT, PREVIOUS, NEXT)

Facts = dict[str, Any]


def save_weights(model: nn.Module, path: Path, facts: Mapping[str, Any] | None = None) -> None:
    write_tensors(dict(model.state_dict()), path, facts or {})


def load_weights(model: nn.Module, path: Path) -> Facts:
    """Fill the model; a file of another network or a damaged one is an error that says so."""
    tensors, facts = read_weights(model, path)
    model.load_state_dict(tensors)
    return facts


def read_weights(model: nn.Module, path: Path) -> tuple[dict[str, Tensor], Facts]:
    """The tensors of a file, which are those of the model in name, shape and type, and finite."""
    tensors, facts = read_tensors(path)
    expected = model.state_dict()
    for place, names in (
        ("the file", expected.keys() - tensors),
        ("it", tensors.keys() - expected),
    ):
        if names:
            raise UserError(
                f"{path} does not fit the network of its settings: {place} has no {min(names)}; "
                "it is of another run"
            )
    for name, tensor in tensors.items():
        found, wanted = ((tuple(one.shape), one.dtype) for one in (tensor, expected[name]))
        if found != wanted:
            raise UserError(
                f"{path} does not fit the network of its settings: {name} has shape and type "
                f"{found}, expected {wanted}; it is of another run"
            )
        # NaN is above no threshold: every picture would be called good.
        if not tensor.isfinite().all():
            raise UserError(f"{path} holds values of {name} that are NaN or infinite; train again")
    return tensors, facts


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a checkpoint and keep the one before it."""
    fresh = folder / NEXT
    write_tensors(tensors, fresh, facts)
    # Stopped between the two, the folder holds the previous checkpoint and the next.
    if (folder / CURRENT).exists():
        os.replace(folder / CURRENT, folder / PREVIOUS)
    os.replace(fresh, folder / CURRENT)


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], Facts] | None:
    """The newest undamaged checkpoint, or None if there is no checkpoint.

    Raises:
        UserError: there are checkpoints, all damaged.
    """
    damaged = []
    for name in (CURRENT, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            found = read_tensors(path)
        except UserError as error:
            damaged.append(str(error))
            continue
        for message in damaged:
            warnings.warn(f"{message}; continuing from {path.name}", stacklevel=2)
        return found
    if damaged:
        raise UserError(
            f"{'; '.join(damaged)}; no other checkpoint is left, start again with --overwrite"
        )
    return None


def remove_checkpoints(folder: Path) -> None:
    for name in CHECKPOINTS:
        (folder / name).unlink(missing_ok=True)


def write_tensors(tensors: Mapping[str, Tensor], path: Path, facts: Mapping[str, Any]) -> None:
    """Tensors and JSON facts in one file; floats come back bit for bit."""
    contents = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata = {"facts": json.dumps(facts, allow_nan=False)}
    write_atomically(path, save(contents, metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Facts]:
    if not path.is_file():
        raise UserError(f"expected a file of weights, there is no {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"{path} is damaged or cut short ({error})") from error
    return tensors, parse_json(metadata.get("facts", "{}"), path)


def named_below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with the prefix, by the rest of their names."""
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}


def flatten_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state by names such as `optimiser.3.exp_avg`."""
    return {
        f"optimiser.{number}.{name}": value
        for number, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in named_below("optimiser.", tensors).items():
        number, name = key.split(".")
        state.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict(
        {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}
    )
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            # Adam's count of steps is the one number.
            if name != "step" and value.shape != parameter.shape:
                raise ValueError(f"expected {name} of {parameter.shape}, got {value.shape}")
