"""CPU time for each picture that a trained run scores: this code, and its exported files.

On one thread, a picture of 512 x 512, the weights random: what a network learned changes no time.
Processor time and not that of a clock, so that other programs on the machine count less; each
contestant runs once in every round.

    python -m benchmarks pictures [quick, paper, ... all without a name]
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# Before torch is imported: the library's own kernel reads it.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import onnxruntime
import torch
from tiny_run import write_run
from two_stage.run.settings import PAPER, QUICK, Settings
from two_stage.scoring.exported_files import save_onnx
from two_stage.scoring.exported_graph import (
    IMAGE_AXES,
    INPUT,
    OUTPUTS,
    PICTURE,
    PICTURE_AXES,
    VERDICTS,
    export_images,
    export_pictures,
)
from two_stage.scoring.trained_run import load_trained_run

ROUNDS = 5
CASES = {
    "quick": QUICK,
    "quick, --test-stride 64": QUICK.changed(test_stride=64),
    "quick, whole image": QUICK.changed(test_patch_size=256),
    "paper": PAPER,
    "paper, whole image": PAPER.changed(test_patch_size=512),
}


def contestants(settings: Settings, folder: Path) -> dict[str, Callable[[], object]]:
    values = settings.to_dict()
    names = (
        "image_size",
        "patch_size",
        "test_patch_size",
        "test_stride",
        "width",
        "latent_channels",
        "batch_size",
    )
    run = load_trained_run(
        write_run(
            folder / "run",
            smoothing=settings.data.image_size / 64,
            **{name: values[name] for name in names},
        ),
        "cpu",
    )
    size = settings.data.image_size
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (512, 512, 3), np.uint8)
    image = random.random((1, 3, size, size), np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    found: dict[str, Callable[[], object]] = {}
    found["TrainedRun.score"] = lambda: run.score(torch.from_numpy(image[0]))
    for file, program, given, returned, value in (
        ("model.onnx", export_images(run), (INPUT, IMAGE_AXES), OUTPUTS, image),
        (
            "inspect.onnx", export_pictures(run, "uint8"), (PICTURE, PICTURE_AXES),
            (*OUTPUTS, *VERDICTS), pixels,
        ),
    ):  # fmt: skip
        save_onnx(program, folder / file, {}, given=given, returned=returned)
        session = onnxruntime.InferenceSession(
            folder / file, options, providers=["CPUExecutionProvider"]
        )
        found[file] = lambda s=session, n=given[0], v=value: s.run(None, {n: v})
    return found


def processor_time(contestant: Callable[[], object]) -> float:
    start = time.process_time()
    contestant()
    return 1000 * (time.process_time() - start)


def main() -> None:
    torch.set_num_threads(1)
    print(f"{platform.machine()}, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}")
    for name in sys.argv[1:] or CASES:
        settings = CASES[name]
        with tempfile.TemporaryDirectory() as folder:
            runs = contestants(settings, Path(folder))
            times: dict[str, list[float]] = {one: [] for one in runs}
            for _ in range(1 + ROUNDS):
                for one, contestant in runs.items():
                    times[one].append(processor_time(contestant))
        for one, values in times.items():
            # The first round warms up.
            median = statistics.median(values[1:])
            print(f"{name}: {one} {median:.0f} ms ({min(values[1:]):.0f} at least)")


if __name__ == "__main__":
    main()
