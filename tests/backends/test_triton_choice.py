"""When `auto` takes the Triton kernel, and the reason it gives when it does not. No GPU needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from triton_release import require_triton

from aw_ssim import availability, choose_backend

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter runs on every device"
)


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    availability._why_not_triton.cache_clear()
    yield
    availability._why_not_triton.cache_clear()


def gpu_image(dtype: torch.dtype = torch.float32, device: str = "cuda") -> Tensor:
    """An image that says it is on a GPU; nothing can be computed with it."""
    with FakeTensorMode():
        return torch.empty(1, 1, 15, 20, dtype=dtype, device=device)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chip that Triton supports, on which its trial launches."""
    require_triton()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    monkeypatch.setattr(availability, "trial", lambda device: None)


def reason(x: Tensor) -> str:
    choice = choose_backend("auto", x, x, sigma=1.5)
    assert choice.name == "analytic"
    return choice.reason


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_auto_takes_the_kernel_for_images_on_a_gpu(dtype: torch.dtype) -> None:
    x = gpu_image(dtype)
    choice = choose_backend("auto", x, x, sigma=1.5)
    assert choice.name == "triton"
    assert "cuda" in choice.reason
    assert choose_backend("triton", x, x, sigma=1.5).name == "triton"


@pytest.mark.usefixtures("gpu")
def test_float64_takes_the_closed_form_and_learned_sigmas_the_definition() -> None:
    x, double = gpu_image(), gpu_image(torch.float64)
    sigma = torch.tensor(1.5, requires_grad=True)
    assert "float64" in reason(double)
    assert choose_backend("auto", x, double, sigma=1.5).name == "analytic"
    assert choose_backend("auto", x, x, sigma=sigma).name == "torch"
    with pytest.raises(ValueError, match=r"'triton' cannot.*float64.*backend='torch'"):
        choose_backend("triton", double, x, sigma=1.5)
    with pytest.raises(ValueError, match=r"'triton' cannot.*sigma requires a gradient"):
        choose_backend("triton", x, x, sigma=sigma)


def test_other_devices() -> None:
    with pytest.raises(ValueError, match="CUDA, ROCm and XPU devices, not on meta"):
        choose_backend("triton", *[torch.empty(1, 1, 15, 20, device="meta")] * 2, sigma=1.5)


def test_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    assert "not installed" in reason(gpu_image())


def test_an_old_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    old = ModuleType("triton")
    old.__version__ = "3.2.0+git"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "triton", old)
    assert "needs Triton 3.3 or later, and 3.2.0+git is installed" in reason(gpu_image())


@pytest.mark.usefixtures("gpu")
def test_an_old_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (6, 1))
    assert "compute capability 7.0 or higher, and cuda:0 has 6.1" in reason(gpu_image())


@pytest.mark.usefixtures("gpu")
def test_a_failing_trial_warns_once_and_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: torch.device) -> None:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(availability, "trial", fail)
    x = gpu_image()
    with pytest.warns(UserWarning, match="without its Triton kernel.*C compiler") as warned:
        reasons = [reason(x) for _ in range(2)]
    assert all("RuntimeError: Failed to find C compiler" in text for text in reasons)
    assert len(warned) == 1
