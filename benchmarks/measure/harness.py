"""The shared harness: interleaved runs of all contestants, medians and quartiles, strict JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks import RESULTS

WARM_UP_ROUNDS = 3


def interleaved_times(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    device: str = "cpu",
    warm_up: int = WARM_UP_ROUNDS,
) -> dict[str, dict[str, float]]:
    """Milliseconds of each contestant, each once in every round.

    Whatever else the machine does then hits all alike, and ratios of medians can be trusted.
    """
    milliseconds = _milliseconds if device == "cpu" else _gpu_milliseconds
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for round_number in range(warm_up + rounds):
        for name, run in contestants.items():
            elapsed = milliseconds(run)
            if round_number >= warm_up:
                times[name].append(elapsed)
    return {name: _quartiles(values) for name, values in times.items()}


def _milliseconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


def _gpu_milliseconds(run: Callable[[], object]) -> float:
    """Between two events on the device; includes launching where that takes longer."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end))


def device_milliseconds(run: Callable[[], object], rounds: int = 3) -> float:
    """What the kernels of a run take on a GPU, without the time to launch them; the mean."""
    run()
    torch.cuda.synchronize()
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities, acc_events=True) as profile:
        for _ in range(rounds):
            run()
        torch.cuda.synchronize()
    total = sum(event.device_time_total for event in profile.key_averages())
    return round(float(total) / rounds / 1000, 4)


def peak_memory(run: Callable[[], object], device: str) -> int:
    """The most bytes that a run allocates on a GPU, beyond those held before."""
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _quartiles(values: list[float]) -> dict[str, float]:
    # Inclusive: with few rounds the other method goes beyond the least and greatest.
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": round(median, 4), "low": round(low, 4), "high": round(high, 4)}


def with_speedup(
    times: Mapping[str, Mapping[str, float]], baseline: str
) -> dict[str, dict[str, float]]:
    """The same rows, each with how many times faster than the baseline it is."""
    return {
        name: {**row, "speedup": round(times[baseline]["median"] / row["median"], 2)}
        for name, row in times.items()
    }


def machine(device: str = "cpu") -> dict[str, Any]:
    gpu = {} if device == "cpu" else {"gpu": torch.cuda.get_device_name(device)}
    return {
        **gpu,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (cpuinfo.read_text().splitlines() if cpuinfo.exists() else [])
        if line.startswith("model name")
    ]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def versions(*packages: str) -> dict[str, str]:
    return {package: version(package) for package in packages}


def load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def save(name: str, content: Mapping[str, Any]) -> Path:
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path
