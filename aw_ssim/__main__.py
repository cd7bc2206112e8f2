"""What can run here: ``python -m aw_ssim``."""

from __future__ import annotations

import platform
import sys

import torch

from . import __version__
from .availability import BACKENDS, GPU_TYPES, Request, choose_backend


def report() -> str:
    """Each backend on each kind of device here, and if it cannot run there, why not."""
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    lines = [f"aw_ssim {__version__}, torch {torch.__version__}, {system}"]
    for device in devices():
        image = torch.empty(1, 3, 64, 64, device=device)
        chosen = choose_backend("auto", image, image, sigma=1.5)
        lines += ["", f"float32 images on {device}:"]
        for name, obstacle_of in BACKENDS.items():
            obstacle = obstacle_of(Request(image, image, 1.5, None, 11))
            can = f"no: {obstacle}" if obstacle else "yes"
            lines.append(f"  {name:10}{can}")
        lines.append(f"  auto      {chosen.name}: {chosen.reason}")
    return "\n".join(lines)


def devices() -> list[str]:
    found = [kind for kind in GPU_TYPES if getattr(torch, kind).is_available()]
    return ["cpu", *found, *(["mps"] if torch.backends.mps.is_available() else [])]


if __name__ == "__main__":
    sys.stdout.write(f"{report()}\n")
