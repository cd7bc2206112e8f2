"""The fused Triton kernel: natively on a GPU, otherwise in Triton's interpreter.

The interpreter must be chosen before Triton is imported, so `test_triton_process.py` runs this
file in a process of its own. It is slow: the pictures are small and the windows few.
"""

from __future__ import annotations

import os
from typing import Any

import oracle
import pytest
import torch
from cases import noise
from tolerances import assert_gradient_close, assert_value_close
from torch import Tensor
from torch.library import opcheck

from aw_ssim import AWSSIMLoss, SSIMLoss, aw_ssim, ssim_components
from aw_ssim.backends import choose_backend, operators
from aw_ssim.gaussian_window import gaussian_window

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"
pytestmark = pytest.mark.skipif(
    DEVICE == "cpu" and not INTERPRETED,
    reason="without a GPU this file runs in a process of its own: test_triton_process.py",
)

WEIGHTS = (0.5, 0.3, 0.2)


def pair(height: int = 7, width: int = 9, channels: int = 2) -> tuple[Tensor, Tensor]:
    x = 0.5 + 0.2 * noise(0, torch.empty(1, channels, height, width))
    return x, x + 0.1 * noise(1, x)


def some_mask(x: Tensor, channels: int = 1) -> Tensor:
    """Weights in (0, 1], with holes."""
    weight = noise(7, x[:, :channels]).abs().clamp(max=1)
    return weight * (noise(8, weight) > -0.4)


def assert_agrees_with_oracle(
    x: Tensor, y: Tensor, weights: tuple[float, float, float] | None, **options: Any
) -> None:
    """Maps, sums, and both gradients in both reductions."""
    upstream = noise(9, oracle.windows(x, y, **options).luminance)
    expected = oracle.windows(x, y, **options).similarity(weights)
    on_device = {
        name: value.to(DEVICE) if isinstance(value, Tensor) else value
        for name, value in options.items()
    }
    loss: AWSSIMLoss | SSIMLoss
    for reduction, up in (("none", upstream), ("sum", torch.ones(()))):
        if weights is None:
            loss = SSIMLoss(reduction=reduction, backend="triton", **_without_mask(on_device))
        else:
            loss = AWSSIMLoss(
                weights, reduction=reduction, backend="triton", **_without_mask(on_device)
            )
        x_leaf = x.to(DEVICE, copy=True).requires_grad_()
        y_leaf = y.to(DEVICE, copy=True).requires_grad_()
        result = loss(x_leaf, y_leaf, on_device.get("mask"))
        centre = oracle.windows(x, y, **options).centre
        shortfall = centre - expected
        if reduction == "sum":
            torch.testing.assert_close(
                result.detach().cpu().double(), shortfall.sum(), rtol=1e-5, atol=1e-5
            )
        else:
            assert_value_close(result.cpu(), shortfall, x.dtype)
        result.backward(up.to(DEVICE, result.dtype))
        wanted = oracle.gradients(x, y, -up.double(), weights, **options)
        for leaf, gradient in zip((x_leaf, y_leaf), wanted, strict=True):
            assert leaf.grad is not None
            assert_gradient_close(leaf.grad.cpu(), gradient, x.dtype)


def _without_mask(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "mask"}


@pytest.mark.parametrize("weights", [WEIGHTS, None], ids=["additive", "product"])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_values_and_gradients(
    weights: tuple[float, float, float] | None, padding: str, masked: bool
) -> None:
    x, y = pair()
    options = {"mask": some_mask(x)} if masked else {}
    assert_agrees_with_oracle(x, y, weights, padding=padding, window_size=5, sigma=1.1, **options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_images(dtype: torch.dtype) -> None:
    x, y = (image.to(dtype) for image in pair(channels=1))
    assert_agrees_with_oracle(x, y, WEIGHTS, window_size=3)


@pytest.mark.parametrize(
    ("size", "height", "width", "padding"),
    [
        (3, 3, 3, "valid"),
        (3, 3, 4, "same"),
        (11, 11, 12, "valid"),
        (11, 11, 13, "same"),
        # Wider than the lanes of a program, taller than a tile.
        (3, 3, 131, "valid"),
        (3, 37, 3, "same"),
    ],
)
def test_window_and_image_sizes(size: int, height: int, width: int, padding: str) -> None:
    x, y = pair(height, width, channels=1)
    assert_agrees_with_oracle(x, y, WEIGHTS, window_size=size, padding=padding)


def test_the_widest_window() -> None:
    x, y = (image.to(DEVICE) for image in pair(33, 34, channels=1))
    leaf = x.clone().requires_grad_()
    loss = aw_ssim(leaf, y, WEIGHTS, window_size=33, reduction="sum", backend="triton")
    loss.backward()
    options = {"window_size": 33}
    expected = oracle.windows(x, y, **options).similarity(WEIGHTS)
    assert_value_close(loss.cpu(), expected.sum(), x.dtype)
    up = torch.ones_like(expected)
    assert leaf.grad is not None
    assert_gradient_close(
        leaf.grad.cpu(), oracle.gradients(x, y, up, WEIGHTS, **options)[0], x.dtype
    )


def test_data_range_and_a_mask_for_each_channel() -> None:
    x, y = pair()
    mask = some_mask(x, channels=2)
    assert_agrees_with_oracle(255 * x, 255 * y, WEIGHTS, data_range=255.0, window_size=3, mask=mask)


def test_hidden_pixels_may_be_nan() -> None:
    x, y = (image.to(DEVICE) for image in pair())
    mask = torch.ones_like(x[:, :1])
    mask[..., 2:4, 3:5] = 0
    hole = mask.expand_as(x) == 0
    poisoned = torch.where(hole, torch.nan, x).requires_grad_()
    clean = x.clone().requires_grad_()
    losses = [
        aw_ssim(image, y, mask=mask, window_size=3, backend="triton") for image in (poisoned, clean)
    ]
    assert torch.equal(losses[0], losses[1])
    for loss in losses:
        loss.backward()
    assert poisoned.grad is not None
    assert clean.grad is not None
    assert torch.equal(poisoned.grad, clean.grad)
    assert (poisoned.grad[hole] == 0).all()


def test_a_visible_nan_shows() -> None:
    x, y = (image.to(DEVICE) for image in pair())
    x[0, 0, 3, 3] = torch.nan
    assert aw_ssim(x, y, window_size=3, backend="triton").isnan()


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "sliced", "expanded"])
def test_strides(layout: str) -> None:
    x, y = (image.to(DEVICE) for image in pair())
    strided = {
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "transposed": x.mT.contiguous().mT,
        "sliced": torch.stack([x, -x], -1).flatten(-2)[..., ::2],
        "expanded": x[:, :1, :1].expand_as(x),
    }[layout]
    assert not strided.is_contiguous()
    images = (strided, strided.contiguous())
    leaves = [image.detach().requires_grad_() for image in images]
    for leaf in leaves:
        aw_ssim(leaf, y, window_size=3, backend="triton").backward()
    assert leaves[0].grad is not None
    assert leaves[1].grad is not None
    assert torch.equal(leaves[0].grad, leaves[1].grad)


