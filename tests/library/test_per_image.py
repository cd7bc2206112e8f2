"""A value for each image, and a data range for each of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import noise
from torch import Tensor

from aw_ssim import AWSSIMLoss, SSIMLoss, aw_ssim, ssim

LOSSES = [AWSSIMLoss, SSIMLoss]


def batch() -> tuple[Tensor, Tensor]:
    """Three images of different contrast, each with noise of its own."""
    x = 0.5 + torch.tensor([0.05, 0.2, 0.4]).view(3, 1, 1, 1) * noise(1, torch.empty(3, 2, 21, 26))
    return x, x + 0.1 * noise(2, x)


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("padding", ["valid", "same", "zeros"])
@pytest.mark.parametrize("kind", LOSSES)
def test_each_image_has_the_mean_and_gradient_it_has_alone(
    kind: Any, padding: str, masked: bool, backend: str
) -> None:
    x, y = batch()
    mask = (noise(3, x[:, :1]) > -0.5).float() if masked else None
    x.requires_grad_()
    values = kind(reduction="image", padding=padding, backend=backend)(x, y, mask)
    assert values.shape == (3,)
    upstream = torch.tensor([1.0, -2.0, 0.5])
    (gradient,) = torch.autograd.grad(values, x, upstream)
    for i, value in enumerate(values):
        alone = x[i : i + 1].detach().requires_grad_()
        own_mask = None if mask is None else mask[i : i + 1]
        expected = kind(padding=padding, backend=backend)(alone, y[i : i + 1], own_mask)
        (expected_gradient,) = torch.autograd.grad(upstream[i] * expected, alone)
        torch.testing.assert_close(value, expected, atol=0, rtol=1e-6)
        scale = float(expected_gradient.abs().max())
        torch.testing.assert_close(
            gradient[i : i + 1], expected_gradient, atol=1e-6 * scale, rtol=1e-6
        )


def test_similarity_of_each_image(backend: str) -> None:
    x, y = batch()
    for similarity, loss in ((aw_ssim, AWSSIMLoss), (ssim, SSIMLoss)):
        values = similarity(x, y, reduction="image", backend=backend)
        losses = loss(reduction="image", backend=backend)(x, y)
        torch.testing.assert_close(values, 1 - losses, atol=1e-6, rtol=0)


def test_a_mask_must_leave_something_of_each_image() -> None:
    x, y = batch()
    mask = torch.ones(3, 1, 21, 26)
    mask[1] = 0
    with pytest.raises(ValueError, match="in each image, got none"):
        AWSSIMLoss(reduction="image")(x, y, mask)
    assert AWSSIMLoss()(x, y, mask).isfinite()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_a_range_for_each_image_is_that_of_each_loss(dtype: torch.dtype, backend: str) -> None:
    if backend == "numba" and dtype == torch.float64:
        return
    ranges = torch.tensor([1.0, 3.0, 0.5])
    x, y = (image.to(dtype) for image in batch())
    values = SSIMLoss(data_range=ranges, reduction="image", backend=backend)(x, y)
    for i, data_range in enumerate(ranges.tolist()):
        alone = SSIMLoss(data_range=data_range, backend=backend)(x[i : i + 1], y[i : i + 1])
        torch.testing.assert_close(values[i], alone, atol=1e-6, rtol=1e-5)


def test_a_range_may_come_with_the_batch(backend: str) -> None:
    """As scans of unknown intensity need it: the largest value of each target."""
    scale = torch.tensor([1e-4, 1.0, 30.0])
    x, y = batch()
    loss = SSIMLoss(reduction="image", backend=backend)
    scaled = [image * scale.view(3, 1, 1, 1) for image in (x, y)]
    values = loss(*scaled, data_range=scale)
    torch.testing.assert_close(values, loss(x, y), atol=1e-6, rtol=1e-4)
    assert loss.data_range == 1.0


@pytest.mark.parametrize("data_range", [torch.tensor(2.0), torch.tensor([2.0])])
def test_one_value_in_a_tensor_serves_all_images(data_range: Tensor, backend: str) -> None:
    x, y = batch()
    expected = SSIMLoss(data_range=2.0, backend=backend)(x, y)
    actual = SSIMLoss(data_range=data_range, backend=backend)(x, y)
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-6)


def test_a_blank_image_of_range_zero_is_finite(backend: str) -> None:
    x, y = (image.clone() for image in batch())
    x[0] = y[0] = 0
    x.requires_grad_()
    loss = SSIMLoss(data_range=y.amax((1, 2, 3)), reduction="image", backend=backend)(x, y)
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    assert loss[0] == 0
    assert gradient.isfinite().all()


def test_a_range_receives_its_gradient() -> None:
    x, y = (image.double() for image in batch())
    ranges = torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda data_range: ssim(x, y, data_range=data_range, reduction="image"), ranges
    )


def test_a_range_in_a_loss_follows_it_and_is_saved() -> None:
    loss = SSIMLoss(data_range=torch.tensor([1.0, 2.0]))
    assert loss.double().data_range.dtype == torch.float64
    assert "data_range" in loss.state_dict()
    assert "data_range=tensor of 2" in repr(loss)


@pytest.mark.parametrize(
    ("data_range", "error", "words"),
    [
        (torch.ones(3, 1), ValueError, "shape (3, 1). Use data_range.flatten()"),
        (torch.ones(3, dtype=torch.int32), TypeError, "Use data_range.float()"),
        (torch.ones(2), ValueError, "one for each of 3 images, got 2 values"),
    ],
)
def test_ranges_that_do_not_fit(data_range: Tensor, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        SSIMLoss()(*batch(), data_range=data_range)
    assert words in str(caught.value)


def test_the_advice_on_ranges_works() -> None:
    column = torch.ones(3, 1, dtype=torch.int32)
    assert SSIMLoss()(*batch(), data_range=column.flatten().float()).isfinite()


def test_one_graph_for_all_ranges() -> None:
    x, y = batch()
    loss = SSIMLoss(backend="analytic")
    compiled = torch.compile(
        lambda data_range: loss(x, y, data_range=data_range), backend="eager", fullgraph=True
    )
    with torch._dynamo.config.patch(error_on_recompile=True):
        for data_range in (1.0, 2.0, 255.0):
            tensor = torch.tensor(data_range)
            torch.testing.assert_close(compiled(tensor), loss(x, y, data_range=tensor))
    torch._dynamo.reset()
