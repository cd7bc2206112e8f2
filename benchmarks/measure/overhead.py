"""Time of a call on a tiny image, where hardly anything is computed, beside other libraries' SSIM.

What a call costs beyond its pixels: checks, dispatch and autograd in Python, launching kernels.
With one thread: a second one has nothing to do, and waiting for it would be measured.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.measure.harness import interleaved_times, machine, save
from benchmarks.measure.peers import BASELINE, Loss, peer_versions, peers
from benchmarks.measure.speed import SEED, forward_backward, ours, running_backends

SHAPE = (1, 1, 16, 16)
PACKAGES = (BASELINE, "frame-analytics")
ROUNDS = 501


def measure(
    losses: dict[str, Loss], device: str, rounds: int = ROUNDS
) -> dict[str, dict[str, dict[str, float]]]:
    """Microseconds of each loss, forward alone and forward + backward."""
    generator = torch.Generator().manual_seed(SEED)
    x, y = (torch.rand(SHAPE, generator=generator).to(device) for _ in range(2))
    passes = {"forward": _forward, "forward + backward": forward_backward}
    found = {}
    for name, call in passes.items():
        runs = {
            contestant: lambda call=call, loss=loss: call(loss, x, y)
            for contestant, loss in losses.items()
        }
        times = interleaved_times(runs, rounds, device)
        found[name] = {
            contestant: {key: round(1000 * value, 1) for key, value in row.items()}
            for contestant, row in times.items()
        }
    return found


def _forward(loss: Loss, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return loss(x, y)


def main() -> None:
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    theirs, absent = peers(device, packages=PACKAGES)
    found = measure({**theirs, **ours(device)}, device)
    for name, rows in found.items():
        print(f"\n{name}: median microseconds (quartiles)")
        for contestant, row in rows.items():
            print(f"  {contestant:30} {row['median']:8.0f} ({row['low']:.0f} to {row['high']:.0f})")
    results = {
        "machine": machine(device),
        "packages": peer_versions(theirs),
        "absent": absent,
        "baseline": BASELINE,
        "auto": running_backends(device)[0],
        "settings": {"shape": list(SHAPE), "rounds": ROUNDS, "seed": SEED},
        "microseconds": found,
    }
    print(f"\nwritten: {save('overhead' if device == 'cpu' else 'overhead_cuda', results)}")


if __name__ == "__main__":
    main()
