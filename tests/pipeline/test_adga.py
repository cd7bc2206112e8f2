"""Artificial defects (ADGA): repeatable, confined to their mask, feathered, of the stated shape."""

from __future__ import annotations

import dataclasses
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from samples import generator
from skimage.draw import polygon2mask
from torch import Tensor
from two_stage.defects.adga import (
    DefectRanges,
    Drawn,
    _blur,
    _inside,
    _sample,
    add_defects,
    defect_pictures,
    draw_defects,
    random_polygons,
)
from two_stage.defects.sources import SourceBank, build_source_bank, noise_images
from two_stage.run.groups import Defects

PLAIN = DefectRanges(
    count=(1, 1), opacity=(1.0, 1.0), brightness=0.0, contrast=0.0, colour=0.0, side=(0.3, 0.4)
)
BLACK, WHITE = torch.zeros(1, 1, 96, 96), torch.full((1, 1, 96, 96), 255, dtype=torch.uint8)


def draw(batch: int, seed: int = 0, probability: float = 1.0, **changes: object) -> Drawn:
    ranges = dataclasses.replace(PLAIN, **changes)
    return draw_defects(batch, ranges, generator(seed), probability=probability)


def bank_of(images: Tensor) -> SourceBank:
    return SourceBank(images, (range(len(images)),), own=0)


@pytest.fixture
def targets() -> Tensor:
    return torch.rand(12, 3, 64, 80, generator=generator(1))


@pytest.fixture
def bank() -> SourceBank:
    return bank_of(torch.randint(0, 256, (5, 3, 90, 90), dtype=torch.uint8, generator=generator(2)))


def test_the_same_seed_gives_the_same_bits(targets: Tensor, bank: SourceBank) -> None:
    def render(seed: int) -> tuple[Tensor, Tensor]:
        defects = draw_defects(12, DefectRanges(), generator(seed), probability=0.5)
        return add_defects(targets, bank, defects, image_side=90)

    torch.manual_seed(5)
    first = render(3)
    torch.manual_seed(6)
    second = render(3)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], render(4)[0])


