"""Forward and backward of SSIM alone, with torch's l1_loss added, and mixed by CombinedL1Loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from aw_ssim import CombinedL1Loss, SSIMLoss
from benchmarks.measure.harness import interleaved_times, machine, save

SHAPES = ((16, 3, 128, 128), (1, 3, 1080, 1920))
ROUNDS = 15
BASELINE = "SSIMLoss"

Loss = Callable[[Tensor, Tensor], Tensor]


def losses() -> dict[str, Loss]:
    structural = SSIMLoss()
    return {
        BASELINE: structural,
        "SSIMLoss + l1_loss": lambda x, y: 0.2 * structural(x, y) + 0.8 * F.l1_loss(x, y),
        "CombinedL1Loss": CombinedL1Loss(structural, mix=0.2),
        "CombinedL1Loss, smoothed": CombinedL1Loss(structural, mix=0.2, smoothed=True),
    }


def step(loss: Loss, x: Tensor, y: Tensor) -> Callable[[], None]:
    def run() -> None:
        x.grad = None
        loss(x, y).backward()

    return run


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    cases = []
    for shape in SHAPES:
        x, y = (torch.rand(shape, generator=generator) for _ in range(2))
        x.requires_grad_()
        rows = interleaved_times({n: step(loss, x, y) for n, loss in losses().items()}, ROUNDS)
        for name, row in rows.items():
            row["ratio"] = round(row["median"] / rows[BASELINE]["median"], 2)
            print(f"{shape}, {name:26} {row['median']:8.1f} ms {row['ratio']:6.2f}")
        cases.append({"shape": shape, "milliseconds": rows})
    results = {"machine": machine(), "settings": {"rounds": ROUNDS}, "cases": cases}
    print(f"written: {save('l1', results)}")


if __name__ == "__main__":
    main()
