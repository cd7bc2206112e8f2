"""The pictures of a run: scales that compare, what is drawn where, and what is counted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from two_stage.report import curves, figures
from two_stage.report.overlay import DARK, FOUND, TRUE


def result(name: str = "crack_001", value: float = 2.0) -> Any:
    score_map = np.zeros((24, 32), dtype=np.float32)
    score_map[4:12, 6:16] = value
    mask = torch.zeros(24, 32, dtype=torch.bool)
    mask[4:12, 6:16] = True
    return SimpleNamespace(
        sample=SimpleNamespace(name=name, defect="crack"),
        image=torch.full((1, 24, 32), 0.5),
        mask=mask,
        reconstruction=torch.full((1, 24, 32), 0.25),
        score=value,
        maps={"plain l1": score_map / 10, "chosen": score_map},
    )


def test_heat_maps_are_not_stretched(tmp_path: Path) -> None:
    scales = {"plain l1": 0.4, "chosen": 4.0}
    figures.save_result_files(result("a", 2.0), tmp_path, scales, 1.0, 1.5)
    figures.save_result_files(result("b", 4.0), tmp_path, scales, 1.0, 1.5)
    heat = {name: np.array(Image.open(tmp_path / f"{name}_heat_map.png")) for name in "ab"}
    assert heat["a"].shape[:2] == (24, 32)
    np.testing.assert_array_equal(heat["a"][0, 0], heat["b"][0, 0])
    assert heat["a"][6, 8].tolist() != heat["b"][6, 8].tolist()


def test_predicted_mask_overlay_and_reconstruction(tmp_path: Path) -> None:
    case = result()
    figures.save_result_files(case, tmp_path, {"plain l1": 1.0, "chosen": 4.0}, 1.0, 1.5)
    predicted = np.array(Image.open(tmp_path / "crack_001_predicted_mask.png"))
    np.testing.assert_array_equal(predicted, 255 * case.mask.numpy().astype(np.uint8))
    overlay = np.array(Image.open(tmp_path / "crack_001_overlay.png"))
    # Inside the region, around it, and around that.
    lines = [tuple(overlay[row, 10]) for row in (4, 3, 2)]
    assert lines == [FOUND, TRUE, DARK]
    assert tuple(overlay[8, 10]) == tuple(overlay[1, 10]) == (128, 128, 128)
    reconstruction = np.array(Image.open(tmp_path / "crack_001_reconstruction.png"))
    assert np.unique(reconstruction).tolist() == [64]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    saved: list[Figure] = []
    original = Figure.savefig

    def savefig(self: Figure, *arguments: Any, **options: Any) -> None:
        saved.append(self)
        original(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved


def test_panels_share_their_scale(tmp_path: Path, drawn: list[Figure]) -> None:
    results = [result("a$b$c", 2.0), result("b", 9.0)]
    figures.save_panels(results, tmp_path / "p.png", {"plain l1": 0.4, "chosen": 4.0}, 1.0, 3.0)
    axes = drawn[0].axes
    assert [axis.get_title() for axis in axes[:6]][0::5] == ["input", "ground truth"]
    for row in (0, 6):
        assert axes[row + 2].images[0].get_clim() == (0, 0.4)
        assert axes[row + 3].images[0].get_clim() == (0, 4.0)


def test_each_row_says_what_it_is_called_by_which_score(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    results = [result("a", 2.0), result("b", 9.0), result("c", 3.0)]
    figures.save_panels(results, tmp_path / "p.png", {"plain l1": 0.4, "chosen": 4.0}, 1.0, 3.0)
    rows = [drawn[0].axes[place] for place in (4, 10, 16)]
    assert [axis.get_title() for axis in rows] == [
        "overlay\n2: called good", "9: called defective", "3: called good",
    ]  # fmt: skip
    orange = [(np.array(axis.images[0].get_array()) == FOUND).all(2).any() for axis in rows]
    assert orange == [False, True, False]


@pytest.mark.parametrize(
    "name", ["木材_2", "دفعة", "é" * 4, "good_" + "0" * 40, "two\nlines of a very long name"]
)
def test_names_that_do_not_fit_are_numbers(name: str, tmp_path: Path, drawn: list[Figure]) -> None:
    # Warnings, such as of a missing glyph, are errors here.
    results = [result("good_000"), result(name)]
    figures.save_panels(results, tmp_path / "p.png", {"plain l1": 0.4, "chosen": 4.0}, 1.0, 3.0)
    figures.save_arm_panels({"arm": results}, tmp_path / "q.png", {"arm": 1.0})
    for figure, second in zip(drawn, (6, 3), strict=True):
        labels = [figure.axes[place].get_ylabel() for place in (0, second)]
        assert labels == ["1  good_000", "2"]


def test_arm_panels_have_a_column_for_each_arm(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = {"aw-ssim": [result("a")], "two-stage": [result("a")]}
    figures.save_arm_panels(rows, tmp_path / "p.png", {"aw-ssim": 3.0, "two-stage": 5.0})
    titles = [axis.get_title() for axis in drawn[0].axes[:4]]
    assert titles == ["input", "ground truth", "aw-ssim", "two-stage"]
    assert [axis.images[0].get_clim()[1] for axis in drawn[0].axes[2:4]] == [3.0, 5.0]
    with pytest.raises(ValueError, match="in this order"):
        figures.save_arm_panels({**rows, "b": [result("z")]}, tmp_path / "q.png", {})


def test_adga_sheet_takes_bytes_and_floats(tmp_path: Path, drawn: list[Figure]) -> None:
    targets = torch.full((3, 3, 8, 8), 51, dtype=torch.uint8)
    masks = torch.ones(3, 8, 8, dtype=torch.bool)
    figures.save_adga_sheet(targets, targets.float() / 255, masks, tmp_path / "sheet.png")
    values = [np.unique(axis.images[0].get_array()).tolist() for axis in drawn[0].axes]
    assert values == [[51]] * 6 + [[255]] * 3


def test_histogram_counts_every_picture(tmp_path: Path, drawn: list[Figure]) -> None:
    curves.save_score_histogram([0.1, 0.2], [0.3, 0.9, 1.0], 0.5, tmp_path / "h.png")
    counts = [sum(bar.get_height() for bar in bars) for bars in drawn[0].axes[0].containers]
    assert counts == [2, 3]
    assert drawn[0].axes[0].lines[0].get_xdata() == [0.5, 0.5]


def test_training_curves_mark_the_stages(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [{"stage": str(stage), "loss": "0.5", "sigma": "1.0"} for stage in (1, 1, 1, 2, 2)]
    curves.save_training_curves(rows, tmp_path / "t.png")
    loss_axis = drawn[0].axes[0]
    labels = [text.get_text() for text in loss_axis.get_legend().get_texts()]
    assert labels == ["stage 1, smoothed", "stage 2, smoothed"]
    assert loss_axis.lines[-1].get_xdata() == [3, 3]
    assert loss_axis.lines[-2].get_xdata().tolist() == [3, 4]
