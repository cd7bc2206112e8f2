"""Names in the results: contestants, shapes and dtypes, and the metrics of the ablation.

Every list of contestants comes from the results, so that a new backend or library has its line
without a change here.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

OURS = "aw_ssim "
SSIM, AW_SSIM = "aw_ssim SSIMLoss", "aw_ssim AWSSIMLoss"
# As measure/ablation.py names its metrics; the sign says whether more is better.
ABLATION_METRICS = {
    "psnr": ("PSNR, dB", 1, "{:.1f}"),
    "ssim": ("SSIM", 1, "{:.3f}"),
    "lpips": ("LPIPS", -1, "{:.3f}"),
    "l1 auroc": ("AUROC of L1", 1, "{:.3f}"),
    "l1 ap": ("AP of L1", 1, "{:.3f}"),
    "gradient auroc": ("AUROC of gradients", 1, "{:.3f}"),
    "gradient ap": ("AP of gradients", 1, "{:.3f}"),
}

Json = Mapping[str, Any]


def is_ours(contestant: str) -> bool:
    return contestant.startswith(OURS)


def label(contestant: str) -> str:
    """`SSIMLoss` for ours, the package's name for another library."""
    name, comma, backend = contestant.removeprefix(OURS).partition(", ")
    if not is_ours(contestant):
        return contestant
    return f"`{name}`{comma}{backend and f'backend `{backend}`'}"


def shape_name(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def plain(dtype: str) -> str:
    return dtype.removeprefix("torch.")


def contestants(results: Json) -> list[str]:
    """Of speed or memory, those that fail included."""
    first = results["cases"][0]
    return list(
        first.get("bytes_per_element") or first["milliseconds"]["forward"] | first["failed"]
    )


def ablation_spreads(results: Json, texture: str | None = None) -> dict[str, dict[str, Any]]:
    """For each loss and metric one number a seed; nothing for a loss that failed in any run."""
    runs = [run for run in results["runs"] if texture in (None, run["texture"])]
    spreads: dict[str, dict[str, Any]] = {}
    for loss in dict.fromkeys(run["loss"] for run in runs):
        own = [run for run in runs if run["loss"] == loss]
        failed = any("failed" in run for run in own)
        seeds = sorted({run["seed"] for run in own})
        spreads[loss] = {} if failed else {
            metric: [
                statistics.mean(r["metrics"][metric] for r in own if r["seed"] == seed)
                for seed in seeds
            ]
            for metric in ABLATION_METRICS
        }  # fmt: skip
    return spreads
