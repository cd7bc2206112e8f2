"""Comparisons that the emulated kernel makes, and how far they are from the float64 oracle."""

from __future__ import annotations

import contextlib
from random import Random
from typing import NamedTuple

import oracle
import torch
from cases import noise
from torch import Tensor

from aw_ssim import AWSSIMLoss, CombinedL1Loss, SSIMLoss

from .launcher import EmulatedGPU

WEIGHTS = (0.5, 0.3, 0.2)


class Case(NamedTuple):
    """A loss of two images."""

    shape: tuple[int, int, int, int]
    window: int = 11
    padding: str = "valid"
    masked: bool = False
    maps: bool = False
    """Without a reduction, and with an upstream gradient."""
    product: bool = False
    mix: float = 1.0
    """The share of the windows; the rest is L1, in the same pass."""
    gradients: tuple[bool, bool] = (True, False)
    dtype: torch.dtype = torch.float32
    layout: str = "contiguous"
    programs: int = 0
    """As `EmulatedGPU` takes them."""
    contrast: tuple[float, float] = (0.5, 0.2)
    """Mean of the pixels, and how far they are from it."""


BOTH = (True, True)
CASES = {
    "default": Case((1, 2, 37, 70)),
    "four warps": Case((1, 1, 24, 128)),
    "two images, one program": Case((2, 1, 33, 151), gradients=BOTH, programs=1),
    "product, same": Case((1, 2, 21, 67), padding="same", product=True, gradients=BOTH),
    "product and L1": Case((2, 1, 26, 75), product=True, mix=0.2, gradients=BOTH, programs=2),
    "masked": Case((1, 1, 40, 117), masked=True, programs=2),
    "everything": Case((1, 2, 30, 61), padding="same", masked=True, maps=True, gradients=BOTH),
    "window 13": Case((1, 1, 31, 90), 13, gradients=BOTH, programs=2),
    "window 13, everything": Case(
        (1, 1, 29, 85), 13, "same", masked=True, maps=True, gradients=BOTH
    ),
    "window 33": Case((1, 1, 47, 101), 33),
    "window 33, everything": Case(
        (1, 1, 50, 75), 33, "same", masked=True, maps=True, gradients=BOTH
    ),
    "half": Case((1, 3, 17, 131), 3, "same", gradients=BOTH, dtype=torch.float16, programs=3),
    "bfloat16": Case((1, 2, 37, 70), 3, gradients=BOTH, dtype=torch.bfloat16),
    "channels_last": Case((1, 3, 37, 70), layout="channels_last"),
    "transposed, target alone": Case(
        (1, 2, 19, 77), 5, "same", maps=True, gradients=(False, True), layout="transposed"
    ),
    "sliced": Case((1, 2, 37, 70), layout="sliced"),
    "maps alone": Case((1, 1, 30, 140), maps=True, gradients=(False, False)),
    "one window": Case((1, 1, 3, 3), 3, gradients=(False, False)),
    "window 1": Case((1, 1, 5, 40), 1, "same", masked=True),
}

# Windows with few visible pixels, or of low contrast, where sums can lose their digits.
MASKED = {
    "low contrast": Case((1, 1, 24, 30), 5, masked=True, gradients=BOTH, contrast=(0.8, 0.001)),
    "window 3, 55 x 229": Case((2, 1, 55, 229), 3, "same", masked=True, gradients=BOTH),
    "window 3, 17 x 479": Case((1, 2, 17, 479), 3, "same", masked=True, gradients=BOTH),
    "window 3, 24 x 39": Case((1, 1, 24, 39), 3, "same", masked=True, gradients=BOTH),
    "window 3, 52 x 109, maps": Case((2, 1, 52, 109), 3, masked=True, maps=True, gradients=BOTH),
}


def random_case(random: Random, masked: bool | None = None) -> Case:
    """Any shape, of few kinds of loss, because each kind is compiled anew."""
    kinds = [
        Case((1, 1, 1, 1), 3, gradients=BOTH),
        Case((1, 1, 1, 1), 3, "same", masked=True, gradients=BOTH),
        Case((1, 1, 1, 1), 3, masked=True, maps=True, gradients=BOTH),
        Case((1, 1, 1, 1), 5, masked=True, gradients=BOTH),
        Case((1, 1, 1, 1), 5, "same", gradients=BOTH),
        Case((1, 1, 1, 1), 11),
    ]
    kind = random.choice([kind for kind in kinds if masked in (None, kind.masked)])
    height = random.randint(kind.window, 70)
    width = random.randint(kind.window, random.choice([40, 300, 600]))
    images = random.choice([(1, 1), (1, 2), (2, 1)])
    return kind._replace(shape=(*images, height, width), programs=random.choice([0, 1, 2, 3]))


