"""L1 beside a structural loss: against the oracle, the formulas people train with, and itself."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import oracle
import pytest
import torch
import torch.nn.functional as F
from cases import noise
from tolerances import assert_gradient_close, assert_value_close
from torch import Tensor

from aw_ssim import (
    AWSSIMLoss,
    CombinedL1Loss,
    CombinedPerceptualLoss,
    MSAWSSIMLoss,
    MSSSIMLoss,
    SigmaSchedule,
    SSIMLoss,
)


def batch(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Two images of different contrast, and noisy copies."""
    x = 0.5 + torch.tensor([0.1, 0.3]).view(2, 1, 1, 1) * noise(0, torch.empty(2, 2, 15, 18))
    return x.to(dtype), (x + 0.1 * noise(1, x)).to(dtype)


def soft_mask() -> Tensor:
    """Weights of the pixels, a part of them 0."""
    mask = noise(2, torch.empty(2, 1, 15, 18)).abs() * (noise(3, torch.empty(2, 1, 15, 18)) > -0.5)
    mask[1, :, :, 12:] = 0
    return mask


def reduced(values: Tensor, counts: Tensor, reduction: str) -> Tensor:
    weighted = values * counts
    return {
        "none": weighted,
        "mean": weighted.sum() / counts.sum(),
        "sum": weighted.sum(),
        "image": weighted.sum((1, 2, 3)) / counts.sum((1, 2, 3)),
    }[reduction]


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("smoothed", [False, True], ids=["pixels", "smoothed"])
@pytest.mark.parametrize("padding", ["valid", "same", "zeros"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "image", "none"])
def test_against_the_oracle(reduction: str, padding: str, smoothed: bool, masked: bool) -> None:
    """Values and both gradients of L1 alone, under an upstream gradient that is not 1."""
    x, y = (image.requires_grad_() for image in batch())
    mask = soft_mask() if masked else None
    options: dict[str, Any] = {"padding": padding, "window_size": 7, "data_range": 2.0}
    loss = CombinedL1Loss(SSIMLoss(**options, reduction=reduction), mix=0, smoothed=smoothed)
    value = loss(x, y, mask)
    values, counts = oracle.absolute_differences(x, y, smoothed=smoothed, mask=mask, **options)
    if reduction == "none" and padding == "valid" and not smoothed:
        values, counts = values[..., 3:-3, 3:-3], counts[..., 3:-3, 3:-3]
    expected = reduced(values, counts, reduction)
    torch.testing.assert_close(value.double(), expected, atol=1e-6, rtol=1e-5)
    upstream = noise(4, value) - 2
    gradients = torch.autograd.grad(value, (x, y), upstream)
    references = torch.autograd.grad(expected, (x, y), upstream.double())
    for gradient, reference in zip(gradients, references, strict=True):
        assert_gradient_close(gradient, reference.double(), torch.float32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    """Half images are computed in float32, also under autocast."""
    x, y = (image.requires_grad_() for image in batch(dtype))
    loss = CombinedL1Loss(SSIMLoss(window_size=5), mix=0, smoothed=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(x, y)
    values, counts = oracle.absolute_differences(x, y, smoothed=True, window_size=5)
    expected = reduced(values, counts, "mean")
    assert value.dtype == torch.promote_types(dtype, torch.float32)
    assert_value_close(value, expected, dtype)
    gradient, reference = (torch.autograd.grad(v, x)[0] for v in (value, expected))
    assert_gradient_close(gradient, reference.double(), dtype)


def test_the_mix_is_of_both_terms_and_of_one_scale(backend: str) -> None:
    x, y = batch()
    loss = CombinedL1Loss(AWSSIMLoss("carpet", backend=backend), mix=0.84)
    expected = 0.84 * AWSSIMLoss("carpet", backend=backend)(x, y) + 0.16 * F.l1_loss(x, y)
    torch.testing.assert_close(loss(x, y), expected)
    scaled = CombinedL1Loss(AWSSIMLoss("carpet", data_range=255, backend=backend), mix=0.84)
    torch.testing.assert_close(scaled(255 * x, 255 * y), expected, atol=1e-6, rtol=1e-5)
    each = loss(255 * x, 255 * y, data_range=torch.tensor([255.0, 255.0]))
    torch.testing.assert_close(each, expected, atol=1e-6, rtol=1e-5)
    assert abs(float(loss(x, x))) < 1e-6


def test_3d_gaussian_splatting() -> None:
    """0.8 L1 + 0.2 (1 - s), over zeros, as its trainer writes it."""
    x, y = batch(torch.float64)
    line = torch.from_numpy(oracle.gaussian(11, 1.5))
    window = torch.outer(line, line).expand(2, 1, 11, 11)

    def blur(image: Tensor) -> Tensor:
        return F.conv2d(image, window, padding=5, groups=2)

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    s = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    expected = (1 - 0.2) * (x - y).abs().mean() + 0.2 * (1 - s.mean())
    actual = CombinedL1Loss(SSIMLoss(padding="zeros"), mix=0.2)(x, y)
    torch.testing.assert_close(actual, expected, atol=1e-12, rtol=0)


def test_zhao() -> None:
    """0.84 MS-SSIM + 0.16 G * L1, G being the window, over pytorch-msssim's MS-SSIM."""
    msssim = pytest.importorskip("pytorch_msssim")
    x = 0.5 + 0.1 * noise(0, torch.empty(1, 1, 176, 192))
    y = x + 0.05 * noise(1, x)
    line = torch.from_numpy(oracle.gaussian(11, 1.5)).float()
    smooth = F.conv2d((x - y).abs(), torch.outer(line, line)[None, None]).mean()
    theirs = msssim.MS_SSIM(data_range=1.0, channel=1)(x, y)
    expected = 0.84 * (1 - theirs) + 0.16 * smooth
    actual = CombinedL1Loss(MSSSIMLoss(), mix=0.84, smoothed=True)(x, y)
    torch.testing.assert_close(actual, expected, atol=3e-5, rtol=0)


def test_pytorch_msssim_and_l1() -> None:
    msssim = pytest.importorskip("pytorch_msssim")
    x, y = batch(torch.float64)
    expected = 0.5 * (1 - msssim.SSIM(data_range=1.0, channel=2)(x, y)) + 0.5 * F.l1_loss(x, y)
    torch.testing.assert_close(CombinedL1Loss(mix=0.5)(x, y), expected, atol=3e-5, rtol=0)


@pytest.mark.filterwarnings("default")
def test_kornia_smooths_l1_over_zeros() -> None:
    """The L1 part of its MS_SSIMLoss: a window of 33 taps and sigma 8."""
    losses = pytest.importorskip("kornia.losses")
    x = 0.5 + 0.1 * noise(0, torch.empty(1, 3, 40, 36))
    y = x + 0.05 * noise(1, x)
    theirs = losses.MS_SSIMLoss(alpha=0.0, compensation=1.0)(x, y)
    structural = SSIMLoss(window_size=33, sigma=8.0, padding="zeros", backend="torch")
    ours = CombinedL1Loss(structural, mix=0, smoothed=True)(x, y)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("reduction", ["mean", "sum", "image"])
@pytest.mark.parametrize("kind", [MSSSIMLoss, MSAWSSIMLoss])
def test_over_scales_planes_count_alike(kind: Any, reduction: str) -> None:
    """As in the multi-scale losses, whatever a mask shows of a plane; a hidden one has no loss."""
    x, y = batch()
    mask = soft_mask()
    if reduction != "image":
        mask[1] = 0
    structural = kind(scale_weights=(0.5, 0.5), window_size=5, reduction=reduction)
    weighted = (x - y).abs() * mask
    planes = weighted.sum((2, 3)) / mask.sum((2, 3)).clamp(min=1e-9)
    expected = {"mean": planes.mean(), "sum": planes.sum(), "image": planes.mean(1)}[reduction]
    actual = CombinedL1Loss(structural, mix=0)(x, y, mask)
    torch.testing.assert_close(actual, expected)
    both = CombinedL1Loss(structural, mix=0.5)(x, y, mask)
    torch.testing.assert_close(both, 0.5 * structural(x, y, mask) + 0.5 * expected)


@pytest.mark.parametrize("smoothed", [False, True])
def test_masked_pixels_hold_anything(smoothed: bool) -> None:
    x, y = batch()
    mask = soft_mask()
    hidden = (mask == 0).expand(x.shape)
    dirty = x.clone()
    dirty[hidden] = torch.nan
    dirty.requires_grad_()
    loss = CombinedL1Loss(SSIMLoss(padding="same", window_size=5), smoothed=smoothed)
    value = loss(dirty, y, mask)
    (gradient,) = torch.autograd.grad(value, dirty)
    torch.testing.assert_close(value, loss(torch.where(hidden, 0, x), y, mask))
    assert gradient.isfinite().all()
    assert not gradient[hidden].any()
    assert gradient[~hidden].all()


@pytest.mark.parametrize("smoothed", [False, True])
def test_identical_images_have_no_loss_and_no_gradient(smoothed: bool) -> None:
    x = batch()[0].requires_grad_()
    value = CombinedL1Loss(smoothed=smoothed, mix=0)(x, x.detach().clone())
    assert float(value.detach()) == 0
    assert not torch.autograd.grad(value, x)[0].any()


# Torch imports its forward-mode formulas by way of the compiler that it deprecates.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")
@pytest.mark.parametrize("smoothed", [False, True])
def test_transforms(smoothed: bool) -> None:
    """Second derivatives, forward mode, torch.func and torch.compile give what eager mode does."""
    x, y = (image[:, :1, :4, :5] for image in batch(torch.float64))
    loss = CombinedL1Loss(
        SSIMLoss(window_size=3, backend="torch"), mix=0.5, smoothed=smoothed
    ).double()
    leaf = x.clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (leaf, y), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(loss, (leaf, y))
    (expected,) = torch.autograd.grad(loss(leaf, y), leaf)
    torch.testing.assert_close(torch.func.grad(loss)(x, y), expected)
    of_each = torch.func.vmap(torch.func.grad(loss))(x[:, None], y[:, None])
    alone = torch.func.grad(loss)(x[:1], y[:1])
    torch.testing.assert_close(of_each[0], alone)
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    (gradient,) = torch.autograd.grad(compiled(leaf, y), leaf)
    torch.testing.assert_close(gradient, expected)
    torch._dynamo.reset()


def test_a_learned_sigma_receives_its_gradient() -> None:
    x, y = batch(torch.float64)
    sigma = torch.tensor(1.2, dtype=torch.float64, requires_grad=True)

    def l1(sigma: Tensor) -> Tensor:
        structural = SSIMLoss(sigma=sigma, window_size=5, padding="zeros")
        return CombinedL1Loss(structural, mix=0, smoothed=True)(x, y)

    assert torch.autograd.gradcheck(l1, sigma)
    assert torch.autograd.grad(l1(sigma), sigma)[0] != 0


def test_a_schedule_widens_both_windows() -> None:
    x, y = batch()
    loss = CombinedL1Loss(
        SSIMLoss(sigma=SigmaSchedule(0.5, 1.0), window_size=5), mix=0, smoothed=True
    )
    first = loss(x, y)
    loss.structural.sigma.step()
    expected = CombinedL1Loss(SSIMLoss(sigma=1.5, window_size=5), mix=0, smoothed=True)(x, y)
    torch.testing.assert_close(loss(x, y), expected)
    assert loss(x, y) != first


def test_kept_for_backward_are_the_images_alone() -> None:
    x, y = (image.requires_grad_() for image in batch())
    kept: set[int] = set()

    def pack(tensor: Tensor) -> Tensor:
        if tensor.numel() >= x.numel():
            kept.add(tensor.untyped_storage().data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        CombinedL1Loss(SSIMLoss(backend="analytic"), mix=0)(x, y)
    images = {image.untyped_storage().data_ptr() for image in (x, y)}
    # The structural loss keeps its two gradients.
    assert images <= kept
    assert len(kept) == 4


def test_copies_and_print() -> None:
    loss = CombinedL1Loss(SSIMLoss(padding="zeros"), mix=0.2, smoothed=True)
    x, y = batch()
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert repr(twin) == repr(loss)
        assert torch.equal(twin(x, y), loss(x, y))
    assert "mix=0.2, smoothed=True" in repr(loss)
    assert "padding='zeros'" in repr(loss)


def test_inside_the_mix_with_lpips() -> None:
    class Distance(torch.nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return (x - y).square().mean((1, 2, 3))

    x, y = (image.clamp(0, 1) for image in batch())
    inner = CombinedL1Loss(AWSSIMLoss(window_size=5), mix=0.5)
    mixed = CombinedPerceptualLoss(inner, mix=0.8, perceptual=Distance())
    expected = 0.8 * inner(x, y) + 0.2 * (2 * (x - y)).square().mean()
    torch.testing.assert_close(mixed(x, y), expected)
    with pytest.raises(ValueError, match="structural: expected reduction='mean', got 'image'"):
        CombinedPerceptualLoss(CombinedL1Loss(AWSSIMLoss(reduction="image")), perceptual=Distance())


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"structural": torch.nn.MSELoss()}, TypeError, "Add torch.nn.functional.l1_loss"),
        ({"mix": 1.5}, ValueError, "mix: expected a number from 0 to 1, got 1.5"),
        ({"smoothed": 1}, TypeError, "smoothed: expected True or False, got 1"),
    ],
)
def test_errors(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        CombinedL1Loss(**arguments)
    assert words in str(caught.value)
