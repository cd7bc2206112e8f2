"""Time of the Triton kernel for a few layouts, on a GPU.

The library's layout follows from the images' shape: the same images give the same bits, and no call
times candidates. This script judges that rule (`layout`, `rows_of_a_tile`).
"""

from __future__ import annotations

import itertools
from unittest import mock

import torch

from aw_ssim import AWSSIMLoss
from aw_ssim.backends.triton_gpu import run as triton_op
from benchmarks.measure.harness import interleaved_times, machine, save
from benchmarks.measure.speed import SHAPES, forward_backward

ROWS = (1, 2)
STRIPS = (16, 32, 64, 128, 256)


def main() -> None:
    results: dict[str, dict[str, dict[str, float]]] = {}
    loss = AWSSIMLoss(backend="triton")
    for shape in SHAPES["cuda"]:
        x, y = (torch.rand(shape, device="cuda") for _ in range(2))
        times = {}
        for rows, strip in itertools.product(ROWS, STRIPS):
            for layout in triton_op.layouts(rows, 11, 1, False, shape[-1]):
                name = f"rows {rows}, warps {layout.warps}, strips of {strip}"
                run = {name: lambda x=x, y=y: forward_backward(loss, x, y)}
                with (
                    mock.patch.object(triton_op, "layout", lambda *_, chosen=layout: chosen),
                    mock.patch.object(triton_op, "rows_of_a_tile", lambda *_, rows=strip: rows),
                ):
                    times.update(interleaved_times(run, 21, "cuda"))
        times["the library's"] = interleaved_times(
            {"": lambda x=x, y=y: forward_backward(loss, x, y)}, 21, "cuda"
        )[""]
        results["x".join(map(str, shape))] = times
        best = sorted(times, key=lambda name: times[name]["median"])[:5]
        for name in ("the library's", *best):
            print(f"{shape}  {times[name]['median']:9.4f} ms  {name}")
    print(f"written: {save('tune_triton', {'machine': machine('cuda'), 'milliseconds': results})}")


if __name__ == "__main__":
    main()
