"""The losses as metrics of torchmetrics: alone, in a collection, copied, and over two processes."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from cases import noise
from torch import Tensor, nn

from aw_ssim import AWSSIMLoss, MSSSIMLoss, SigmaSchedule, SSIMLoss, ssim

torchmetrics = pytest.importorskip("torchmetrics")

from aw_ssim.metrics import SimilarityMetric  # noqa: E402


def batch(number: int, images: int = 2, side: int = 20) -> tuple[Tensor, Tensor]:
    x = 0.5 + 0.2 * noise(number, torch.empty(images, 1, side, side + 3))
    return x, x + 0.02 * (number + 1) * noise(number + 10, x)


BATCHES = [batch(0), batch(1, images=3), batch(2, images=1, side=16)]
VALUES = torch.cat([ssim(x, y, reduction="image").double() for x, y in BATCHES])


def fed(metric: Any, batches: Any = BATCHES) -> Any:
    for x, y in batches:
        metric.update(x, y)
    return metric


def test_the_mean_counts_each_image_once() -> None:
    metric = fed(SimilarityMetric(SSIMLoss()))
    assert metric.higher_is_better
    torch.testing.assert_close(metric.compute(), VALUES.mean(), atol=1e-7, rtol=0)
    metric.reset()
    torch.testing.assert_close(fed(metric, BATCHES[:1]).compute(), VALUES[:2].mean())


def test_the_value_of_each_image() -> None:
    metric = fed(SimilarityMetric(SSIMLoss(), reduction="image"))
    torch.testing.assert_close(metric.compute(), VALUES, atol=1e-7, rtol=0)
    metric.reset()
    assert fed(metric, BATCHES[1:2]).compute().shape == (3,)


def test_a_call_gives_the_batch_and_goes_on() -> None:
    metric = SimilarityMetric(SSIMLoss())
    of_batches = [metric(x, y) for x, y in BATCHES]
    torch.testing.assert_close(of_batches[1], VALUES[2:5].mean(), atol=1e-7, rtol=0)
    torch.testing.assert_close(metric.compute(), VALUES.mean(), atol=1e-7, rtol=0)


def test_many_batches_are_summed_in_float64() -> None:
    """In float32 a total of 1e5 images has no digit left for one more batch's millionths."""
    metric = SimilarityMetric(SSIMLoss())
    metric.total += 1e8
    before = metric.total.clone()
    fed(metric, BATCHES[:1])
    torch.testing.assert_close(metric.total - before, VALUES[:2].sum(), atol=1e-7, rtol=0)


def test_a_loss_of_every_kind() -> None:
    x, y = batch(0, side=22)
    for loss in (AWSSIMLoss("carpet"), MSSSIMLoss(scale_weights=(0.5, 0.5))):
        metric = SimilarityMetric(loss)
        metric.update(x, y)
        torch.testing.assert_close(metric.compute().float(), 1 - loss(x, y), atol=1e-6, rtol=0)


def test_masks_and_ranges_of_images() -> None:
    x, y = BATCHES[0]
    mask = torch.ones(2, 1, *x.shape[2:])
    mask[0, :, :9] = 0
    ranges = torch.tensor([1.0, 2.0])
    metric = SimilarityMetric(SSIMLoss(padding="same"), reduction="image")
    metric.update(x, y, mask, ranges)
    expected = ssim(x, y, mask=mask, data_range=ranges, padding="same", reduction="image")
    torch.testing.assert_close(metric.compute().float(), expected)
    with pytest.raises(ValueError, match="in each image, got none"):
        metric.update(x, y, torch.zeros_like(mask))


def test_the_loss_is_copied_and_its_schedule_left_at_the_fixed_sigma() -> None:
    loss = SSIMLoss(sigma=SigmaSchedule(0.5, 1.0, eval_sigma=2.0), reduction="sum")
    metric = SimilarityMetric(loss).train()
    loss.sigma.step()
    loss.k2 = 0.5
    x, y = BATCHES[0]
    expected = ssim(x, y, sigma=2.0)
    torch.testing.assert_close(fed(metric, BATCHES[:1]).compute().float(), expected)
    assert loss.reduction == "sum"
    assert not list(metric.parameters())
    assert not metric.state_dict()


def test_no_graph_is_kept() -> None:
    x, y = (image.clone().requires_grad_() for image in BATCHES[0])
    assert not fed(SimilarityMetric(SSIMLoss()), [(x, y)]).compute().requires_grad


def test_a_collection_does_not_take_two_for_one() -> None:
    """Its first batch is of identical images: all states are equal then."""
    losses = {"ssim": SSIMLoss(), "aw_ssim": AWSSIMLoss("carpet")}
    x, y = BATCHES[1]
    for reduction in ("mean", "image"):
        metrics = torchmetrics.MetricCollection(
            {name: SimilarityMetric(loss, reduction) for name, loss in losses.items()}
        )
        fed(metrics, [(x, x), (x, y)])
        found = metrics.clone(prefix="val_").compute()
        for name, loss in losses.items():
            expected = 1 - loss(x, y).double() / 2
            torch.testing.assert_close(found[f"val_{name}"].mean(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("reduction", ["mean", "image"])
def test_copies(reduction: str) -> None:
    metric = fed(SimilarityMetric(AWSSIMLoss(), reduction), BATCHES[:1])
    for twin in (metric.clone(), pickle.loads(pickle.dumps(metric))):
        assert torch.equal(twin.compute(), metric.compute())
        fed(twin, BATCHES[2:])
        assert not torch.equal(twin.compute().mean(), metric.compute().mean())


def test_part_of_a_half_model() -> None:
    """The states keep their precision, as those of every metric do."""
    model = nn.ModuleDict({"metric": SimilarityMetric(SSIMLoss())}).half()
    assert fed(model["metric"]).compute().dtype == torch.float64


def in_rank(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    own = BATCHES[:1] if rank == 0 else BATCHES[1:]
    found = [fed(SimilarityMetric(SSIMLoss(), kind), own).compute() for kind in ("mean", "image")]
    torch.save(found, folder / f"rank_{rank}.pt")
    dist.destroy_process_group()
    # Gloo's threads outlive the group, and one that still wants the interpreter aborts its exit.
    os._exit(0)


# Forked, the processes import nothing anew. Python 3.12 warns of every fork beside threads.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not dist.is_gloo_available(), reason="this build of torch has no gloo")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_two_processes_see_all_images(tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(in_rank, (tmp_path,), nprocs=2, start_method="fork")
    for rank in (0, 1):
        mean, values = torch.load(tmp_path / f"rank_{rank}.pt", weights_only=True)
        torch.testing.assert_close(mean, VALUES.mean(), atol=1e-7, rtol=0)
        torch.testing.assert_close(values, VALUES, atol=1e-7, rtol=0)


def test_errors() -> None:
    with pytest.raises(TypeError, match="expected SSIMLoss, AWSSIMLoss"):
        SimilarityMetric(nn.MSELoss())
    with pytest.raises(ValueError, match="reduction: expected one of 'mean', 'image', got 'sum'"):
        SimilarityMetric(SSIMLoss(), reduction="sum")
