"""What a trained network finds in the test images, counted and kept for a report."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from ..pictures.category import Sample
from ..pictures.files import load_image
from ..pictures.foreground import estimate_foreground
from ..pictures.masks import read_mask, shrink
from ..run.progress import progress
from ..run.run import Run
from ..run.settings import Settings
from ..training.data import RunData
from ..training.model import count_multiply_adds, count_parameters
from ..training.stages import training_seconds
from .baselines import input_only_maps, mean_image
from .metrics import Map, Scores, reconstruction_quality
from .pixel_counts import Regions
from .residuals import BASE_RESIDUALS
from .scorer import Normality, Scorer, reconstruct_and_compare
from .selection import Choice


@dataclasses.dataclass(frozen=True)
class Result:
    """One picture with all that is drawn or measured; tensors and maps are on the CPU."""

    sample: Sample
    image: Tensor
    mask: Tensor
    """As large as the image, for drawing."""
    regions: Regions
    """The mask at its own resolution, for counting."""
    reconstruction: Tensor
    maps: dict[str, Map]


@dataclasses.dataclass
class Findings:
    """What was counted on some of the test images."""

    scores: Scores = dataclasses.field(default_factory=Scores)
    quality: list[dict[str, float]] = dataclasses.field(default_factory=list)
    """Of the reconstruction of each normal image."""
    shown: list[Result] = dataclasses.field(default_factory=list)
    """Those to be drawn."""

    def merge(self, other: Findings) -> None:
        self.scores.merge(other.scores)
        self.quality += other.quality
        self.shown += other.shown

    def image_scores(self) -> tuple[list[float], list[float]]:
        """Of all normal and of all defective images, under the score "chosen"."""
        scores = self.scores.image_scores
        chosen = {kind: values for (name, kind), values in scores.items() if name == "chosen"}
        defective = [score for kind in self.scores.defects() for score in chosen[kind]]
        return chosen.get("good", []), defective


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """All that is known of a run in the end, the same on every process."""

    findings: Findings
    choice: Choice
    metrics: dict[str, Any]
    """What `metrics.json` holds."""


def score_test_images(model: nn.Module, choice: Choice, data: RunData, run: Run) -> Evaluation:
    """Score the test images, shared by the processes; each is counted once.

    `scorer.safetensors` is left in the run's folder: with it the run is ready for `predict`.
    """
    started = time.perf_counter()
    model.eval()
    if run.is_main:
        choice.scorer.save(run.folder / "scorer.safetensors")
    findings, *others = gather_object([_score_my_share(model, choice, data, run)])
    for other in others:
        findings.merge(other)
    findings.shown.sort(key=lambda result: result.sample.name)
    about_run = _about_run(model, data, run)
    seconds = training_seconds(run.folder)
    seconds["evaluation"] = round(time.perf_counter() - started, 1)
    about_test = _about_test(findings, choice, run.settings)
    return Evaluation(findings, choice, {**about_run, "seconds": seconds, **about_test})


def _score_my_share(model: nn.Module, choice: Choice, data: RunData, run: Run) -> Findings:
    settings, processes = run.settings, run.processes
    mine = data.test[processes.process_index :: processes.num_processes]
    results = score_samples(
        model,
        choice.scorer,
        progress(mine, "test images", quiet=not run.is_main or not mine),
        settings,
        normality=choice.normality,
        mean=mean_image(data.train),
    )
    shown = first_of_each_kind(data.test, settings.scoring.pictures_per_type)
    findings = Findings()
    for result in results:
        foreground = None
        if settings.defects_on_foreground():
            foreground = estimate_foreground(result.image).numpy()
        kind = result.sample.defect
        for name, score_map in result.maps.items():
            findings.scores.add(name, kind, score_map, result.regions, foreground)
        if kind == "good":
            pair = (result.image.numpy(), result.reconstruction.numpy())
            findings.quality.append(reconstruction_quality(*pair))
        if result.sample in shown:
            findings.shown.append(result)
    return findings


def _about_run(model: nn.Module, data: RunData, run: Run) -> dict[str, Any]:
    settings, precision = run.settings, run.settings.training.mixed_precision
    return {
        "category": settings.data.category,
        "arm": settings.stages.arm,
        "preset": settings.preset,
        "seed": settings.training.seed,
        "device": device_name(run.device),
        "precision": "float32" if precision == "no" else precision,
        "images": {
            "train": len(data.train),
            "validation": len(data.held_out),
            "test": dict(Counter(sample.defect for sample in data.test)),
        },
        "notes": [str(note) for note in data.notes],
        "model": {
            "parameters": count_parameters(model),
            "multiply_adds_per_patch": count_multiply_adds(
                model, settings.data.channels, settings.training.patch_size
            ),
        },
    }


def _about_test(findings: Findings, choice: Choice, settings: Settings) -> dict[str, Any]:
    scorer, scores = choice.scorer, findings.scores
    normal, defective = findings.image_scores()
    return {
        "chosen_on_held_out_normals": {
            "residual": scorer.residual,
            "smoothing": scorer.smoothing,
            "candidates": choice.candidates,
        },
        "thresholds": {
            "quantile": settings.scoring.threshold_quantile,
            "pixel": scorer.pixel_threshold,
            "image": scorer.image_threshold,
        },
        "dominating_defect": scores.dominating() if scores.names() else None,
        "scores": scores.table(),
        "at_threshold": {
            "defective_images_found": _share_above(defective, scorer.image_threshold),
            "normal_images_flagged": _share_above(normal, scorer.image_threshold),
        },
        "reconstruction_of_normals": {
            key: _finite_mean([figures[key] for figures in findings.quality])
            for key in ("psnr", "ssim")
        },
    }


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

    With `normality` each single residual is scored too; with `mean`, the mean normal image, so are
    the baselines that need no network.
    """
    parts = []
    if normality is not None:
        parts = [
            dataclasses.replace(scorer, residual=part, normality=normality)
            for part in BASE_RESIDUALS
        ]
    device = next(model.parameters()).device
    for sample in samples:
        data = settings.data
        image = load_image(sample.image_path, data.image_size, data.channels, data.white)
        size = (data.image_size, data.image_size)
        mask = np.zeros(size, dtype=bool)
        if sample.mask_path is not None:
            mask = read_mask(sample.mask_path).defective
        reconstruction, residuals = reconstruct_and_compare(model, image.to(device), settings)
        maps = {"chosen": scorer(residuals), "plain l1": residuals["l1"]}
        maps |= {part.residual: part(residuals) for part in parts}
        arrays = {name: score_map.cpu().numpy() for name, score_map in maps.items()}
        if mean is not None:
            baselines = input_only_maps(image, mean, scorer.smoothing)
            arrays |= {
                f"input only: {name.replace('_', ' ')}": value for name, value in baselines.items()
            }
        small, regions = torch.from_numpy(shrink(mask, data.image_size)), Regions.of(mask, size)
        yield Result(sample, image, small, regions, reconstruction.cpu(), arrays)


def first_of_each_kind(samples: Sequence[Sample], count: int) -> list[Sample]:
    """The first `count` pictures of each kind of defect and of the normal ones."""
    seen: Counter[str] = Counter()
    first = []
    for sample in samples:
        seen[sample.defect] += 1
        if seen[sample.defect] <= count:
            first.append(sample)
    return first


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _finite_mean(values: list[float]) -> float | None:
    """None for no values, and for the infinite PSNR of a perfect reconstruction."""
    mean = float(np.mean(values)) if values else math.inf
    return mean if math.isfinite(mean) else None


def _share_above(scores: list[float], threshold: float) -> float | None:
    return sum(score > threshold for score in scores) / len(scores) if scores else None
