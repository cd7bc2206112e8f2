"""From a network to a run's figures: the baselines beside it, and what is kept of each picture."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from two_stage.pictures.category import Sample
from two_stage.pictures.demo import write_demo_dataset
from two_stage.report.results import write_results
from two_stage.run.folder import save_settings
from two_stage.run.run import Run
from two_stage.run.settings import Settings
from two_stage.scoring.baselines import (
    CONSTANT,
    ConstantColour,
    compare_reconstructions,
    mean_image,
)
from two_stage.scoring.evaluation import Evaluation, score_test_images
from two_stage.scoring.metrics import reconstruction_quality
from two_stage.scoring.selection import choose
from two_stage.training.data import RunData, load_run_data

SIZES = {"image_size": 64, "patch_size": 64, "test_stride": 32, "channels": 1, "crops_per_image": 1}


class Copy(nn.Module):
    """Repaints whatever it sees, defects too, but for a little."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.98))

    def forward(self, patches: Tensor) -> Tensor:
        return self.factor * patches


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_demo_dataset(root, "brick", normals=8, test_normals=3, per_defect=1)
    return root


def evaluated(
    model: nn.Module | None,
    data_root: Path,
    folder: Path,
    chosen: dict[str, Any] | None = None,
    **changes: Any,
) -> tuple[Evaluation, RunData]:
    """The model in place of a trained network; None for the constant colour itself."""
    settings = Settings.of(
        data_root=data_root, category="brick", smoothing=1.0, pictures_per_type=1, **SIZES
    ).changed(**chosen or {})
    folder.mkdir()
    run = Run(settings, folder, Accelerator(cpu=True))
    save_settings(settings, folder)
    data = dataclasses.replace(load_run_data(settings, folder), **changes)
    network = ConstantColour(mean_image(data.train)) if model is None else model
    evaluation = score_test_images(network, choose(network, data, settings), data, run)
    write_results(evaluation, run)
    return evaluation, data


@pytest.fixture(scope="module")
def flat(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Path]:
    """A network that learned nothing but the mean colour."""
    folder = tmp_path_factory.mktemp("flat") / "run"
    return evaluated(None, data_root, folder)[0], folder


def test_the_constant_is_scored_as_a_network_that_is_constant(
    flat: tuple[Evaluation, Path],
) -> None:
    metrics = flat[0].metrics
    assert metrics["scores"][CONSTANT] == metrics["scores"]["chosen"]
    chosen = metrics["chosen_on_held_out_normals"]
    assert chosen["untrained"] == chosen["candidates"][0]
    compared = metrics["reconstruction_of_held_out"]
    assert compared["network"] == compared["constant"]


def test_the_background_is_not_scored(data_root: Path, tmp_path: Path) -> None:
    """As if a product had lain in the upper half of the training pictures, and once lower."""
    places = {"train": slice(0, 32), "held_out": slice(8, 40)}
    foregrounds = {name: torch.zeros(64, 64, dtype=torch.bool) for name in places}
    for name, rows in places.items():
        foregrounds[name][rows] = True
    evaluation, data = evaluated(
        Copy(),
        data_root,
        tmp_path / "run",
        {"scored_area": "product", "foreground_only": True, "smoothing": 0.0},
        foregrounds=foregrounds["train"].expand(6, 64, 64),
        held_out_foregrounds=foregrounds["held_out"].expand(2, 64, 64),
    )
    assert (len(data.train), len(data.held_out)) == (6, 2)
    area = evaluation.metrics["chosen_on_held_out_normals"]["scored_area"]
    # A border of one pixel, a 64th of the side; 7 of the 32 lower rows lie beyond it.
    assert area == {"share": 33 / 64, "product_beyond": 7 / 32}
    for result in evaluation.findings.shown:
        for name in ("chosen", CONSTANT):
            assert result.maps[name][:33].any()
            assert not result.maps[name][33:].any()
    assert any("21.9 % of the product lies" in doubt for doubt in evaluation.metrics["doubts"])
    report = (tmp_path / "run" / "report.md").read_text()
    assert "Scored: the 52 % of the picture where a product lies" in report


def test_a_network_that_learned_nothing_is_told_of_first(flat: tuple[Evaluation, Path]) -> None:
    evaluation, folder = flat
    said = evaluation.metrics["doubts"]
    assert "hardly learned to reconstruct" in said[0]
    assert f"({CONSTANT.removeprefix('input only: ')})" in said[1]
    assert any("largest score of 2 held-out" in text for text in said)
    assert json.loads((folder / "metrics.json").read_text())["doubts"] == said
    page = (folder / "report.html").read_text()
    assert page.index("hardly learned to reconstruct") < page.index("<dl")


def test_a_network_that_repaints_is_not_doubted_for_that(data_root: Path, tmp_path: Path) -> None:
    evaluation, data = evaluated(Copy(), data_root, tmp_path / "run")
    assert not any("learned to reconstruct" in text for text in evaluation.metrics["doubts"])
    compared = evaluation.metrics["reconstruction_of_held_out"]
    assert compared["pictures"] == 2
    images = data.held_out.float() / 255
    expected = [
        reconstruction_quality(image.numpy(), 0.98 * image.numpy())["psnr"] for image in images
    ]
    assert compared["network"]["psnr"] == pytest.approx(np.mean(expected), abs=1e-3)


