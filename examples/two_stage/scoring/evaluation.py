"""What a trained network finds in the test images, counted and kept for a report."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import Tensor, nn

from ..defects.painted import KINDS, paint_validation_defect
from ..pictures.category import NORMAL, Sample
from ..pictures.files import load_image
from ..pictures.foreground import estimate_foreground
from ..pictures.masks import read_mask, shrink
from ..pictures.stored import as_floats
from ..run.progress import progress
from ..run.run import Run
from ..run.settings import Settings
from ..training.data import RunData
from ..training.stages import training_seconds
from .baselines import (
    CONSTANT,
    INPUT_ONLY,
    ConstantColour,
    Untrained,
    compare_reconstructions,
    input_only_maps,
    mean_image,
)
from .doubts import doubts
from .metrics import Map, Scores, mean_quality, reconstruction_quality
from .pixel_counts import Regions
from .residuals import BASE_RESIDUALS
from .run_metrics import about_choice, about_run, about_test
from .scorer import Normality, Scorer, reconstruct_and_compare
from .selection import Choice, choose


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

    @property
    def score(self) -> float:
        """The picture's own, the largest value of its map."""
        return float(self.maps["chosen"].max())


@dataclasses.dataclass
class Findings:
    """What was counted on some of the test images."""

    scores: Scores = dataclasses.field(default_factory=Scores)
    quality: list[dict[str, float]] = dataclasses.field(default_factory=list)
    """Of the reconstruction of each normal image."""
    pictures: list[tuple[Sample, float]] = dataclasses.field(default_factory=list)
    """Each with its score."""
    shown: list[Result] = dataclasses.field(default_factory=list)
    """Those to be drawn."""

    def merge(self, other: Findings) -> None:
        self.scores.merge(other.scores)
        self.quality += other.quality
        self.pictures += other.pictures
        self.shown += other.shown

    def image_scores(self) -> tuple[list[float], list[float]]:
        """Of all normal and of all defective images, under the score "chosen"."""
        normal = [score for sample, score in self.pictures if sample.defect == NORMAL]
        return normal, [score for sample, score in self.pictures if sample.defect != NORMAL]


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
    Without a test set, held-out images stand in where pictures are shown.
    """
    started = time.perf_counter()
    model.eval()
    if run.is_main:
        choice.scorer.save(run.folder / "scorer.safetensors")
    mean = mean_image(data.train)
    constant = ConstantColour(mean).to(run.device)
    untrained_choice = choose(constant, data, run.settings)
    untrained = Untrained(mean, constant, untrained_choice.scorer)
    findings, *others = gather_object([_score_my_share(model, choice, untrained, data, run)])
    for other in others:
        findings.merge(other)
    findings.pictures.sort(key=lambda picture: picture[0].image_path)
    findings.shown.sort(key=lambda result: result.sample.name)
    if not data.test:
        findings.shown = held_out_pictures(model, choice.scorer, data, run.settings)
    reconstructions = compare_reconstructions(model, constant, data.held_out, run.settings)
    seconds = training_seconds(run.folder)
    seconds["evaluation"] = round(time.perf_counter() - started, 1)
    metrics = {
        **about_run(model, data, run),
        "seconds": seconds,
        **about_choice(choice, untrained_choice, data, run.settings.scoring),
        **about_test(findings.scores, *findings.image_scores(), choice.scorer),
        "reconstruction_of_normals": mean_quality(findings.quality),
        "reconstruction_of_held_out": reconstructions,
        "shown": [
            {"picture": result.sample.name, "kind": result.sample.defect, "score": result.score}
            for result in findings.shown
        ],
    }
    return Evaluation(findings, choice, {**metrics, "doubts": doubts(metrics)})


def _score_my_share(
    model: nn.Module, choice: Choice, untrained: Untrained, data: RunData, run: Run
) -> Findings:
    settings, processes = run.settings, run.processes
    mine = data.test[processes.process_index :: processes.num_processes]
    results = score_samples(
        model,
        choice.scorer,
        progress(mine, "test images", quiet=not run.is_main or not mine),
        settings,
        normality=choice.normality,
        untrained=untrained,
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
        findings.pictures.append((result.sample, result.score))
        if kind == NORMAL:
            pair = (result.image.numpy(), result.reconstruction.numpy())
            findings.quality.append(reconstruction_quality(*pair))
        if result.sample in shown:
            findings.shown.append(result)
    return findings


def score_samples(
    model: nn.Module,
    scorer: Scorer,
    samples: Iterable[Sample],
    settings: Settings,
    *,
    normality: Normality | None = None,
    untrained: Untrained | None = None,
) -> Iterator[Result]:
    """Score pictures one at a time, so that memory does not grow with their number.

    With `normality` each single residual is scored too; with `untrained`, so are the baselines
    that need no training.
    """
    parts = []
    if normality is not None:
        parts = [
            dataclasses.replace(scorer, residual=part, normality=normality)
            for part in BASE_RESIDUALS
        ]
    for sample in samples:
        data = settings.data
        image = load_image(sample.image_path, data.image_size, data.channels, data.white)
        mask = np.zeros((data.image_size, data.image_size), dtype=bool)
        if sample.mask_path is not None:
            mask = read_mask(sample.mask_path).defective
        yield _score(model, scorer, sample, image, mask, settings, parts, untrained)


@torch.inference_mode()
def held_out_pictures(
    model: nn.Module, scorer: Scorer, data: RunData, settings: Settings
) -> list[Result]:
    """Some held-out normal images, and the same with a painted defect of each kind."""
    random = np.random.default_rng(settings.training.seed)
    results = []
    for number, held_out in enumerate(data.held_out[: settings.scoring.pictures_per_type]):
        image = as_floats(held_out.cpu())
        foregrounds = data.held_out_foregrounds
        foreground = None if foregrounds is None else foregrounds[number].cpu().numpy()
        pictures = [("held_out", image, np.zeros(image.shape[1:], dtype=bool))]
        for kind in KINDS:
            painted, mask = paint_validation_defect(image.numpy(), kind, random, foreground)
            pictures.append((f"painted_{kind}", torch.from_numpy(painted), mask))
        for kind, shown, mask in pictures:
            sample = Sample(Path(f"{number}.png"), None, kind)
            results.append(_score(model, scorer, sample, shown, mask, settings))
    return results


def _score(
    model: nn.Module,
    scorer: Scorer,
    sample: Sample,
    image: Tensor,
    mask: NDArray[np.bool_],
    settings: Settings,
    parts: Sequence[Scorer] = (),
    untrained: Untrained | None = None,
) -> Result:
    """`mask` has a size of its own."""
    on_device = image.to(next(model.parameters()).device)
    reconstruction, residuals = reconstruct_and_compare(model, on_device, settings)
    maps = {"chosen": scorer(residuals), "plain l1": residuals["l1"]}
    maps |= {part.residual: part(residuals) for part in parts}
    if untrained is not None:
        _, residuals = reconstruct_and_compare(
            untrained.constant, on_device, settings, untrained.scorer.parts
        )
        maps[CONSTANT] = untrained.scorer(residuals)
    arrays = {name: score_map.cpu().numpy() for name, score_map in maps.items()}
    if untrained is not None:
        others = input_only_maps(image, untrained.mean, scorer.smoothing)
        arrays |= {f"{INPUT_ONLY}{name.replace('_', ' ')}": map_ for name, map_ in others.items()}
    size = image.shape[-1]
    small, regions = torch.from_numpy(shrink(mask, size)), Regions.of(mask, (size, size))
    return Result(sample, image, small, regions, reconstruction.cpu(), arrays)


def first_of_each_kind(samples: Sequence[Sample], count: int) -> list[Sample]:
    """The first `count` pictures of each kind of defect and of the normal ones."""
    seen: Counter[str] = Counter()
    first = []
    for sample in samples:
        seen[sample.defect] += 1
        if seen[sample.defect] <= count:
            first.append(sample)
    return first
