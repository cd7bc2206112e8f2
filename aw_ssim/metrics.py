"""The losses as metrics for torchmetrics, which the extra `metrics` brings.

`import aw_ssim` leaves it out, so that torch stays the only thing the losses need.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from . import checks
from .loss import StructuralLoss
from .sigma_schedule import SigmaSchedule


class SimilarityMetric(Metric):
    """The similarity ``1 - loss`` of all images seen: their mean, each counting once, or each one.

    It is a :class:`torchmetrics.Metric`: part of a ``MetricCollection``, synchronised over
    processes, and accumulated in float64, so that neither the batches nor the number of processes
    moves the result. Gradients are not followed; a :class:`aw_ssim.SigmaSchedule` is left at its
    ``eval_sigma``.

    Args:
        loss: a structural loss, which is copied: its options are the metric's; its ``reduction``
            is not used.
        reduction: ``"mean"`` of all images, or ``"image"`` for the values themselves, in the order
            of the images; after a synchronisation in that of the processes.
        kwargs: those of :class:`torchmetrics.Metric`.

    Raises:
        TypeError, ValueError: an option here, or an image in an update, is not as described.

    Example:
        >>> from torchmetrics import MetricCollection
        >>> from aw_ssim.metrics import SimilarityMetric
        >>> metrics = MetricCollection(
        ...     {
        ...         "ssim": SimilarityMetric(SSIMLoss(padding="same")),
        ...         "aw_ssim": SimilarityMetric(AWSSIMLoss("carpet")),
        ...     }
        ... )
        >>> image = torch.rand(2, 3, 64, 64)
        >>> metrics.update(image, image)
        >>> metrics.compute()["ssim"]
        tensor(1., dtype=torch.float64)
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_upper_bound = 1.0

    total: Tensor
    count: Tensor
    values: list[Tensor]

    def __init__(self, loss: StructuralLoss, reduction: str = "mean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        checks.loss_of_this_package(loss, StructuralLoss)
        self.reduction = checks.choice("reduction", reduction, ("mean", "image"))
        self.loss = copy.deepcopy(loss).requires_grad_(False)
        self.loss.reduction = "image"
        if isinstance(self.loss.sigma, SigmaSchedule):
            sigma = self.loss.sigma.eval_sigma
            del self.loss.sigma
            self.loss.sigma = sigma
        if reduction == "image":
            self.add_state("values", [], dist_reduce_fx="cat")
        else:
            self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        # A MetricCollection takes two metrics for one if their states are equal after the first
        # batch, as those of identical images are. NaN is equal to nothing.
        self.add_state("not_merged", torch.tensor(torch.nan), dist_reduce_fx="sum")

    def update(
        self,
        preds: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        data_range: float | Tensor | None = None,
    ) -> None:
        """Takes a batch of images, N x C x H x W, as the loss does; sizes may change.

        With a mask each image must have a window that it shows.
        """
        with torch.no_grad():
            values = 1 - self.loss(preds, target, mask, data_range).double()
        if self.reduction == "image":
            self.values.append(values)
        else:
            self.total += values.sum()
            self.count += values.numel()

    def compute(self) -> Tensor:
        """The mean, float64, 0-dim; or with ``reduction="image"`` the values (N,)."""
        if self.reduction == "mean":
            return self.total / self.count
        # After a synchronisation they are one tensor.
        values: Any = self.values
        return values if isinstance(values, Tensor) else torch.cat(values)
