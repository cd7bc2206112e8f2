"""What the stages of every arm minimise, and on what."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from samples import generator
from torch import Tensor, nn
from two_stage.run.arms import ARMS
from two_stage.run.settings import Settings
from two_stage.training import losses
from two_stage.training.losses import FIXED_SIGMA, PartOfBatch, Stage, StageLoss, stages_of

SETTINGS = Settings.of(stage_1_epochs=2, stage_2_epochs=3)
NORMAL, DEFECTIVE = stages_of(SETTINGS)


def test_the_paper_s_two_stages() -> None:
    assert (NORMAL.epochs, DEFECTIVE.epochs) == (2, 3)
    assert (NORMAL.partner, DEFECTIVE.partner) == ("none", "lpips")
    assert (NORMAL.defect_probability, DEFECTIVE.defect_probability) == (0, 0.5)
    assert NORMAL.sigma == DEFECTIVE.sigma == (0.5, 2.5)


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_trains_the_same_number_of_epochs(arm: str) -> None:
    stages = stages_of(SETTINGS.changed(arm=arm))
    assert sum(stage.epochs for stage in stages) == 5


def test_arms_differ_from_the_paper_s_method_in_what_they_are_named_after() -> None:
    def stages(arm: str) -> tuple[Stage, ...]:
        return stages_of(SETTINGS.changed(arm=arm, category="pill"))

    two = stages("two-stage")
    assert two[0].weights == "pill"
    fixed = {"sigma": (FIXED_SIGMA, FIXED_SIGMA)}
    assert stages("fixed-sigma") == tuple(replace(stage, **fixed) for stage in two)
    equal = {"weights": (1 / 3, 1 / 3, 1 / 3)}
    assert stages("equal-weights") == tuple(replace(stage, **equal) for stage in two)
    assert stages("product-ssim") == tuple(replace(stage, structural="ssim") for stage in two)
    assert stages("no-lpips") == (two[0], replace(two[1], partner="none", mix=1.0))
    assert stages("adga-from-start") == (replace(two[1], epochs=5),)
    assert stages("aw-ssim") == (replace(two[0], epochs=5),)
    ssim = replace(two[0], epochs=5, structural="ssim", mix=0.8, **fixed)
    assert stages("lpips+ssim") == (replace(ssim, partner="lpips"),)
    assert stages("ssim+l1") == (replace(ssim, partner="l1"),)


def test_the_l1_arm_is_the_stated_sum() -> None:
    stage = stages_of(SETTINGS.changed(arm="ssim+l1"))[0]
    loss = StageLoss(stage, steps_per_epoch=1)
    x, y = torch.rand(2, 1, 40, 64, generator=generator()).split(1)
    structural = loss.loss.structural(x, y)
    expected = 0.8 * structural + 0.2 * (x - y).abs().mean()
    torch.testing.assert_close(loss(x, y), expected)


def test_pixels_and_repairs_are_added_with_their_weights() -> None:
    x, y = torch.rand(2, 2, 3, 40, 64, generator=generator()).split(1)
    x, y = x[0], y[0]
    defective = torch.zeros(2, 1, 40, 64, dtype=torch.bool)
    defective[1, :, 3:9, 5:30] = True
    structural = StageLoss(NORMAL, steps_per_epoch=1)(x, y)
    loss = StageLoss(replace(NORMAL, pixel_weight=3.0, repair_weight=2.0), steps_per_epoch=1)
    distance = (x - y).abs()
    plain = structural + 3 * distance.mean()
    torch.testing.assert_close(loss(x, y), plain)
    torch.testing.assert_close(loss(x, y, torch.zeros_like(defective)), plain)
    expected = plain + 2 * distance[1, :, 3:9, 5:30].mean()
    torch.testing.assert_close(loss(x, y, defective), expected)


def test_repairs_are_asked_of_the_stage_with_defects_alone() -> None:
    stages = stages_of(SETTINGS.changed(pixel_weight=1.0, repair_weight=2.0, defect_noise=0.1))
    assert [stage.pixel_weight for stage in stages] == [1.0, 1.0]
    assert [stage.repair_weight for stage in stages] == [0.0, 2.0]
    assert [stage.noise for stage in stages] == [0.05, 0.1]


class FirstPixel(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x[:, 0, 0, 0]


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.5, 2), (0.6, 3), (1.0, 4)])
def test_lpips_sees_its_share_of_the_batch(share: float, count: int) -> None:
    x = torch.arange(4.0)[:, None, None, None]
    assert PartOfBatch(FirstPixel(), share)(x, x).tolist() == list(range(count))


def test_a_part_of_lpips_is_mixed_as_all_of_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "FrozenLPIPS", FirstPixel)
    loss = StageLoss(replace(DEFECTIVE, lpips_share=0.5), steps_per_epoch=1)
    x, y = torch.rand(2, 4, 3, 40, 40, generator=generator())
    # LPIPS takes images from -1 to 1.
    seen = (2 * x[:2, 0, 0, 0] - 1).mean()
    torch.testing.assert_close(loss(x, y), 0.8 * loss.loss.structural(x, y) + 0.2 * seen)


def test_sigma_grows_from_start_to_end_over_an_epoch() -> None:
    loss = StageLoss(NORMAL, steps_per_epoch=4)
    values = []
    for _ in range(4):
        values.append(float(loss.schedule.sigma))
        loss.schedule.step()
    assert values == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert float(loss.schedule.sigma) == pytest.approx(2.5)
