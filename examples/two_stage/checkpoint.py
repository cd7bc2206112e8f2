"""Weights on disk, written so that a stopped run never leaves half a file."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors.torch import load_file, save
from torch import nn


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights next to `path` first, then move them there in one step."""
    temporary = path.with_name(path.name + ".partial")
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    temporary.write_bytes(save(tensors))
    os.replace(temporary, path)


def load_weights(model: nn.Module, path: Path) -> None:
    model.load_state_dict(load_file(path))
