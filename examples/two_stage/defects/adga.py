"""Artificial defects on normal images: ADGA, J. Imaging 2024, 10(5):111, section 3.2 and eq. 1."""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..pictures.stored import as_floats, white_of
from ..run.groups import Defects
from .sources import SourceBank

# Below this the feathered edge is invisible; cutting it there gives the mask a definite outline.
FEATHER_FLOOR = 0.05
SMALLEST_SIDE = 3.0


@dataclasses.dataclass(frozen=True)
class DefectRanges:
    """What a defect is drawn from, uniformly; the paper gives the vertices, the rest is ours."""

    vertices: tuple[int, int] = (3, 7)
    count: tuple[int, int] = (1, 4)
    side: tuple[float, float] = (0.03, 0.4)
    """Height and width, each a share of the image's side."""
    opacity: tuple[float, float] = (0.5, 1.0)
    feather: tuple[float, float] = (0.5, 2.0)
    """Std of the Gaussian on what is pasted and on its edge, in pixels."""
    scale: tuple[float, float] = (0.5, 2.0)
    """Factor by which what is cut is resized, log-uniform."""
    brightness: float = 0.25
    """Largest shift of what is pasted, in units of the range [0, 1]."""
    contrast: float = 0.5
    """Largest relative change of the contrast of what is pasted."""
    colour: float = 0.1
    """Largest shift of a single channel, in units of the range [0, 1]."""

    @classmethod
    def of(cls, defects: Defects) -> DefectRanges:
        return cls(
            count=defects.defect_count,
            side=defects.defect_side,
            opacity=defects.defect_opacity,
            feather=defects.defect_feather,
        )


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What is drawn for B patches with up to K defects each: small tensors, all B x K x ..."""

    present: Tensor
    corners: Tensor
    """B x K x V x 2 (row, column) about the place, height and width 1; the last may repeat."""
    side: Tensor
    """B x K x 2: height and width as shares of the image's side."""
    place: Tensor
    """B x K x 2 in [0, 1): where on the patch, or which pixel of the foreground."""
    source: Tensor
    """B x K x 2 in [0, 1): which group of the bank, which image of it."""
    cut: Tensor
    """B x K x 2 in [0, 1): where the source is cut."""
    scale: Tensor
    opacity: Tensor
    feather: Tensor
    contrast: Tensor
    shift: Tensor
    """B x K x 3: of each channel."""

    def rows(self, index: slice | Tensor) -> Drawn:
        """Those of some of the patches, such as the share of one process."""
        return Drawn(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))

    def to(self, device: torch.device | str) -> Drawn:
        return Drawn(*(getattr(self, field.name).to(device) for field in dataclasses.fields(self)))


def draw_defects(
    batch: int, ranges: DefectRanges, generator: torch.Generator, *, probability: float
) -> Drawn:
    """Draw the defects of `batch` patches; each patch has any with the given probability.

    How many numbers are drawn depends only on `batch` and `ranges`, so that every process that
    draws for the same whole batch stays in step. The generator is one of the CPU.
    """
    most = ranges.count[1]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(batch, most, *shape, generator=generator)

    count = torch.randint(ranges.count[0], most + 1, (batch,), generator=generator)
    count = count * (torch.rand(batch, generator=generator) < probability)
    vertices = torch.randint(
        ranges.vertices[0], ranges.vertices[1] + 1, (batch, most), generator=generator
    )
    shift = uniform(-ranges.brightness, ranges.brightness, 1)
    return Drawn(
        present=torch.arange(most) < count[:, None],
        corners=random_polygons(vertices, ranges.vertices[1], generator),
        side=uniform(*ranges.side, 2),
        place=uniform(0, 1, 2),
        source=uniform(0, 1, 2),
        cut=uniform(0, 1, 2),
        scale=uniform(math.log(ranges.scale[0]), math.log(ranges.scale[1])).exp(),
        opacity=uniform(*ranges.opacity),
        feather=uniform(*ranges.feather),
        contrast=1 + uniform(-ranges.contrast, ranges.contrast),
        shift=shift + uniform(-ranges.colour, ranges.colour, 3),
    )


