"""Time of the Triton kernel for a few layouts, on a GPU: ``python -m benchmarks.tune_triton``.

The library launches one layout always, so that the same images give the same bits and no call
times candidates. This script is how to choose it; the winner goes into `triton_op`'s constants.
"""

from __future__ import annotations

import itertools

import torch

from aw_ssim import AWSSIMLoss
from aw_ssim.backends import triton_op
from benchmarks.common import interleaved_times, machine, save
from benchmarks.speed import SHAPES, forward_backward

ROWS = (1, 2, 4)
BLOCK_AND_WARPS = ((128, 4), (128, 2), (256, 8), (256, 4))
PROGRAMS_PER_PROCESSOR = (2, 4, 6)


def main() -> None:
    results: dict[str, dict[str, dict[str, float]]] = {}
    loss = AWSSIMLoss(backend="triton")
    for shape in SHAPES["cuda"]:
        x, y = (torch.rand(shape, device="cuda") for _ in range(2))
        times = {}
        for rows, (block, warps), programs in itertools.product(
            ROWS, BLOCK_AND_WARPS, PROGRAMS_PER_PROCESSOR
        ):
            triton_op.ROWS, triton_op.BLOCK, triton_op.WARPS = rows, block, warps
            triton_op.PROGRAMS_PER_PROCESSOR = programs
            name = f"rows {rows}, block {block}, warps {warps}, programs {programs}"
            run = {name: lambda x=x, y=y: forward_backward(loss, x, y)}
            times.update(interleaved_times(run, 21, "cuda"))
        results["x".join(map(str, shape))] = times
        best = sorted(times, key=lambda name: times[name]["median"])[:5]
        print(shape, *(f"{times[name]['median']:9.4f} ms  {name}" for name in best), sep="\n  ")
    print(f"written: {save('tune_triton', {'machine': machine('cuda'), 'milliseconds': results})}")


if __name__ == "__main__":
    main()
