"""The window's standard deviation, growing within each epoch (eq. 9 of the paper)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from . import checks


class SigmaSchedule(nn.Module):
    """``sigma = start + n * increment`` after ``n`` steps, never above ``maximum``.

    The paper raises sigma by a small constant after every batch of patches and puts it back to
    its start when the next epoch begins (section 3.3, eq. 9): call :meth:`step` after each
    optimiser step and :meth:`reset` at each epoch's start. The paper gives neither the start
    nor the constant.

    Held by a loss as ``sigma=``, the schedule's state is part of the loss's ``state_dict`` and
    moves with it; a checkpoint without it, of a model trained with another loss, is loaded as the
    schedule's start. In ``.eval()`` the loss uses ``eval_sigma``, so that an evaluation does not
    depend on where training stopped. A loss never lets sigma pass ``(window_size - 1) / 2``,
    beyond which the window is nearly a box.

    Args:
        start: sigma in pixels at an epoch's start, positive.
        increment: added by each step, not negative.
        maximum: sigma stops growing here; ``None`` for no limit of the schedule's own.
        eval_sigma: used by a loss in ``.eval()``.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is not finite or out of its range.

    Example:
        >>> schedule = SigmaSchedule(start=0.5, increment=0.25)
        >>> schedule.step()
        >>> float(schedule.sigma)
        0.75
    """

    steps: Tensor

    def __init__(
        self,
        start: float,
        increment: float,
        maximum: float | None = None,
        *,
        eval_sigma: float = 1.5,
    ) -> None:
        super().__init__()
        self.start = checks.positive_number("start", start)
        self.increment = checks.non_negative_number("increment", increment)
        self.maximum = None if maximum is None else checks.positive_number("maximum", maximum)
        if self.maximum is not None and self.maximum < self.start:
            raise ValueError(
                f"maximum: expected at least start ({self.start:g}), got {maximum:g}. "
                "Sigma grows from start to maximum."
            )
        self.eval_sigma = checks.positive_number("eval_sigma", eval_sigma)
        # Counting steps, rather than adding up increments, keeps rounding from adding up too.
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @classmethod
    def per_epoch(
        cls, start: float, end: float, steps_per_epoch: int, *, eval_sigma: float = 1.5
    ) -> SigmaSchedule:
        """The schedule that grows from ``start`` to ``end`` over the steps of one epoch.

        ``steps_per_epoch`` is eq. 9's ``ceil(samples / batch) * (H / PH) * (W / PW)``.

        Example:
            >>> SigmaSchedule.per_epoch(0.5, 2.5, steps_per_epoch=100)
            SigmaSchedule(start=0.5, increment=0.02, maximum=2.5, eval_sigma=1.5)
        """
        checks.positive_integer("steps_per_epoch", steps_per_epoch)
        start = checks.positive_number("start", start)
        end = checks.positive_number("end", end)
        if end < start:
            raise ValueError(
                f"end: expected at least start ({start:g}), got {end:g}. "
                "Sigma grows within an epoch."
            )
        return cls(start, (end - start) / steps_per_epoch, end, eval_sigma=eval_sigma)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        """A checkpoint made without a schedule puts it at its start, and nothing is missing."""
        found = dict(state_dict)
        device = "cpu" if self.steps.is_meta else self.steps.device
        found.setdefault(f"{prefix}steps", torch.zeros_like(self.steps, device=device))
        super()._load_from_state_dict(found, prefix, *others)

    @property
    def sigma(self) -> Tensor:
        """The present sigma in pixels, a 0-dim float32 tensor on the schedule's device."""
        sigma = self.start + self.steps.to(torch.float32) * self.increment
        return sigma if self.maximum is None else sigma.clamp(max=self.maximum)

    def step(self) -> None:
        """Raises sigma by one increment: call after each optimiser step."""
        self.steps += 1

    def reset(self) -> None:
        """Puts sigma back to its start: call at each epoch's start."""
        self.steps.zero_()

    def forward(self) -> Tensor:
        """The present sigma, as :attr:`sigma`."""
        return self.sigma

    def extra_repr(self) -> str:
        maximum = "None" if self.maximum is None else f"{self.maximum:g}"
        return (
            f"start={self.start:g}, increment={self.increment:g}, maximum={maximum}, "
            f"eval_sigma={self.eval_sigma:g}"
        )
