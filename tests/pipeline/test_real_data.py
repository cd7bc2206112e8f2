"""Real data in the MVTec AD layout, where the environment says that there is some."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from two_stage.pictures.category import find_category
from two_stage.pictures.files import load_image
from two_stage.pictures.masks import load_mask

DATA_VARIABLE = "AW_SSIM_TEST_DATA"


def real_data() -> Path:
    folder = Path(os.environ.get(DATA_VARIABLE, ""))
    if not os.environ.get(DATA_VARIABLE) or not folder.is_dir():
        pytest.skip(
            f"set {DATA_VARIABLE} to a folder of categories in the MVTec AD layout (one has "
            "<category>/train/good) to run this test"
        )
    return folder


def test_real_data_is_read_and_each_mask_marks_a_part_of_its_image() -> None:
    root = real_data()
    categories = sorted(path.parent.parent.name for path in root.glob("*/train/good"))
    assert categories, f"no category in {root}"
    for category in categories:
        files = find_category(root, category)
        assert 0 <= load_image(files.train[0], 64, 3).min() < 1
        pairs = [sample for sample in files.test if sample.mask_path is not None]
        for sample in pairs[:: max(1, len(pairs) // 10)]:
            assert sample.image_path.stem in sample.mask_path.stem
            assert sample.mask_path.parent.name == sample.image_path.parent.name
            share = load_mask(sample.mask_path, 256).float().mean()
            assert 0 < share < 0.9, sample.mask_path
