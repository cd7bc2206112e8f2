"""What each arm of the ablation trains: the paper's two stages, Table 2's others, and more."""

from __future__ import annotations

import dataclasses
from typing import Literal

from torch import Tensor, nn

from aw_ssim import AWSSIMLoss, CombinedPerceptualLoss, SigmaSchedule, SSIMLoss

from ..run.settings import Settings

Structural = Literal["aw-ssim", "ssim"]
Partner = Literal["none", "lpips", "l1"]

# SSIM's standard window, the mean of the growing one.
FIXED_SIGMA = 1.5


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of training: the loss, and what is done to its input."""

    epochs: int
    structural: Structural
    partner: Partner
    mix: float
    """Share of the structural loss; the rest is its partner's."""
    weights: tuple[float, float, float] | str
    sigma: tuple[float, float]
    """Of the window at an epoch's start and end, in pixels."""
    noise: float
    defect_probability: float


def stages_of(settings: Settings) -> tuple[Stage, ...]:
    """The stages that `settings.arm` goes through, one after the other."""
    normal = Stage(
        epochs=settings.stage_1_epochs,
        structural="aw-ssim",
        partner="none",
        mix=1.0,
        weights=settings.loss_weights(),
        sigma=(settings.sigma_start, settings.sigma_end),
        noise=settings.input_noise,
        defect_probability=0.0,
    )
    defective = dataclasses.replace(
        normal,
        epochs=settings.stage_2_epochs,
        partner="lpips",
        mix=settings.mix,
        noise=0.0,
        defect_probability=settings.defect_probability,
    )
    # Arms of one stage train as long as the two stages together.
    total = settings.stage_1_epochs + settings.stage_2_epochs
    fixed = (FIXED_SIGMA, FIXED_SIGMA)
    replace = dataclasses.replace
    match settings.arm:
        case "two-stage":
            return normal, defective
        case "ssim+l1":
            return (
                replace(
                    normal,
                    epochs=total,
                    structural="ssim",
                    partner="l1",
                    mix=settings.mix,
                    sigma=fixed,
                ),
            )
        case "lpips+ssim":
            return (
                replace(
                    normal,
                    epochs=total,
                    structural="ssim",
                    partner="lpips",
                    mix=settings.mix,
                    sigma=fixed,
                ),
            )
        case "aw-ssim":
            return (replace(normal, epochs=total),)
        case "fixed-sigma":
            return replace(normal, sigma=fixed), replace(defective, sigma=fixed)
        case "equal-weights":
            equal = (1 / 3, 1 / 3, 1 / 3)
            return replace(normal, weights=equal), replace(defective, weights=equal)
        case "product-ssim":
            return replace(normal, structural="ssim"), replace(defective, structural="ssim")
        case "no-lpips":
            return normal, replace(defective, partner="none", mix=1.0)
        case "adga-from-start":
            return (replace(defective, epochs=total),)


class StageLoss(nn.Module):
    """The loss of one stage and the sigma that grows with its steps."""

    def __init__(self, stage: Stage, steps_per_epoch: int) -> None:
        super().__init__()
        self.schedule = SigmaSchedule.per_epoch(*stage.sigma, steps_per_epoch)
        self.loss = _with_partner(stage, _structural(stage, self.schedule))

    def forward(self, reconstruction: Tensor, target: Tensor) -> Tensor:
        return self.loss(reconstruction, target)


class WithL1(nn.Module):
    """``mix * structural + (1 - mix) * L1``, the loss of arXiv 2212.12878."""

    def __init__(self, structural: nn.Module, mix: float) -> None:
        super().__init__()
        self.structural = structural
        self.mix = mix

    def forward(self, reconstruction: Tensor, target: Tensor) -> Tensor:
        l1 = nn.functional.l1_loss(reconstruction, target)
        return self.mix * self.structural(reconstruction, target) + (1 - self.mix) * l1


def _structural(stage: Stage, schedule: SigmaSchedule) -> nn.Module:
    # "same" padding: with "valid" the outermost pixels of a patch would never be trained.
    if stage.structural == "ssim":
        return SSIMLoss(padding="same", sigma=schedule)
    return AWSSIMLoss(stage.weights, padding="same", sigma=schedule)


def _with_partner(stage: Stage, structural: nn.Module) -> nn.Module:
    if stage.partner == "lpips":
        return CombinedPerceptualLoss(structural=structural, mix=stage.mix)
    if stage.partner == "l1":
        return WithL1(structural, stage.mix)
    return structural
