"""What would end a run is found before it begins, or is no fault: no training is for nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from killed import hasten
from mvtec_two_stage import two_stages
from PIL import Image
from tiny_training import SETTINGS, run_data, train_in
from two_stage.commands import ablate
from two_stage.run.errors import UserError
from two_stage.run.folder import is_complete, load_metrics
from two_stage.run.run import Run, find_processes
from two_stage.run.settings import Settings
from two_stage.training import losses, rehearsal, stages
from two_stage.training.patches import clean_patches
from two_stage.training.stages import new_model

TINY: dict[str, Any] = {
    "preset": "quick", "category": "plate", "image_size": 32, "patch_size": 32, "test_stride": 16,
    "width": 1, "latent_channels": 1, "arm": "no-lpips", "stage_1_epochs": 1, "stage_2_epochs": 1,
    "crops_per_image": 1, "batch_size": 4, "residual": "l1", "smoothing": 1.0,
    "pictures_per_type": 1,
}  # fmt: skip


def picture(path: Path, *, size: tuple[int, int] = (40, 40), value: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 255, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels if value is None else np.full_like(pixels, value)).save(path)


def plate(root: Path, **like: Any) -> Path:
    for number in range(7):
        picture(root / f"plate/normal/{number}.png", **like)
    for number in range(2):
        picture(root / f"plate/normal_test/n{number}.png", **like)
        picture(root / f"plate/defective/hole/d{number}.png", **like)
        picture(root / f"plate/masks/hole/d{number}.png", **like)
    return root


def normal_plates(root: Path) -> Path:
    plate(root)
    for name in ("normal_test", "defective", "masks"):
        shutil.rmtree(root / "plate" / name)
    return root


def one_blank(root: Path) -> Path:
    plate(root)
    picture(root / "plate/normal/3.png", value=0)
    return root


def no_defective_pixel(root: Path) -> Path:
    plate(root)
    for mask in (root / "plate/masks/hole").iterdir():
        picture(mask, value=0)
    return root


def long_names(root: Path) -> Path:
    plate(root)
    for folder in ("defective", "masks"):
        (root / "plate" / folder / "hole/d0.png").rename(
            root / "plate" / folder / "hole" / f"{'d' * 250}.png"
        )
    return root


Data = Callable[[Path], Path]
ON_AN_OBJECT = {"foreground_only": True, "scored_area": "product"}
# Pictures, and settings beside the tiny ones: all of this trains to its report.
WORKS: dict[str, tuple[Data, dict[str, Any]]] = {
    "a blank picture of an object": (one_blank, ON_AN_OBJECT),
    "nothing but blank pictures": (lambda root: plate(root, value=0), ON_AN_OBJECT),
    "white pictures, masks too": (lambda root: plate(root, value=255), {}),
    "pictures of one pixel": (lambda root: plate(root, size=(1, 1)), {"foreground_only": True}),
    "very flat pictures": (lambda root: plate(root, size=(2, 300)), {}),
    "a last clean batch of one": (plate, {}),
    "more in a batch than there is": (plate, {"batch_size": 4096}),
    "batches of one": (plate, {"batch_size": 1, "patch_size": 64, "image_size": 64}),
    "no epochs": (plate, {"stage_1_epochs": 0, "stage_2_epochs": 0}),
    "no first stage": (plate, {"stage_1_epochs": 0}),
    "masks without a pixel": (no_defective_pixel, {"foreground_only": True}),
    "normal pictures alone": (normal_plates, {"foreground_only": True}),
    "names as long as may be": (long_names, {}),
    "no pictures of results": (plate, {"pictures_per_type": 0}),
    "the smallest defects": (
        plate,
        {"defect_side": (1e-6, 1e-6), "defect_feather": (1e-6, 1e-6), "defect_opacity": (1e-6, 1)},
    ),
    "the largest defects": (plate, {"defect_side": (1.0, 50.0), "defect_count": (1, 30)}),
    "no defects, no noise": (plate, {"defect_probability": 0.0, "input_noise": 0.0}),
    "windows beyond the patch": (plate, {"sigma_start": 90.0, "sigma_end": 100.0}),
    "no smoothing": (plate, {"smoothing": 0.0}),
    "smoothing beyond the image": (plate, {"smoothing": 500.0}),
    "a learning rate of 0": (plate, {"learning_rate": 0.0}),
    "a grid of one": (plate, {"patches": "grid"}),
    "half held out": (plate, {"validation_share": 0.7}),
    "one weight": (plate, {"weights": (0.0, 0.0, 1.0), "channels": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", WORKS)
def test_a_run_comes_to_its_report(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasten(monkeypatch)
    make, changes = WORKS[name]
    settings = Settings.of(**TINY | changes).changed(
        data_root=make(tmp_path / "data"), run_folder=tmp_path / "run"
    )
    two_stages(settings)
    assert is_complete(tmp_path / "run")
    criteria = load_metrics(tmp_path / "run")["chosen_on_held_out_normals"]["candidates"]
    assert all(0 <= row["criterion"] <= 1 for row in criteria)


def test_the_last_clean_patch_joins_the_batch_before_it() -> None:
    images = run_data(9).train
    for size, batch, expected in (
        (32, 4, [4, 5]),
        (32, 8, [9]),
        (32, 3, [3, 3, 3]),
        (32, 5, [5, 4]),
        # Its narrowest features are 2 x 2: it has a variance, and bits stay as they were.
        (64, 4, [4, 4, 1]),
    ):
        training = SETTINGS.changed(patch_size=size, batch_size=batch, test_stride=16).training
        patches = clean_patches(images, training)
        assert [len(one) for one in patches] == expected
        whole = clean_patches(images, SETTINGS.changed(patch_size=size, batch_size=9).training)
        assert torch.equal(torch.cat(patches), whole[0])


def test_a_batch_of_one_of_the_smallest_patches_is_refused() -> None:
    with pytest.raises(UserError, match=r"pass --batch-size 2 or --patch-size 64$"):
        Settings.of(batch_size=1, patch_size=32, test_stride=16)
    for advice in ({"batch_size": 2, "patch_size": 32}, {"batch_size": 1, "patch_size": 64}):
        Settings.of(test_stride=16, **advice)


@pytest.fixture
def on_plates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose training would raise an error of its own."""
    monkeypatch.chdir(tmp_path)

    def trains(*_: object) -> None:
        raise AssertionError("it trains before it is checked")

    monkeypatch.setattr(stages, "_train", trains)
    return Settings.of(**TINY | {"arm": "two-stage"}).changed(data_root=plate(tmp_path / "data"))


