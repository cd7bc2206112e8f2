"""What is launched, and that nothing before a launch waits for the GPU. No GPU needed."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from triton_release import require_triton

from aw_ssim import AWSSIMLoss, availability
from aw_ssim.backends.interface import Inputs, Outputs
from aw_ssim.options import Options

require_triton()

from aw_ssim.backends.triton_gpu import run  # noqa: E402

PROCESSORS = 132


class Launches:
    """In the kernel's place: notes what it is launched with."""

    def __init__(self) -> None:
        self.noted: list[tuple[tuple[int, ...], tuple[Any, ...], dict[str, Any]]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda *args, **options: self.noted.append((grid, args, options))


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Launches:
    noted = Launches()
    monkeypatch.setattr(run, "tiles_kernel", noted)
    monkeypatch.setattr(run, "_on", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(run, "_processors", lambda device: (PROCESSORS, 32))
    monkeypatch.setattr(availability, "_why_not_triton", lambda device: "")
    return noted


@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_a_launch_reads_no_value(launches: Launches, masked: bool) -> None:
    """A fake tensor has none, and raises an error where one is asked for."""
    with FakeTensorMode():
        x, y = (torch.empty(5, 5, 1080, 1920, device="cuda") for _ in range(2))
        taps = torch.empty(11, device="cuda")
        mask = torch.empty(5, 1, 1080, 1920, device="cuda") if masked else None
        inputs = Inputs(x, y, taps, None if mask is None else mask.expand(x.shape))
        out = Outputs(torch.empty(5, 5, device="cuda"), None, (torch.empty_like(x),))
        run.run(inputs, Options(), out, None)
    ((grid, arguments, constants),) = launches.noted
    tensors = [argument for argument in arguments if isinstance(argument, torch.Tensor)]
    assert {tensor.device.type for tensor in tensors} == {"cuda"}
    assert any(tensor is taps for tensor in tensors)
    # All programs run at once and leave no processor idle.
    registers = run.registers_of_a_thread(11, masked, 1)
    assert constants["maxnreg"] == registers
    assert grid[0] == PROCESSORS * run.programs_at_once(registers, constants["num_warps"])
    used = grid[0] // PROCESSORS * constants["num_warps"] * 32 * registers
    assert 0.75 * run.REGISTERS < used <= run.REGISTERS


@pytest.mark.usefixtures("launches")
def test_a_growing_sigma_on_the_device_is_not_waited_for() -> None:
    """So a CUDA graph can be captured: torch refuses to capture what waits."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.empty(2, 3, 64, 64, device="cuda", requires_grad=True)
        y = torch.empty(2, 3, 64, 64, device="cuda")
        loss = AWSSIMLoss(sigma=torch.tensor(0.7, device="cuda"), backend="triton")
        # The gradient is formed here too; torch's own backward pass needs a real GPU.
        result = loss(x, y)
    assert result.shape == ()
    assert result.requires_grad


@pytest.mark.parametrize("width", [32, 64, 128])
def test_small_images_are_one_tile(width: int) -> None:
    chosen = run.layout(11, False, 1, False, width)
    assert (chosen.blocks, chosen.lanes) == (1, width)


@pytest.mark.parametrize("size", [3, 11, 33])
@pytest.mark.parametrize("gradients", [0, 2])
@pytest.mark.parametrize("same", [False, True], ids=["valid", "same"])
@pytest.mark.parametrize("lanes_of_warp", [32, 64])
def test_tiles_cover_every_width(size: int, gradients: int, same: bool, lanes_of_warp: int) -> None:
    """And no other layout of so few warps computes fewer columns."""
    overlap = (size - 1) * (2 if gradients else 1)
    for width in range(size, 700):
        chosen = run.layout(size, False, gradients, same, width, lanes_of_warp)
        own = chosen.lanes - overlap
        assert own > 0
        # With padding "valid" the image's edges lack no window.
        covered = chosen.blocks * own + (0 if same else overlap)
        assert covered - own < width <= covered or (chosen.blocks == 1 and width <= covered)
        assert chosen.lanes == lanes_of_warp * chosen.warps
        for other in run.layouts(chosen.rows, size, gradients, same, width, lanes_of_warp):
            if other.warps <= max(4, chosen.warps):
                assert chosen.blocks * chosen.lanes <= other.blocks * other.lanes


def test_tiles_are_as_high_as_is_done_soonest() -> None:
    # All 528 programs at once, with 12 rows each; 16 would leave a quarter of them idle.
    assert run.rows_of_a_tile(128, 48, 528, 10) == 12
    cases = ((1080, 100, 132), (11, 1, 1056), (4000, 5000, 264), (64, 1, 8))
    for height, blocks, programs in cases:
        rows = run.rows_of_a_tile(height, blocks, programs, 10)
        tiles = blocks * -(-height // rows)
        # Within a fifth of work that could be cut at will, or one round of the least rows.
        assert -(-tiles // programs) * (rows + 10) <= max(1.2 * blocks * height / programs, 18)
