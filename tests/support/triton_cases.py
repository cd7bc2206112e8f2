"""Where the tests of the Triton kernel run, and small images for them.

The interpreter must be chosen before Triton is imported, so `test_triton_process.py` runs these
files in a process of its own. It is slow: the pictures are small and the windows few.
"""

from __future__ import annotations

import os

import pytest
import torch
from cases import noise
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"
only_where_it_runs = pytest.mark.skipif(
    DEVICE == "cpu" and not INTERPRETED,
    reason="without a GPU this file runs in a process of its own: test_triton_process.py",
)

WEIGHTS = (0.5, 0.3, 0.2)


def pair(height: int = 7, width: int = 9, channels: int = 2) -> tuple[Tensor, Tensor]:
    x = 0.5 + 0.2 * noise(0, torch.empty(1, channels, height, width))
    return x, x + 0.1 * noise(1, x)
