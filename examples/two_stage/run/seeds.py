"""Random numbers of their own for each purpose and number, all from the run's one seed."""

from __future__ import annotations

import numpy as np
import torch


def seeded(
    seed: int, stage: int, purpose: str, number: int, *, device: torch.device | str = "cpu"
) -> torch.Generator:
    words = (seed, stage, *purpose.encode(), number)
    state = np.random.SeedSequence(words).generate_state(2, np.uint32)
    return torch.Generator(device).manual_seed(int(state[0]) << 31 ^ int(state[1]))
