"""Which backend is chosen, and the reason given."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from refusals import refuses

from aw_ssim import AWSSIMLoss, availability, aw_ssim, choose_backend

X = torch.linspace(0, 1, 300).reshape(1, 1, 15, 20)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_auto_prefers_the_fastest(dtype: torch.dtype) -> None:
    pytest.importorskip("numba", reason="numba is optional: the extra aw_ssim[cpu]")
    for mask in (None, X > 0.5):
        assert choose_backend("auto", X.to(dtype), X, 1.5, mask).name == "numba"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"window_size": 35}, "at most 33 wide"),
        ({"y": X.double()}, "the images are float64"),
    ],
)
def test_auto_takes_the_closed_form_without_numba_where_it_must(
    options: dict[str, Any], reason: str
) -> None:
    arguments = {"x": X, "y": X, "sigma": 1.5} | options
    choice = choose_backend("auto", **arguments)
    assert choice.name == "analytic"
    assert reason in choice.reason
    with pytest.raises(ValueError, match=f"backend: 'numba' cannot compute this: .*{reason}"):
        choose_backend("numba", **arguments)


@pytest.mark.parametrize("release", [None, "0.60.1"])
def test_without_a_recent_numba(release: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    # None makes the import fail.
    module = None if release is None else SimpleNamespace(__version__=release)
    monkeypatch.setitem(sys.modules, "numba", module)
    availability._why_not_numba.cache_clear()
    try:
        choice = choose_backend("auto", X, X, 1.5)
        assert choice.name == "analytic"
        expected = (
            "aw_ssim[cpu] brings it" if release is None else "numba 0.61 or later, and 0.60.1"
        )
        assert expected in choice.reason
        with pytest.raises(ValueError, match="Use backend='torch' or 'auto'"):
            aw_ssim(X, X, backend="numba")
        assert torch.equal(aw_ssim(X, 1 - X), aw_ssim(X, 1 - X, backend="analytic"))
    finally:
        availability._why_not_numba.cache_clear()


def test_auto_takes_the_definition_where_it_must() -> None:
    differentiable = torch.tensor(1.5, requires_grad=True)
    for choice, word in (
        (choose_backend("auto", X, X, sigma=differentiable), "sigma"),
        (choose_backend("auto", X, X, 1.5, torch.ones_like(X).requires_grad_()), "mask"),
    ):
        assert choice.name == "torch"
        assert word in choice.reason
    elsewhere = choose_backend("auto", X.to("meta"), X.to("meta"), sigma=1.5)
    assert elsewhere.name == "analytic"
    assert "meta" in elsewhere.reason


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_named_backend_is_taken(dtype: torch.dtype, backend: str) -> None:
    if refuses(
        backend, lambda: aw_ssim(X, X.to(dtype), backend=backend), double=dtype == torch.float64
    ):
        return
    assert choose_backend(backend, X.to(dtype), X.to(dtype), sigma=1.5).name == backend


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_backends_agree(dtype: torch.dtype) -> None:
    y = X.flip(-1).to(dtype)
    values = [aw_ssim(X.to(dtype), y, backend=name) for name in ("torch", "analytic", "auto")]
    assert len({value.dtype for value in values}) == 1
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_shapes_are_inferred_without_data(reduction: str, complete_backend: str) -> None:
    x = torch.empty(2, 3, 20, 24, device="meta")
    for padding, shape in (("valid", (2, 3, 10, 14)), ("same", (2, 3, 20, 24))):
        loss = AWSSIMLoss(reduction=reduction, padding=padding, backend=complete_backend)
        assert loss(x, x).shape == (() if reduction == "mean" else shape)
