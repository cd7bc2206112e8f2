"""The paper's own figures, J. Imaging 2024, 10(5):111: Tables 1 and 2, AUROC in percent.

Neither table says whether pixels or images are ranked. Table 1's columns for AE-SSIM and AnoGAN
repeat the pixel figures of MVTec AD's own table, so ours beside it is the pixel AUROC.
"""

from __future__ import annotations

DOI = "https://doi.org/10.3390/jimaging10050111"

# Table 1, column "Ours".
TABLE_1 = {
    "tile": 96.56,
    "wood": 97.10,
    "leather": 98.76,
    "carpet": 99.20,
    "hazelnut": 98.89,
    "pill": 95.64,
}
TABLE_1_MEAN = 97.69

# Table 2 names no category; its last figure is Table 1's hazelnut. The keys are `settings.Arm`.
TABLE_2 = {"ssim+l1": 86.7, "lpips+ssim": 90.86, "aw-ssim": 95.60, "two-stage": 98.89}

# Normal and defective images of MVTec AD's official test sets, 714 in all as the paper states.
OFFICIAL_TEST_IMAGES = {
    "tile": (33, 84),
    "wood": (19, 60),
    "leather": (32, 92),
    "carpet": (28, 89),
    "hazelnut": (40, 70),
    "pill": (26, 141),
}
