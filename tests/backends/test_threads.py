"""Threads that share one loss: each gets what it would get alone, and the schedule stays whole."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from aw_ssim import AWSSIMLoss, SigmaSchedule, SSIMLoss

THREADS = 4
PICTURES = 12


def training_step(loss: nn.Module, number: int) -> tuple[Tensor, ...]:
    """The loss of a pair of its own shape, and both gradients."""
    generator = torch.Generator().manual_seed(number)
    shape = (1 + number % 2, 1 + number % 3, 24 + number, 33 - number)
    x, y = (torch.rand(shape, generator=generator).requires_grad_() for _ in range(2))
    value = loss(x, y)
    value.backward()
    assert x.grad is not None
    assert y.grad is not None
    return value.detach(), x.grad, y.grad


@pytest.mark.parametrize("kind", [AWSSIMLoss, SSIMLoss])
def test_threads_get_what_they_would_get_alone(
    kind: type[AWSSIMLoss] | type[SSIMLoss], backend: str
) -> None:
    loss = kind(sigma=SigmaSchedule(0.5, 0.5), backend=backend)
    step = partial(training_step, loss)
    # A new thread would compute with all cores, whatever the others do, and sum in another order.
    one_core = partial(torch.set_num_threads, 1)
    with ThreadPoolExecutor(THREADS, initializer=one_core) as pool:
        for _ in range(3):
            alone = [step(number) for number in range(PICTURES)]
            together = list(pool.map(step, list(range(PICTURES)) * 3))
            for number, found in enumerate(together):
                for left, right in zip(found, alone[number % PICTURES], strict=True):
                    assert torch.equal(left, right)
            loss.sigma.step()


def test_two_losses_of_two_schedules_do_not_see_each_other(backend: str) -> None:
    """Nothing of a schedule is kept outside of the modules: not a window, not a sigma."""
    losses = [
        AWSSIMLoss(sigma=SigmaSchedule(sigma, 0.1), backend=backend) for sigma in (0.5, 1.0, 2.0)
    ]
    expected = [training_step(loss, 3)[0] for loss in losses]
    start = threading.Barrier(len(losses))

    def many(loss: AWSSIMLoss) -> list[Tensor]:
        torch.set_num_threads(1)
        start.wait(timeout=60)
        return [training_step(loss, 3)[0] for _ in range(20)]

    with ThreadPoolExecutor(len(losses)) as pool:
        for values, alone in zip(pool.map(many, losses), expected, strict=True):
            assert all(torch.equal(value, alone) for value in values)
