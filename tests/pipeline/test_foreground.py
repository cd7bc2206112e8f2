"""The object on a plain background, bright on dark and dark on bright."""

from __future__ import annotations

import pytest
import torch
from two_stage.pictures.foreground import estimate_foreground, product_area


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bright_object", [True, False])
def test_the_foreground_is_the_object(bright_object: bool, channels: int) -> None:
    y, x = torch.meshgrid(torch.arange(64), torch.arange(72), indexing="ij")
    disk = (y - 30) ** 2 + (x - 34) ** 2 < 18**2
    image = torch.where(disk, 0.8, 0.1) if bright_object else torch.where(disk, 0.1, 0.8)
    noise = torch.randn(channels, 64, 72, generator=torch.Generator().manual_seed(0))
    found = estimate_foreground(image + 0.02 * noise)
    assert found.dtype == torch.bool
    assert found.shape == (64, 72)
    assert (found & disk).sum() / (found | disk).sum() > 0.95


def test_a_plain_image_has_no_foreground() -> None:
    assert not estimate_foreground(torch.full((3, 16, 16), 0.5)).any()


def test_the_product_area_is_where_products_lie_and_a_border() -> None:
    foregrounds = torch.zeros(40, 128, 128, dtype=torch.bool)
    foregrounds[:20, 30:60, 30:60] = True
    foregrounds[20:, 30:60, 40:70] = True
    # One picture of 40 may be mistaken, three are not.
    foregrounds[0, 100:] = True
    foregrounds[:3, :10, 50] = True
    area = product_area(foregrounds)
    assert area is not None
    found = area.nonzero()
    assert found.amin(0).tolist() == [0, 28]
    assert found.amax(0).tolist() == [61, 71]
    # The border is two pixels wide, a 64th of the side, and has no corners.
    assert area[62:].sum() == 0
    assert area[45, 28:72].all()
    assert not area[28, 28]


def test_without_products_there_is_no_area() -> None:
    assert product_area(torch.zeros(3, 16, 16, dtype=torch.bool)) is None
