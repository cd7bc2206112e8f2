"""Properties over all options at once: what functions, modules, reductions and masks promise.

CI draws 30 calls for each. By hand, 2,000 others each time:
    python -m pytest tests/library/test_properties_of_options.py --hypothesis-profile aw_ssim_long
"""

from __future__ import annotations

from typing import Any

import torch
from drawn_images import pairs, weights
from hypothesis import given
from hypothesis import strategies as st
from tested_backends import BACKENDS, COMPLETE_BACKENDS
from tolerances import TOLERANCES
from torch import Tensor

from aw_ssim import AWSSIMLoss, SSIMLoss, aw_ssim, ssim, ssim_components

ROUNDING = 5e-6
Pair = tuple[Tensor, Tensor]
Weights = tuple[float, float, float]

options: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "backend": st.sampled_from(BACKENDS),
        "window_size": st.sampled_from([1, 3, 5]),
        "sigma": st.floats(0.125, 6) | st.floats(0.125, 6, width=32).map(torch.tensor),
        "padding": st.sampled_from(["valid", "same"]),
        "k1": st.floats(1e-3, 0.5),
        "k2": st.floats(1e-3, 0.5),
        "data_range": st.sampled_from([1.0, 0.5, 255.0]),
    }
)
complete = st.sampled_from(COMPLETE_BACKENDS)


def some_mask(x: Tensor, seed: int, channels: int, kind: str) -> Tensor:
    """Weights from 0 to 2, at least one of them positive at the centre of every padding."""
    generator = torch.Generator().manual_seed(seed)
    mask = 2 * torch.rand((x.shape[0], channels, *x.shape[2:]), generator=generator)
    mask = mask * (mask > 0.8)
    mask[..., x.shape[2] // 2, x.shape[3] // 2] = 1
    return mask > 0 if kind == "bool" else mask


@given(pairs(), weights, options)
def test_a_similarity_is_the_weighted_sum_and_ssim_the_product(
    pair: Pair, weights: Weights, options: dict[str, Any]
) -> None:
    terms = ssim_components(*pair, **options)
    total = sum(weights)
    expected = sum(weight / total * term for weight, term in zip(weights, terms, strict=True))
    actual = aw_ssim(*pair, weights, reduction="none", **options)
    torch.testing.assert_close(actual, expected, atol=ROUNDING, rtol=0)
    product = terms.luminance * terms.contrast * terms.structure
    actual = ssim(*pair, reduction="none", **options)
    torch.testing.assert_close(actual, product, atol=ROUNDING, rtol=0)


@given(pairs(), weights, options)
def test_reductions_reduce_the_map(pair: Pair, weights: Weights, options: dict[str, Any]) -> None:
    for loss in (AWSSIMLoss(weights, **options), SSIMLoss(**options)):
        loss.reduction = "none"
        shortfall = loss(*pair)
        for reduction, expected in (("mean", shortfall.mean()), ("sum", shortfall.sum())):
            loss.reduction = reduction
            torch.testing.assert_close(loss(*pair), expected, atol=ROUNDING, rtol=ROUNDING)


@given(pairs(), options, st.integers(1, 2**31), st.sampled_from(["bool", "float"]))
def test_a_mask_weighs_the_windows_and_ones_change_nothing(
    pair: Pair, options: dict[str, Any], seed: int, kind: str
) -> None:
    x, _ = pair
    plain = aw_ssim(*pair, **options)
    ones = torch.ones_like(x, dtype=torch.bool)
    torch.testing.assert_close(aw_ssim(*pair, mask=ones, **options), plain, atol=ROUNDING, rtol=0)
    # One channel for all is the same mask given for each.
    mask = some_mask(x, seed, 1, kind)
    for_all = aw_ssim(*pair, mask=mask, **options)
    for_each = aw_ssim(*pair, mask=mask.expand_as(x), **options)
    torch.testing.assert_close(for_all, for_each, atol=ROUNDING, rtol=0)
    # What is left out may hold anything.
    left_out = (mask == 0).expand_as(x)
    spoilt = [image.masked_fill(left_out, torch.nan) for image in pair]
    assert torch.equal(aw_ssim(*spoilt, mask=mask, **options), for_all)


@given(pairs(), weights, options, st.floats(1e-3, 1e3))
def test_only_the_ratio_of_weights_counts(
    pair: Pair, weights: Weights, options: dict[str, Any], factor: float
) -> None:
    scaled = tuple(factor * weight for weight in weights)
    expected = AWSSIMLoss(weights, **options)(*pair)
    torch.testing.assert_close(AWSSIMLoss(scaled, **options)(*pair), expected, atol=1e-6, rtol=1e-4)


@given(pairs(), options, st.sampled_from(["flipped", "transposed"]))
def test_a_mirrored_or_turned_pair_has_a_mirrored_or_turned_map(
    pair: Pair, options: dict[str, Any], how: str
) -> None:
    def move(image: Tensor) -> Tensor:
        return image.flip(-1) if how == "flipped" else image.transpose(-1, -2)

    expected = move(aw_ssim(*pair, reduction="none", **options))
    actual = aw_ssim(*map(move, pair), reduction="none", **options)
    torch.testing.assert_close(actual, expected, atol=ROUNDING, rtol=0)


@given(pairs(), weights, options, st.sampled_from([torch.float16, torch.bfloat16, torch.float32]))
def test_every_dtype_and_layout_gives_what_float64_gives(
    pair: Pair, weights: Weights, options: dict[str, Any], dtype: torch.dtype
) -> None:
    x, y = (options["data_range"] * image.to(dtype) for image in pair)
    precise = options | {"backend": "torch"}
    expected = aw_ssim(x.double(), y.double(), weights, reduction="none", **precise)
    before = x.clone(), y.clone()
    layouts = [
        (x, y),
        tuple(image.to(memory_format=torch.channels_last) for image in (x, y)),
        tuple(image.transpose(2, 3).contiguous().transpose(2, 3) for image in (x, y)),
    ]
    for images in layouts:
        actual = aw_ssim(*images, weights, reduction="none", **options)
        torch.testing.assert_close(actual.double(), expected, atol=TOLERANCES[dtype].value, rtol=0)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


@given(pairs(), weights, options)
def test_gradients_are_finite_and_the_loss_s_are_minus_the_similarity_s(
    pair: Pair, weights: Weights, options: dict[str, Any]
) -> None:
    x, y = ((options["data_range"] * image).requires_grad_() for image in pair)
    value = aw_ssim(x, y, weights, reduction="sum", **options)
    gradients = torch.autograd.grad(value, (x, y))
    loss = AWSSIMLoss(weights, reduction="sum", **options)(x, y)
    for own, other in zip(gradients, torch.autograd.grad(loss, (x, y)), strict=True):
        assert own.isfinite().all()
        scale = max(float(own.abs().max()), 1 / options["data_range"])
        torch.testing.assert_close(other, -own, atol=1e-4 * scale, rtol=0)