def random_polygons(vertices: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Simple polygons about the origin, ... x most x 2 (row, column), of height and width 1.

    Vertices go round the origin in the order of their angles. A gap between two of them stays
    below half a turn (168 degrees for a triangle): the outline cannot cross itself, and the
    origin is inside. A polygon of fewer than `most` vertices repeats its last one.
    """
    shape = (*vertices.shape, most)
    jitter = 0.4 * (torch.rand(shape, generator=generator) - 0.5)
    turn = torch.rand(vertices.shape, generator=generator)[..., None]
    radii = 0.4 + 0.6 * torch.rand(shape, generator=generator)
    angles = 2 * math.pi * ((torch.arange(most) + jitter) / vertices[..., None] + turn)
    corners = radii[..., None] * torch.stack((angles.sin(), angles.cos()), dim=-1)
    number = torch.arange(most).minimum(vertices[..., None] - 1)
    corners = corners.gather(-2, number[..., None].expand_as(corners))
    return corners / (corners.amax(-2, keepdim=True) - corners.amin(-2, keepdim=True))


def add_defects(
    targets: Tensor,
    bank: SourceBank,
    defects: Drawn,
    *,
    image_side: int,
    target_indices: Tensor | None = None,
    foregrounds: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Paste polygons cut from the bank's images onto a batch of normal patches, on any device.

    Args:
        targets: B x C x H x W, float in [0, 1]; they are not changed.
        bank: what is cut, on the device of `targets`.
        defects: from `draw_defects`. Left on the CPU, choosing rows does not wait for a GPU.
        image_side: what a defect's side is a share of; what exceeds the patch is cut off.
        target_indices: B; which of the bank's own group each patch is from: others are cut.
        foregrounds: B x H x W bool; where it is empty, there is no defect.

    Returns:
        The defective patches and their masks (B x H x W bool); outside of the mask a patch
        equals its target bit for bit.
    """
    device = targets.device
    margin = math.ceil(3 * float(defects.feather.max()))
    chosen = [present.nonzero()[:, 0].to(device) for present in defects.present.unbind(1)]
    defects = defects.to(device)
    places = _places(defects.place, targets.shape[-2:], foregrounds)
    numbers = bank.choose(defects.source, target_indices)

    defective = targets.clone()
    masks = torch.zeros_like(targets[:, 0], dtype=torch.bool)
    for k, rows in enumerate(chosen):
        if len(rows) == 0:
            continue
        one = Drawn(*(getattr(defects, f.name)[rows, k] for f in dataclasses.fields(Drawn)))
        patch, alpha = _render(
            one, bank.images, numbers[rows, k], places[rows, k], targets.shape, image_side, margin
        )
        if foregrounds is not None:
            alpha = alpha * foregrounds[rows]
        mean = (patch * alpha[:, None]).sum((2, 3), keepdim=True)
        mean = mean / alpha.sum((1, 2)).clamp(min=1e-6)[:, None, None, None]
        # One shift for all channels of a product without colour.
        shift = one.shift[:, : 1 if bank.grey else patch.shape[1], None, None]
        patch = ((patch - mean) * one.contrast[:, None, None, None] + mean + shift).clamp(0, 1)
        below = defective[rows]
        defective[rows] = below + (alpha * one.opacity[:, None, None])[:, None] * (patch - below)
        masks[rows] |= alpha > 0
    return defective, masks


def defect_pictures(
    images: Tensor,
    bank: SourceBank,
    ranges: DefectRanges,
    foregrounds: Tensor | None,
    seed: int,
    columns: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Up to `columns` whole images for a contact sheet: targets, defective copies and masks.

    `images` are N x C x S x S, those of the bank's own group if it has one; `foregrounds`
    N x S x S bool.
    """
    generator = torch.Generator().manual_seed(seed)
    index = torch.randperm(len(images), generator=generator)[:columns]
    on_device = index.to(images.device)
    targets = as_floats(images[on_device])
    defective, masks = add_defects(
        targets,
        bank,
        draw_defects(len(index), ranges, generator, probability=1.0),
        image_side=images.shape[-1],
        target_indices=on_device,
        foregrounds=None if foregrounds is None else foregrounds[on_device],
    )
    return targets, defective, masks


def _places(uniform: Tensor, size: tuple[int, ...], foregrounds: Tensor | None) -> Tensor:
    """Rows and columns of the defects' places, B x K x 2."""
    height, width = size
    if foregrounds is None:
        return (uniform * uniform.new_tensor((height, width))).floor()
    # The n-th pixel of the foreground is where its running count reaches n.
    running = foregrounds.flatten(1).cumsum(1)
    total = running[:, -1:]
    number = (uniform[..., 0] * total).long() + 1
    pixel = torch.searchsorted(running, number).clamp(max=height * width - 1)
    return torch.stack((pixel // width, pixel % width), dim=-1).float()


def _render(
    defects: Drawn,
    images: Tensor,
    numbers: Tensor,
    places: Tensor,
    shape: torch.Size,
    image_side: int,
    margin: int,
) -> tuple[Tensor, Tensor]:
    """What is pasted, n x C x H x W, and its feathered share in [0, 1], n x H x W."""
    _, channels, height, width = shape
    sides = (defects.side * image_side).clamp(min=SMALLEST_SIDE)
    sigma = defects.feather.minimum(sides.amin(1) / 6)
    # Seen from the defect's place, with a margin: a defect may reach beyond the patch.
    y = torch.arange(-margin, height + margin, device=places.device) - places[:, :1]
    x = torch.arange(-margin, width + margin, device=places.device) - places[:, 1:]
    corners = defects.corners * sides[:, None]

    limit = images.shape[-1]
    scale = defects.scale.maximum(sides.amax(1) / limit)[:, None]
    start = defects.cut * (limit - sides / scale) - corners.amin(1) / scale - 0.5
    patch = _sample(images, numbers, start[:, :1] + y / scale, start[:, 1:] + x / scale)

    layers = torch.cat((patch, _inside(corners, y, x).to(patch.dtype)[:, None]), dim=1)
    # Eq. 1 blurs what is pasted; blurring its opacity as well is what softens the edge.
    layers = _blur(layers, sigma, margin)
    alpha = ((layers[:, channels] - FEATHER_FLOOR) / (1 - FEATHER_FLOOR)).clamp(0, 1)
    return layers[:, :channels], alpha


def _inside(corners: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Even-odd rule: which points of a grid y: n x H, x: n x W lie in polygons n x V x 2."""
    first, second = corners, corners.roll(-1, dims=1)
    y = y[:, None]
    straddles = (first[..., :1] > y) != (second[..., :1] > y)
    rise = torch.where(straddles, second[..., :1] - first[..., :1], 1.0)
    crossing = first[..., 1:] + (y - first[..., :1]) / rise * (second - first)[..., 1:]
    crossing = torch.where(straddles, crossing, torch.inf)
    inside = x[:, None, :] > crossing[:, 0, :, None]
    for edge in crossing.unbind(1)[1:]:
        inside = inside ^ (x[:, None, :] > edge[..., None])
    return inside


def _sample(images: Tensor, numbers: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Bilinear samples of stored images at rows y: n x H and columns x: n x W, in [0, 1]."""
    channels, side = images.shape[1:3]
    y, x = y.clamp(0, side - 1), x.clamp(0, side - 1)
    top, left = (v.floor().long().clamp(max=side - 2) for v in (y, x))
    first = numbers[:, None] * channels + torch.arange(channels, device=images.device)
    pixel = (first[..., None] * side + top[:, None])[..., None] * side + left[:, None, None]
    pixel, flat = pixel.flatten(), images.flatten()

    def tap(offset: int) -> Tensor:
        return flat[offset:].index_select(0, pixel).view(*first.shape, y.shape[1], x.shape[1])

    right, down = (x - left)[:, None, None], (y - top)[:, None, :, None]
    upper = torch.lerp(tap(0).float(), tap(1).float(), right)
    lower = torch.lerp(tap(side).float(), tap(side + 1).float(), right)
    return torch.lerp(upper, lower, down) / white_of(images)


def _blur(layers: Tensor, sigma: Tensor, margin: int) -> Tensor:
    """Each row of n x C x (H + 2 margin) x (W + 2 margin) with its own Gaussian, margin lost."""
    n, channels = layers.shape[:2]
    distance = torch.arange(-margin, margin + 1, device=layers.device)
    # Cut off at the row's own radius, whatever the others of its batch need.
    near = distance.abs() <= (3 * sigma[:, None]).ceil()
    window = near * torch.exp(-0.5 * (distance / sigma[:, None]) ** 2)
    window = (window / window.sum(1, keepdim=True)).repeat_interleave(channels, dim=0)
    flat = layers.flatten(0, 1)[None]
    flat = F.conv2d(flat, window[:, None, :, None], groups=n * channels)
    flat = F.conv2d(flat, window[:, None, None, :], groups=n * channels)
    return flat[0].unflatten(0, (n, channels))
