"""The Triton kernel and torch's machinery: operators, transforms, compilation, CUDA graphs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.library import opcheck
from triton_cases import DEVICE, only_where_it_runs, pair

from aw_ssim import AWSSIMLoss, aw_ssim, choose_backend
from aw_ssim.backends import operators
from aw_ssim.gaussian_window import gaussian_window
from aw_ssim.options import Options

pytestmark = only_where_it_runs


def test_the_operators_pass_opcheck() -> None:
    x, y = (image.to(DEVICE) for image in pair(5, 6, channels=1))
    options = Options((0.5, 0.3, 0.2), window_size=3, backend="triton")
    taps = gaussian_window(3, 1.0, device=DEVICE)
    upstream = torch.ones(3, 1, 1, 3, 4, device=DEVICE)
    for up, maps, need_x, need_y in (
        (None, False, True, False),
        (None, True, False, False),
        (upstream, False, False, True),
    ):
        wanted = (up, "triton_gpu", maps, need_x, need_y)
        opcheck(operators.compare, (x, y, taps, None, *wanted, *options))


def test_function_transforms() -> None:
    x, y = (image.to(DEVICE) for image in pair(5, 6))
    batch = torch.stack([x, y])

    def loss(image: Tensor) -> Tensor:
        return aw_ssim(image, y, window_size=3, backend="triton")

    leaf = x.clone().requires_grad_()
    loss(leaf).backward()
    torch.testing.assert_close(torch.func.grad(loss)(x), leaf.grad)
    values = torch.func.vmap(loss)(batch)
    torch.testing.assert_close(values, torch.stack([loss(x), loss(y)]))
    gradients = torch.func.vmap(torch.func.grad(loss))(batch)
    torch.testing.assert_close(gradients[0], leaf.grad)


# torch's own first import of forward derivatives says this.
@pytest.mark.filterwarnings("ignore:.torch.jit.script.:FutureWarning")
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_higher_derivatives_name_the_torch_backend(reduction: str) -> None:
    x, y = (image.to(DEVICE) for image in pair(5, 6))

    def loss(image: Tensor) -> Tensor:
        value = AWSSIMLoss(reduction=reduction, window_size=3, backend="triton")(image, y)
        assert isinstance(value, Tensor)
        return value.sum()

    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match='backend="torch"'):
        gradient.sum().backward()
    with pytest.raises(NotImplementedError, match='backend="torch"'):
        torch.func.jvp(loss, (x,), (y,))


def test_compiled_once_for_every_sigma() -> None:
    x, y = (image.to(DEVICE) for image in pair(5, 6))
    sigma = torch.tensor(0.7, device=DEVICE)
    eager = AWSSIMLoss(sigma=sigma, window_size=3, backend="triton")
    torch._dynamo.reset()
    compiled = torch.compile(eager, fullgraph=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for value in (0.7, 1.0, 1.4):
            eager.get_buffer("sigma").fill_(value)
            leaf, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
            compiled(leaf, y).backward()
            eager(twin, y).backward()
            assert leaf.grad is not None
            assert twin.grad is not None
            torch.testing.assert_close(leaf.grad, twin.grad)


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU: CUDA graphs")
def test_a_cuda_graph_follows_sigma() -> None:
    x, y = (image.to(DEVICE) for image in pair(64, 64))
    sigma = torch.tensor(0.7, device=DEVICE)
    loss = AWSSIMLoss(sigma=sigma, backend="triton")
    leaf = x.clone().requires_grad_()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        loss(leaf, y).backward()
    torch.cuda.current_stream().wait_stream(stream)
    leaf.grad = None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss(leaf, y).backward()
    assert leaf.grad is not None
    for value in (0.7, 2.0):
        loss.get_buffer("sigma").fill_(value)
        graph.replay()
        twin = x.clone().requires_grad_()
        aw_ssim(twin, y, sigma=value, backend="torch").backward()
        assert twin.grad is not None
        torch.testing.assert_close(leaf.grad, -twin.grad, rtol=1e-3, atol=1e-7)


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU with 40 GiB of free memory")
def test_more_than_two_to_the_31_elements() -> None:
    if torch.cuda.mem_get_info()[0] < 40 * 2**30:
        pytest.skip("needs a GPU with 40 GiB of free memory")
    x = torch.rand(1, 1, 64, 64, device=DEVICE, dtype=torch.float16)
    big = x.expand(2**19 + 8, 1, 64, 64).contiguous().requires_grad_()
    target = x.flip(-1).expand_as(big)
    loss = aw_ssim(big, target, backend="triton", reduction="sum")
    loss.backward()
    small = x.clone().requires_grad_()
    aw_ssim(small, x.flip(-1), backend="triton", reduction="sum").backward()
    assert big.grad is not None
    assert small.grad is not None
    assert torch.equal(big.grad[-1], small.grad[0])


def test_auto_takes_the_kernel_on_a_gpu_only() -> None:
    x, y = (image.to(DEVICE) for image in pair())
    chosen = choose_backend("auto", x, y, 1.5).name
    assert (chosen == "triton") == (DEVICE != "cpu")
    assert choose_backend("triton", x, y, 1.5).name == "triton"
