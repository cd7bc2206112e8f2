"""BatchNorm over two processes against torch's over the whole batch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from two_stage.training.batch_norm import SharedBatchNorm2d, share_batch_norm


def test_every_batch_norm_is_replaced_and_evaluation_is_torch_s() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.BatchNorm2d(2)))
    model[1][0].running_mean.fill_(0.5)
    x = torch.rand(2, 1, 8, 8)
    expected = model.eval()(x)
    share_batch_norm(model)
    assert isinstance(model[1][0], SharedBatchNorm2d)
    assert torch.equal(model(x), expected)


def test_two_processes_equal_the_whole_batch() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
         __file__],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count("equal") == 2


def compare() -> None:
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    mine = slice(4 * rank, 4 * rank + 4)
    generator = torch.Generator().manual_seed(0)
    x = 3 + torch.randn(8, 5, 4, 4, dtype=torch.float64, generator=generator)
    upstream = torch.randn(8, 5, 4, 4, dtype=torch.float64, generator=generator)

    whole = nn.BatchNorm2d(5, dtype=torch.float64)
    x_whole = x.clone().requires_grad_()
    y_whole = whole(x_whole)
    y_whole.backward(upstream)

    model = nn.Sequential(nn.BatchNorm2d(5, dtype=torch.float64))
    share_batch_norm(model)
    shared = model[0]
    x_mine = x[mine].clone().requires_grad_()
    y_mine = model(x_mine)
    y_mine.backward(upstream[mine])
    for parameter in shared.parameters():
        torch.distributed.all_reduce(parameter.grad)

    close = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(y_mine, y_whole[mine], **close)
    torch.testing.assert_close(x_mine.grad, x_whole.grad[mine], **close)
    torch.testing.assert_close(shared.weight.grad, whole.weight.grad, **close)
    torch.testing.assert_close(shared.bias.grad, whole.bias.grad, **close)
    torch.testing.assert_close(shared.running_mean, whole.running_mean, **close)
    torch.testing.assert_close(shared.running_var, whole.running_var, **close)
    sys.stdout.write("equal\n")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    compare()
else:
    # torch.distributed is optional in a build of torch.
    pytestmark = pytest.mark.skipif(
        not torch.distributed.is_available(), reason="this torch was built without distributed"
    )
