"""Processes that share one loss: forked, spawned, as workers of a loader, and distributed."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from aw_ssim import AWSSIMLoss, SigmaSchedule

SECONDS = 120
STEPS = 3

WAYS = [
    pytest.param(
        "fork",
        marks=pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork"),
    ),
    "spawn",
]
# Python 3.12 warns of every fork beside threads, and torch always has some.
forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def pair(number: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(number)
    x = torch.rand(batch, 3, 24, 31, generator=generator)
    return x, (x + 0.1 * torch.randn(x.shape, generator=generator)).clamp(0, 1)


def training_step(loss: nn.Module, number: int) -> list[list[float]]:
    """The loss and the gradient as numbers, which pass between processes by value."""
    x, y = pair(number)
    x.requires_grad_()
    value = loss(x, y)
    (gradient,) = torch.autograd.grad(value, x)
    return [value.flatten().tolist(), gradient.flatten().tolist()]


def advanced_loss(backend: str) -> AWSSIMLoss:
    loss = AWSSIMLoss(sigma=SigmaSchedule(0.5, 0.5), backend=backend)
    loss.sigma.step()
    return loss


def in_child(loss: AWSSIMLoss, answers: SimpleQueue[list[list[float]]]) -> None:
    torch.set_num_threads(1)
    answers.put(training_step(loss, 5))
    loss.sigma.step()
    answers.put(training_step(loss, 5))


@forks
@pytest.mark.parametrize("way", WAYS)
def test_a_loss_used_before_goes_on_in_a_child(way: str, backend: str) -> None:
    loss = advanced_loss(backend)
    expected = training_step(loss, 5)
    context = multiprocessing.get_context(way)
    answers = context.SimpleQueue()
    child = context.Process(target=in_child, args=(loss, answers))
    child.start()
    child.join(SECONDS)
    hangs = child.is_alive()
    child.kill()
    child.join()
    assert not hangs
    assert child.exitcode == 0
    assert answers.get() == expected
    assert answers.get() != expected
    # Torch shares the tensors that it passes to a spawned process, the schedule's count as well.
    assert int(loss.sigma.steps) == {"fork": 1, "spawn": 2}[way]


class LossesOfPictures(Dataset[Tensor]):
    """Computes in the worker: a loss map as what a network is to predict."""

    def __init__(self, loss: nn.Module) -> None:
        self.loss = loss

    def __len__(self) -> int:
        return 6

    def __getitem__(self, number: int) -> Tensor:
        return torch.tensor(training_step(self.loss, number)[1])


@forks
@pytest.mark.parametrize("way", WAYS)
def test_a_loss_in_the_workers_of_a_loader(way: str, backend: str) -> None:
    data = LossesOfPictures(advanced_loss(backend))
    expected = torch.stack([data[number] for number in range(len(data))])
    loader = DataLoader(
        data, batch_size=2, num_workers=2, multiprocessing_context=way, timeout=SECONDS
    )
    assert torch.equal(torch.cat(list(loader)), expected)


class ModelWithLoss(nn.Module):
    """Gives its own loss, as some trainers want it."""

    def __init__(self, backend: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1))
        self.loss = AWSSIMLoss(sigma=SigmaSchedule(0.5, 0.5), padding="same", backend=backend)

    def forward(self, x: Tensor, target: Tensor | None = None) -> Tensor:
        image: Tensor = self.network(x).sigmoid()
        return image if target is None else self.loss(image, target)


def train(model: nn.Module, plain: ModelWithLoss, part: slice, inside: bool) -> dict[str, Tensor]:
    """Some optimiser steps on a part of each batch, the loss taken inside the model or outside."""
    optimiser = torch.optim.SGD(plain.parameters(), lr=0.5)
    for number in range(STEPS):
        x, target = (image[part] for image in pair(number, batch=4))
        value = model(x, target) if inside else plain.loss(model(x), target)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        plain.loss.sigma.step()
    return plain.state_dict()


def in_rank(rank: int, folder: Path, backend: str, inside: bool) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    plain = ModelWithLoss(backend)
    if rank == 1:
        # A process that starts elsewhere takes over the first one's weights and schedule.
        plain.loss.sigma.steps.fill_(7)
        nn.init.zeros_(plain.network[0].weight)
    model = nn.parallel.DistributedDataParallel(plain)
    state = train(model, plain, slice(2 * rank, 2 * rank + 2), inside)
    torch.save(state, folder / f"rank_{rank}.pt")
    dist.destroy_process_group()
    # Gloo's threads outlive the group, and one that still wants the interpreter aborts its exit.
    os._exit(0)


@pytest.mark.skipif(not dist.is_gloo_available(), reason="this build of torch has no gloo")
@pytest.mark.parametrize("inside", [True, False], ids=["loss inside", "loss outside"])
def test_two_processes_train_like_one(inside: bool, backend: str, tmp_path: Path) -> None:
    alone = ModelWithLoss(backend)
    start = {name: value.clone() for name, value in alone.state_dict().items()}
    expected = train(alone, alone, slice(None), inside)
    torch.multiprocessing.spawn(in_rank, (tmp_path, backend, inside), nprocs=2)
    for rank in (0, 1):
        state = torch.load(tmp_path / f"rank_{rank}.pt", weights_only=True)
        assert int(state["loss.sigma.steps"]) == STEPS
        for name, value in expected.items():
            # The mean over halves is rounded otherwise than the mean over the whole.
            torch.testing.assert_close(state[name], value, atol=1e-5, rtol=0)
    moved = (expected["network.0.weight"] - start["network.0.weight"]).abs().max()
    assert moved > 1e-2
