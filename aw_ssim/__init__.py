"""Differentiable image losses: additive weighted SSIM (J. Imaging 2024, 10(5):111) and SSIM.

What is not named here is private.
"""

from .availability import choose_backend
from .categories import category_weights
from .functional import SSIMComponents, aw_ssim, ssim, ssim_components
from .l1 import CombinedL1Loss
from .loss import AWSSIMLoss, SSIMLoss
from .multiscale import MSAWSSIMLoss, MSSSIMLoss
from .perceptual import CombinedPerceptualLoss
from .sigma_schedule import SigmaSchedule

__version__ = "0.1.0"

__all__ = [
    "AWSSIMLoss",
    "CombinedL1Loss",
    "CombinedPerceptualLoss",
    "MSAWSSIMLoss",
    "MSSSIMLoss",
    "SSIMComponents",
    "SSIMLoss",
    "SigmaSchedule",
    "aw_ssim",
    "category_weights",
    "choose_backend",
    "ssim",
    "ssim_components",
]
