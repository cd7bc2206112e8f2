"""One small autoencoder trained with five losses: what each reconstructs, and what it detects.

The pipeline's network and demo pictures (real textures, painted defects). Everything but the loss
is the same for all: pictures, first weights, order of batches, optimiser, steps and the residuals
that are scored, none of which is a contestant's own loss map.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytorch_msssim
import torch
from torch import Tensor, nn
from two_stage.pictures.category import NORMAL, find_category
from two_stage.pictures.demo import CROP, TEXTURES, write_demo_dataset
from two_stage.pictures.files import load_images
from two_stage.pictures.masks import load_mask
from two_stage.run.cpu_memory import keep_freed_memory
from two_stage.scoring.metrics import pixel_metrics, reconstruction_quality
from two_stage.scoring.pixel_counts import PixelCounts
from two_stage.scoring.residuals import residual_maps
from two_stage.training.batch_norm import measure_batch_norm
from two_stage.training.losses import WithL1
from two_stage.training.model import Autoencoder
from two_stage.training.stages import learning_rate

from aw_ssim import AWSSIMLoss, CombinedPerceptualLoss, SSIMLoss
from benchmarks.measure.harness import machine, save, versions
from benchmarks.measure.peers import BASELINE, SIGMA, WINDOW

# pytorch-msssim's five scales ask for more than 16 (window - 1) pixels: 11 taps do not fit a crop.
MS_SSIM_WINDOW = 9
RESIDUALS = ("l1", "gradient")
METRICS = ("psnr", "ssim", "lpips", *(f"{r} {m}" for r in RESIDUALS for m in ("auroc", "ap")))


@dataclasses.dataclass(frozen=True)
class Recipe:
    textures: tuple[str, ...] = tuple(TEXTURES)
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 200
    batch_size: int = 4
    learning_rate: float = 1e-3
    """Of Adam at the start; falls to 0 along a cosine."""
    width: int = 8
    normals: int = 200
    test_normals: int = 12
    per_defect: int = 6
    margin: int = 16
    """Pixels at a picture's edge that are not counted: MS-SSIM's package has no "same" padding, so
    its network hardly learns them."""


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Of one texture and seed: float32 N x 1 x CROP x CROP, masks N x CROP x CROP."""

    train: Tensor
    test: Tensor
    masks: Tensor
    normal: Tensor
    """Which of `test` are without a defect."""


def losses() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    options = {"window_size": WINDOW, "sigma": SIGMA, "padding": "same"}
    scales = {"data_range": 1.0, "win_size": MS_SSIM_WINDOW, "win_sigma": SIGMA}
    return {
        "AW-SSIM": AWSSIMLoss(**options),
        "SSIM": SSIMLoss(**options),
        "SSIM + L1": WithL1(SSIMLoss(**options), mix=0.8),
        "MS-SSIM": lambda x, y: 1 - pytorch_msssim.ms_ssim(x, y, **scales),
        "MSE": nn.MSELoss(),
    }


def demo_pictures(texture: str, seed: int, recipe: Recipe) -> Pictures:
    numbers = {name: getattr(recipe, name) for name in ("normals", "test_normals", "per_defect")}
    with tempfile.TemporaryDirectory() as folder:
        write_demo_dataset(Path(folder), texture, seed=seed, **numbers)
        files = find_category(Path(folder), texture)
        test = [sample.image_path for sample in files.test]
        return Pictures(
            load_images(files.train, CROP, 1).float() / 255,
            load_images(test, CROP, 1).float() / 255,
            torch.stack([load_mask(sample.mask_path, CROP) for sample in files.test]),
            torch.tensor([sample.defect == NORMAL for sample in files.test]),
        )


def train(
    loss: Callable[[Tensor, Tensor], Tensor], pictures: Tensor, seed: int, recipe: Recipe
) -> nn.Module:
    torch.manual_seed(seed)
    model = Autoencoder(channels=1, width=recipe.width).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(model.parameters(), recipe.learning_rate)
    model.train()
    for step, batch in enumerate(batches(pictures, seed, recipe)):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(recipe.learning_rate, step, recipe.steps)
        value = loss(model(batch), batch)
        if not value.isfinite():
            raise FloatingPointError(f"the loss is {value.item()} at step {step}")
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    measure_batch_norm(model, pictures.split(recipe.batch_size))
    return model.eval()


def batches(pictures: Tensor, seed: int, recipe: Recipe) -> Iterator[Tensor]:
    """Random pictures, the same for every loss."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(recipe.steps):
        yield pictures[torch.randperm(len(pictures), generator=generator)[: recipe.batch_size]]


def evaluate(model: nn.Module, pictures: Pictures, margin: int) -> dict[str, float]:
    """METRICS: quality on the normal test pictures, residuals on all of them."""

    def inner(images: Tensor) -> Tensor:
        return images[..., margin : CROP - margin, margin : CROP - margin]

    with torch.inference_mode():
        reconstructions = torch.cat([model(part) for part in pictures.test.split(8)])
        maps = residual_maps(pictures.test, reconstructions, (1, 1, 1), parts=RESIDUALS)
        image, copy = (inner(x)[pictures.normal] for x in (pictures.test, reconstructions))
        perceptual = CombinedPerceptualLoss(mix=0)
        figures = {"lpips": float(perceptual(copy, image))}
    quality = [
        reconstruction_quality(one.numpy(), other.numpy())
        for one, other in zip(image, copy, strict=True)
    ]
    for key in ("psnr", "ssim"):
        figures[key] = sum(row[key] for row in quality) / len(quality)
    for name, residual in maps.items():
        counts = PixelCounts()
        for one, mask in zip(inner(residual), inner(pictures.masks), strict=True):
            counts.add(one.numpy(), mask.numpy())
        found = pixel_metrics(counts)
        figures |= {f"{name} auroc": found["pixel_auroc"], f"{name} ap": found["pixel_ap"]}
    return {name: round(figures[name], 5) for name in METRICS}


def measure(recipe: Recipe) -> list[dict[str, Any]]:
    """One row for each texture, seed and loss: its metrics, or why there are none."""
    runs = []
    for texture in recipe.textures:
        for seed in recipe.seeds:
            pictures = demo_pictures(texture, seed, recipe)
            for name, loss in losses().items():
                row = {"texture": texture, "seed": seed, "loss": name}
                try:
                    model = train(loss, pictures.train, seed, recipe)
                    row["metrics"] = evaluate(model, pictures, recipe.margin)
                    print(texture, seed, f"{name:10}", row["metrics"], flush=True)
                except FloatingPointError as error:
                    row["failed"] = str(error)
                    print(texture, seed, f"{name:10}", error, flush=True)
                runs.append(row)
    return runs


def main() -> None:
    keep_freed_memory()
    recipe = Recipe()
    results = {
        "machine": machine(),
        "packages": versions(BASELINE, "lpips", "scikit-image", "scikit-learn"),
        "settings": dataclasses.asdict(recipe)
        | {"crop": CROP, "window": WINDOW, "sigma": SIGMA, "ms_ssim_window": MS_SSIM_WINDOW},
        "runs": measure(recipe),
    }
    print(f"written: {save('ablation', results)}")


if __name__ == "__main__":
    main()