def test_the_constant_colour_is_the_mean_of_each_channel() -> None:
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    constant = ConstantColour(mean_image(images))
    painted = constant(torch.rand(2, 3, 8, 8))
    expected = images.double().mean((0, 2, 3)) / 255
    torch.testing.assert_close(painted.double(), expected[None, :, None, None].expand(2, 3, 8, 8))


def test_no_held_out_picture_is_compared_twice_and_many_are_thinned() -> None:
    settings = Settings.of(**SIZES)
    images = torch.randint(0, 256, (70, 1, 64, 64), dtype=torch.uint8)
    constant = ConstantColour(mean_image(images))
    assert compare_reconstructions(constant, constant, images, settings)["pictures"] == 64


def test_every_test_picture_has_its_line(flat: tuple[Evaluation, Path]) -> None:
    evaluation, folder = flat
    content = (folder / "test_scores.csv").read_bytes()
    # For Excel.
    assert content.startswith("\ufeff".encode())
    rows = list(csv.DictReader(content.decode("utf-8-sig").splitlines()))
    kinds = ["good"] * 3 + ["hole", "scratch", "smear", "stain"]
    assert sorted(row["file"] for row in rows) == sorted(
        f"test/{kind}/{number:03d}.png"
        for kind, number in zip(kinds, [0, 1, 2, *[0] * 4], strict=True)
    )
    assert [row["kind"] for row in rows] == [row["file"].split("/")[1] for row in rows]
    threshold = evaluation.choice.scorer.image_threshold
    counted = dict.fromkeys(("found", "missed", "false alarm", "passed"), 0)
    for row in rows:
        above, defective = float(row["score"]) > threshold, row["kind"] != "good"
        assert row["called_defective"] == ("yes" if above else "no")
        assert row["outcome"] == {
            (True, True): "found", (True, False): "missed",
            (False, True): "false alarm", (False, False): "passed",
        }[defective, above]  # fmt: skip
        counted[row["outcome"]] += 1
    found = evaluation.metrics["at_threshold"]["pictures"]
    assert list(counted.values()) == [
        found[key] for key in ("found", "missed", "false_alarms", "passed")
    ]
    wrong = [row["file"] for row in rows if row["outcome"] in ("missed", "false alarm")]
    report = (folder / "report.html").read_text()
    assert all(f"<td>{file}</td>" in report for file in wrong)


def test_without_a_test_set_held_out_and_painted_pictures_are_shown(
    data_root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    evaluation, data = evaluated(Copy(), data_root, folder, test=())
    names = [shown["picture"] for shown in evaluation.metrics["shown"]]
    assert names[0] == "held_out_0"
    assert {name.split("_")[0] for name in names[1:]} == {"painted"}
    assert len(names) == len(set(names)) >= 4
    clean, *painted = evaluation.findings.shown
    torch.testing.assert_close(clean.image, data.held_out[0].float() / 255)
    assert not clean.mask.any()
    for result in painted:
        changed = (result.image != clean.image).any(0)
        assert result.mask.any()
        assert (changed & result.mask).sum() > 0.5 * result.mask.sum()
    assert (folder / "panels.png").is_file()
    assert not (folder / "test_scores.csv").exists()
    assert not (folder / "curves.png").exists()
    assert "There was no test set" in (folder / "report.md").read_text()


@pytest.mark.parametrize("only", ["good", "defective", "unmasked"])
def test_a_test_set_of_one_class_or_without_masks(
    only: str, data_root: Path, tmp_path: Path
) -> None:
    pictures = data_root / "brick" / "test"
    samples = [Sample(path, None, "good") for path in sorted((pictures / "good").iterdir())]
    if only != "good":
        masks = data_root / "brick" / "ground_truth"
        mask = None if only == "unmasked" else masks / "hole" / "000_mask.png"
        defective = Sample(pictures / "hole" / "000.png", mask, "hole")
        samples = [defective] if only == "defective" else [*samples, defective]
    folder = tmp_path / "run"
    metrics = evaluated(Copy(), data_root, folder, test=tuple(samples))[0].metrics
    ours, found = metrics["scores"]["chosen"]["all"], metrics["at_threshold"]
    assert (ours["image_auroc"] is None) == (ours["image_ap"] is None) == (only != "unmasked")
    assert (ours["pixel_auroc"] is None) == (ours["aupro_05"] is None) == (only != "defective")
    assert (found["pictures"]["f1"] is None) == (only != "unmasked")
    assert (found["normal_images_flagged"] is None) == (only == "defective")
    text = (folder / "report.md").read_text()
    assert "None" not in text.split("## The run")[0]
    assert len((folder / "test_scores.csv").read_text("utf-8-sig").splitlines()) == 1 + len(samples)
