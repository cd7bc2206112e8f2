"""Volumes N x C x D x H x W: what images have, with a window in all three dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import oracle
import pytest
import pytorch_msssim
import skimage.metrics
import torch
import torch.nn.functional as F
from cases import noise
from tolerances import TOLERANCES, assert_gradient_close, assert_value_close
from torch import Tensor
from torch.func import grad, vmap

from aw_ssim import (
    AWSSIMLoss,
    CombinedPerceptualLoss,
    MSAWSSIMLoss,
    MSSSIMLoss,
    SSIMLoss,
    aw_ssim,
    choose_backend,
    ssim,
    ssim_components,
)
from aw_ssim.backends.analytic import run as analytic

WEIGHTS = (0.2, 0.3, 0.5)
SHAPE = (2, 2, 7, 9, 8)
SMALL: dict[str, Any] = {"window_size": 5, "sigma": 1.2}
OPTIONS: dict[str, dict[str, Any]] = {
    "window 1": {"window_size": 1},
    "valid": {},
    "same": {"padding": "same"},
    "zeros": {"padding": "zeros"},
    "uniform, sample": {"window": "uniform", "covariance": "sample", "window_size": 3},
    "sample, zeros": {"covariance": "sample", "padding": "zeros", "window_size": 3},
    "range and constants": {"data_range": 2.5, "k1": 0.05, "k2": 0.1},
    # Wider than the volume is deep.
    "same, window 11": {"padding": "same", "window_size": 11, "sigma": 1.5},
}
PADDINGS = ["valid", "same", "zeros"]


@pytest.fixture
def backend(complete_backend: str) -> str:
    """Those that take volumes."""
    return complete_backend


def volumes(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> tuple[Tensor, Tensor]:
    x = (0.5 + 0.2 * noise(seed, torch.empty(shape))).clamp(0, 1)
    return x, (x + 0.1 * noise(seed + 1, x)).clamp(0, 1)


def masks(shape: tuple[int, ...] = SHAPE) -> dict[str, Tensor | None]:
    """A body that leaves out slices, a corner and a voxel; and weights for each channel."""
    body = torch.ones(shape[0], 1, *shape[2:], dtype=torch.bool)
    body[0, :, :2] = False
    body[-1, :, 1:, 3:, :3] = False
    body[-1, :, 3, 4, 5] = False
    soft = noise(2, torch.empty(shape)).abs()
    return {"no mask": None, "body": body, "soft": soft * (noise(3, soft) > -0.5)}


def assert_gradients(actual: Any, expected: Any, upstream: float = 1.0) -> None:
    for left, right in zip(actual, expected, strict=True):
        assert_gradient_close(left, right, torch.float32, upstream)


def assert_like_the_oracle(x: Tensor, y: Tensor, options: dict[str, Any], backend: str) -> None:
    """Terms, both similarity maps, and the gradients of these under any upstream gradient."""
    reference = oracle.windows(x, y, **options)
    components = ssim_components(x, y, **options, backend=backend)
    for actual, expected in zip(components, reference[:3], strict=True):
        assert_value_close(actual, expected * reference.centre, torch.float32)
    upstream = noise(8, reference.centre)
    for function, weights in ((aw_ssim, {"weights": WEIGHTS}), (ssim, {})):
        x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
        similarity = function(x, y, **weights, **options, reduction="none", backend=backend)
        expected = reference.similarity(weights.get("weights"))
        assert_value_close(similarity, expected, torch.float32)
        actual = torch.autograd.grad(similarity, (x, y), upstream.float())
        exact = oracle.gradients(x, y, upstream, weights.get("weights"), **options)
        assert_gradients(actual, exact)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options(options: dict[str, Any], backend: str) -> None:
    assert_like_the_oracle(*volumes(), SMALL | options, backend)


def test_the_default_window(backend: str) -> None:
    assert_like_the_oracle(*volumes((1, 1, 12, 11, 13)), {}, backend)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mask", ["body", "soft"])
def test_masks(mask: str, padding: str, backend: str) -> None:
    options = SMALL | {"mask": masks()[mask], "padding": padding}
    assert_like_the_oracle(*volumes(), options, backend)


@pytest.mark.parametrize("covariance", ["population", "sample"])
def test_hard_volumes(covariance: str, backend: str) -> None:
    """Flat, black, identical and inverted, nearly flat and bright: finite, and right."""
    x, _ = volumes((1, 1, 6, 7, 8))
    flat, bright = torch.full_like(x, 0.7), 0.9 + 1e-3 * noise(4, x)
    board = (torch.arange(x.numel()).reshape(x.shape) % 2).float()
    for one, other in (
        *((flat, x), (x, flat), (flat, 0.5 * flat), (0 * x, x), (0 * x, 0 * x), (x, x.clone())),
        *((board, 1 - board), (bright, 0.9 + 1e-3 * noise(5, x))),
    ):
        assert_like_the_oracle(one, other, SMALL | {"covariance": covariance}, backend)


@pytest.mark.parametrize("mask", masks())
@pytest.mark.parametrize("padding", PADDINGS)
def test_reductions(padding: str, mask: str, backend: str) -> None:
    x, y = (image.requires_grad_() for image in volumes())
    options = SMALL | {"mask": masks()[mask], "padding": padding}
    reference = oracle.windows(x.detach(), y.detach(), **options)
    loss, count = reference.centre - reference.similarity(WEIGHTS), reference.centre
    each = (1, 2, 3, 4)
    expected = {
        "mean": loss.sum() / count.sum(),
        "sum": loss.sum(),
        "image": loss.sum(each) / count.sum(each),
        "none": loss,
    }
    del options["mask"]
    for reduction, value in expected.items():
        found = AWSSIMLoss(WEIGHTS, reduction=reduction, backend=backend, **options)(
            x, y, masks()[mask]
        )
        torch.testing.assert_close(found.double(), value, atol=1e-5, rtol=1e-5)
    mean = aw_ssim(x, y, WEIGHTS, mask=masks()[mask], backend=backend, **options)
    upstream = -3.7 / count.sum()
    exact = oracle.gradients(x, y, upstream, WEIGHTS, mask=masks()[mask], **options)
    assert_gradients(torch.autograd.grad(-3.7 * mean, (x, y)), exact, float(upstream.abs()))


@pytest.mark.parametrize("reduction", ["none", "sum"])
@pytest.mark.parametrize("mask", masks())
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_chunks_join_without_a_seam(
    padding: str, mask: str, reduction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One volume at a time, and of it one slice of windows."""
    x, y = (image.requires_grad_() for image in volumes())
    options = SMALL | {"mask": masks()[mask], "padding": padding, "reduction": reduction}
    outcomes = []
    for pixels in (1 << 18, 1):
        monkeypatch.setattr(analytic, "CHUNK_PIXELS", pixels)
        value = aw_ssim(x, y, WEIGHTS, **options, backend="analytic")
        outcomes.append([value, *torch.autograd.grad(value, (x, y), torch.ones_like(value))])
    for whole, cut in zip(*outcomes, strict=True):
        scale = float(whole.detach().abs().max())
        torch.testing.assert_close(cut, whole, atol=1e-4 * scale, rtol=0)


