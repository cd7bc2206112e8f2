"""The numba kernel under a mask, where the tests of all backends do not lead."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import oracle
import pytest
import torch
from cases import noise
from tolerances import assert_gradient_close, assert_value_close
from torch import Tensor

from aw_ssim import aw_ssim

pytest.importorskip("numba", reason="numba is optional: the extra aw_ssim[cpu]")

from numba_cases import WEIGHTS, images, value_and_gradients

from aw_ssim.backends.numba_cpu.passes import COLUMNS, ROWS


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def soft_mask(x: Tensor, channels: int) -> Tensor:
    mask = noise(3, x[:, :channels]).abs()
    return mask * (noise(4, mask) > 0)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_tiles_join_without_a_seam(reduction: str, padding: str) -> None:
    x, y = images((1, 2, ROWS + 5, 14))
    wide = images((1, 1, 12, COLUMNS + 30))
    for pair in ((x, y), wide):
        options = {"reduction": reduction, "padding": padding, "mask": soft_mask(pair[0], 1)}
        actual = value_and_gradients(*pair, backend="numba", **options)
        double = (image.double() for image in pair)
        expected = value_and_gradients(*double, backend="torch", **options)
        assert_value_close(actual[0], expected[0], torch.float32)
        for left, right in zip(actual[1:], expected[1:], strict=True):
            assert_gradient_close(left, right, torch.float32)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("channels", [1, 2])
def test_more_threads_give_the_same_bits(channels: int) -> None:
    x, y = images((5, 2, 40, 50))
    options = {"reduction": "sum", "mask": soft_mask(x, channels), "backend": "numba"}
    results = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        results.append(value_and_gradients(x, y, **options))
    for other in results[1:]:
        for left, right in zip(results[0], other, strict=True):
            assert torch.equal(left, right)


@pytest.mark.parametrize("seen", [0.3, 0.1])
@pytest.mark.parametrize(("window_size", "shape"), [(3, (1, 2, 17, 79)), (5, (1, 1, 24, 30))])
@pytest.mark.parametrize("contrast", [0.2, 1e-3])
def test_windows_of_a_few_pixels_that_are_almost_equal(
    contrast: float, window_size: int, shape: tuple[int, ...], seen: float
) -> None:
    """The pivot is rounded once, for sums about it and for what they are undone with."""
    x = 0.8 + contrast * noise(0, torch.empty(shape))
    y = x + contrast * noise(1, x)
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(2)) < seen
    options: dict[str, Any] = {"window_size": window_size, "mask": mask}
    _, *actual = value_and_gradients(x, y, reduction="sum", backend="numba", **options)
    expected = oracle.gradients(x, y, 1.0, WEIGHTS, **options)
    for left, right in zip(actual, expected, strict=True):
        assert float((left - right).abs().max()) < 2e-6 * float(right.abs().max())


def test_images_that_change_places_change_gradients_to_the_bit() -> None:
    x, y = images((1, 2, 24, 31))
    mask = soft_mask(x, 2)
    value, to_x, to_y = value_and_gradients(x, y, mask=mask, backend="numba")
    other, to_first, to_second = value_and_gradients(y, x, mask=mask, backend="numba")
    for left, right in ((value, other), (to_x, to_second), (to_y, to_first)):
        assert torch.equal(left, right)


def test_calls_with_and_without_a_mask_take_turns() -> None:
    """They share a thread, and not the rows that it keeps."""
    x, y = images((1, 1, 20, 30))
    other = images((1, 1, 16, 16))
    mask = soft_mask(x, 1)

    def results() -> list[Tensor]:
        found = value_and_gradients(x, y, mask=mask, backend="numba")
        plain = value_and_gradients(x, y, backend="numba")
        return [*found, *plain]

    expected = results()
    aw_ssim(*other, window_size=5, mask=other[0] > 0.3, backend="numba")
    for left, right in zip(results(), expected, strict=True):
        assert torch.equal(left, right)


def test_a_kernel_is_made_when_one_of_its_kind_comes() -> None:
    code = (
        "import torch, aw_ssim; x, y = torch.rand(2, 1, 1, 20, 20);"
        "from aw_ssim.backends.numba_cpu.run import _kernels;"
        "made = lambda: [tuple(kind) for kind, kernel in _kernels.items() if kernel.overloads];"
        "aw_ssim.ssim(x, y, backend='numba'); print(made());"
        "aw_ssim.ssim(x, y, mask=x > 0, backend='numba'); print(made());"
        "aw_ssim.ssim(x, y, window_size=7, backend='numba'); print(made())"
    )
    command = [sys.executable, "-c", code]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    usual, masked, other = (False, 11), (True, 11), (False, None)
    made = [[usual], [usual, masked], [usual, other, masked]]
    assert finished.stdout.splitlines() == [str(kinds) for kinds in made]
