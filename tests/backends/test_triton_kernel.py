"""The fused Triton kernel's numbers: natively on a GPU, otherwise in Triton's interpreter."""

from __future__ import annotations

from typing import Any

import oracle
import pytest
import torch
from cases import noise
from tolerances import assert_gradient_close, assert_value_close
from torch import Tensor
from triton_cases import DEVICE, WEIGHTS, only_where_it_runs, pair

from aw_ssim import AWSSIMLoss, CombinedL1Loss, SSIMLoss, aw_ssim, ssim_components

pytestmark = only_where_it_runs


def some_mask(x: Tensor, channels: int = 1) -> Tensor:
    """Weights in (0, 1], with holes."""
    weight = noise(7, x[:, :channels]).abs().clamp(max=1)
    return weight * (noise(8, weight) > -0.4)


def assert_agrees_with_oracle(
    x: Tensor, y: Tensor, weights: tuple[float, float, float] | None, **options: Any
) -> None:
    """Maps, sums, and both gradients in both reductions."""
    upstream = noise(9, oracle.windows(x, y, **options).luminance)
    expected = oracle.windows(x, y, **options).similarity(weights)
    on_device = {
        name: value.to(DEVICE) if isinstance(value, Tensor) else value
        for name, value in options.items()
    }
    loss: AWSSIMLoss | SSIMLoss
    for reduction, up in (("none", upstream), ("sum", torch.ones(()))):
        if weights is None:
            loss = SSIMLoss(reduction=reduction, backend="triton", **_without_mask(on_device))
        else:
            loss = AWSSIMLoss(
                weights, reduction=reduction, backend="triton", **_without_mask(on_device)
            )
        x_leaf = x.to(DEVICE, copy=True).requires_grad_()
        y_leaf = y.to(DEVICE, copy=True).requires_grad_()
        result = loss(x_leaf, y_leaf, on_device.get("mask"))
        centre = oracle.windows(x, y, **options).centre
        shortfall = centre - expected
        if reduction == "sum":
            torch.testing.assert_close(
                result.detach().cpu().double(), shortfall.sum(), rtol=1e-5, atol=1e-5
            )
        else:
            assert_value_close(result.cpu(), shortfall, x.dtype)
        result.backward(up.to(DEVICE, result.dtype))
        wanted = oracle.gradients(x, y, -up.double(), weights, **options)
        for leaf, gradient in zip((x_leaf, y_leaf), wanted, strict=True):
            assert leaf.grad is not None
            assert_gradient_close(leaf.grad.cpu(), gradient, x.dtype)


def _without_mask(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "mask"}


