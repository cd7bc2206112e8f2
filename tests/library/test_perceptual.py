"""The mix of a structural and a perceptual loss: shares, ranges, options and state."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from cases import colours
from torch import Tensor, nn

from aw_ssim import AWSSIMLoss, CombinedPerceptualLoss, SigmaSchedule, SSIMLoss


class Recorder(nn.Module):
    """A perceptual module that keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.seen = [x, y]
        return (x - y).square().mean((1, 2, 3), keepdim=True)


@pytest.mark.parametrize("mix", [0.0, 0.3, 0.8, 1.0])
def test_mix(mix: float) -> None:
    x, y = colours()
    combined = CombinedPerceptualLoss(mix=mix, perceptual=Recorder())
    distance = float((2 * x - 2 * y).square().mean())
    expected = mix * float(AWSSIMLoss()(x, y)) + (1 - mix) * distance
    value = combined(x, y)
    assert value.shape == ()
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_mix_is_mostly_structural_by_default() -> None:
    x, y = colours()
    default = CombinedPerceptualLoss(perceptual=Recorder())(x, y)
    assert torch.equal(default, CombinedPerceptualLoss(perceptual=Recorder(), mix=0.8)(x, y))


@pytest.mark.parametrize("mix", [-0.1, 1.5, math.nan, "a"])
def test_mix_outside_its_range(mix: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="mix"):
        CombinedPerceptualLoss(mix=mix, perceptual=Recorder())


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_images_reach_the_network_in_minus_one_to_one(data_range: float) -> None:
    x, y = colours()
    recorder = Recorder()
    combined = CombinedPerceptualLoss(perceptual=recorder, data_range=data_range)
    value = combined(data_range * x, data_range * y)
    for seen, image in zip(recorder.seen, (x, y), strict=True):
        torch.testing.assert_close(seen, 2 * image - 1, atol=1e-6, rtol=0)
    expected = CombinedPerceptualLoss(perceptual=Recorder())(x, y)
    torch.testing.assert_close(value, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        ({"structural": AWSSIMLoss(data_range=255.0)}, ValueError, "data_range"),
        ({"structural": AWSSIMLoss(reduction="none")}, ValueError, "reduction"),
        ({"structural": "carpet"}, TypeError, "structural"),
        ({"perceptual": "alex"}, TypeError, "perceptual"),
        ({"perceptual": Recorder(), "trunk_weights": "file.pth"}, ValueError, "trunk_weights"),
        ({"perceptual": Recorder(), "data_range": 0}, ValueError, "data_range"),
        ({"structural": AWSSIMLoss(data_range=torch.ones(2))}, ValueError, "data_range"),
        ({"value_range": (1, -1)}, ValueError, r"Use \(-1, 1\)"),
        ({"value_range": 2.0}, TypeError, r"such as \(-1, 1\), got 2.0"),
        ({"value_range": (-1, 1), "data_range": 255}, ValueError, "Leave data_range out"),
    ],
    ids=[
        "data range",
        "reduction",
        "not a loss",
        "not a module",
        "two networks",
        "range of 0",
        "tensor of ranges",
        "falling range",
        "no pair",
        "both ranges",
    ],
)
def test_options_that_do_not_fit(
    arguments: dict[str, Any], error: type[Exception], word: str
) -> None:
    with pytest.raises(error, match=word):
        CombinedPerceptualLoss(**arguments)


def test_any_structural_loss() -> None:
    x, y = colours()
    structural = SSIMLoss(padding="same")
    combined = CombinedPerceptualLoss(structural, mix=1.0, perceptual=Recorder())
    torch.testing.assert_close(combined(x, y), structural(x, y), atol=1e-6, rtol=0)


def test_the_schedule_belongs_to_the_state() -> None:
    def make() -> CombinedPerceptualLoss:
        return CombinedPerceptualLoss(
            AWSSIMLoss(sigma=SigmaSchedule(0.5, 0.5)), mix=1.0, perceptual=Recorder()
        )

    combined, fresh = make(), make()
    combined.structural.sigma.step()
    fresh.load_state_dict(combined.state_dict())
    assert torch.equal(combined(*colours()), fresh(*colours()))
    assert not torch.equal(combined(*colours()), make()(*colours()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_images_reach_the_network_in_float32(dtype: torch.dtype) -> None:
    seen: list[torch.Tensor] = []

    class Recorder(torch.nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            seen.extend((x.detach(), y.detach()))
            return (x - y).square()

    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    prediction = x.clone().requires_grad_()
    CombinedPerceptualLoss(perceptual=Recorder())(prediction, x.float()).backward()
    for image in seen:
        assert torch.equal(image, x.float() * 2 - 1)
    assert prediction.grad is not None
    assert prediction.grad.dtype == dtype


def test_a_range_of_values_shifts_both_terms() -> None:
    x, y = colours()
    combined = CombinedPerceptualLoss(perceptual=Recorder(), value_range=(-1, 1))
    expected = CombinedPerceptualLoss(perceptual=Recorder())(x, y)
    torch.testing.assert_close(combined(2 * x - 1, 2 * y - 1), expected, atol=1e-6, rtol=0)
    recorder: Any = combined.perceptual
    torch.testing.assert_close(recorder.seen[0], 2 * x - 1, atol=1e-6, rtol=0)
    assert "value_range=(-1, 1)" in repr(combined)


def test_values_outside_the_range_are_noticed_once_and_the_advice_helps() -> None:
    """A range of 2 with images in [-1, 1] gave a wrong number, silently."""
    x, y = (2 * image - 1 for image in colours())
    with pytest.raises(ValueError, match=r"got -1 to 1.* such as value_range=\(-1, 1\)"):
        CombinedPerceptualLoss(perceptual=Recorder(), data_range=2)(x, y)
    advised = CombinedPerceptualLoss(perceptual=Recorder(), value_range=(-1, 1))
    assert advised(x, y).isfinite()
    with pytest.raises(ValueError, match="or data_range"):
        CombinedPerceptualLoss(perceptual=Recorder())(255 * x, 255 * y)
    # The target of the first call is looked at, not every one.
    assert advised(x, 3 * y).isfinite()


def test_a_mask_reaches_both_terms() -> None:
    x, y = colours()
    mask = torch.ones(len(x), 1, *x.shape[2:])
    mask[..., :32] = 0
    combined = CombinedPerceptualLoss(perceptual=Recorder(), mix=0.5)
    value = combined(x, y, mask)
    hidden = [torch.where(mask > 0, 2 * image - 1, 0) for image in (x, y)]
    perceptual = (hidden[0] - hidden[1]).square().mean()
    expected = 0.5 * AWSSIMLoss()(x, y, mask) + 0.5 * perceptual
    torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-5)
