"""What a trained network finds: choices on held-out normals, then the figures of test images."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn
from tqdm import tqdm

from ..pictures.category import Sample
from ..pictures.files import load_image, load_mask
from ..pictures.foreground import estimate_foreground
from ..report.figures import save_curves, save_panels, save_result_files, save_score_histogram
from ..run.folder import save_json
from ..run.settings import Settings
from ..training.data import RunData, spread
from ..training.model import count_multiply_adds, count_parameters
from .baselines import input_only_maps, mean_image
from .metrics import Map, Scores, reconstruction_quality
from .residuals import BASE_RESIDUALS
from .scorer import Normality, Scorer, measure_normality, reconstruct_and_compare
from .selection import choose_scorer

# Enough to measure a mean and a spread at each place.
NORMALITY_IMAGES = 64


@dataclasses.dataclass(frozen=True)
class Result:
    """One picture with all that is drawn or measured; tensors and maps are on the CPU."""

    sample: Sample
    image: Tensor
    mask: Tensor
    reconstruction: Tensor
    maps: dict[str, Map]


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
    normality = measure_normality(model, spread(data.train, NORMALITY_IMAGES), settings)
    scorer, candidates = choose_scorer(
        model,
        normality,
        data.held_out,
        data.held_out_foregrounds,
        settings,
        np.random.default_rng(settings.seed),
    )
    # Between processes rounding may differ; all of them score what the first one chose.
    fields = (scorer.residual, scorer.smoothing, scorer.pixel_threshold, scorer.image_threshold)
    fields, candidates = broadcast_object_list([fields, candidates])
    residual, smoothing, pixel_threshold, image_threshold = fields
    scorer = Scorer(residual, smoothing, normality, pixel_threshold, image_threshold)
    return Choice(scorer, normality, candidates)


def evaluate(
    model: nn.Module,
    choice: Choice,
    data: RunData,
    settings: Settings,
    folder: Path,
    accelerator: Accelerator,
    seconds_of_training: dict[str, float] | None = None,
) -> None:
    """Leave `scorer.safetensors`, `metrics.json`, `curves.json` and pictures in `folder`.

    Processes share the test images; each is counted once.
    """
    started = time.perf_counter()
    model.eval()
    scorer, normality = choice.scorer, choice.normality
    if accelerator.is_main_process:
        scorer.save(folder / "scorer.safetensors")

    mine = data.test[accelerator.process_index :: accelerator.num_processes]
    results = score_samples(
        model,
        scorer,
        tqdm(mine, "test images", disable=not accelerator.is_main_process or not mine),
        settings,
        normality=normality,
        mean=mean_image(data.train),
    )
    scales = colour_scales(scorer, normality)
    scores, quality, pictures = Scores(), [], []
    drawn = first_of_each_kind(data.test, settings.pictures_per_type)
    for result in results:
        foreground = None
        if settings.defects_on_foreground():
            foreground = estimate_foreground(result.image).numpy()
        for name, score_map in result.maps.items():
            kind, mask = result.sample.defect, result.mask.numpy()
            scores.add(name, kind, score_map, mask, foreground)
        if result.sample.defect == "good":
            pair = (result.image.numpy(), result.reconstruction.numpy())
            quality.append(reconstruction_quality(*pair))
        if result.sample in drawn:
            pictures.append(result)
            save_result_files(result, folder / "pictures", scales, scorer.pixel_threshold)
    everything = gather_object([(scores, quality, pictures)])
    if not accelerator.is_main_process:
        return

    scores = everything[0][0]
    for other, _, _ in everything[1:]:
        scores.merge(other)
    quality = [figures for _, part, _ in everything for figures in part]
    pictures = [result for _, _, part in everything for result in part]
    normal_scores, defective_scores = _image_scores(scores)
    curves = scores.curves()
    save_json(curves, folder / "curves.json")
    if pictures:
        pictures.sort(key=lambda result: result.sample.name)
        save_panels(pictures, folder / "panels.png", scales, scorer.pixel_threshold)
        save_curves(curves, folder / "curves.png")
        save_score_histogram(
            normal_scores, defective_scores, scorer.image_threshold, folder / "image_scores.png"
        )
    metrics = {
        "category": settings.category,
        "arm": settings.arm,
        "preset": settings.preset,
        "seed": settings.seed,
        "device": device_name(accelerator.device),
        "precision": settings.mixed_precision if settings.mixed_precision != "no" else "float32",
        "images": {
            "train": len(data.train),
            "validation": len(data.held_out),
            "test": dict(Counter(sample.defect for sample in data.test)),
        },
        "model": {
            "parameters": count_parameters(model),
            "multiply_adds_per_patch": count_multiply_adds(
                model, settings.channels, settings.patch_size
            ),
        },
        "seconds": {
            **(seconds_of_training or {}),
            "evaluation": round(time.perf_counter() - started, 1),
        },
        "chosen_on_held_out_normals": {
            "residual": scorer.residual,
            "smoothing": scorer.smoothing,
            "candidates": choice.candidates,
        },
        "thresholds": {
            "quantile": settings.threshold_quantile,
            "pixel": scorer.pixel_threshold,
            "image": scorer.image_threshold,
        },
        "dominating_defect": scores.dominating() if scores.names() else None,
        "scores": scores.table(),
        "at_threshold": {
            "defective_images_found": _share_above(defective_scores, scorer.image_threshold),
            "normal_images_flagged": _share_above(normal_scores, scorer.image_threshold),
        },
        "reconstruction_of_normals": {
            key: _finite_mean([figures[key] for figures in quality]) for key in ("psnr", "ssim")
        },
    }
    # Last of all: a run with this file is complete.
    save_json(metrics, folder / "metrics.json")


def score_samples(
    model: nn.Module,
    scorer: Scorer,
    samples: Iterable[Sample],
    settings: Settings,
    *,
    normality: Normality | None = None,
    mean: Map | None = None,
) -> Iterator[Result]:
    """Score pictures one at a time, so that memory does not grow with their number.

    With `normality` each residual alone is a score too, with `mean`, the mean normal image, the
    scores that need no network.
    """
    parts = []
    if normality is not None:
        parts = [
            dataclasses.replace(scorer, residual=part, normality=normality)
            for part in BASE_RESIDUALS
        ]
    device = next(model.parameters()).device
    for sample in samples:
        image = load_image(sample.image_path, settings.image_size, settings.channels)
        mask = load_mask(sample.mask_path, settings.image_size)
        reconstruction, residuals = reconstruct_and_compare(model, image.to(device), settings)
        maps = {"chosen": scorer(residuals), "plain l1": residuals["l1"]}
        maps |= {part.residual: part(residuals) for part in parts}
        arrays = {name: score_map.cpu().numpy() for name, score_map in maps.items()}
        if mean is not None:
            baselines = input_only_maps(image, mean, scorer.smoothing)
            arrays |= {
                f"input only: {name.replace('_', ' ')}": value for name, value in baselines.items()
            }
        yield Result(sample, image, mask, reconstruction.cpu(), arrays)


def first_of_each_kind(samples: Sequence[Sample], count: int) -> list[Sample]:
    """The first `count` pictures of each kind of defect and of the normal ones."""
    seen: Counter[str] = Counter()
    first = []
    for sample in samples:
        seen[sample.defect] += 1
        if seen[sample.defect] <= count:
            first.append(sample)
    return first


def colour_scales(scorer: Scorer, normality: Normality) -> dict[str, float]:
    """The brightest colour of each map in pictures, from normal images and the same in all."""
    mean, std = (float(values["l1"].mean()) for values in (normality.means, normality.stds))
    return {"plain l1": mean + 6 * std, "chosen": 2 * scorer.pixel_threshold}


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _image_scores(scores: Scores) -> tuple[list[float], list[float]]:
    """Of all normal and of all defective images, under the score "chosen"."""
    chosen = {kind: v for (name, kind), v in scores.image_scores.items() if name == "chosen"}
    defective = [score for kind in scores.defects() for score in chosen[kind]]
    return chosen.get("good", []), defective


def _finite_mean(values: list[float]) -> float | None:
    """None for no values, and for the infinite PSNR of a perfect reconstruction."""
    mean = float(np.mean(values)) if values else math.inf
    return mean if math.isfinite(mean) else None


def _share_above(scores: list[float], threshold: float) -> float | None:
    return sum(score > threshold for score in scores) / len(scores) if scores else None