@pytest.mark.parametrize("weights", [WEIGHTS, None], ids=["additive", "product"])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_values_and_gradients(
    weights: tuple[float, float, float] | None, padding: str, masked: bool
) -> None:
    x, y = pair()
    options = {"mask": some_mask(x)} if masked else {}
    assert_agrees_with_oracle(x, y, weights, padding=padding, window_size=5, sigma=1.1, **options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_images(dtype: torch.dtype) -> None:
    x, y = (image.to(dtype) for image in pair(channels=1))
    assert_agrees_with_oracle(x, y, WEIGHTS, window_size=3)


@pytest.mark.parametrize(
    ("size", "height", "width", "padding"),
    [
        (1, 2, 3, "same"),
        (3, 3, 3, "valid"),
        (3, 3, 4, "same"),
        (11, 11, 12, "valid"),
        (11, 11, 13, "same"),
        # Three tiles side by side, and three one below the other.
        (3, 3, 131, "valid"),
        (3, 4, 131, "same"),
        (3, 37, 3, "same"),
        (5, 35, 5, "valid"),
        # As wide as the lanes of a program.
        (3, 3, 64, "valid"),
    ],
)
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_window_and_image_sizes(
    size: int, height: int, width: int, padding: str, masked: bool
) -> None:
    x, y = pair(height, width, channels=1)
    options = {}
    if masked:
        options["mask"] = some_mask(x)
        # The centre of at least one window.
        options["mask"][..., height // 2, width // 2] = 1
    assert_agrees_with_oracle(x, y, WEIGHTS, window_size=size, padding=padding, **options)


def test_hidden_areas() -> None:
    """Large ones, in the first rows and across a whole row: nothing near stands in for them."""
    x, y = pair(21, 10, channels=1)
    mask = torch.ones_like(x)
    mask[..., :6, :4], mask[..., 12, :], mask[..., 15:, 7:] = 0, 0, 0
    assert_agrees_with_oracle(x, y, WEIGHTS, window_size=5, mask=mask)


def test_the_widest_window() -> None:
    x, y = pair(33, 34, channels=1)
    leaf = x.to(DEVICE, copy=True).requires_grad_()
    loss = aw_ssim(leaf, y.to(DEVICE), WEIGHTS, window_size=33, reduction="sum", backend="triton")
    loss.backward()
    options = {"window_size": 33}
    expected = oracle.windows(x, y, **options).similarity(WEIGHTS)
    assert_value_close(loss.cpu(), expected.sum(), x.dtype)
    up = torch.ones_like(expected)
    assert leaf.grad is not None
    assert_gradient_close(
        leaf.grad.cpu(), oracle.gradients(x, y, up, WEIGHTS, **options)[0], x.dtype
    )


def test_data_range_and_a_mask_for_each_channel() -> None:
    x, y = pair()
    mask = some_mask(x, channels=2)
    assert_agrees_with_oracle(255 * x, 255 * y, WEIGHTS, data_range=255.0, window_size=3, mask=mask)


def test_hidden_pixels_may_be_nan() -> None:
    x, y = (image.to(DEVICE) for image in pair())
    mask = torch.ones_like(x[:, :1])
    mask[..., 2:4, 3:5] = 0
    hole = mask.expand_as(x) == 0
    poisoned = torch.where(hole, torch.nan, x).requires_grad_()
    clean = x.clone().requires_grad_()
    losses = [
        aw_ssim(image, y, mask=mask, window_size=3, backend="triton") for image in (poisoned, clean)
    ]
    assert torch.equal(losses[0], losses[1])
    for loss in losses:
        loss.backward()
    assert poisoned.grad is not None
    assert clean.grad is not None
    assert torch.equal(poisoned.grad, clean.grad)
    assert (poisoned.grad[hole] == 0).all()


def test_a_visible_nan_shows() -> None:
    x, y = (image.to(DEVICE) for image in pair())
    x[0, 0, 3, 3] = torch.nan
    assert aw_ssim(x, y, window_size=3, backend="triton").isnan()


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "sliced", "expanded"])
def test_strides(layout: str) -> None:
    x, y = (image.to(DEVICE) for image in pair())
    strided = {
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "transposed": x.mT.contiguous().mT,
        "sliced": torch.stack([x, -x], -1).flatten(-2)[..., ::2],
        "expanded": x[:, :1, :1].expand_as(x),
    }[layout]
    assert not strided.is_contiguous()
    images = (strided, strided.contiguous())
    leaves = [image.detach().requires_grad_() for image in images]
    for leaf in leaves:
        aw_ssim(leaf, y, window_size=3, backend="triton").backward()
    assert leaves[0].grad is not None
    assert leaves[1].grad is not None
    assert torch.equal(leaves[0].grad, leaves[1].grad)


