"""A few calls of the Triton kernel, for tools that watch one: see benchmarks/gpu.sh.

compute-sanitizer --tool racecheck python -m benchmarks.kernel_calls
ncu -k tiles_kernel python -m benchmarks.kernel_calls 5 5 1080 1920
"""

from __future__ import annotations

import sys

import torch

from aw_ssim import AWSSIMLoss, CombinedL1Loss, SSIMLoss

SMALL = ((2, 3, 37, 70), (1, 1, 64, 300))


def call(shape: tuple[int, ...], *, every_kind: bool) -> None:
    """The default loss; else also both gradients of masked maps, and L1 in the same pass."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x = torch.rand(shape, device=device, requires_grad=True)
    y = torch.rand(shape, device=device, requires_grad=every_kind)
    AWSSIMLoss(backend="triton")(x, y.detach()).backward()
    if every_kind:
        maps = AWSSIMLoss(backend="triton", padding="same", reduction="none")
        maps(x, y, (y > 0.3).to(x.dtype)).sum().backward()
        CombinedL1Loss(SSIMLoss(backend="triton"))(x, y).backward()


def main(sides: list[str]) -> None:
    if sides:
        call(tuple(int(side) for side in sides), every_kind=False)
    else:
        for shape in SMALL:
            call(shape, every_kind=True)


if __name__ == "__main__":
    main(sys.argv[1:])
