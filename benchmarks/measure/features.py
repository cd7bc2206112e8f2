"""Time and memory in float64, of a map, with a mask and of volumes, beside those that have them.

Forward + backward of the mean of what a loss gives; window, padding and gradient as in speed.
Memory is measured as there, in a process of its own, in bytes per element of one image of that
dtype.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aw_ssim import AWSSIMLoss, SSIMLoss, choose_backend
from benchmarks.measure.harness import interleaved_times, machine, save
from benchmarks.measure.memory import SETTING, kept, peak
from benchmarks.measure.peers import (
    SIGMA,
    WINDOW,
    Loss,
    float64_peers,
    map_peers,
    peer_versions,
    volume_peers,
)
from benchmarks.measure.speed import SEED, forward_backward

ROUNDS, WARM_UP = 5, 1
PICTURES, VOLUME = (2, 3, 256, 256), (1, 1, 64, 64, 64)
MEMORY = "--memory"


class Feature(NamedTuple):
    """Images, and the losses that have the feature; a mask goes into ours alone."""

    shape: tuple[int, ...]
    losses: dict[str, Loss]
    dtype: torch.dtype = torch.float32
    mask: Tensor | None = None


def features() -> dict[str, Feature]:
    """By the name that the page shows."""
    mask = torch.rand(PICTURES[0], 1, *PICTURES[2:], generator=seeded()) > 0.2
    masked: dict[str, Loss] = {
        name: lambda x, y, loss=loss: loss(x, y, mask) for name, loss in ours().items()
    }
    maps: dict[str, Loss] = {
        name: lambda x, y, loss=loss: loss(x, y).mean()
        for name, loss in ours(reduction="none").items()
    }
    return {
        "float64": Feature(PICTURES, {**float64_peers()[0], **ours()}, torch.float64),
        "a map": Feature(PICTURES, {**map_peers()[0], **maps}),
        "a mask": Feature(PICTURES, masked, mask=mask),
        "a volume": Feature(VOLUME, {**volume_peers()[0], **ours()}),
    }


def ours(**options: Any) -> dict[str, SSIMLoss | AWSSIMLoss]:
    return {
        "aw_ssim SSIMLoss": SSIMLoss(**options),
        "aw_ssim AWSSIMLoss": AWSSIMLoss(**options),
    }


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


def images(feature: Feature) -> tuple[Tensor, Tensor]:
    generator = seeded()
    x, y = (torch.rand(feature.shape, generator=generator).to(feature.dtype) for _ in range(2))
    return x, y


def times(feature: Feature, rounds: int = ROUNDS) -> dict[str, dict[str, float]]:
    """Milliseconds of forward + backward of each contestant."""
    x, y = images(feature)
    runs = {
        name: lambda loss=loss: forward_backward(loss, x, y)
        for name, loss in feature.losses.items()
    }
    return interleaved_times(runs, rounds, warm_up=WARM_UP)


def memory(feature: Feature) -> dict[str, dict[str, float]]:
    """Bytes per element at the peak, and kept for the backward pass."""
    x, y = images(feature)
    return {
        name: {
            "peak": round(peak(loss, x, y) / x.numel(), 1),
            "kept": round(kept(loss, x, y) / x.numel(), 2),
        }
        for name, loss in feature.losses.items()
    }


def memory_of_all() -> dict[str, Any]:
    """In a process of its own, whose large tensors come straight from the system."""
    command = [sys.executable, "-m", "benchmarks.measure.features", MEMORY]
    done = subprocess.run(command, env={**os.environ, **SETTING}, capture_output=True, check=True)
    # Packages print as they please, before it.
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    every = features()
    if MEMORY in sys.argv:
        print(json.dumps({name: memory(feature) for name, feature in every.items()}))
        return
    bytes_of, cases = memory_of_all(), {}
    for name, feature in every.items():
        x, y = images(feature)
        choice = choose_backend("auto", x, y, SIGMA, feature.mask, WINDOW)
        cases[name] = {
            "shape": list(feature.shape),
            "dtype": str(feature.dtype),
            "auto": choice.name,
            "milliseconds": times(feature),
            "bytes_per_element": bytes_of[name],
        }
        print(f"\n{name}, {feature.shape}: median ms (quartiles); bytes per element, peak, kept")
        for contestant, row in cases[name]["milliseconds"].items():
            quartiles = f"({row['low']:.3g} to {row['high']:.3g})"
            held = bytes_of[name][contestant]
            print(
                f"  {contestant:20} {row['median']:9.4g} {quartiles:20} "
                f"{held['peak']:7.1f} {held['kept']:7.2f}"
            )
    contestants = {
        name: loss for feature in every.values() for name, loss in feature.losses.items()
    }
    results = {
        "machine": machine(),
        "packages": peer_versions(contestants),
        "settings": {"rounds": ROUNDS, "seed": SEED, "window": WINDOW, "sigma": SIGMA, **SETTING},
        "cases": cases,
    }
    print(f"\nwritten: {save('features', results)}")


if __name__ == "__main__":
    main()
