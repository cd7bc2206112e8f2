"""One optimiser step of the pipeline's stage 1 beside the same step with an MSE loss.

Network, batch, patches and optimiser are those of the presets.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from two_stage.run.cpu_memory import keep_freed_memory
from two_stage.run.settings import PRESETS, Settings
from two_stage.training.losses import StageLoss, stages_of
from two_stage.training.model import build_model

from benchmarks.measure.harness import interleaved_times, machine, save

ROUNDS = 21
BASELINE = "MSE"


def steps(settings: Settings, device: str) -> dict[str, Callable[[], None]]:
    training = settings.training
    generator = torch.Generator().manual_seed(training.seed)
    side = training.patch_size
    shape = (training.batch_size, settings.data.channels, side, side)
    patches = torch.rand(shape, generator=generator).to(device)
    patches = patches.contiguous(memory_format=torch.channels_last)
    losses = {
        BASELINE: nn.MSELoss(),
        "AW-SSIM": StageLoss(stages_of(settings)[0], steps_per_epoch=ROUNDS).to(device),
    }
    return {name: step(settings, loss, patches) for name, loss in losses.items()}


def step(settings: Settings, loss: nn.Module, patches: Tensor) -> Callable[[], None]:
    torch.manual_seed(settings.training.seed)
    model = build_model(settings.data.channels, settings.network).to(patches.device).train()
    optimiser = torch.optim.Adam(model.parameters(), settings.training.learning_rate)

    def run() -> None:
        value = loss(model(patches), patches)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        if patches.is_cuda:
            torch.cuda.synchronize()

    return run


def main() -> None:
    keep_freed_memory()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    cases = []
    for width in (16, 32):
        settings = PRESETS["paper"].changed(width=width)
        rows = interleaved_times(steps(settings, device), ROUNDS)
        for name, row in rows.items():
            row["ratio"] = round(row["median"] / rows[BASELINE]["median"], 2)
            print(f"width {width}, {name:8} {row['median']:8.1f} ms {row['ratio']:6.2f}")
        cases.append({"width": width, "milliseconds": rows})
    settings = PRESETS["paper"].to_dict()
    kept = ("batch_size", "channels", "patch_size", "seed")
    results = {
        "machine": machine(device) | {"device": device},
        "settings": {key: settings[key] for key in kept} | {"rounds": ROUNDS},
        "baseline": BASELINE,
        "cases": cases,
    }
    name = "training_step" if device == "cpu" else "training_step_cuda"
    print(f"written: {save(name, results)}")


if __name__ == "__main__":
    main()
