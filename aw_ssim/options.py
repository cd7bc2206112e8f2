"""Every option of a comparison, with its default and its check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from . import checks
from .availability import BACKENDS
from .categories import category_weights

EQUAL_WEIGHTS = (1 / 3, 1 / 3, 1 / 3)


class Options(NamedTuple):
    """The options of the losses, as the public signatures describe them.

    All are plain values, so that they can be arguments of a torch operator. A NamedTuple, since
    torch.compile traces it in every release from 2.4 on.
    """

    weights: tuple[float, float, float] = EQUAL_WEIGHTS
    product: bool = False
    """The product l c s, standard SSIM, in place of the weighted sum."""
    data_range: float | Tensor = 1.0
    window_size: int = 11
    k1: float = 0.01
    k2: float = 0.03
    reduction: str = "mean"
    padding: str = "valid"
    window: str = "gaussian"
    covariance: str = "population"
    backend: str = "auto"
    l1: float = 0.0
    """What `CombinedL1Loss` adds to a sum over windows: so much of each pixel's |x - y|."""

    @classmethod
    def of(cls, arguments: Mapping[str, Any], **others: Any) -> Options:
        """The options among a signature's arguments, whatever else it has; `others` go first."""
        named = {name: arguments[name] for name in cls._fields if name in arguments}
        return cls(**(named | others))

    def checked(self) -> Options:
        """The same with each value checked; `parse_weights` has checked the weights."""
        return Options(
            weights=self.weights,
            product=self.product,
            data_range=checks.data_range(self.data_range),
            window_size=checks.window_size(self.window_size),
            k1=checks.non_negative_number("k1", self.k1),
            k2=checks.non_negative_number("k2", self.k2),
            reduction=checks.choice("reduction", self.reduction, checks.REDUCTIONS),
            padding=checks.choice("padding", self.padding, checks.PADDINGS),
            window=checks.choice("window", self.window, checks.WINDOWS),
            covariance=checks.choice("covariance", self.covariance, checks.COVARIANCES),
            backend=checks.choice("backend", self.backend, ("auto", *BACKENDS)),
            l1=self.l1,
        )

    @property
    def term_weights(self) -> Sequence[float]:
        """Of the shortfalls that are summed: of l, c and s, or of l c s alone."""
        return (1.0,) if self.product else self.weights

    @property
    def c1(self) -> float:
        """C1 of eq. 3 for images divided by the data range."""
        return self.k1**2

    @property
    def c2(self) -> float:
        """C2 for images divided by the data range; C3 is half of it."""
        return self.k2**2

    def population(self, taps: int) -> Options:
        """The same numbers from the population's covariance, for windows of so many taps in all.

        Sample covariances are n / (n - 1) times those of the population, of n taps. In the
        quotients c and s that is C2 over this factor.
        """
        if self.covariance == "population":
            return self
        factor = taps / max(taps - 1, 1)
        return self._replace(k2=self.k2 / factor**0.5, covariance="population")

    @property
    def divisor(self) -> float:
        """What a backend divides images by; a tensor of ranges does not come so far."""
        assert not isinstance(self.data_range, Tensor)
        return self.data_range

    @property
    def same(self) -> bool:
        """One window for each pixel, over mirrored edges."""
        return self.padding == "same"

    @property
    def margin(self) -> int:
        """How many pixels at each edge are no window's centre."""
        return self.window_size // 2 if self.padding == "valid" else 0

    @property
    def smallest_image(self) -> int:
        """The least of any side: what a window or its mirror image fits into."""
        return {"valid": self.window_size, "same": self.window_size // 2 + 1, "zeros": 1}[
            self.padding
        ]


def parse_weights(weights: Sequence[float] | str) -> tuple[float, float, float]:
    """Weights with sum 1, from three numbers or a category's name."""
    return checks.weights(category_weights(weights) if isinstance(weights, str) else weights)
