"""Settings, patches and the training loop of the example."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from accelerate import Accelerator
from torch import Tensor, nn
from two_stage.model import Autoencoder
from two_stage.settings import (
    PRESETS,
    Settings,
    create_run_folder,
    read_settings,
    save_settings,
    versions,
)
from two_stage.training import (
    NormalPatches,
    measure_batch_norm,
    steps_per_epoch,
    train_stage,
)

from aw_ssim import AWSSIMLoss, SigmaSchedule, category_weights


def test_presets_move_the_defaults_and_arguments_win() -> None:
    assert read_settings([]) == PRESETS["demo"]
    assert read_settings(["--preset", "paper"]) == PRESETS["paper"]
    assert read_settings(["--data-root", "data"]).preset == "quick"
    changed = read_settings(["--preset", "paper", "--width", "8", "--weights", "1", "0", "2"])
    assert changed.width == 8
    assert changed.weights == (1.0, 0.0, 2.0)
    assert changed.image_size == PRESETS["paper"].image_size


def test_the_paper_preset_has_the_paper_s_sizes() -> None:
    paper = PRESETS["paper"]
    assert (paper.image_size, paper.patch_size, paper.width) == (512, 128, 32)
    assert (paper.stage_1_epochs, paper.stage_2_epochs, paper.crops_per_image) == (10, 15, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": 100}, "multiple of 32, got 100"),
        ({"image_size": 64}, r"image_size \(64\) must be at least patch_size \(128\)"),
        ({"test_stride": 0}, r"test_stride must be from 1 to .*\(64\).*; got 0"),
        ({"test_stride": 128}, r"test_stride must be from 1 to .*\(64\).*; got 128"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**change)


@pytest.mark.parametrize("category", ["pill", "carpet", "brick"])
def test_weights_default_to_the_category_s(category: str) -> None:
    loss = AWSSIMLoss(Settings(category=category).loss_weights())
    expected = (1 / 3,) * 3 if category == "brick" else category_weights(category)
    assert tuple(loss.weights) == pytest.approx(expected)
    assert Settings(category=category, weights=(1, 2, 3)).loss_weights() == (1, 2, 3)


def test_a_run_never_overwrites_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [create_run_folder(Settings()).as_posix() for _ in range(2)]
    assert names == ["runs/brick-demo-001", "runs/brick-demo-002"]
    used = tmp_path / "mine"
    create_run_folder(Settings(run_folder=used))
    (used / "result").touch()
    with pytest.raises(FileExistsError, match=r"mine already holds files; .*--overwrite"):
        create_run_folder(Settings(run_folder=used))
    assert create_run_folder(Settings(run_folder=used, overwrite=True)) == used
    with pytest.raises(NotADirectoryError, match=r"the file .*result"):
        create_run_folder(Settings(run_folder=used / "result"))


def test_settings_are_saved_with_versions(tmp_path: Path) -> None:
    settings = Settings(data_root=Path("data"), weights=(1.0, 2.0, 3.0), seed=7)
    saved = yaml.safe_load(save_settings(settings, tmp_path).read_text())
    assert saved["settings"]["seed"] == 7
    assert saved["settings"]["data_root"] == "data"
    assert saved["settings"]["weights"] == [1.0, 2.0, 3.0]
    assert saved["versions"] == versions()
    assert saved["versions"]["torch"] == torch.__version__.split("+")[0]


def images(count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 1, 48, 40), dtype=torch.uint8, generator=generator)


def patches(**options: object) -> NormalPatches:
    return NormalPatches(images(), patch_size=32, crops_per_image=4, seed=0, **options)


def test_a_patch_is_cut_from_its_image() -> None:
    data = patches()
    assert len(data) == 12
    for index in range(len(data)):
        patch, target = data[index]
        assert torch.equal(patch, target)
        windows = images()[index // 4, 0].unfold(0, 32, 1).unfold(1, 32, 1)
        assert (windows == (target * 255).round()).all(-1).all(-1).any()


def test_patches_depend_on_seed_epoch_and_index_alone() -> None:
    data = patches(noise=0.1)
    first = data[5][0]
    data[0], data[7]
    assert torch.equal(data[5][0], first)
    data.epoch = 1
    assert not torch.equal(data[5][0], first)
    other = NormalPatches(images(), patch_size=32, crops_per_image=4, seed=1, noise=0.1)
    assert not torch.equal(other[5][0], first)


def test_noise_and_defects_touch_the_input_alone() -> None:
    clean = patches()
    noisy, defective, half = (
        patches(noise=0.05),
        patches(defect_probability=1.0),
        patches(defect_probability=0.5),
    )
    for index in range(12):
        assert torch.equal(noisy[index][1], clean[index][1])
        assert torch.equal(defective[index][1], clean[index][1])
    spread = torch.stack([noisy[i][0] - noisy[i][1] for i in range(12)]).std()
    assert float(spread) == pytest.approx(0.05, rel=0.05)
    assert not any(torch.equal(*defective[index]) for index in range(12))
    half.epoch = 3
    assert 2 <= sum(torch.equal(*half[index]) for index in range(12)) <= 10


def tiny(**options: object) -> Settings:
    return Settings(
        image_size=32, patch_size=32, test_stride=16, channels=1, width=4, latent_channels=8,
        batch_size=4, **options,
    )  # fmt: skip


def test_sigma_grows_within_each_epoch_and_starts_again() -> None:
    settings = tiny(stage_1_epochs=2)
    schedule = SigmaSchedule.per_epoch(0.5, 2.0, steps_per_epoch=3)
    loss = AWSSIMLoss(padding="same", sigma=schedule)
    model = Autoencoder(1, 4, 8)
    log = train_stage(1, model, patches(), loss, schedule, settings, Accelerator(cpu=True))
    assert [step.sigma for step in log] == pytest.approx([0.5, 1.0, 1.5] * 2)
    assert [(step.stage, step.epoch) for step in log] == [(1, 0)] * 3 + [(1, 1)] * 3


@pytest.mark.parametrize(("batch_size", "steps"), [(4, 3), (5, 2), (16, 1)])
def test_an_epoch_has_whole_batches_or_one_small_one(batch_size: int, steps: int) -> None:
    settings = replace(tiny(stage_1_epochs=1), batch_size=batch_size)
    schedule = SigmaSchedule(1.5, 0.0)
    loss = AWSSIMLoss(padding="same", sigma=schedule)
    assert steps_per_epoch(patches(), settings) == steps
    model = Autoencoder(1, 4, 8)
    log = train_stage(1, model, patches(), loss, schedule, settings, Accelerator(cpu=True))
    assert len(log) == steps


def test_training_lowers_the_loss_and_repeats_itself() -> None:
    wave = (torch.arange(40) * 0.5).sin() * 60 + 120
    stripes = wave.to(torch.uint8).expand(3, 1, 40, 40)
    logs = []
    for _ in range(2):
        torch.manual_seed(0)
        model = Autoencoder(1, 4, 8)
        schedule = SigmaSchedule(1.5, 0.0)
        loss = AWSSIMLoss(padding="same", sigma=schedule)
        settings = tiny(stage_1_epochs=10)
        data = NormalPatches(stripes, patch_size=32, crops_per_image=4, seed=0)
        logs.append(train_stage(1, model, data, loss, schedule, settings, Accelerator(cpu=True)))
    assert [step.loss for step in logs[0]] == [step.loss for step in logs[1]]
    assert logs[0][-1].loss < 0.5 * logs[0][0].loss


def test_batch_norm_statistics_are_those_of_clean_patches() -> None:
    data, settings = patches(), tiny()
    model = nn.Sequential(nn.BatchNorm2d(1))
    model[0].running_mean.fill_(9.0)
    measure_batch_norm(model, data, settings)
    pixels = torch.stack([data[index][0] for index in range(len(data))])
    torch.testing.assert_close(model[0].running_mean, pixels.mean((0, 2, 3)))