def test_nothing_unwritten_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = (image.to(DEVICE) for image in pair())
    new_empty = Tensor.new_empty

    def poisoned(self: Tensor, *shape: Any, **options: Any) -> Tensor:
        return new_empty(self, *shape, **options).fill_(torch.nan)

    monkeypatch.setattr(Tensor, "new_empty", poisoned)
    for padding in ("valid", "same"):
        for reduction in ("mean", "none"):
            leaves = [image.clone().requires_grad_() for image in (x, y)]
            loss = AWSSIMLoss(
                padding=padding, reduction=reduction, window_size=5, backend="triton"
            )(*leaves)
            assert loss.isfinite().all()
            loss.sum().backward()
            for leaf in leaves:
                assert leaf.grad is not None
                assert leaf.grad.isfinite().all()


def test_runs_repeat_to_the_bit() -> None:
    x, y = (image.to(DEVICE) for image in pair(9, 131))
    results = []
    for _ in range(2):
        leaf = x.clone().requires_grad_()
        loss = aw_ssim(leaf, y, window_size=3, backend="triton")
        loss.backward()
        results.append((loss, leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("shift", [0, 1], ids=["", "target alone"])
def test_a_gradient_for_one_image_alone(shift: int) -> None:
    images = [image.to(DEVICE) for image in pair()]
    both = [image.clone().requires_grad_() for image in images]
    aw_ssim(*both, window_size=3, backend="triton").backward()
    alone = [image.clone().requires_grad_(i == shift) for i, image in enumerate(images)]
    aw_ssim(*alone, window_size=3, backend="triton").backward()
    assert both[shift].grad is not None
    assert alone[1 - shift].grad is None
    torch.testing.assert_close(alone[shift].grad, both[shift].grad, rtol=1e-5, atol=1e-8)


def test_a_tensor_sigma_gives_what_the_number_gives() -> None:
    x, y = (image.to(DEVICE) for image in pair())
    sigma = torch.tensor(0.8, device=DEVICE)
    values = [aw_ssim(x, y, sigma=s, window_size=5, backend="triton") for s in (sigma, 0.8)]
    torch.testing.assert_close(values[0], values[1], rtol=1e-6, atol=0)


def test_components_go_through_the_kernel() -> None:
    x, y = pair()
    maps = ssim_components(x.to(DEVICE), y.to(DEVICE), window_size=3, backend="triton")
    expected = oracle.windows(x, y, window_size=3)
    for actual, wanted in zip(maps, expected[:3], strict=True):
        assert_value_close(actual.cpu(), wanted, x.dtype)


def test_the_operators_pass_opcheck() -> None:
    x, y = (image.to(DEVICE) for image in pair(5, 6, channels=1))
    settings = operators.Settings([0.5, 0.3, 0.2], 1e-4, 9e-4, 1.0, False, "triton")
    taps = gaussian_window(3, 1.0, device=DEVICE)
    upstream = torch.ones(3, 1, 1, 3, 4, device=DEVICE)
    opcheck(operators.sums_op, (x, y, taps, None, *settings, True, False))
    opcheck(operators.terms_op, (x, y, taps, None, *settings))
    opcheck(operators.terms_backward_op, (upstream, x, y, taps, None, *settings, False, True))


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
    expected = "analytic" if DEVICE == "cpu" else "triton"
    assert choose_backend("auto", x, y, 1.5).name == expected
    assert choose_backend("triton", x, y, 1.5).name == "triton"
