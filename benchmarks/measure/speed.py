"""Time of one loss, forward alone and forward + backward, beside other libraries' SSIM.

Same inputs, window (11 taps, sigma 1.5), padding (valid) and reduction (mean) for all; gradient
to the prediction. ``--device cuda`` takes larger images in float32 and bfloat16, times them with
the device's events, adds the time of the kernels alone, peak memory and the throughput beside that
of a copy, and writes ``results/speed_cuda.json``.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
from typing import Any

import torch
from torch import Tensor

from aw_ssim import AWSSIMLoss, SSIMLoss, choose_backend
from aw_ssim.backends import BACKENDS
from benchmarks.measure.harness import (
    device_milliseconds,
    interleaved_times,
    machine,
    peak_memory,
    save,
    with_speedup,
)
from benchmarks.measure.peers import BASELINE, SIGMA, WINDOW, Loss, peer_versions, peers

SHAPES = {
    "cpu": ((16, 3, 128, 128), (2, 3, 512, 512), (1, 1, 1024, 1024)),
    "cuda": ((16, 3, 128, 128), (4, 3, 512, 512), (5, 5, 1080, 1920)),
}
DTYPES = {"cpu": (torch.float32,), "cuda": (torch.float32, torch.bfloat16)}
ROUNDS = {"cpu": 15, "cuda": 11}
SEED = 0
# What a fused loss has to move for one float32 element: two images read by the forward pass, and
# again by a backward pass that writes one gradient.
BYTES_PER_ELEMENT = 20
FIRST_CALL = """
import time, torch, aw_ssim
x = torch.rand(1, 1, 32, 32, requires_grad=True)
start = time.perf_counter()
aw_ssim.AWSSIMLoss(backend="numba")(x, x.detach()).backward()
print(time.perf_counter() - start)
"""


def running_backends(device: str) -> list[str]:
    """Those that run here; the first is the one that ``auto`` takes."""
    image = torch.zeros(1, 1, 11, 11, device=device)
    running = [choose_backend("auto", image, image, 1.5).name]
    for backend in BACKENDS:
        if backend in ("auto", *running):
            continue
        with contextlib.suppress(ValueError):
            running.append(choose_backend(backend, image, image, 1.5).name)
    return running


def ours(device: str) -> dict[str, Loss]:
    """Both losses with what ``auto`` takes, and AW-SSIM through each other backend."""
    losses: dict[str, Loss] = {"aw_ssim SSIMLoss": SSIMLoss(), "aw_ssim AWSSIMLoss": AWSSIMLoss()}
    for backend in running_backends(device)[1:]:
        losses[f"aw_ssim AWSSIMLoss, {backend}"] = AWSSIMLoss(backend=backend)
    return losses


def forward_backward(loss: Loss, x: Tensor, y: Tensor) -> Tensor:
    prediction = x.detach().requires_grad_()
    loss(prediction, y).backward()
    assert prediction.grad is not None
    return prediction.grad


def measure(
    losses: dict[str, Loss], shape: tuple[int, ...], dtype: torch.dtype, device: str
) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(SEED)
    x, y = (torch.rand(shape, generator=generator).to(device, dtype) for _ in range(2))
    failed: dict[str, str] = {}
    for name, loss in losses.items():
        try:
            forward_backward(loss, x, y)
        # Libraries raise whatever they like for a dtype that they do not take.
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    running = {name: loss for name, loss in losses.items() if name not in failed}
    passes = {
        "forward": {name: lambda loss=loss: loss(x, y) for name, loss in running.items()},
        "forward + backward": {
            name: lambda loss=loss: forward_backward(loss, x, y) for name, loss in running.items()
        },
    }
    case: dict[str, Any] = {"shape": list(shape), "dtype": str(dtype), "failed": failed}
    case["milliseconds"] = {
        name: with_speedup(interleaved_times(runs, ROUNDS[device], device), BASELINE)
        for name, runs in passes.items()
    }
    if device != "cpu":
        case["device_milliseconds"] = {
            name: {contestant: device_milliseconds(run) for contestant, run in runs.items()}
            for name, runs in passes.items()
        }
        case["peak_bytes_per_element"] = {
            name: round(peak_memory(run, device) / x.numel(), 1)
            for name, run in passes["forward + backward"].items()
        }
        case["throughput"] = throughput(case, x)
    show(case)
    return case


def throughput(case: dict[str, Any], x: Tensor) -> dict[str, float]:
    """GB/s of forward + backward at BYTES_PER_ELEMENT in float32, and of a copy, which moves 8."""
    big = torch.empty(2**28, device=x.device, dtype=torch.uint8)
    copies = interleaved_times({"copy": lambda: big.clone()}, 21, x.device.type)
    bytes_moved = BYTES_PER_ELEMENT * x.numel() * x.element_size() / 4
    median = case["milliseconds"]["forward + backward"]["aw_ssim AWSSIMLoss"]["median"]
    return {
        "copy": round(2 * big.numel() / copies["copy"]["median"] / 1e6, 1),
        "aw_ssim AWSSIMLoss": round(bytes_moved / median / 1e6, 1),
    }


def first_calls() -> dict[str, float]:
    """Seconds of a process's first loss with the numba kernel: compiled, and read from the disk."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", FIRST_CALL]
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        seconds = [
            float(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
            for _ in range(2)
        ]
    return {"compiled": round(seconds[0], 1), "read": round(seconds[1], 1)}


def show(case: dict[str, Any]) -> None:
    for name, rows in case["milliseconds"].items():
        title = f"{'x'.join(map(str, case['shape']))}, {case['dtype']}, {name}"
        print(f"\n{title}: median ms (quartiles), times {BASELINE}")
        for contestant, row in rows.items():
            quartiles = f"({row['low']:.3g} to {row['high']:.3g})"
            print(f"  {contestant:30} {row['median']:9.4g} {quartiles:20} {row['speedup']:6.2f}")
    for key in ("failed", "device_milliseconds", "peak_bytes_per_element", "throughput"):
        if case.get(key):
            print(f"  {key}: {case[key]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=sorted(SHAPES), default="cpu")
    device = parser.parse_args().device
    theirs, absent = peers(device)
    losses = {**theirs, **ours(device)}
    if device != "cpu":
        # It would hold 500 bytes for each element, and take most of the time.
        del losses["aw_ssim AWSSIMLoss, torch"]
    results: dict[str, Any] = {
        "machine": machine(device),
        "packages": peer_versions(theirs),
        "absent": absent,
        "settings": {"rounds": ROUNDS[device], "seed": SEED, "window": WINDOW, "sigma": SIGMA},
        "baseline": BASELINE,
        "auto": running_backends(device)[0],
        "cases": [],
    }
    name = "speed" if device == "cpu" else f"speed_{device}"
    for dtype, shape in itertools.product(DTYPES[device], SHAPES[device]):
        results["cases"].append(measure(losses, shape, dtype, device))
        if device != "cpu":
            # A lent GPU may be taken back at any time.
            save(name, results)
    if "numba" in running_backends(device):
        results["first_call_seconds"] = first_calls()
        print(f"first call with numba, seconds: {results['first_call_seconds']}")
    print(f"\nwritten: {save(name, results)}")


if __name__ == "__main__":
    main()
