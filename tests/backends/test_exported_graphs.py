"""Graphs that leave Python: torch.export, both ONNX exporters, torch.jit.trace."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import PAIRS
from torch import Tensor

from aw_ssim import AWSSIMLoss, SigmaSchedule, SSIMLoss

LOSSES: dict[str, Any] = {
    "mean": lambda: AWSSIMLoss(),
    "map": lambda: SSIMLoss(reduction="none", padding="same"),
    "schedule": lambda: AWSSIMLoss(sigma=SigmaSchedule(0.5, 0.1)),
}
# Exporters and the traced checks warn, of torch's own interfaces.
pytestmark = pytest.mark.filterwarnings("ignore")


def pair() -> tuple[Tensor, Tensor]:
    """Two images, so that a mean over one alone shows."""
    x, y = PAIRS["noisy"]
    return torch.cat((x, x.flip(-1))), torch.cat((y, y))


def gradient(loss: Any, x: Tensor, y: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(x, y).sum(), x)
    return found


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
def test_torch_export(make: Any) -> None:
    """For any size, in plain torch operations, and it can be trained with."""
    loss = make().eval()
    x, y = pair()
    sizes = {0: torch.export.Dim("n"), 2: torch.export.Dim("h", min=16)}
    exported = torch.export.export(
        loss, (x, y), dynamic_shapes={"prediction": sizes, "target": sizes}
    )
    if not hasattr(torch.compiler, "is_exporting"):
        pytest.skip("this torch does not say that it is exporting: it needs backend='torch'")
    assert "aw_ssim" not in exported.graph_module.code
    module = exported.module()
    for images in ((x, y), (x[:1, :, :30], y[:1, :, :30])):
        torch.testing.assert_close(module(*images), loss(*images), atol=1e-6, rtol=0)
        expected = gradient(loss, *images)
        scale = float(expected.abs().max())
        torch.testing.assert_close(gradient(module, *images), expected, atol=1e-5 * scale, rtol=0)


@pytest.mark.parametrize("dynamo", [True, False], ids=["torch.export", "tracing"])
@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
def test_onnx(make: Any, dynamo: bool, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    if dynamo:
        pytest.importorskip("onnxscript")
    loss = make().eval()
    images = pair()
    torch.onnx.export(loss, images, str(tmp_path / "loss.onnx"), dynamo=dynamo)
    session = runtime.InferenceSession(tmp_path / "loss.onnx")
    inputs = {i.name: v.numpy() for i, v in zip(session.get_inputs(), images, strict=True)}
    (found,) = session.run(None, inputs)
    torch.testing.assert_close(torch.from_numpy(found), loss(*images), atol=2e-6, rtol=0)


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
def test_a_traced_loss_is_saved_and_loaded(make: Any) -> None:
    loss = make().eval()
    images = pair()
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(loss, images), file)
    file.seek(0)
    torch.testing.assert_close(torch.jit.load(file)(*images), loss(*images), atol=2e-6, rtol=0)
