"""What one stage minimises and on which input: sections 3.3 and 3.4, and the other arms."""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn

from aw_ssim import AWSSIMLoss, CombinedPerceptualLoss, SigmaSchedule, SSIMLoss

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
        noise=0.0 if plan.defects else stages.input_noise,
        defect_probability=stages.defect_probability if plan.defects else 0.0,
    )


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
