"""Memory of one loss's forward + backward, beside other libraries' SSIM.

Peak: the most memory that the process holds, above what it held before (Linux). Kept: what the
graph holds between forward and backward, without the two images. Both in bytes per element of one
float32 image. Large tensors come straight from the system (MALLOC_MMAP_THRESHOLD_), so that free
heap of an earlier run hides nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measure.harness import machine, save
from benchmarks.measure.peers import BASELINE, Loss, peer_versions, peers
from benchmarks.measure.speed import SEED, SHAPES, forward_backward, ours, running_backends

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
SETTING = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def resident(field: str) -> int:
    (line,) = [row for row in STATUS.read_text().splitlines() if row.startswith(field + ":")]
    return 1024 * int(line.split()[1])


def peak(loss: Loss, x: Tensor, y: Tensor) -> int:
    forward_backward(loss, x, y)
    before = resident("VmRSS")
    # Sets the highest level so far to the present one.
    CLEAR.write_text("5")
    forward_backward(loss, x, y)
    return resident("VmHWM") - before


def kept(loss: Loss, x: Tensor, y: Tensor) -> int:
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    prediction = x.detach().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        # The value holds the graph: storages stay alive and their addresses differ.
        value = loss(prediction, y)
    images = {prediction.untyped_storage().data_ptr(), y.untyped_storage().data_ptr()}
    total = sum(size for pointer, size in sizes.items() if pointer not in images)
    value.backward()
    return total


def measure(losses: dict[str, Loss], shape: tuple[int, ...]) -> dict[str, object]:
    generator = torch.Generator().manual_seed(SEED)
    x, y = (torch.rand(shape, generator=generator) for _ in range(2))
    rows = {
        name: {
            "peak": round(peak(loss, x, y) / x.numel(), 1),
            "kept": round(kept(loss, x, y) / x.numel(), 2),
        }
        for name, loss in losses.items()
    }
    print(f"\n{'x'.join(map(str, shape))}: bytes per element at the peak, and kept")
    for name, row in rows.items():
        print(f"  {name:30} {row['peak']:8.1f} {row['kept']:8.2f}")
    return {"shape": list(shape), "bytes_per_element": rows}


def main() -> None:
    if any(os.environ.get(name) != value for name, value in SETTING.items()):
        command = [sys.executable, "-m", "benchmarks.measure.memory"]
        raise SystemExit(subprocess.run(command, env={**os.environ, **SETTING}).returncode)
    if not CLEAR.exists():
        raise SystemExit("memory: needs Linux, whose /proc/self/clear_refs it uses")
    theirs, absent = peers()
    losses = {**theirs, **ours("cpu")}
    results = {
        "machine": machine(),
        "packages": peer_versions(theirs),
        "absent": absent,
        "baseline": BASELINE,
        "auto": running_backends("cpu")[0],
        "settings": {"dtype": "float32", "seed": SEED, **SETTING},
        "cases": [measure(losses, shape) for shape in SHAPES["cpu"]],
    }
    print(f"\nwritten: {save('memory', results)}")


if __name__ == "__main__":
    main()