class Outcome(NamedTuple):
    """What a comparison gave."""

    images: tuple[Tensor, Tensor]
    mask: Tensor | None
    upstream: Tensor
    result: Tensor
    gradients: tuple[Tensor | None, Tensor | None]

    def same_bits(self, other: Outcome) -> bool:
        """Whether the other one gave the same, a NaN for a NaN."""
        mine, others = ([one.result, *one.gradients] for one in (self, other))
        return all(
            (a is None and b is None)
            or (a is not None and b is not None and torch.equal(_bits(a), _bits(b)))
            for a, b in zip(mine, others, strict=True)
        )


class Errors(NamedTuple):
    """Of a loss in parts of the largest entry, of maps absolute, and of the gradients in parts."""

    value: float
    gradient: float


def compare(case: Case, gpu: EmulatedGPU | None) -> Outcome:
    """Makes the comparison on the emulated GPU, or with None where backend "triton" runs itself."""
    middle, deviation = case.contrast
    x = middle + deviation * noise(0, torch.empty(case.shape))
    y = x + 0.5 * deviation * noise(1, x)
    x, y = (_laid_out(image.to(case.dtype), case.layout) for image in (x, y))
    mask = some_mask(x) if case.masked else None
    leaves = [
        image.detach().requires_grad_(wanted)
        for image, wanted in zip((x, y), case.gradients, strict=True)
    ]
    loss: AWSSIMLoss | SSIMLoss | CombinedL1Loss
    reduction = "none" if case.maps else "sum"
    options = {"window_size": case.window, "padding": case.padding, "backend": "triton"}
    if case.product:
        loss = SSIMLoss(reduction=reduction, **options)
    else:
        loss = AWSSIMLoss(WEIGHTS, reduction=reduction, **options)
    if case.mix < 1:
        loss = CombinedL1Loss(loss, case.mix)
    if gpu is not None:
        gpu.programs = case.programs
    with gpu or contextlib.nullcontext():
        result = loss(*leaves, mask)
        upstream = noise(9, result) if case.maps else torch.ones(())
        if any(case.gradients):
            result.backward(upstream.to(result.dtype))
    found = leaves[0].grad, leaves[1].grad
    return Outcome((x, y), mask, upstream, result.detach(), found)


def errors(case: Case, outcome: Outcome) -> Errors:
    """How far an outcome is from the oracle's."""
    weights = None if case.product else WEIGHTS
    options = {"window_size": case.window, "padding": case.padding, "mask": outcome.mask}
    windows = oracle.windows(*outcome.images, **options)
    x, y = (image.double() for image in outcome.images)
    wanted = windows.centre - windows.similarity(weights)
    if not case.maps:
        wanted = case.mix * wanted.sum() + (1 - case.mix) * (x - y).abs().sum()
    scale = 1.0 if case.maps else max(1.0, float(wanted.abs()))
    value = float((outcome.result.double() - wanted).abs().max()) / scale
    upstream = -case.mix * outcome.upstream.double()
    of_l1 = (1 - case.mix) * (x - y).sign()
    gradients = oracle.gradients(*outcome.images, upstream, weights, **options)
    return Errors(
        value,
        max(
            float((found.double() - gradient).abs().max() / gradient.abs().max())
            for found, gradient in zip(
                outcome.gradients, (gradients[0] + of_l1, gradients[1] - of_l1), strict=True
            )
            if found is not None
        )
        if any(case.gradients)
        else 0.0,
    )


def some_mask(x: Tensor) -> Tensor:
    """Weights in (0, 1], single holes, a larger one, and a visible pixel in the middle."""
    weight = noise(7, x[:, :1]).abs().clamp(max=1).float()
    mask = weight * (noise(8, weight) > -0.4)
    mask[..., 2:7, 3:9] = 0
    mask[..., x.shape[2] // 2, x.shape[3] // 2] = 1
    return mask


def _laid_out(image: Tensor, layout: str) -> Tensor:
    return {
        "contiguous": lambda: image,
        "channels_last": lambda: image.contiguous(memory_format=torch.channels_last),
        "transposed": lambda: image.mT.contiguous().mT,
        "sliced": lambda: torch.stack([image, -image], -1).flatten(-2)[..., ::2],
    }[layout]()


def _bits(values: Tensor) -> Tensor:
    integers = {4: torch.int32, 2: torch.int16}
    return values.contiguous().view(integers[values.element_size()])
