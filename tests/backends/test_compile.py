"""One compiled graph, without breaks, for a whole sigma schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from cases import PAIRS, noise
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from aw_ssim import AWSSIMLoss, SigmaSchedule, aw_ssim, ssim_components


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    # What Inductor of torch 2.4 compiles makes the processor round the smallest floats to 0, for
    # the rest of the process.
    torch.set_flush_denormal(False)


def training_step(
    loss: Callable[..., Tensor], x: Tensor, y: Tensor, **arguments: Any
) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    value = loss(x, y, **arguments)
    (gradient,) = torch.autograd.grad(value, x)
    return value.detach(), gradient


def test_inductor_serves_a_schedule_with_one_graph(backend: str) -> None:
    loss = AWSSIMLoss((0.2, 0.3, 0.5), sigma=SigmaSchedule(0.5, 0.5), backend=backend)
    compiled = torch.compile(loss, fullgraph=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(4):
            actual = training_step(compiled, *PAIRS["noisy"])
            expected = training_step(loss, *PAIRS["noisy"])
            torch.testing.assert_close(actual[0], expected[0], atol=1e-6, rtol=0)
            scale = float(expected[1].abs().max())
            torch.testing.assert_close(actual[1], expected[1], atol=1e-4 * scale, rtol=0)
            loss.sigma.step()


def test_one_graph_for_sigma_as_a_tensor(backend: str) -> None:
    counter = CompileCounter()
    x, y = PAIRS["noisy"]

    @torch.compile(backend=counter, fullgraph=True)
    def similarity(sigma: Tensor) -> Tensor:
        return aw_ssim(x, y, sigma=sigma, reduction="none", backend=backend)

    for sigma in (0.5, 1.5, 2.5, 4.0):
        expected = aw_ssim(x, y, sigma=sigma, reduction="none", backend=backend)
        torch.testing.assert_close(similarity(torch.tensor(sigma)), expected, atol=1e-5, rtol=0)
    assert counter.frame_count == 1


def test_masks_compile(backend: str) -> None:
    """The mask's values are checked in eager mode alone: a check would break the graph."""
    counter = CompileCounter()
    loss = AWSSIMLoss(padding="same", backend=backend)
    compiled = torch.compile(loss, backend=counter, fullgraph=True)
    x, y = PAIRS["noisy"]
    for seed in (3, 4):
        mask = noise(seed, x) > 0
        actual = training_step(compiled, x, y, mask=mask)
        for left, right in zip(actual, training_step(loss, x, y, mask=mask), strict=True):
            torch.testing.assert_close(left, right, atol=1e-6, rtol=1e-4)
    assert counter.frame_count == 1


def test_components_and_double_precision_compile(complete_backend: str) -> None:
    backend = complete_backend
    compiled = torch.compile(ssim_components, backend="eager", fullgraph=True)
    pair = [image.double() for image in PAIRS["noisy"]]
    expected = ssim_components(*pair, backend=backend)
    for left, right in zip(compiled(*pair, backend=backend), expected, strict=True):
        torch.testing.assert_close(left, right, atol=1e-9, rtol=0)


def test_shapes_may_change(backend: str) -> None:
    counter = CompileCounter()
    compiled = torch.compile(
        AWSSIMLoss(backend=backend), backend=counter, fullgraph=True, dynamic=True
    )
    for height, width in ((20, 24), (31, 26), (48, 33)):
        x, y = (image[..., :height, :width].contiguous() for image in PAIRS["noisy"])
        expected = AWSSIMLoss(backend=backend)(x, y)
        torch.testing.assert_close(compiled(x, y), expected, atol=1e-6, rtol=0)
    # Torch 2.4 compiles for the first sizes alone, then once for all.
    assert counter.frame_count == (2 if torch.__version__.startswith("2.4.") else 1)


def test_every_size_may_change_in_training() -> None:
    """N and C too: the sums' gradient is expanded, and C was once traced as its stride of 0."""
    loss = AWSSIMLoss(backend="analytic")
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=True)
    for shape in ((2, 3, 24, 24), (4, 1, 20, 26), (3, 5, 24, 31)):
        x, y = noise(1, torch.empty(shape)), noise(2, torch.empty(shape))
        expected = training_step(loss, x, y)
        for left, right in zip(training_step(compiled, x, y), expected, strict=True):
            torch.testing.assert_close(left, right, atol=1e-6, rtol=1e-4)


def test_weights_that_change_stay_in_one_graph() -> None:
    x, y = PAIRS["noisy"]
    compiled = torch.compile(
        lambda a: aw_ssim(x, y, (a, 1.0, 1.0), backend="analytic"),
        backend="eager",
        fullgraph=True,
        dynamic=True,
    )
    for a in (1.0, 2.5, 0.25):
        expected = aw_ssim(x, y, (a, 1.0, 1.0), backend="analytic")
        torch.testing.assert_close(compiled(a), expected, atol=1e-6, rtol=0)
