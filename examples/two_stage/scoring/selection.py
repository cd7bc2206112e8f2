"""The residual, its smoothing and the thresholds, chosen on held-out normal images."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from ..defects.painted import KINDS, paint_validation_defect
from ..pictures.foreground import product_area
from ..pictures.stored import as_floats
from ..run.groups import Scoring
from ..run.progress import progress
from ..run.settings import Settings
from ..training.data import RunData, spread
from .metrics import aupro, pixel_auroc, quantile
from .pixel_counts import PixelCounts
from .residuals import residual_parts
from .scorer import (
    FIELDS,
    SCORED,
    Normality,
    Scorer,
    image_score,
    measure_normality,
    residuals_of,
    smooth,
)
from .thresholds import image_threshold

# A residual, such as l1+aw_ssim, the std that smooths its map, and what it is held against.
Candidate = tuple[str, float, str]

# Few held-out images are painted several times, up to so many paintings of each kind.
PAINTINGS = 20
# Enough to measure a mean and a spread at each place.
NORMALITY_IMAGES = 64


@dataclasses.dataclass(frozen=True)
class Choice:
    """What was measured on normal training images and chosen on held-out ones."""

    scorer: Scorer
    normality: Normality
    """Of every residual, also of those not chosen."""
    candidates: list[dict[str, Any]]


def choose(model: nn.Module, data: RunData, settings: Settings) -> Choice:
    """The residual, its smoothing and the thresholds, without a look at the test images."""
    model.eval()
    area = None
    if settings.scoring.scored_area == "product" and data.foregrounds is not None:
        area = product_area(data.foregrounds)
    normality = measure_normality(model, spread(data.train, NORMALITY_IMAGES), settings, area)
    scorer, table = choose_scorer(
        model,
        normality,
        data.held_out,
        data.held_out_foregrounds,
        settings,
        np.random.default_rng(settings.training.seed),
        quiet=not PartialState().is_main_process,
    )
    # Rounding may differ between processes; all of them score what the first one chose.
    own = [getattr(scorer, name) for name in FIELDS]
    chosen, table = broadcast_object_list([own, table])
    values = dict(zip(FIELDS, chosen, strict=True))
    normality = normalities(normality)[table[0]["normality"]]
    scorer = Scorer(normality=normality, held_out=len(data.held_out), **values)
    return Choice(scorer, normality, table)


def candidates(scoring: Scoring, image_size: int) -> list[Candidate]:
    """Residuals, smoothings and normalities to choose from; one of each that the settings fix."""
    residuals = SCORED if scoring.residual == "auto" else (scoring.residual,)
    held_against = ("place", "picture") if scoring.normality == "auto" else (scoring.normality,)
    return list(itertools.product(residuals, scoring.smoothings(image_size), held_against))


def normalities(at_each_place: Normality) -> dict[str, Normality]:
    """By what the setting `normality` calls them."""
    return {"place": at_each_place, "picture": at_each_place.pooled()}


@torch.inference_mode()
def choose_scorer(
    model: nn.Module,
    normality: Normality,
    held_out: Tensor,
    foregrounds: Tensor | None,
    settings: Settings,
    random: np.random.Generator,
    *,
    quiet: bool = False,
) -> tuple[Scorer, list[dict[str, Any]]]:
    """The candidate that tells painted images from clean ones best, with thresholds of the latter.

    The criterion is the AUROC of the images, averaged over the kinds of painted defects. Whether
    an image was painted is known exactly; which of its pixels show it is not, where a texture was
    shifted or wiped away, and pixel figures then favour residuals that are large there anyhow.

    Args:
        held_out: normal images the model was not trained on, N x C x S x S as stored.
        foregrounds: N x S x S bool, where defects may be painted; None for anywhere.
        random: draws the defects.
        quiet: without bars.

    Returns:
        The scorer, and for each candidate its figures, best first.
    """
    if len(held_out) == 0:
        raise ValueError("expected held-out normal images, got none; raise validation_share")
    model.eval()
    wanted = candidates(settings.scoring, held_out.shape[-1])
    known = normalities(normality)
    counts = {candidate: PixelCounts() for candidate in wanted}
    clean: dict[Candidate, list[float]] = {candidate: [] for candidate in counts}
    painted = {candidate: {kind: [] for kind in KINDS} for candidate in counts}
    nothing = np.zeros(tuple(held_out.shape[-2:]), dtype=bool)
    scored = ~nothing if normality.area is None else normality.area.cpu().numpy()
    for image in progress(held_out, "held-out images", quiet=quiet):
        residuals = residuals_of(model, as_floats(image), settings)
        for candidate, score_map in _candidate_maps(residuals, known, wanted):
            counts[candidate].add(score_map.cpu().numpy(), nothing, where=scored)
            clean[candidate].append(image_score(score_map))
    # Now, while no pixel of a painted image is among the normal ones.
    share = settings.scoring.threshold_quantile
    pixel_thresholds = {c: quantile(counts[c].normal, share) for c in counts}
    paintings = _paint(held_out, foregrounds, random)
    count = math.ceil(PAINTINGS / len(held_out)) * len(held_out) * len(KINDS)
    for kind, image, mask in progress(paintings, "painted defects", count, quiet=quiet):
        residuals = residuals_of(model, image.to(held_out.device), settings)
        for candidate, score_map in _candidate_maps(residuals, known, wanted):
            counts[candidate].add(score_map.cpu().numpy(), mask, where=scored)
            painted[candidate][kind].append(image_score(score_map))
    table = [
        {
            "residual": candidate[0],
            "smoothing": candidate[1],
            "normality": candidate[2],
            "pixel_auroc": pixel_auroc(counts[candidate]),
            "aupro": aupro(counts[candidate]),
            "criterion": _mean_image_auroc(clean[candidate], painted[candidate]),
        }
        for candidate in counts
    ]
    table.sort(key=lambda row: row["criterion"], reverse=True)
    best = (table[0]["residual"], table[0]["smoothing"], table[0]["normality"])
    scorer = Scorer(
        residual=best[0],
        smoothing=best[1],
        normality=known[best[2]].of(residual_parts(best[0])),
        pixel_threshold=pixel_thresholds[best],
        image_threshold=image_threshold(
            clean[best], [score for scores in painted[best].values() for score in scores], share
        ),
        held_out=len(held_out),
    )
    return scorer, table


def _mean_image_auroc(clean: list[float], painted: Mapping[str, list[float]]) -> float:
    kinds = [
        roc_auc_score([0] * len(clean) + [1] * len(scores), clean + scores)
        for scores in painted.values()
    ]
    return float(np.mean(kinds))


def _candidate_maps(
    residuals: Mapping[str, Tensor], known: Mapping[str, Normality], wanted: list[Candidate]
) -> Iterator[tuple[Candidate, Tensor]]:
    """What the scorer of each candidate gives; smoothing is linear, so its parts are shared."""
    smoothed = {
        (part, sigma, against): smooth(known[against].in_spreads(part, residuals[part]), sigma)
        for part in residuals
        for sigma, against in {candidate[1:] for candidate in wanted}
    }
    for residual, sigma, against in wanted:
        parts = [smoothed[part, sigma, against] for part in residual_parts(residual)]
        yield (residual, sigma, against), torch.stack(parts).mean(0)


def _paint(
    images: Tensor, foregrounds: Tensor | None, random: np.random.Generator
) -> Iterator[tuple[str, Tensor, NDArray[np.bool_]]]:
    """Kind, painted image C x S x S float on the CPU, and mask; every image with every kind."""
    for _ in range(math.ceil(PAINTINGS / len(images))):
        for number, image in enumerate(images):
            pixels = as_floats(image).cpu().numpy()
            foreground = None if foregrounds is None else foregrounds[number].cpu().numpy()
            for kind in KINDS:
                painted, mask = paint_validation_defect(pixels, kind, random, foreground)
                yield kind, torch.from_numpy(painted), mask
