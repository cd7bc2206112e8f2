"""The paper's own figures, J. Imaging 2024, 10(5):111: Table 1, AUROC in percent.

The figures of Table 2 stand with the arms in `run/arms.py`. Neither table says whether pixels or
images are ranked. Table 1's columns for AE-SSIM and AnoGAN repeat the pixel figures of MVTec AD's
own table, so ours beside it is the pixel AUROC.
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

# Normal and defective images of MVTec AD's official test sets, 714 in all as the paper states.
OFFICIAL_TEST_IMAGES = {
    "tile": (33, 84),
    "wood": (19, 60),
    "leather": (32, 92),
    "carpet": (28, 89),
    "hazelnut": (40, 70),
    "pill": (26, 141),
}
