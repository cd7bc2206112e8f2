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

RESULTS = Path(__file__).parent / "results"
WARM_UP_ROUNDS = 3


def interleaved_times(
    contestants: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, dict[str, float]]:
    """Milliseconds of each contestant, all of them once in every round.

    The machine's mood then strikes all alike, and ratios of medians can be trusted.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for round_number in range(rounds + WARM_UP_ROUNDS):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            elapsed = 1000 * (time.perf_counter() - start)
            if round_number >= WARM_UP_ROUNDS:
                times[name].append(elapsed)
    return {name: _quartiles(values) for name, values in times.items()}


def _quartiles(values: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4)
    return {"median": round(median, 3), "low": round(low, 3), "high": round(high, 3)}


def machine() -> dict[str, Any]:
    return {
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


def save(name: str, content: Mapping[str, Any]) -> Path:
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    return path
