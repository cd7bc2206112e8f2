"""Forward + backward against image size, channels, batch and window, one of them at a time.

The same libraries, inputs and settings as in ``speed.py``; sigma stays 1.5 whatever the window, so
that wide windows are the same work for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from aw_ssim import AWSSIMLoss, SSIMLoss
from benchmarks.measure.harness import interleaved_times, machine, save, with_speedup
from benchmarks.measure.peers import BASELINE, SIGMA, WINDOW, Loss, peer_versions, peers
from benchmarks.measure.speed import SEED, forward_backward, running_backends

# Beside the baseline a plain one and a compiled one.
CONTESTANTS = (BASELINE, "monai", "frame-analytics")
ROUNDS = 7
# frame-analytics compiles itself for every shape and window.
WARM_UP_ROUNDS = 2
# What varies, and the shape and window at each of its values.
SWEEPS: dict[str, dict[int, tuple[tuple[int, ...], int]]] = {
    "image side": {side: ((1, 1, side, side), WINDOW) for side in (64, 128, 256, 512, 1024, 2048)},
    "channels": {channels: ((1, channels, 128, 128), WINDOW) for channels in (1, 3, 8, 32, 64)},
    "batch": {batch: ((batch, 3, 128, 128), WINDOW) for batch in (1, 2, 4, 8, 16, 32)},
    "window": {window: ((1, 3, 256, 256), window) for window in (3, 7, 11, 15, 21, 27, 33)},
}


def contestants(window: int) -> dict[str, Loss]:
    theirs, _ = peers(window=window, packages=CONTESTANTS)
    losses: dict[str, Loss] = {
        "aw_ssim SSIMLoss": SSIMLoss(window_size=window),
        "aw_ssim AWSSIMLoss": AWSSIMLoss(window_size=window),
    }
    for backend in running_backends("cpu")[1:]:
        # The definition is slower by an order of magnitude at every point; speed.py says so.
        if backend != "torch":
            loss = AWSSIMLoss(window_size=window, backend=backend)
            losses[f"aw_ssim AWSSIMLoss, {backend}"] = loss
    return {**theirs, **losses}


def measure(shape: Sequence[int], window: int, rounds: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(SEED)
    x, y = (torch.rand(shape, generator=generator) for _ in range(2))
    runs = {
        name: lambda loss=loss: forward_backward(loss, x, y)
        for name, loss in contestants(window).items()
    }
    times = interleaved_times(runs, rounds, warm_up=WARM_UP_ROUNDS)
    return {"shape": list(shape), "window": window, "milliseconds": with_speedup(times, BASELINE)}


def show(sweep: str, value: int, case: dict[str, Any]) -> None:
    cells = (f"{name} {row['median']:.3g}" for name, row in case["milliseconds"].items())
    print(f"{sweep} {value}, ms:", ", ".join(cells), flush=True)


def main() -> None:
    table: dict[str, dict[str, Any]] = {}
    for sweep, points in SWEEPS.items():
        table[sweep] = {}
        for value, (shape, window) in points.items():
            table[sweep][str(value)] = case = measure(shape, window, ROUNDS)
            show(sweep, value, case)
    results = {
        "machine": machine(),
        "packages": peer_versions(contestants(WINDOW)),
        "auto": running_backends("cpu")[0],
        "baseline": BASELINE,
        "settings": {
            "dtype": "float32", "sigma": SIGMA, "rounds": ROUNDS,
            "warm_up_rounds": WARM_UP_ROUNDS, "seed": SEED,
        },
        "sweeps": table,
    }  # fmt: skip
    print(f"written: {save('scaling', results)}")


if __name__ == "__main__":
    main()
