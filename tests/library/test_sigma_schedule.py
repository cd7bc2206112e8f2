"""The dynamic sigma: its values, its state, and what a loss makes of it."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from cases import PAIRS

from aw_ssim import AWSSIMLoss, SigmaSchedule, SSIMLoss, aw_ssim


def loss_at(sigma: float, backend: str = "auto") -> float:
    return 1 - float(aw_ssim(*PAIRS["noisy"], sigma=sigma, backend=backend))


def test_sigma_grows_by_the_increment_up_to_the_maximum() -> None:
    schedule = SigmaSchedule(0.5, 0.3, maximum=1.5)
    values = []
    for _ in range(6):
        assert schedule.sigma.shape == ()
        assert schedule.sigma.dtype == torch.float32
        values.append(float(schedule.sigma))
        schedule.step()
    assert values == pytest.approx([0.5, 0.8, 1.1, 1.4, 1.5, 1.5], abs=1e-6)


def test_without_maximum_sigma_keeps_growing() -> None:
    schedule = SigmaSchedule(1.0, 0.5)
    for _ in range(40):
        schedule.step()
    assert float(schedule.sigma) == pytest.approx(21.0)


def test_many_small_steps_do_not_drift() -> None:
    schedule = SigmaSchedule(0.5, 1e-5)
    for _ in range(20_000):
        schedule.step()
    assert float(schedule.sigma) == pytest.approx(0.7, abs=1e-6)


def test_reset_returns_to_the_start() -> None:
    schedule = SigmaSchedule(0.5, 0.25, maximum=0.75)
    for _ in range(5):
        schedule.step()
    schedule.reset()
    assert float(schedule.sigma) == 0.5
    schedule.step()
    assert float(schedule.sigma) == 0.75
    schedule.step()
    assert float(schedule.sigma) == 0.75


@pytest.mark.parametrize("steps", [1, 7, 300])
def test_per_epoch_ends_at_the_end_and_stays_there(steps: int) -> None:
    schedule = SigmaSchedule.per_epoch(0.5, 2.5, steps)
    assert float(schedule.sigma) == 0.5
    schedule.step()
    assert float(schedule.sigma) == pytest.approx(0.5 + 2.0 / steps, abs=1e-6)
    for _ in range(steps - 1):
        schedule.step()
    assert float(schedule.sigma) == pytest.approx(2.5, abs=1e-6)
    schedule.step()
    assert float(schedule.sigma) == 2.5


def test_per_epoch_of_one_value_is_constant() -> None:
    schedule = SigmaSchedule.per_epoch(1.5, 1.5, 10)
    schedule.step()
    assert float(schedule.sigma) == 1.5


def test_a_loss_follows_its_schedule(backend: str) -> None:
    schedule = SigmaSchedule(0.5, 0.5, maximum=2.0)
    loss = AWSSIMLoss(sigma=schedule, backend=backend)
    for sigma in (0.5, 1.0, 1.5, 2.0, 2.0):
        value = float(loss(*PAIRS["noisy"]))
        assert value == pytest.approx(loss_at(sigma, backend), abs=1e-6)
        schedule.step()
    schedule.reset()
    assert float(loss(*PAIRS["noisy"])) == pytest.approx(loss_at(0.5, backend), abs=1e-6)


def test_a_function_takes_a_schedule(backend: str) -> None:
    schedule = SigmaSchedule(0.5, 0.5)
    schedule.step()
    value = float(aw_ssim(*PAIRS["noisy"], sigma=schedule, backend=backend))
    assert 1 - value == pytest.approx(loss_at(1.0, backend), abs=1e-6)


def test_in_evaluation_sigma_is_fixed(backend: str) -> None:
    loss = SSIMLoss(sigma=SigmaSchedule(0.5, 1.0, eval_sigma=2.0), backend=backend).eval()
    fixed = float(SSIMLoss(sigma=2.0, backend=backend)(*PAIRS["noisy"]))
    values = []
    for _ in range(3):
        values.append(float(loss(*PAIRS["noisy"])))
        loss.sigma.step()
    assert values == pytest.approx([fixed] * 3, abs=1e-6)
    assert float(loss.train()(*PAIRS["noisy"])) != pytest.approx(fixed, abs=1e-4)


def test_evaluation_uses_the_standard_sigma_by_default() -> None:
    loss = AWSSIMLoss(sigma=SigmaSchedule(0.5, 0.1)).eval()
    assert float(loss(*PAIRS["noisy"])) == pytest.approx(loss_at(1.5), abs=1e-6)


def test_a_loss_keeps_sigma_within_its_window(backend: str) -> None:
    loss = AWSSIMLoss(sigma=SigmaSchedule(4.0, 3.0), backend=backend)
    loss.sigma.step()
    assert float(loss.sigma.sigma) == 7.0
    assert float(loss(*PAIRS["noisy"])) == pytest.approx(loss_at(5.0, backend), abs=1e-6)
    narrow = AWSSIMLoss(sigma=SigmaSchedule(4.0, 0.1), window_size=3, backend=backend)
    expected = aw_ssim(*PAIRS["noisy"], window_size=3, sigma=1.0, backend=backend)
    assert float(narrow(*PAIRS["noisy"])) == pytest.approx(1 - float(expected), abs=1e-6)


def test_a_number_beyond_the_window_is_taken_as_given(backend: str) -> None:
    value = float(AWSSIMLoss(sigma=9.0, backend=backend)(*PAIRS["noisy"]))
    assert value == pytest.approx(loss_at(9.0, backend), abs=1e-6)
    assert value != pytest.approx(loss_at(5.0, backend), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tensor_is_a_sigma(dtype: torch.dtype, backend: str) -> None:
    loss = AWSSIMLoss(sigma=torch.tensor(2.5, dtype=dtype), backend=backend)
    assert float(loss(*PAIRS["noisy"])) == pytest.approx(loss_at(2.5, backend), abs=1e-6)


def test_a_sigma_that_is_learned() -> None:
    sigma = torch.tensor(1.0, requires_grad=True)
    loss = AWSSIMLoss(sigma=sigma)
    loss(*PAIRS["noisy"]).backward()
    slope = (loss_at(1.01, "torch") - loss_at(0.99, "torch")) / 0.02
    assert sigma.grad is not None
    assert float(sigma.grad) == pytest.approx(slope, rel=1e-2)


def test_state_dict_restores_the_step() -> None:
    loss = AWSSIMLoss(sigma=SigmaSchedule.per_epoch(0.5, 2.5, 10))
    for _ in range(4):
        loss.sigma.step()
    state = loss.state_dict()
    assert state
    resumed = AWSSIMLoss(sigma=SigmaSchedule.per_epoch(0.5, 2.5, 10))
    resumed.load_state_dict(state)
    assert float(resumed.sigma.sigma) == pytest.approx(1.3, abs=1e-6)
    loss.sigma.step()
    assert float(resumed.sigma.sigma) == pytest.approx(1.3, abs=1e-6)
    resumed.sigma.step()
    assert float(resumed.sigma.sigma) == pytest.approx(1.5, abs=1e-6)


def model_with(loss: torch.nn.Module) -> torch.nn.ModuleDict:
    return torch.nn.ModuleDict({"net": torch.nn.Linear(2, 2), "loss": loss})


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("before", [torch.nn.MSELoss, AWSSIMLoss])
def test_a_checkpoint_made_without_a_schedule_loads_strictly(
    before: type[torch.nn.Module], assign: bool
) -> None:
    """And puts the schedule at its start, wherever it was."""
    old = model_with(before())
    new = model_with(AWSSIMLoss(sigma=SigmaSchedule(0.5, 0.25)))
    new["loss"].sigma.step()
    state = old.state_dict()
    names = list(state)
    new.load_state_dict(state, assign=assign)
    assert list(state) == names
    assert float(new["loss"].sigma.sigma) == 0.5
    assert torch.equal(new["net"].weight, old["net"].weight)
    new["loss"].sigma.step()
    assert float(new["loss"].sigma.sigma) == 0.75
    with torch.device("meta"):
        skeleton = model_with(AWSSIMLoss(sigma=SigmaSchedule(0.5, 0.25)))
    skeleton.load_state_dict(state, assign=True)
    assert float(skeleton["loss"].sigma.sigma) == 0.5


def test_a_checkpoint_made_with_a_schedule_resumes_it() -> None:
    old = model_with(AWSSIMLoss(sigma=SigmaSchedule(0.5, 0.25)))
    old["loss"].sigma.step()
    new = model_with(AWSSIMLoss(sigma=SigmaSchedule(0.5, 0.25)))
    new.load_state_dict(old.state_dict())
    assert float(new["loss"].sigma.sigma) == 0.75
    # What else is missing is missed as before.
    state = old.state_dict()
    del state["net.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key\(s\) in state_dict: \"net.weight\""):
        new.load_state_dict(state)


def test_a_loss_without_a_schedule_names_the_step_that_it_cannot_take() -> None:
    state = model_with(AWSSIMLoss(sigma=SigmaSchedule(0.5, 0.25))).state_dict()
    with pytest.raises(RuntimeError, match=r"(?s)Unexpected key.*loss\.sigma\.steps"):
        model_with(AWSSIMLoss()).load_state_dict(state)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_copies_are_independent(duplicate: object) -> None:
    assert callable(duplicate)
    schedule = SigmaSchedule(0.5, 0.25, maximum=2.0)
    schedule.step()
    twin = duplicate(schedule)
    schedule.step()
    assert float(twin.sigma) == 0.75
    twin.step()
    assert float(twin.sigma) == 1.0


def test_moves_with_to() -> None:
    loss = AWSSIMLoss(sigma=SigmaSchedule(0.5, 0.25))
    loss.to("meta")
    assert loss.sigma.sigma.device.type == "meta"


def test_precision_survives_a_cast_of_the_model() -> None:
    loss = AWSSIMLoss(sigma=SigmaSchedule(0.5, 0.001))
    for _ in range(7):
        loss.sigma.step()
    loss.to(torch.bfloat16)
    assert loss.sigma.sigma.dtype == torch.float32
    assert float(loss.sigma.sigma) == pytest.approx(0.507, abs=1e-6)
    loss.sigma.step()
    assert float(loss.sigma.sigma) == pytest.approx(0.508, abs=1e-6)


def test_nothing_to_train() -> None:
    loss = AWSSIMLoss(sigma=SigmaSchedule(0.5, 0.25))
    assert not list(loss.parameters())
    assert not loss.sigma.sigma.requires_grad
