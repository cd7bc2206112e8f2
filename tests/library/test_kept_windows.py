"""The window of a plain sigma is kept from call to call, and nobody can tell."""

from __future__ import annotations

import pytest
import torch
from cases import PAIRS
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from aw_ssim import aw_ssim, gaussian_window
from aw_ssim.gaussian_window import MOST_KEPT, window_for

X, Y = PAIRS["noisy"]


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian_window, "_kept", {})


def test_it_is_made_once_for_each_size_sigma_and_dtype() -> None:
    made = window_for(X, 11, 1.5, torch.float32)
    assert window_for(Y, 11, 1.5, torch.float32) is made
    for size, sigma, dtype in (
        (9, 1.5, torch.float32),
        (11, 2.5, torch.float32),
        (11, 1.5, torch.float64),
    ):
        other = window_for(X, size, sigma, dtype)
        assert torch.equal(other, gaussian_window.gaussian_window(size, sigma, dtype=dtype))


def test_a_sigma_in_a_tensor_is_read_at_each_call() -> None:
    sigma = torch.tensor(1.5)
    before = aw_ssim(X, Y, sigma=sigma)
    sigma += 1
    assert torch.equal(aw_ssim(X, Y, sigma=sigma), aw_ssim(X, Y, sigma=2.5))
    assert torch.equal(before, aw_ssim(X, Y, sigma=1.5))
    assert len(gaussian_window._kept) == 2


def test_a_sigma_that_changes_for_ever_fills_no_memory() -> None:
    for i in range(3 * MOST_KEPT):
        window_for(X, 11, 1 + i / 100, torch.float32)
        assert len(gaussian_window._kept) <= MOST_KEPT


def test_first_made_in_inference_mode_it_serves_a_training(backend: str) -> None:
    with torch.inference_mode():
        expected = aw_ssim(X, Y, reduction="none", backend=backend)
    x = X.clone().requires_grad_()
    value = aw_ssim(x, Y, reduction="none", backend=backend)
    value.sum().backward()
    assert torch.equal(value, expected)
    assert len(gaussian_window._kept) == 1


def test_what_is_traced_has_its_own(complete_backend: str) -> None:
    def call(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return aw_ssim(x, y, backend=complete_backend)

    for _ in range(2):
        # Before anything is kept, and beside what is.
        with FakeTensorMode() as mode:
            assert call(mode.from_tensor(X), mode.from_tensor(Y)).shape == ()
        graph = make_fx(call, tracing_mode="symbolic")(X, Y)
        expected = call(X, Y)
        torch.testing.assert_close(graph(X, Y), expected, atol=1e-6, rtol=0)
        mapped = torch.func.vmap(call)(X[None], Y[None])
        torch.testing.assert_close(mapped[0], expected, atol=1e-6, rtol=0)
    (kept,) = gaussian_window._kept.values()
    assert type(kept) is torch.Tensor
