"""BatchNorm whose statistics span all processes, on any device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn


class SumOverProcesses(torch.autograd.Function):
    """The sum of every process's tensor; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total


class SharedBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` over the batches of all processes; they must be of equal size.

    `nn.SyncBatchNorm` does the same, but only on GPUs.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        processes = torch.distributed.get_world_size()
        total = SumOverProcesses.apply
        # Half precision is too coarse for sums over a batch.
        exact = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        mean = total(exact.mean((0, 2, 3))) / processes
        centred = exact - mean[:, None, None]
        variance = total(centred.square().mean((0, 2, 3))) / processes
        with torch.no_grad():
            self._update_running_statistics(mean, variance, x.numel() // x.shape[1] * processes)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def _update_running_statistics(self, mean: Tensor, variance: Tensor, count: int) -> None:
        self.num_batches_tracked.add_(1)
        # Without a momentum, torch keeps the plain mean over all batches.
        momentum = self.momentum or 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), momentum)


def share_batch_norm(model: nn.Module) -> None:
    """Let every BatchNorm of the model span all processes."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d


def measure_batch_norm(model: nn.Module, patches: Iterable[Tensor]) -> None:
    """Replace BatchNorm's running statistics by the mean over clean patches.

    The running mean trails the weights, by much in a short run, and saw noise and defects.
    """
    update_bn(patches, model)
