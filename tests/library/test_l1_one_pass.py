"""L1 in the same pass as the windows, which a backend takes where it can: the numbers of two."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import noise
from tested_backends import BACKENDS
from tolerances import assert_gradient_close
from torch import Tensor

from aw_ssim import AWSSIMLoss, CombinedL1Loss, SSIMLoss


def images(*shape: int) -> tuple[Tensor, Tensor]:
    x = 0.5 + 0.2 * noise(0, torch.empty(shape))
    return x.requires_grad_(), (x.detach() + 0.1 * noise(1, x)).requires_grad_()


def assert_same_gradients(value: Tensor, expected: Tensor, leaves: tuple[Tensor, ...]) -> None:
    upstream = noise(4, value) - 2
    gradients = torch.autograd.grad(value, leaves, upstream)
    references = torch.autograd.grad(expected, leaves, upstream)
    for gradient, reference in zip(gradients, references, strict=True):
        assert_gradient_close(gradient, reference.double(), torch.float32)


@pytest.fixture
def in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """L1 has no pass of its own to fall back on."""
    monkeypatch.delattr(CombinedL1Loss, "_l1")


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
@pytest.mark.parametrize("padding", ["valid", "same", "zeros"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "image"])
def test_value_and_gradients(reduction: str, padding: str, backend: str, in_one_pass: None) -> None:
    x, y = images(2, 2, 15, 18)
    ranges = torch.tensor([0.5, 2.0])
    options: dict[str, Any] = {"padding": padding, "window_size": 7, "reduction": reduction}
    loss = CombinedL1Loss(AWSSIMLoss(**options, backend=backend), mix=0.3)
    apart = (x - y).abs() / ranges.view(2, 1, 1, 1)
    l1 = {"mean": apart.mean(), "sum": apart.sum(), "image": apart.mean((1, 2, 3))}[reduction]
    value, expected = loss(x, y, None, ranges), loss.structural(x, y, None, ranges)
    expected = 0.3 * expected + 0.7 * l1
    torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-5)
    assert_same_gradients(value, expected, (x, y))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_larger_than_what_is_worked_on_at_once(
    padding: str, backend: str, in_one_pass: None
) -> None:
    x, y = images(1, 1, 300, 530)
    loss = CombinedL1Loss(SSIMLoss(window_size=3, padding=padding, backend=backend), mix=0.5)
    value, expected = loss(x, y), 0.5 * loss.structural(x, y) + 0.5 * (x - y).abs().mean()
    torch.testing.assert_close(value, expected)
    assert_same_gradients(value, expected, (x, y))
    with torch.no_grad():
        torch.testing.assert_close(loss(x, y), value)


def test_volumes(in_one_pass: None) -> None:
    x, y = images(1, 2, 20, 60, 70)
    loss = CombinedL1Loss(SSIMLoss(window_size=5), mix=0.5)
    value, expected = loss(x, y), 0.5 * loss.structural(x, y) + 0.5 * (x - y).abs().mean()
    torch.testing.assert_close(value, expected)
    assert_same_gradients(value, expected, (x, y))


def test_half_and_channels_last(in_one_pass: None) -> None:
    x, y = (image.detach().to(memory_format=torch.channels_last) for image in images(2, 3, 20, 30))
    x, y = x.requires_grad_(), y.half()
    loss = CombinedL1Loss(SSIMLoss(window_size=5), mix=0.5)
    value, expected = loss(x, y), 0.5 * loss.structural(x, y) + 0.5 * (x - y).abs().mean()
    torch.testing.assert_close(value, expected)
    assert_same_gradients(value, expected, (x,))


def test_a_vanishing_share_of_windows_is_no_overflow() -> None:
    x, y = images(1, 1, 15, 18)
    value = CombinedL1Loss(SSIMLoss(), mix=1e-39)(x, y)
    torch.testing.assert_close(value, (x - y).abs().mean())
    value.backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_who_listens_to_the_structural_loss_hears_it_alone() -> None:
    x, y = images(1, 1, 15, 18)
    loss, heard = CombinedL1Loss(SSIMLoss(), mix=0.2), []
    loss.structural.register_forward_hook(lambda module, inputs, value: heard.append(value))
    value = loss(x, y)
    torch.testing.assert_close(value, 0.2 * heard[0] + 0.8 * (x - y).abs().mean())


def test_a_loss_saved_whole_before_there_was_l1() -> None:
    x, y = images(1, 1, 15, 18)
    loss = SSIMLoss()
    del loss.__dict__["l1"]
    torch.testing.assert_close(loss(x, y), SSIMLoss()(x, y))
