"""The arms of the ablation as data: what each trains, and the paper's figure for it."""

from __future__ import annotations

import dataclasses
from typing import Literal

Structural = Literal["aw-ssim", "ssim"]
Partner = Literal["none", "lpips", "l1"]


@dataclasses.dataclass(frozen=True)
class Plan:
    """One stage, but for the numbers that the settings give it."""

    structural: Structural = "aw-ssim"
    partner: Partner = "none"
    defects: bool = False
    """The input carries artificial defects; otherwise a little noise."""
    sigma_grows: bool = True
    """Over an epoch; otherwise it is SSIM's standard."""
    equal_weights: bool = False
    """Of luminance, contrast and structure; otherwise the category's."""


@dataclasses.dataclass(frozen=True)
class Arm:
    title: str
    stages: tuple[Plan, ...]
    table_2: float | None = None
    """The paper's AUROC in percent, of hazelnut only."""


def _both(**changes: bool | str) -> tuple[Plan, ...]:
    return tuple(dataclasses.replace(plan, **changes) for plan in (NORMAL, DEFECTIVE))


NORMAL = Plan()
DEFECTIVE = Plan(partner="lpips", defects=True)

# One stage trains as long as two together.
ARMS = {
    "two-stage": Arm("two stages: AW-SSIM, then AW-SSIM + LPIPS", _both(), 98.89),
    "ssim+l1": Arm("one stage: SSIM + L1", (Plan("ssim", "l1", sigma_grows=False),), 86.70),
    "lpips+ssim": Arm(
        "one stage: LPIPS + SSIM", (Plan("ssim", "lpips", sigma_grows=False),), 90.86
    ),
    "aw-ssim": Arm("one stage: AW-SSIM", (NORMAL,), 95.60),
    "fixed-sigma": Arm("two stages, fixed sigma", _both(sigma_grows=False)),
    "equal-weights": Arm("two stages, equal weights", _both(equal_weights=True)),
    "product-ssim": Arm("two stages, SSIM as a product", _both(structural="ssim")),
    "no-lpips": Arm("two stages, no LPIPS", (NORMAL, Plan(defects=True))),
    "adga-from-start": Arm("one stage, artificial defects from the start", (DEFECTIVE,)),
}
