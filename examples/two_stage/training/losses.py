"""What one stage minimises and on which input: sections 3.3 and 3.4, and the other arms."""

from __future__ import annotations

import dataclasses
import math

from torch import Tensor, nn

from aw_ssim import AWSSIMLoss, CombinedPerceptualLoss, SigmaSchedule, SSIMLoss
from aw_ssim.perceptual import FrozenLPIPS

from ..run.arms import ARMS, Partner, Plan, Structural
from ..run.settings import Settings

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
    pixel_weight: float = 0.0
    repair_weight: float = 0.0
    lpips_share: float = 1.0


def stages_of(settings: Settings) -> tuple[Stage, ...]:
    """The stages of the settings' arm, one after the other."""
    plans = ARMS[settings.stages.arm].stages
    epochs = (settings.stages.stage_1_epochs, settings.stages.stage_2_epochs)
    if len(plans) == 1:
        epochs = (sum(epochs),)
    return tuple(_stage(plan, n, settings) for plan, n in zip(plans, epochs, strict=True))


def _stage(plan: Plan, epochs: int, settings: Settings) -> Stage:
    stages = settings.stages
    growing = (stages.sigma_start, stages.sigma_end)
    return Stage(
        epochs=epochs,
        structural=plan.structural,
        partner=plan.partner,
        mix=1.0 if plan.partner == "none" else stages.mix,
        weights=(1 / 3, 1 / 3, 1 / 3) if plan.equal_weights else settings.loss_weights(),
        sigma=growing if plan.sigma_grows else (FIXED_SIGMA, FIXED_SIGMA),
        noise=stages.defect_noise if plan.defects else stages.input_noise,
        defect_probability=stages.defect_probability if plan.defects else 0.0,
        pixel_weight=stages.pixel_weight,
        repair_weight=stages.repair_weight if plan.defects else 0.0,
        lpips_share=stages.lpips_share if plan.partner == "lpips" else 1.0,
    )


class StageLoss(nn.Module):
    """The loss of one stage and the sigma that grows with its steps."""

    def __init__(self, stage: Stage, steps_per_epoch: int) -> None:
        super().__init__()
        self.schedule = SigmaSchedule.per_epoch(*stage.sigma, steps_per_epoch)
        self.loss = _with_partner(stage, _structural(stage, self.schedule))
        self.pixel_weight, self.repair_weight = stage.pixel_weight, stage.repair_weight

    def forward(
        self, reconstruction: Tensor, target: Tensor, defective: Tensor | None = None
    ) -> Tensor:
        """`defective`, N x 1 x H x W bool, is where the input carried a defect."""
        loss: Tensor = self.loss(reconstruction, target)
        if self.pixel_weight or self.repair_weight:
            distance = (reconstruction - target).abs()
            loss = loss + self.pixel_weight * distance.mean()
            if self.repair_weight and defective is not None:
                # A batch without defects has nothing to repair.
                count = (defective.sum() * distance.shape[1]).clamp(min=1)
                loss = loss + self.repair_weight * (distance * defective).sum() / count
        return loss


class PartOfBatch(nn.Module):
    """A perceptual distance of the first patches alone, of a batch in random order."""

    def __init__(self, perceptual: nn.Module, share: float) -> None:
        super().__init__()
        self.perceptual = perceptual
        self.share = share

    def forward(self, reconstruction: Tensor, target: Tensor) -> Tensor:
        count = math.ceil(self.share * len(target))
        distances: Tensor = self.perceptual(reconstruction[:count], target[:count])
        return distances


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
        part = None if stage.lpips_share == 1 else PartOfBatch(FrozenLPIPS(), stage.lpips_share)
        return CombinedPerceptualLoss(structural=structural, mix=stage.mix, perceptual=part)
    if stage.partner == "l1":
        return WithL1(structural, stage.mix)
    return structural
