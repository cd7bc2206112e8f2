"""Test sets without masks, or without defects: figures of pictures, and a sentence saying why."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from mvtec_two_stage import two_stages
from tiny_run import TINY
from two_stage.commands import ablate, evaluate, train
from two_stage.pictures.demo import PAINTERS, write_demo_dataset


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on normal pictures and defective ones without any mask."""
    root = tmp_path_factory.mktemp("data")
    write_demo_dataset(root, "brick", normals=8, test_normals=3, per_defect=1)
    shutil.rmtree(root / "brick/ground_truth")
    folder = root / "run"
    train.main(["--data-root", str(root), *TINY, "--run-folder", str(folder)], two_stages)
    return folder


def metrics_of(folder: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads((folder / "metrics.json").read_text(), parse_constant=refuse)


def test_without_masks_pictures_are_still_told_apart(run: Path) -> None:
    metrics = metrics_of(run)
    for table in metrics["scores"].values():
        figures = table["all"]
        for name in ("image_auroc", "image_ap"):
            assert 0 <= figures.pop(name) <= 1
        assert set(figures.values()) == {None}
        assert set(table["by_defect"]) == set(PAINTERS)
    shares = metrics["at_threshold"]
    for name in ("defective_images_found", "normal_images_flagged"):
        assert 0 <= shares[name] <= 1
    assert set(shares["pixels"].values()) == {None}
    (note,) = metrics["notes"]
    assert note.startswith("no defective picture has a mask: the figures of pixels are")
    for name in ("report.md", "report.html"):
        assert "no defective picture has a mask" in (run / name).read_text()
    assert not re.search(r"\bnan\b", (run / "report.md").read_text(), re.IGNORECASE)
    assert json.loads((run / "data.json").read_text())["notes"][0]["files"]


def test_with_one_mask_the_others_are_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    write_demo_dataset(root, "brick", normals=8, test_normals=3, per_defect=1)
    for kind in set(PAINTERS) - {"hole"}:
        shutil.rmtree(root / "brick/ground_truth" / kind)
    evaluate.main([str(run), "--data-root", str(root), "--out", str(tmp_path / "out")])
    table = metrics_of(tmp_path / "out")["scores"]["chosen"]
    assert all(0 <= value <= 1 for value in table["all"].values())
    assert table["by_defect"]["hole"]["aupro"] == table["all"]["aupro"]
    assert table["by_defect"]["stain"]["aupro"] is None
    saved = json.loads((tmp_path / "out" / "data.json").read_text())
    assert len(saved["notes"][0]["files"]) == 3
    printed = capsys.readouterr().out
    assert "note: 3 of 4 defective pictures have no mask and count only as pictures" in printed
    assert "note: the test set is not the one the run began with: 1 new" in printed


def test_normal_test_pictures_alone_give_the_share_flagged(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    write_demo_dataset(root, "brick", normals=8, test_normals=3, per_defect=0)
    evaluate.main([str(run), "--data-root", str(root), "--out", str(tmp_path / "out")])
    metrics = metrics_of(tmp_path / "out")
    assert set(metrics["scores"]["chosen"]["all"].values()) == {None}
    shares = metrics["at_threshold"]
    assert shares["defective_images_found"] is None
    assert 0 <= shares["normal_images_flagged"] <= 1
    assert "note: no defective test pictures" in capsys.readouterr().out
    text = (tmp_path / "out" / "report.md").read_text()
    assert f"normal pictures flagged, %: **{100 * shares['normal_images_flagged']:.1f}**" in text


def test_an_ablation_without_defective_pictures_ends_in_its_table(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_demo_dataset(tmp_path / "data", "brick", normals=8, test_normals=2, per_defect=0)
    folder = tmp_path / "ablation"
    arguments = ["--data-root", str(tmp_path / "data"), *TINY, "--run-folder", str(folder)]
    ablate.main([*arguments, "--arms", "aw-ssim"], two_stages)
    assert "AW-SSIM | 1 | - | -" in (folder / "ablation.md").read_text()
    assert not (folder / "arms.png").exists()
