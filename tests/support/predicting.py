"""Pictures of every kind, and `predict` run on them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image
from two_stage.commands.predict import main


def write_pictures(folder: Path) -> Path:
    """Odd sizes, larger and smaller than the run's, grey, colour and 16 bits, in subfolders."""
    random = np.random.default_rng(0)
    for name, shape, dtype in (
        ("wide.png", (61, 203, 3), np.uint8),
        ("tall.bmp", (149, 33), np.uint8),
        ("sub/deep.tif", (80, 95), np.uint16),
        ("sub/small.jpg", (9, 5, 3), np.uint8),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        limit = np.iinfo(dtype).max
        Image.fromarray(random.integers(0, limit, shape, dtype)).save(path)
    return folder


def predict(run: Path, pictures: Path, out: Path, *options: str) -> list[dict[str, str]]:
    main([str(pictures), "--run", str(run), "--out", str(out), "--device", "cpu", *options])
    return read(out)


def read(out: Path) -> list[dict[str, str]]:
    with (out / "scores.csv").open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))
