"""The exported graph that takes a picture's pixels: it judges them as `predict` does."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import PIL
import pytest
import torch
from numpy.typing import NDArray
from packaging.version import Version
from PIL import Image
from tiny_run import PIXEL_THRESHOLD, write_run
from two_stage.commands import export
from two_stage.pictures.files import load_image
from two_stage.scoring.exported_graph import OUTPUTS, VERDICTS, Inspection, float32_below
from two_stage.scoring.scorer import Scorer
from two_stage.scoring.trained_run import load_trained_run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run")


def as_in_cameras(exported: Path) -> Callable[[NDArray[Any]], Iterator[list[Any]]]:
    """What both files, loaded once, say of a picture's pixels."""
    session = onnxruntime.InferenceSession(exported / "inspect.onnx")
    program = torch.export.load(exported / "inspect.pt2").module()

    def judged(pixels: NDArray[Any]) -> Iterator[list[Any]]:
        yield session.run(None, {"pixels": pixels})
        with torch.no_grad():
            yield [output.numpy() for output in program(torch.from_numpy(pixels))]

    return judged


def check_pictures(run_folder: Path, exported: Path, shapes: Any, dtype: Any, path: Path) -> None:
    """Against the code of `predict`: scores to 5 thousandths of a threshold, and the verdict."""
    run = load_trained_run(run_folder, "cpu")
    data, random = run.settings.data, np.random.default_rng(0)
    verdicts, judged = set(), as_in_cameras(exported)
    for number, shape in enumerate(shapes):
        # Flat pictures are good; of others a part is noise.
        pixels = np.full(shape, np.iinfo(dtype).max // 2, dtype)
        if number % 2:
            noise = random.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
            pixels[: shape[0] // 2] = noise[: shape[0] // 2]
        Image.fromarray(pixels[..., 0] if shape[2] == 1 else pixels).save(path)
        reconstruction, score_map = run.score(load_image(path, data.image_size, data.channels))
        score = float(score_map.max())
        for outputs in judged(pixels):
            named = dict(zip([*OUTPUTS, *VERDICTS], outputs, strict=True))
            assert abs(float(named["image_score"]) - score) <= 5e-3 * PIXEL_THRESHOLD, shape
            # Of 9 x 5 pixels enlarged, many sums are ties, and rounded to either side.
            assert np.abs(named["anomaly_map"] - score_map.numpy()).max() <= 2e-2 * PIXEL_THRESHOLD
            assert np.abs(named["reconstruction"] - reconstruction.numpy()).max() <= 0.5 / 255
            assert bool(named["defective"]) == (score > run.scorer.image_threshold), shape
            above = named["anomaly_map"] > PIXEL_THRESHOLD
            assert np.array_equal(named["defective_pixels"], above)
            verdicts.add(bool(named["defective"]))
    assert verdicts == {False, True}


SIZES = [(61, 203), (149, 33), (9, 5), (300, 301), (72, 72), (1, 40)]


def test_pixels_of_any_size_are_judged_as_predict_does(run_folder: Path, tmp_path: Path) -> None:
    shapes = [(*size, channels) for size in SIZES for channels in (3, 1, 1, 3)]
    lowered = lower_threshold(run_folder, tmp_path / "run", 1.0)
    export.main(["--run", str(lowered), "--out", str(tmp_path / "out")])
    check_pictures(lowered, tmp_path / "out", shapes, np.uint8, tmp_path / "picture.png")


def test_a_grey_run_takes_16_bits_too(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", channels=1, residual="l1", smoothing=3.0)
    folder = lower_threshold(folder, tmp_path / "lowered", 0.8)
    export.main(["--run", str(folder), "--depth", "uint16"])
    shapes = [(*size, 1) for size in SIZES for _ in range(2)]
    check_pictures(folder, folder / "export", shapes, np.uint16, tmp_path / "picture.png")


def lower_threshold(run_folder: Path, folder: Path, image_threshold: float) -> Path:
    """A copy of a run that finds noise defective."""
    shutil.copytree(run_folder, folder, ignore=shutil.ignore_patterns("export"))
    scorer = Scorer.load(folder / "scorer.safetensors")
    lower = dataclasses.replace(scorer, image_threshold=image_threshold)
    lower.save(folder / "scorer.safetensors")
    return folder


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(149, 33, 3), (61, 203, 1), (733, 401, 3), (33, 40, 1)])
def test_pixels_are_prepared_as_pillow_does(
    shape: tuple[int, ...], channels: int, tmp_path: Path
) -> None:
    """But for sums that are ties, which one of them rounds up and the other down."""
    run = load_trained_run(write_run(tmp_path / "run", channels=channels), "cpu")
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8, endpoint=True)
    Image.fromarray(pixels[..., 0] if shape[2] == 1 else pixels).save(tmp_path / "a.png")
    expected = load_image(tmp_path / "a.png", 72, channels)
    prepared = Inspection(run, "uint8").prepared(torch.from_numpy(pixels))
    levels = 255 * (prepared - expected).abs()
    assert float(levels.max()) <= 1.001
    if Version(PIL.__version__) >= Version("13"):
        assert float((levels > 0.5).float().mean()) < 0.02


def test_a_score_that_is_no_number_is_defective(run_folder: Path) -> None:
    run = load_trained_run(run_folder, "cpu")
    inspection = Inspection(run, "uint8")
    inspection.scoring.stds.fill_(float("nan"))
    *_, defective, pixels = inspection(torch.zeros(80, 90, 3, dtype=torch.uint8))
    assert bool(defective)
    assert bool(pixels.all())


@pytest.mark.parametrize("threshold", [3.6, 0.1, 4.0, -0.3])
def test_a_threshold_in_float32_parts_scores_as_the_number_itself(threshold: float) -> None:
    below = float32_below(threshold)
    assert below <= threshold
    assert float(np.nextafter(np.float32(below), np.float32(np.inf))) > threshold
