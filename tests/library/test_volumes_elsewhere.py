"""Volumes in transforms, graphs and other losses, beside other libraries, and refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import oracle
import pytest
import pytorch_msssim
import skimage.metrics
import torch
import torch.nn.functional as F
from cases import noise
from tolerances import assert_gradient_close
from torch import Tensor
from torch.func import grad, vmap
from volume_cases import SHAPE, SMALL, masks, volumes

from aw_ssim import (
    AWSSIMLoss,
    CombinedPerceptualLoss,
    MSAWSSIMLoss,
    MSSSIMLoss,
    aw_ssim,
    choose_backend,
    ssim,
)

WEIGHTS = (0.2, 0.3, 0.5)


@pytest.fixture
def backend(complete_backend: str) -> str:
    """Those that take volumes."""
    return complete_backend


def test_transforms(backend: str) -> None:
    x, y = volumes()
    loss = AWSSIMLoss(WEIGHTS, padding="same", backend=backend, **SMALL)

    def single(x: Tensor, y: Tensor) -> Tensor:
        return loss(x[None], y[None])

    values = AWSSIMLoss(WEIGHTS, padding="same", reduction="image", **SMALL)(x, y)
    torch.testing.assert_close(vmap(single)(x, y), values, atol=1e-6, rtol=1e-5)
    exact = oracle.gradients(x, y, -1 / x[0].numel(), WEIGHTS, padding="same", **SMALL)
    for left, right in zip(vmap(grad(single, argnums=(0, 1)))(x, y), exact, strict=True):
        assert_gradient_close(left, right, torch.float32, 1 / x[0].numel())


def test_second_derivatives_of_the_definition() -> None:
    x, y = (image.double().requires_grad_() for image in volumes((1, 1, 3, 4, 3)))
    assert torch.autograd.gradgradcheck(
        lambda x, y: aw_ssim(x, y, WEIGHTS, window_size=3, padding="same", backend="torch"), (x, y)
    )


def test_one_graph_for_all_sizes(backend: str) -> None:
    loss = AWSSIMLoss(padding="same", window_size=3, backend=backend)
    # Plain torch has a large graph: it is traced here, and not differentiated by the compiler.
    compiler = "eager" if backend == "torch" else "aot_eager"
    compiled = torch.compile(loss, backend=compiler, fullgraph=True, dynamic=True)
    for shape in (SHAPE, (1, 3, 9, 7, 10)):
        x, y = volumes(shape)
        outcomes = []
        for run in (loss, compiled):
            prediction = x.clone().requires_grad_()
            value = run(prediction, y, masks(shape)["body"])
            outcomes.append([value, torch.autograd.grad(value, prediction)[0]])
        for left, right in zip(*outcomes, strict=True):
            torch.testing.assert_close(left, right, atol=1e-6, rtol=1e-4)
    torch._dynamo.reset()


def test_an_exported_loss_is_differentiated() -> None:
    x, y = volumes()
    loss = AWSSIMLoss(padding="same", window_size=3)
    exported = torch.export.export(loss, (x, y)).module()
    outcomes = []
    for run in (loss, exported):
        prediction = x.clone().requires_grad_()
        value = run(prediction, y)
        outcomes.append([value, torch.autograd.grad(value, prediction)[0]])
    for left, right in zip(*outcomes, strict=True):
        torch.testing.assert_close(left, right, atol=1e-6, rtol=1e-4)


def test_pytorch_msssim() -> None:
    x, y = (image.double().requires_grad_() for image in volumes((1, 2, 13, 12, 14)))
    window = torch.from_numpy(oracle.gaussian(11, 1.5)).expand(2, 1, 1, 1, -1)
    results = []
    for value in (ssim(x, y), pytorch_msssim.ssim(x, y, data_range=1.0, win=window)):
        results.append([value, *torch.autograd.grad(value, (x, y))])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-10, rtol=1e-6)


@pytest.mark.parametrize("gaussian", [False, True], ids=["its defaults", "gaussian weights"])
@pytest.mark.parametrize("sample", [False, True], ids=["population", "sample"])
def test_scikit_image(sample: bool, gaussian: bool, backend: str) -> None:
    """Its map, of which the windows inside the volume are ours; its defaults are 7 equal taps."""
    x, y = (image.double() for image in volumes((1, 1, 13, 12, 14)))
    size = 11 if gaussian else 7
    options = {"window_size": size, "window": "gaussian" if gaussian else "uniform"}
    _, expected = skimage.metrics.structural_similarity(
        *(image[0, 0].numpy() for image in (x, y)),
        data_range=1.0, gaussian_weights=gaussian, use_sample_covariance=sample, full=True,
    )  # fmt: skip
    covariance = "sample" if sample else "population"
    found = ssim(x, y, covariance=covariance, reduction="none", backend=backend, **options)
    edge = size // 2
    inner = expected[edge:-edge, edge:-edge, edge:-edge]
    np.testing.assert_allclose(found[0, 0], inner, atol=1e-10, rtol=0)


def test_multiscale_of_pytorch_msssim() -> None:
    coarse = noise(0, torch.empty(1, 2, 10, 10, 9)).double()
    x = 0.5 + 0.1 * F.interpolate(coarse, size=(40, 36, 40), mode="trilinear")
    y = x + 0.02 * noise(1, x).double()
    scales = (0.4, 0.6)
    window = torch.from_numpy(oracle.gaussian(3, 1.5)).expand(2, 1, 1, 1, -1)
    options = {"data_range": 1.0, "win_size": 3, "win": window, "weights": list(scales)}
    loss = MSSSIMLoss(window_size=3, scale_weights=scales)
    results = []
    for function in (loss, lambda x, y: 1 - pytorch_msssim.ms_ssim(x, y, **options)):
        prediction = x.clone().requires_grad_()
        value = function(prediction, y)
        results.append([value, torch.autograd.grad(value, prediction)[0]])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-9, rtol=1e-6)


def test_the_sum_over_scales(backend: str) -> None:
    x, y = volumes((2, 1, 12, 14, 13))
    mask = torch.ones(2, 1, *x.shape[2:])
    mask[0, :, :, 8:] = 0
    loss, single = (
        kind(WEIGHTS, window_size=3, padding="same", backend=backend, **options)
        for kind, options in ((MSAWSSIMLoss, {"scale_weights": (1, 3)}), (AWSSIMLoss, {}))
    )
    halved = [F.avg_pool3d(image, 2) for image in (x, y, mask)]
    hidden = x.masked_fill(mask == 0, torch.nan)
    for i in range(2):
        own = slice(i, i + 1)
        expected = 0.25 * single(x[own], y[own], mask[own])
        expected += 0.75 * single(*(image[own] for image in halved))
        found = loss(hidden[own], y[own], mask[own])
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_who_takes_volumes() -> None:
    x = torch.zeros(1, 1, 11, 11, 11)
    for device in ("cpu", "meta"):
        choice = choose_backend("auto", x.to(device), x.to(device), 1.5)
        assert choice.name == "analytic"
        assert "kernel takes images N x C x H x W, and these are volumes" in choice.reason
    for name in ("numba", "triton"):
        with pytest.raises(ValueError, match=f"{name}. cannot compute this: .*Use backend='torch'"):
            ssim(x, x, backend=name)
    learned = torch.tensor(1.5, requires_grad=True)
    assert choose_backend("auto", x, x, learned).name == "torch"


@pytest.mark.parametrize(("padding", "least"), [("valid", 5), ("same", 3), ("zeros", 1)])
@pytest.mark.parametrize("axis", [2, 3, 4])
def test_the_smallest_volume(axis: int, padding: str, least: int, backend: str) -> None:
    x = volumes((1, 2, 5, 5, 5))[0].narrow(axis, 0, least)
    assert float(aw_ssim(x, x, padding=padding, backend=backend, **SMALL)) == pytest.approx(1)
    if least > 1:
        smaller = x.narrow(axis, 0, least - 1)
        with pytest.raises(ValueError, match=f"depth, height and width of at least {least} "):
            aw_ssim(smaller, smaller, padding=padding, backend=backend, **SMALL)


def test_scales_need_deep_volumes() -> None:
    x = torch.zeros(1, 1, 20, 44, 44)
    with pytest.raises(ValueError, match="depth, height and width of at least 22 for 2 scales"):
        MSSSIMLoss(scale_weights=(0.5, 0.5))(x, x)


def test_a_mask_of_another_depth() -> None:
    x = torch.zeros(2, 3, 11, 12, 13)
    with pytest.raises(ValueError, match=r"\(2, 1, 11, 12, 13\) or \(2, 3, 11, 12, 13\)"):
        AWSSIMLoss()(x, x, torch.ones(2, 1, 12, 13))


def test_lpips_is_for_pictures() -> None:
    pytest.importorskip("lpips", reason="LPIPS comes with the offline extra")
    x, y = volumes((1, 3, 11, 40, 41))
    loss = CombinedPerceptualLoss()
    with pytest.raises(ValueError, match="pictures N x C x H x W") as caught:
        loss(x, y)
    assert "prediction.transpose(1, 2).flatten(0, 1)" in str(caught.value)
    assert loss(*(image.transpose(1, 2).flatten(0, 1) for image in (x, y))).isfinite()


def test_another_perceptual_term_may_take_volumes() -> None:
    def distances(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs().mean((1, 2, 3, 4))

    class Distances(torch.nn.Module):
        forward: Callable[..., Tensor] = staticmethod(distances)

    x, y = volumes()
    mask = masks()["body"]
    assert mask is not None
    structural = AWSSIMLoss(padding="same", **SMALL)
    combined = CombinedPerceptualLoss(structural, mix=0.8, perceptual=Distances())
    expected = 0.8 * structural(x, y) + 0.4 * distances(x, y).mean()
    torch.testing.assert_close(combined(x, y), expected)
    counts = mask.double().mean((1, 2, 3, 4))
    hidden = [torch.where(mask, 2 * image - 1, 0) for image in (x, y)]
    mean = (distances(*hidden) * counts).sum() / counts.sum()
    expected = 0.8 * structural(x, y, mask) + 0.2 * mean
    torch.testing.assert_close(combined(x, y, mask), expected.float())
