"""Artificial defects (ADGA): repeatable, confined to their mask, feathered, of the stated shape."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
import torch
from torch import Tensor
from two_stage.defects import DefectRanges, add_defects, estimate_foreground, random_polygon

ONE_OPAQUE = DefectRanges(
    count=(1, 1), opacity=(1.0, 1.0), brightness=0.0, contrast=0.0, colour=0.0, side=(0.3, 0.4)
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def target() -> Tensor:
    return torch.rand(3, 64, 80, generator=generator(1)) * 0.5


@pytest.fixture
def sources() -> Tensor:
    return torch.rand(4, 3, 64, 80, generator=generator(2))


def test_the_same_seed_gives_the_same_bits(target: Tensor, sources: Tensor) -> None:
    torch.manual_seed(5)
    first = add_defects(target, sources, generator(3))
    torch.manual_seed(6)
    second = add_defects(target, sources, generator(3))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], add_defects(target, sources, generator(4))[0])


@pytest.mark.parametrize("seed", range(20))
def test_the_mask_is_where_pixels_changed(target: Tensor, sources: Tensor, seed: int) -> None:
    original = target.clone()
    defective, mask = add_defects(target, sources, generator(seed))
    assert torch.equal(target, original)
    changed = (defective != target).any(0)
    assert mask.dtype == torch.bool
    assert not (changed & ~mask).any()
    assert changed[mask].float().mean() > 0.99
    assert mask.any()
    assert defective.min() >= 0
    assert defective.max() <= 1


def test_white_on_black_is_feathered_from_the_edge_to_the_middle() -> None:
    black, white = torch.zeros(1, 96, 96), torch.ones(1, 1, 96, 96)
    soft = DefectRanges(**{**vars(ONE_OPAQUE), "blur": (2.0, 2.0)})
    defective, mask = add_defects(black, white, generator(0), ranges=soft)
    values = defective[0][mask]
    partial = (values > 0.05) & (values < 0.95)
    assert 0.1 < partial.float().mean() < 0.9
    assert values.max() > 0.99
    rows, columns = (defective[0].diff(dim=d).abs().max() for d in (0, 1))
    # An unblurred edge steps from 0 to 1 between two pixels; std 2 allows about 0.2 of that.
    assert max(rows, columns) < 0.3


def test_opacity_bounds_how_far_a_pixel_goes() -> None:
    black, white = torch.zeros(1, 96, 96), torch.ones(1, 1, 96, 96)
    half = DefectRanges(**{**vars(ONE_OPAQUE), "opacity": (0.5, 0.5)})
    defective, _ = add_defects(black, white, generator(0), ranges=half)
    assert float(defective.max()) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("seed", range(10))
def test_sides_are_shares_of_the_stated_image(seed: int) -> None:
    black, white = torch.zeros(1, 200, 200), torch.ones(1, 1, 200, 200)
    quarter = DefectRanges(**{**vars(ONE_OPAQUE), "side": (0.25, 0.25), "blur": (0.5, 0.5)})
    _, mask = add_defects(black, white, generator(seed), image_side=100, ranges=quarter)
    rows, columns = mask.any(1).sum(), mask.any(0).sum()
    # 25 pixels and up to 2 of blurred rim on each side; less where the edge cuts it off.
    assert max(rows, columns) <= 29
    assert max(rows, columns) >= 12


def crosses(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> bool:
    """Whether the open segments ab and cd cross."""

    def side(p: Tensor, q: Tensor, r: Tensor) -> float:
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


@pytest.mark.parametrize("vertices", range(3, 8))
def test_polygons_are_simple_and_fill_the_unit_square(vertices: int) -> None:
    for seed in range(50):
        corners = random_polygon(vertices, generator(seed))
        assert corners.shape == (vertices, 2)
        assert corners.amin(0).tolist() == [0, 0]
        assert corners.amax(0).tolist() == [1, 1]
        edges = list(pairwise([*corners, corners[0]]))
        assert not any(crosses(*one, *other) for one, other in combinations(edges, 2))


def test_defects_have_three_to_seven_vertices(
    target: Tensor, sources: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def spy(vertices: int, random: torch.Generator) -> Tensor:
        seen.append(vertices)
        return random_polygon(vertices, random)

    monkeypatch.setattr("two_stage.defects.random_polygon", spy)
    counts = []
    for seed in range(60):
        before = len(seen)
        add_defects(target, sources, generator(seed))
        counts.append(len(seen) - before)
    assert set(seen) == {3, 4, 5, 6, 7}
    assert set(counts) == {1, 2, 3, 4}


def test_a_target_is_not_its_own_source() -> None:
    sources = torch.stack([torch.full((1, 48, 48), value) for value in (0.0, 0.4, 0.9)])
    seen = set()
    for seed in range(30):
        defective, _ = add_defects(
            torch.zeros(1, 48, 48), sources, generator(seed), target_index=0, ranges=ONE_OPAQUE
        )
        seen.add(round(float(defective.max()), 1))
    assert seen == {0.4, 0.9}


def test_sources_may_be_bytes(target: Tensor) -> None:
    as_bytes = torch.randint(0, 256, (3, 3, 64, 80), dtype=torch.uint8, generator=generator(1))
    one, _ = add_defects(target, as_bytes, generator(0))
    other, _ = add_defects(target, as_bytes.float() / 255, generator(0))
    assert torch.equal(one, other)


def test_defects_keep_to_the_foreground(target: Tensor, sources: Tensor) -> None:
    foreground = torch.zeros(64, 80, dtype=torch.bool)
    foreground[20:40, 10:50] = True
    for seed in range(20):
        _, mask = add_defects(target, sources, generator(seed), foreground=foreground)
        assert mask.any()
        assert not (mask & ~foreground).any()
    empty = torch.zeros_like(foreground)
    defective, mask = add_defects(target, sources, generator(0), foreground=empty)
    assert torch.equal(defective, target)
    assert not mask.any()


@pytest.mark.parametrize("bright_object", [True, False])
def test_the_foreground_is_the_object(bright_object: bool) -> None:
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    disk = (y - 30) ** 2 + (x - 34) ** 2 < 18**2
    image = torch.where(disk, 0.8, 0.1) if bright_object else torch.where(disk, 0.1, 0.8)
    image = image + 0.02 * torch.randn(3, 64, 64, generator=generator(0))
    found = estimate_foreground(image)
    overlap = (found & disk).sum() / (found | disk).sum()
    assert overlap > 0.95