@pytest.mark.parametrize("dim", range(4))
def test_addresses_beyond_two_to_the_31(dim: int) -> None:
    """The memory between the pixels is reserved and never touched."""
    x, y = (image.half().to(DEVICE) for image in pair(7, 6, channels=5))
    x, y = (image.transpose(0, 1) if dim == 0 else image for image in (x, y))
    strides = list(x.contiguous().stride())
    strides[dim] = 2**31 // (x.shape[dim] - 1) + 1
    far = torch.empty(x.shape[dim] * strides[dim], dtype=x.dtype, device=DEVICE)
    far = far.as_strided(x.shape, strides).copy_(x)
    results = []
    for image in (far, x):
        leaf = image.detach().requires_grad_()
        loss = aw_ssim(leaf, y, window_size=3, backend="triton")
        loss.backward()
        results.append((loss, leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][1] is not None
    assert torch.equal(results[0][1], results[1][1])


def test_nothing_unwritten_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = (image.to(DEVICE) for image in pair())
    new_empty = Tensor.new_empty

    def poisoned(self: Tensor, *shape: Any, **options: Any) -> Tensor:
        return new_empty(self, *shape, **options).fill_(torch.nan)

    monkeypatch.setattr(Tensor, "new_empty", poisoned)
    for padding in ("valid", "same"):
        for reduction in ("mean", "none"):
            leaves = [image.clone().requires_grad_() for image in (x, y)]
            loss = AWSSIMLoss(
                padding=padding, reduction=reduction, window_size=5, backend="triton"
            )(*leaves)
            assert loss.isfinite().all()
            loss.sum().backward()
            for leaf in leaves:
                assert leaf.grad is not None
                assert leaf.grad.isfinite().all()


def test_runs_repeat_to_the_bit() -> None:
    x, y = (image.to(DEVICE) for image in pair(9, 131))
    results = []
    for _ in range(2):
        leaf = x.clone().requires_grad_()
        loss = aw_ssim(leaf, y, window_size=3, backend="triton")
        loss.backward()
        results.append((loss, leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("shift", [0, 1], ids=["", "target alone"])
def test_a_gradient_for_one_image_alone(shift: int) -> None:
    images = [image.to(DEVICE) for image in pair()]
    both = [image.clone().requires_grad_() for image in images]
    aw_ssim(*both, window_size=3, backend="triton").backward()
    alone = [image.clone().requires_grad_(i == shift) for i, image in enumerate(images)]
    aw_ssim(*alone, window_size=3, backend="triton").backward()
    assert both[shift].grad is not None
    assert alone[1 - shift].grad is None
    torch.testing.assert_close(alone[shift].grad, both[shift].grad, rtol=1e-5, atol=1e-8)


def test_a_tensor_sigma_gives_what_the_number_gives() -> None:
    x, y = (image.to(DEVICE) for image in pair())
    sigma = torch.tensor(0.8, device=DEVICE)
    values = [aw_ssim(x, y, sigma=s, window_size=5, backend="triton") for s in (sigma, 0.8)]
    torch.testing.assert_close(values[0], values[1], rtol=1e-6, atol=0)


def test_components_go_through_the_kernel() -> None:
    x, y = pair()
    maps = ssim_components(x.to(DEVICE), y.to(DEVICE), window_size=3, backend="triton")
    expected = oracle.windows(x, y, window_size=3)
    for actual, wanted in zip(maps, expected[:3], strict=True):
        assert_value_close(actual.cpu(), wanted, x.dtype)


@pytest.mark.parametrize(("window_size", "padding"), [(5, "same"), (13, "valid")])
def test_l1_in_the_same_pass(window_size: int, padding: str) -> None:
    images = (noise(seed, torch.empty(2, 1, 14, 20)) for seed in (0, 1))
    x, y = (image.to(DEVICE).requires_grad_() for image in images)
    structural = SSIMLoss(
        window_size=window_size,
        padding=padding,
        data_range=2.0,
        reduction="image",
        backend="triton",
    )
    value = CombinedL1Loss(structural, mix=0.2)(x, y)
    expected = 0.2 * structural(x, y) + 0.8 * (x - y).abs().mean((1, 2, 3)) / 2
    torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(CombinedL1Loss(structural, mix=0.2)(x, y), value)
    upstream = torch.tensor([1.0, -3.0], device=DEVICE)
    gradients = torch.autograd.grad(value, (x, y), upstream)
    references = torch.autograd.grad(expected, (x, y), upstream)
    for gradient, reference in zip(gradients, references, strict=True):
        assert_gradient_close(gradient.cpu(), reference.double().cpu(), x.dtype)