@pytest.mark.parametrize("padding", PADDINGS)
def test_masked_voxels_have_no_influence(padding: str, backend: str) -> None:
    mask = masks()["body"]
    assert mask is not None
    outcomes = []
    for rubbish in (0.5, torch.nan):
        x, y = (image.masked_fill(~mask, rubbish).requires_grad_() for image in volumes())
        value = aw_ssim(x, y, mask=mask, padding=padding, backend=backend, **SMALL)
        gradients = torch.autograd.grad(value, (x, y))
        assert all(g.isfinite().all() and not g[~mask.expand(SHAPE)].any() for g in gradients)
        outcomes.append([value, *gradients])
    for clean, dirty in zip(*outcomes, strict=True):
        assert torch.equal(clean, dirty)


def test_a_nan_poisons_the_windows_that_see_it_alone(backend: str) -> None:
    x, y = volumes((1, 1, 9, 9, 9))
    x[0, 0, 1, 4, 4] = torch.nan
    found = ssim(x, y, reduction="none", backend=backend, **SMALL).isnan()
    expected = torch.zeros_like(found)
    expected[:, :, :2] = True
    assert torch.equal(found, expected)


@pytest.mark.parametrize("options", [{}, {"padding": "same"}, {"covariance": "sample"}], ids=str)
def test_equal_slices_are_the_plane(options: dict[str, Any], backend: str) -> None:
    """Along an axis in which nothing changes, a window sees what a plane's window sees."""
    x, y = (image.double() for image in volumes((1, 2, 12, 13)))
    plane = ssim(x, y, reduction="none", backend=backend, **SMALL, **options)
    if "covariance" in options:
        # Of 125 taps, not of 25.
        k2 = 0.03 * ((25 / 24) / (125 / 124)) ** 0.5
        plane = ssim(x, y, reduction="none", k2=k2, **SMALL, **options)
    for axis in (2, 3, 4):
        deep = [image.unsqueeze(axis).repeat_interleave(7, axis) for image in (x, y)]
        value = ssim(*deep, reduction="none", backend=backend, **SMALL, **options)
        middle = value.select(axis, value.shape[axis] // 2)
        torch.testing.assert_close(middle, plane, atol=1e-12, rtol=0)


def test_axes_may_change_places(backend: str) -> None:
    x, y = volumes((1, 1, 7, 9, 11))
    expected = aw_ssim(x, y, reduction="none", backend=backend, **SMALL)
    for order in ((2, 4, 3), (4, 2, 3), (4, 3, 2)):
        moved = [image.permute(0, 1, *order) for image in (x, y)]
        found = aw_ssim(*moved, reduction="none", backend=backend, **SMALL)
        torch.testing.assert_close(found, expected.permute(0, 1, *order), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_dtypes_and_autocast(dtype: torch.dtype, backend: str) -> None:
    x, y = (image.to(dtype).requires_grad_() for image in volumes())
    exact = [image.detach().double() for image in (x, y)]

    def run() -> tuple[Tensor, ...]:
        value = ssim(x, y, padding="same", backend=backend, **SMALL)
        return value, *torch.autograd.grad(value, (x, y))

    value, *gradients = run()
    reference = oracle.windows(*exact, padding="same", **SMALL).similarity(None)
    assert_value_close(value, reference.mean(), dtype)
    upstream = 1 / reference.numel()
    expected = oracle.gradients(*exact, upstream, None, padding="same", **SMALL)
    for left, right in zip(gradients, expected, strict=True):
        assert_gradient_close(left, right, dtype, upstream)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert all(map(torch.equal, run(), (value, *gradients)))


def test_a_range_for_each_volume(backend: str) -> None:
    ranges = torch.tensor([1.0, 30.0])
    x, y = volumes()
    loss = SSIMLoss(reduction="image", backend=backend, **SMALL)
    scaled = (image * ranges.view(2, 1, 1, 1, 1) for image in (x, y))
    torch.testing.assert_close(loss(*scaled, data_range=ranges), loss(x, y), atol=1e-6, rtol=1e-5)


def test_transforms(backend: str) -> None:
    x, y = volumes()
    loss = AWSSIMLoss(WEIGHTS, padding="same", backend=backend, **SMALL)

    def single(x: Tensor, y: Tensor) -> Tensor:
        return loss(x[None], y[None])

    values = AWSSIMLoss(WEIGHTS, padding="same", reduction="image", **SMALL)(x, y)
    torch.testing.assert_close(vmap(single)(x, y), values, atol=1e-6, rtol=1e-5)
    exact = oracle.gradients(x, y, -1 / x[0].numel(), WEIGHTS, padding="same", **SMALL)
    assert_gradients(vmap(grad(single, argnums=(0, 1)))(x, y), exact, 1 / x[0].numel())


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