def test_how_much_is_drawn_does_not_depend_on_what_is_drawn() -> None:
    states = []
    for probability, count in ((0.0, (1, 4)), (1.0, (1, 4)), (1.0, (4, 4))):
        one = generator()
        ranges = dataclasses.replace(PLAIN, count=count)
        draw_defects(8, ranges, one, probability=probability)
        states.append(one.get_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


def test_a_share_of_the_batch_is_as_in_the_whole(targets: Tensor, bank: SourceBank) -> None:
    defects = draw(12, count=(1, 4))
    whole, masks = add_defects(targets, bank, defects, image_side=90)
    for rows in (slice(4, 8), torch.tensor([9, 2])):
        part, part_masks = add_defects(targets[rows], bank, defects.rows(rows), image_side=90)
        assert torch.allclose(part, whole[rows], atol=1e-6)
        assert torch.equal(part_masks, masks[rows])


def test_the_mask_is_where_pixels_changed(targets: Tensor, bank: SourceBank) -> None:
    original = targets.clone()
    defects = draw(12, count=(1, 4), brightness=0.25, contrast=0.5, colour=0.1)
    defective, masks = add_defects(targets, bank, defects, image_side=90)
    assert torch.equal(targets, original)
    assert masks.dtype == torch.bool
    assert masks.flatten(1).any(1).all()
    changed = (defective != targets).any(1)
    assert not (changed & ~masks).any()
    assert changed[masks].float().mean() > 0.99
    assert defective.min() >= 0
    assert defective.max() <= 1


def test_probability_and_counts_are_those_stated() -> None:
    defects = draw(4000, probability=0.3, count=(2, 4))
    counts = defects.present.sum(1)
    assert set(counts.tolist()) == {0, 2, 3, 4}
    assert float((counts > 0).float().mean()) == pytest.approx(0.3, abs=0.03)
    assert float((counts == 2).sum() / (counts > 0).sum()) == pytest.approx(1 / 3, abs=0.05)
    assert not (defects.present[:, 1:] & ~defects.present[:, :-1]).any()


def test_white_on_black_is_feathered_from_the_edge_to_the_middle() -> None:
    defects = draw(1, side=(0.4, 0.4), feather=(2.0, 2.0))
    defects = dataclasses.replace(defects, place=torch.full((1, 1, 2), 0.5))
    defective, masks = add_defects(BLACK, bank_of(WHITE), defects, image_side=96)
    values = defective[0, 0][masks[0]]
    partial = (values > 0.05) & (values < 0.95)
    assert 0.1 < partial.float().mean() < 0.9
    assert values.max() > 0.99
    # An unblurred edge steps from 0 to 1 between two pixels; std 2 allows about 0.2 of that.
    assert max(defective[0, 0].diff(dim=d).abs().max() for d in (0, 1)) < 0.3


def test_the_edge_of_the_patch_is_no_edge_of_the_defect() -> None:
    defects = draw(1, side=(3.0, 3.0), feather=(2.0, 2.0))
    defects = dataclasses.replace(defects, place=torch.full((1, 1, 2), 0.5))
    square = torch.tensor([(-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5)])
    defects = dataclasses.replace(defects, corners=square[None, None])
    defective, masks = add_defects(BLACK, bank_of(WHITE), defects, image_side=96)
    assert masks.all()
    assert float(defective.min()) == pytest.approx(1, abs=1e-4)


def test_opacity_bounds_how_far_a_pixel_goes() -> None:
    defects = draw(1, opacity=(0.5, 0.5))
    defective, _ = add_defects(BLACK, bank_of(WHITE), defects, image_side=96)
    assert float(defective.max()) == pytest.approx(0.5, abs=1e-3)


def test_sides_are_shares_of_the_stated_image() -> None:
    defects = draw(20, side=(0.25, 0.25), feather=(0.5, 0.5))
    black = torch.zeros(20, 1, 200, 200)
    defects = dataclasses.replace(defects, place=torch.full((20, 1, 2), 0.5))
    _, masks = add_defects(black, bank_of(WHITE), defects, image_side=100)
    for extent in (masks.any(1).sum(1), masks.any(2).sum(1)):
        # 25 pixels, up to 2 of blurred rim on each side, or corners too thin for a pixel.
        assert extent.max() <= 29
        assert extent.min() >= 18


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_scale_resizes_what_is_cut(scale: float, axis: int) -> None:
    ramp = torch.arange(0, 200, 2, dtype=torch.uint8).expand(100, 100)
    ramp = (ramp.T if axis == 0 else ramp)[None, None].contiguous()
    defects = draw(1, side=(0.3, 0.3), scale=(scale, scale), feather=(0.5, 0.5))
    defects = dataclasses.replace(defects, place=torch.full((1, 1, 2), 0.5))
    black = torch.zeros(1, 1, 100, 100)
    defective, masks = add_defects(black, bank_of(ramp), defects, image_side=100)
    line = defective[0, 0].select(1 - axis, 50)[masks[0].select(1 - axis, 50)][4:-4] * 255
    assert len(line) > 2
    assert line.diff().tolist() == pytest.approx([2 / scale] * (len(line) - 1), abs=0.02)


def crosses(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> bool:
    """Whether the open segments ab and cd cross."""

    def side(p: Tensor, q: Tensor, r: Tensor) -> float:
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def test_polygons_are_simple_hold_the_origin_and_have_three_to_seven_vertices() -> None:
    vertices = torch.arange(3, 8).repeat(60)
    corners = random_polygons(vertices, 7, generator())
    extent = corners.amax(1) - corners.amin(1)
    assert torch.allclose(extent, torch.ones_like(extent), atol=1e-5)
    origin = torch.zeros(len(vertices), 1)
    assert _inside(corners, origin, origin).all()
    for count, polygon in zip(vertices.tolist(), corners, strict=True):
        distinct = polygon[:count]
        assert len(torch.unique(polygon, dim=0)) == count
        assert torch.equal(polygon[count:], polygon[count - 1].expand(7 - count, 2))
        edges = list(pairwise([*distinct, distinct[0]]))
        assert not any(crosses(*one, *other) for one, other in combinations(edges, 2))


def test_inside_agrees_with_scikit_image() -> None:
    corners = 40 * random_polygons(torch.arange(3, 8).repeat(4), 7, generator())
    grid = torch.arange(50.0).expand(len(corners), -1) - 25.37
    found = _inside(corners, grid, grid)
    for polygon, one in zip(corners, found, strict=True):
        expected = polygon2mask((50, 50), polygon.double().numpy() + 25.37)
        assert np.mean(expected != one.numpy()) < 1e-3


def test_samples_are_bilinear() -> None:
    images = torch.randint(0, 256, (3, 2, 9, 9), dtype=torch.uint8, generator=generator())
    y, x = torch.tensor([[0.0, 2.25, 8.0, 11.0]]), torch.tensor([[-3.0, 1.5, 7.75]])
    found = _sample(images, torch.tensor([2]), y, x)
    image = images[2].double().numpy() / 255
    for i, row in enumerate(y[0].clamp(0, 8).tolist()):
        for j, column in enumerate(x[0].clamp(0, 8).tolist()):
            top, left = min(int(row), 7), min(int(column), 7)
            down, right = row - top, column - left
            upper = image[:, top, left] * (1 - right) + image[:, top, left + 1] * right
            lower = image[:, top + 1, left] * (1 - right) + image[:, top + 1, left + 1] * right
            expected = upper * (1 - down) + lower * down
            assert found[0, :, i, j].numpy() == pytest.approx(expected, abs=1e-6)


def test_each_row_is_blurred_by_its_own_std() -> None:
    spikes = torch.zeros(2, 1, 33, 33)
    spikes[:, :, 16, 16] = 1
    blurred = _blur(spikes, torch.tensor([0.7, 1.8]), 6)
    distance = torch.arange(21.0) - 10
    for std, found in zip((0.7, 1.8), blurred[:, 0], strict=True):
        assert float(found.sum()) == pytest.approx(1, abs=1e-5)
        assert float((found.sum(0) * distance**2).sum()) ** 0.5 == pytest.approx(std, rel=0.02)


def test_a_target_is_not_its_own_source() -> None:
    images = torch.stack([torch.full((1, 8, 8), v, dtype=torch.uint8) for v in (0, 1, 2, 3)])
    foreign = torch.full((2, 1, 8, 8), 9, dtype=torch.uint8)
    bank = SourceBank(torch.cat((foreign, images)), (range(2), range(2, 6)), own=1)
    uniform = torch.rand(4, 500, 2, generator=generator())
    numbers = bank.choose(uniform, torch.arange(4))
    for target in range(4):
        expected = {0, 1} | {2 + other for other in range(4) if other != target}
        assert set(numbers[target].tolist()) == expected
        assert float((numbers[target] < 2).float().mean()) == pytest.approx(0.5, abs=0.08)
    just_below_one = torch.full((1, 1, 2), float(np.nextafter(np.float32(1), np.float32(0))))
    wide = SourceBank(images, (range(3),) * 3)
    assert int(wide.choose(just_below_one, None)) == 2
    alone = SourceBank(images, (range(2, 3),), own=0)
    assert int(alone.choose(just_below_one, torch.tensor([0]))) == 2


def test_defects_keep_to_the_foreground(targets: Tensor, bank: SourceBank) -> None:
    foregrounds = torch.zeros(12, 64, 80, dtype=torch.bool)
    foregrounds[:, 20:40, 10:50] = True
    foregrounds[0] = False
    foregrounds[1] = False
    foregrounds[1, 63, 79] = True
    defective, masks = add_defects(
        targets, bank, draw(12, side=(0.03, 0.4)), image_side=90, foregrounds=foregrounds
    )
    assert not (masks & ~foregrounds).any()
    assert masks[1:].flatten(1).any(1).all()
    assert masks[2:, 35:40, 45:50].any()
    assert torch.equal(defective[0], targets[0])
    assert not masks[0].any()


def test_ranges_come_from_the_settings() -> None:
    settings = Defects(
        defect_count=(2, 3), defect_side=(0.1, 0.2), defect_opacity=(0.3, 0.4),
        defect_feather=(1.0, 1.5),
    )  # fmt: skip
    ranges = DefectRanges.of(settings)
    assert (ranges.count, ranges.side) == ((2, 3), (0.1, 0.2))
    assert (ranges.opacity, ranges.feather) == ((0.3, 0.4), (1.0, 1.5))


def test_the_bank_holds_the_sources_in_the_order_of_the_settings() -> None:
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=generator())
    others = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    kinds = ("noise", "same", "categories")
    bank = build_source_bank(
        kinds, images, other_categories=others, textures=None, generator=generator()
    )
    assert bank.own == 1
    assert bank.groups == (range(32), range(32, 36), range(36, 39))
    assert torch.equal(bank.images[32:36], images)
    assert torch.equal(bank.images[36:], others)
    assert torch.equal(bank.images[:32], noise_images(32, 3, 32, generator()))
    assert bank.images[:32].float().std(dim=(2, 3)).min() > 5


def test_a_source_without_pictures_is_an_error() -> None:
    images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    for others, message in ((None, "got none"), (images[:, :1], r"got torch.uint8 \(1, 32, 32\)")):
        with pytest.raises(ValueError, match=message):
            build_source_bank(
                ("categories",),
                images,
                other_categories=others,
                textures=None,
                generator=generator(),
            )


def test_pictures_are_whole_images_that_all_carry_defects(bank: SourceBank) -> None:
    foregrounds = torch.zeros(5, 90, 90, dtype=torch.bool)
    foregrounds[:, 20:70] = True
    ranges = DefectRanges()
    targets, defective, masks = defect_pictures(bank.images, bank, ranges, foregrounds, 0, 4)
    assert targets.shape == defective.shape == (4, 3, 90, 90)
    assert masks.flatten(1).any(1).all()
    assert not (masks & ~foregrounds[0]).any()
    assert torch.equal(defective.movedim(1, -1)[~masks], targets.movedim(1, -1)[~masks])
