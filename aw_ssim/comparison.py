"""One comparison of two images: down to a backend once, and up again."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from . import checks, image_checks
from .availability import choose_backend
from .backends import BACKENDS
from .backends.interface import Inputs, inside
from .gaussian_window import window_for
from .memory_format import gradient_as, laid_as
from .options import Options
from .sigma_schedule import SigmaSchedule

SMALLEST_RANGE = 1e-30


class Compared(NamedTuple):
    """The loss, which is 1 - similarity, and the similarity that identical images have."""

    loss: Tensor
    identical: Tensor | float


def compare(
    x: Tensor,
    y: Tensor,
    mask: Tensor | None,
    sigma: float | Tensor | SigmaSchedule,
    options: Options,
    names: tuple[str, str] = ("x", "y"),
) -> Compared:
    """Two images compared, and reduced as the options say; `names` are for error messages.

    The loss is summed from non-negative pieces, so that near zero it keeps its relative accuracy.
    """
    inputs, centre, options = _prepared(x, y, mask, sigma, options, names)
    backend = BACKENDS[options.backend]
    if options.reduction == "none":
        maps = backend(inputs, options, maps=True).unbind(0)
        loss = sum(w * term for w, term in zip(options.term_weights, maps, strict=True))
        assert isinstance(loss, Tensor)
        loss = laid_as(x, loss)
        return Compared(loss, 1.0) if centre is None else Compared(loss * centre, centre)
    sums, counts = backend(inputs, options, maps=False), _counts(inputs.x, centre, options.margin)
    if options.reduction == "image":
        return Compared(sums.sum(1) / counts, 1.0)
    # Not by its type: while a graph is traced, a size is a tensor.
    total = counts * x.shape[0] if centre is None else counts.sum()
    if options.reduction == "sum":
        return Compared(sums.sum(), total)
    return Compared(sums.sum() / total, 1.0)


def plane_means(
    x: Tensor,
    y: Tensor,
    mask: Tensor | None,
    sigma: float | Tensor | SigmaSchedule,
    options: Options,
    names: tuple[str, str],
    *,
    with_luminance: bool = True,
) -> Tensor:
    """The mean loss of each image's channels, N x C; a channel that the mask hides has 0."""
    inputs, centre, options = _prepared(x, y, mask, sigma, options, names)
    if not with_luminance:
        # Beside an infinite C1 luminance is 1, in value and derivative.
        options = options._replace(k1=math.inf)
    sums = BACKENDS[options.backend](inputs, options, maps=False)
    if centre is None:
        counts = _counts(inputs.x, None, options.margin) / x.shape[1]
    else:
        shown = centre.sum(tuple(range(2, x.ndim))).expand(sums.shape)
        counts = torch.where(shown > 0, shown, 1)
    means: Tensor = sums / counts
    return means


def components(
    x: Tensor,
    y: Tensor,
    mask: Tensor | None,
    sigma: float | Tensor | SigmaSchedule,
    options: Options,
) -> list[Tensor]:
    """The maps l, c and s, each N x C x H' x W', or N x C x D' x H' x W' of volumes."""
    inputs, centre, options = _prepared(x, y, mask, sigma, options, ("x", "y"))
    terms = [1 - term for term in BACKENDS[options.backend](inputs, options, maps=True).unbind(0)]
    terms = [laid_as(x, term) for term in terms]
    return terms if centre is None else [term * centre for term in terms]


def window_sigma(sigma: float | Tensor | SigmaSchedule, window_size: int) -> float | Tensor:
    """The sigma to use now: a schedule's own is kept from making the window a box."""
    if not isinstance(sigma, SigmaSchedule):
        return checks.sigma(sigma)
    if not sigma.training:
        return sigma.eval_sigma
    return sigma.sigma.clamp(max=max(0.5, (window_size - 1) / 2))


def window_width(sigma: float | Tensor | SigmaSchedule, options: Options) -> float | Tensor:
    """The sigma that makes the window: a uniform one is the Gaussian of infinite sigma."""
    if options.window == "uniform":
        checks.no_schedule(sigma)
        return math.inf
    return window_sigma(sigma, options.window_size)


def _prepared(
    x: Tensor,
    y: Tensor,
    mask: Tensor | None,
    sigma: float | Tensor | SigmaSchedule,
    options: Options,
    names: tuple[str, str],
) -> tuple[Inputs, Tensor | None, Options]:
    """What a backend takes, the mask at the windows' centres, and options for that backend.

    A backend knows one data range, two paddings and one covariance: images are divided by a tensor
    of ranges here, zeros around them are pixels like others, and a sample's factor goes into k2.
    """
    options = options.checked()
    image_checks.images(x, y, names)
    image_checks.image_size(x, names[0], options.smallest_image, options.padding)
    x, y = gradient_as(x), gradient_as(y)
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    dimensions = x.ndim - 2
    seen = centre = None
    if mask is not None:
        image_checks.mask(mask, x)
        seen = mask.to(dtype)
        centre = inside(seen, options.margin)
        image_checks.mask_values(seen, centre, options.reduction)
    width = window_width(sigma, options)
    taps = window_for(x, options.window_size, width, dtype)
    if isinstance(options.data_range, Tensor):
        image_checks.range_for_each(options.data_range, x)
        # A blank image may have a range of 0.
        ranges = options.data_range.to(x.device, dtype).clamp(min=SMALLEST_RANGE)
        ranges = ranges.view(-1, *[1] * (x.ndim - 1))
        x, y = x / ranges, y / ranges
        options = options._replace(data_range=1.0)
    if options.l1 and options.reduction != "sum":
        # A mean over pixels, beside one over windows.
        windows = _counts(x, None, options.margin) / x.shape[1]
        options = options._replace(l1=options.l1 * windows / math.prod(x.shape[2:]))
    if options.padding == "zeros":
        around = [options.window_size // 2] * 2 * dimensions
        x, y = F.pad(x, around), F.pad(y, around)
        seen = None if seen is None else F.pad(seen, around, value=1.0)
        options = options._replace(padding="valid")
    chosen = choose_backend(options.backend, x, y, width, mask, options.window_size).name
    options = options.population(options.window_size**dimensions)
    return Inputs(x, y, taps, seen), centre, options._replace(backend=chosen)


def _counts(x: Tensor, centre: Tensor | None, margin: int) -> Any:
    """How many windows an image has, a number; or by the mask at their centres, (N,)."""
    if centre is None:
        count = x.shape[1]
        for side in x.shape[2:]:
            count = count * (side - 2 * margin)
        return count
    return centre.sum(tuple(range(1, x.ndim))) * (x.shape[1] // centre.shape[1])
