"""Artificial defects have colour where the product has, and none where it has none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from samples import generator, texture
from two_stage.defects.adga import DefectRanges, add_defects, draw_defects
from two_stage.defects.painted import KINDS, paint_validation_defect
from two_stage.defects.sources import build_source_bank


def test_defects_of_grey_products_are_grey_whatever_they_are_cut_from() -> None:
    kinds = ("same", "categories", "noise", "folder")
    images = torch.randint(0, 256, (4, 3, 90, 90), dtype=torch.uint8, generator=generator(3))
    grey = images[:, :1].expand(-1, 3, -1, -1).contiguous()
    for product in (grey, images):
        bank = build_source_bank(
            kinds, product, other_categories=images, textures=images, generator=generator()
        )
        targets = product[:, :, :64, :64].float() / 255
        defects = draw_defects(4, DefectRanges(), generator(5), probability=1.0)
        defective, masks = add_defects(targets, bank, defects, image_side=90)
        assert masks.any()
        changed = (defective - targets).movedim(1, -1)[masks]
        is_same = torch.equal(defective[:, 0], defective[:, 1])
        assert is_same == bank.grey == (product is grey)
        assert changed.abs().max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_defect_of_a_grey_picture_is_grey(kind: str) -> None:
    grey = np.repeat(texture(1), 3, axis=0)
    for seed in range(6):
        painted, _ = paint_validation_defect(grey, kind, np.random.default_rng(seed))
        assert np.array_equal(painted[0], painted[1])
        assert np.array_equal(painted[0], painted[2])


def test_a_defect_of_a_colour_picture_has_colour() -> None:
    image = texture(3)
    painted, mask = paint_validation_defect(image, "blot", np.random.default_rng(0))
    change = (painted - image)[:, mask]
    assert np.ptp(change, axis=0).max() > 0.01