def test_without_lpips_no_first_stage_is_trained(
    on_plates: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(**_: object) -> None:
        raise RuntimeError("LPIPS needs the ImageNet weights,\nand none were found.")

    monkeypatch.setattr(losses, "CombinedPerceptualLoss", offline)
    with pytest.raises(UserError, match=r"^stage 2 needs LPIPS: .*found\. Or .*: --arm no-lpips$"):
        two_stages(on_plates)
    # Nothing is left that another command would stumble over.
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    with pytest.raises(AssertionError, match="it trains"):
        two_stages(on_plates.changed(arm="no-lpips"))


def test_a_disk_without_room(
    on_plates: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(UserError, match=r"^the weights .* need 0 MB more, .* has 0 MB free; make"):
        two_stages(on_plates)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_the_room_that_is_needed_is_what_a_run_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its largest, while a checkpoint is written; what is there already is not counted again."""
    settings = SETTINGS.changed(width=16, stage_1_epochs=1, stage_2_epochs=1, checkpoint_steps=1)
    largest = 0
    save = stages.save_checkpoint

    def measured(folder: Path, *arguments: Any) -> None:
        nonlocal largest
        save(folder, *arguments)
        kept = [path.stat().st_size for path in folder.glob("*.safetensors")]
        largest = max(largest, sum(kept) + (folder / "checkpoint.safetensors").stat().st_size)

    monkeypatch.setattr(stages, "save_checkpoint", measured)
    train_in(tmp_path, settings)
    weights = sum(path.stat().st_size for path in tmp_path.glob("stage_*.safetensors"))
    for there, needed in ((True, largest - weights), (False, largest)):
        folder = tmp_path if there else tmp_path / "new"
        folder.mkdir(exist_ok=True)
        run = Run(settings, folder, find_processes(settings.training))
        # A stage's weights are the fifth copy; checkpoints of stage 2 lie beside stage 1's only.
        for share, fits in ((0.95, False), (1.25, True)):
            free = int(share * needed)
            usage = shutil._ntuple_diskusage(2 * free, free, free)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
                if fits:
                    rehearsal.check_room(new_model(run), run)
                else:
                    with pytest.raises(UserError, match="make room"):
                        rehearsal.check_room(new_model(run), run)


def test_a_rehearsal_changes_nothing(tmp_path: Path) -> None:
    run = Run(SETTINGS, tmp_path, find_processes(SETTINGS.training))
    model, data = new_model(run), run_data()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rehearsal.rehearse(model, data, run)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arm", ["aw-ssim", "ssim+l1"])
def test_a_training_that_diverges_stops_and_leaves_no_checkpoint(arm: str, tmp_path: Path) -> None:
    settings = SETTINGS.changed(arm=arm, checkpoint_steps=1, stage_1_epochs=20)

    def diverge(self: object, *_: object) -> None:
        with torch.no_grad():
            self.param_groups[0]["params"][0].fill_(float("nan"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", diverge)
        with pytest.raises(UserError, match=r"stage 1 diverged: by step 1 .* below 0\.001$"):
            train_in(tmp_path, settings)
    assert list(tmp_path.iterdir()) == []


def test_an_ablation_without_a_test_set_ends_with_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasten(monkeypatch)
    settings = Settings.of(**TINY).changed(data_root=normal_plates(tmp_path / "data"))
    ablation = ablate.Ablation(settings, ("aw-ssim",))
    assert "AW-SSIM" in ablate.ablate(ablation, tmp_path / "ablation", two_stages)
    assert not (tmp_path / "ablation" / "arms.png").exists()
