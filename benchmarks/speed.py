"""Time of one loss, forward alone and forward + backward, beside pytorch-msssim's SSIM.

Same inputs, window (11 taps, sigma 1.5), padding (valid) and reduction (mean) for all; gradient
to the prediction. Run ``python -m benchmarks.speed``; it writes ``results/speed.json``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytorch_msssim
import torch
from torch import Tensor

from aw_ssim import AWSSIMLoss, SSIMLoss
from benchmarks.common import interleaved_times, machine, save, versions

SHAPES = ((16, 3, 128, 128), (2, 3, 512, 512), (1, 1, 1024, 1024))
ROUNDS = 21
SEED = 0
BASELINE = "pytorch-msssim SSIM"

Loss = Callable[[Tensor, Tensor], Tensor]


def contestants() -> dict[str, Loss]:
    return {
        BASELINE: lambda x, y: 1 - pytorch_msssim.ssim(x, y, data_range=1.0),
        "aw_ssim SSIMLoss": SSIMLoss(),
        "aw_ssim AWSSIMLoss": AWSSIMLoss(),
        "aw_ssim AWSSIMLoss, backend torch": AWSSIMLoss(backend="torch"),
    }


def forward_backward(loss: Loss, x: Tensor, y: Tensor) -> Tensor:
    prediction = x.detach().requires_grad_()
    loss(prediction, y).backward()
    assert prediction.grad is not None
    return prediction.grad


def measure(shape: tuple[int, ...]) -> dict[str, object]:
    generator = torch.Generator().manual_seed(SEED)
    x, y = torch.rand(shape, generator=generator), torch.rand(shape, generator=generator)
    losses = contestants()
    passes = {
        "forward": {name: lambda loss=loss: loss(x, y) for name, loss in losses.items()},
        "forward + backward": {
            name: lambda loss=loss: forward_backward(loss, x, y) for name, loss in losses.items()
        },
    }
    times = {name: interleaved_times(runs, ROUNDS) for name, runs in passes.items()}
    for name, rows in times.items():
        baseline = rows[BASELINE]["median"]
        print(f"\n{'x'.join(map(str, shape))}, {name}: median ms (quartiles), times baseline")
        for contestant, row in rows.items():
            row["speedup"] = round(baseline / row["median"], 2)
            print(
                f"  {contestant:36} {row['median']:8.1f} ({row['low']:.1f} to {row['high']:.1f})"
                f" {row['speedup']:6.2f}"
            )
    return {"shape": list(shape), "milliseconds": times}


def main() -> None:
    results = {
        "machine": machine(),
        "packages": versions("pytorch-msssim"),
        "settings": {"dtype": "float32", "rounds": ROUNDS, "seed": SEED},
        "baseline": BASELINE,
        "cases": [measure(shape) for shape in SHAPES],
    }
    print(f"\nwritten: {save('speed', results)}")


if __name__ == "__main__":
    main()
