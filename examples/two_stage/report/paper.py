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

# Normal images to train on there; with the counts above they tell MVTec AD from data of that name.
OFFICIAL_TRAIN_IMAGES = {
    "tile": 230,
    "wood": 247,
    "leather": 245,
    "carpet": 280,
    "hazelnut": 391,
    "pill": 267,
}


def is_official(category: str, train: int, normal: int, defective: int) -> bool:
    """Whether pictures are those of the paper's figure, by all counts and not by the name alone."""
    official = (OFFICIAL_TRAIN_IMAGES.get(category), OFFICIAL_TEST_IMAGES.get(category))
    return official == (train, (normal, defective))
