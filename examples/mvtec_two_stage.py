"""Two-stage defect detection of J. Imaging 2024, 10(5):111, from pictures to figures.

The demo, a real texture with painted defects, takes a few minutes on two CPU cores:
    python examples/mvtec_two_stage.py
A category in the MVTec AD layout; `--preset paper` for the paper's sizes, `--help` for the rest:
    python examples/mvtec_two_stage.py --data-root DIR --category pill --preset quick
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from two_stage.baselines import input_only_maps, mean_image
from two_stage.checkpoint import save_weights
from two_stage.cpu_memory import keep_freed_memory
from two_stage.dataset import find_category, load_normal_images
from two_stage.defects import estimate_foreground
from two_stage.demo_dataset import write_demo_dataset
from two_stage.evaluation import Result, evaluate, measure_normality
from two_stage.metrics import Map, detection_metrics, detection_metrics_by_defect
from two_stage.model import Autoencoder, count_parameters
from two_stage.report import (
    format_scores,
    save_adga_sheet,
    save_json,
    save_pictures,
    save_training_log,
)
from two_stage.settings import create_run_folder, read_settings, save_settings
from two_stage.training import NormalPatches, measure_batch_norm, steps_per_epoch, train_stage

from aw_ssim import AWSSIMLoss, CombinedPerceptualLoss, SigmaSchedule


def main() -> None:
    started = time.perf_counter()

    # Settings.
    settings = read_settings()
    folder = create_run_folder(settings)
    save_settings(settings, folder)
    set_seed(settings.seed)
    keep_freed_memory()
    accelerator = Accelerator(mixed_precision=settings.mixed_precision)
    print(f"run folder: {folder}")

    # Data: every file is checked before training starts.
    data_root = settings.data_root
    if data_root is None:
        data_root = folder / "demo_data"
        write_demo_dataset(data_root, settings.category, seed=settings.seed)
    files = find_category(data_root, settings.category)
    images = load_normal_images(files.train, settings.image_size, settings.channels)
    foregrounds = None
    if settings.defects_on_foreground():
        foregrounds = torch.stack([estimate_foreground(image.float() / 255) for image in images])
    save_adga_sheet(images, foregrounds, folder / "artificial_defects.png", seed=settings.seed)

    model = Autoencoder(
        settings.channels, settings.width, settings.latent_channels, settings.skips
    ).to(memory_format=torch.channels_last)
    model.to(accelerator.device)
    clean = NormalPatches(
        images, patch_size=settings.patch_size, crops_per_image=1, seed=settings.seed
    )
    print(
        f"{settings.category}: {len(files.train)} normal images to train on, {len(files.test)} to "
        f"test on; {count_parameters(model):,} parameters, {settings.skips} skips"
    )

    # Stage 1: normal images only. Noise on the input keeps the skips from learning to copy it.
    noisy = NormalPatches(
        images,
        patch_size=settings.patch_size,
        crops_per_image=settings.crops_per_image,
        seed=settings.seed + 1,
        noise=settings.input_noise,
    )
    schedule = SigmaSchedule.per_epoch(
        settings.sigma_start, settings.sigma_end, steps_per_epoch(noisy, settings)
    )
    aw_ssim_loss = AWSSIMLoss(settings.loss_weights(), padding="same", sigma=schedule)
    aw_ssim_loss.to(accelerator.device)
    log = train_stage(1, model, noisy, aw_ssim_loss, schedule, settings, accelerator)
    measure_batch_norm(model, clean, settings)
    save_weights(model, folder / "stage_1.safetensors")

    # Stage 2: from stage 1's weights, artificial defects in, the clean patch out.
    defective = NormalPatches(
        images,
        patch_size=settings.patch_size,
        crops_per_image=settings.crops_per_image,
        seed=settings.seed + 2,
        defect_probability=settings.defect_probability,
        foregrounds=foregrounds,
    )
    combined_loss = CombinedPerceptualLoss(structural=aw_ssim_loss, mix=settings.mix)
    combined_loss.to(accelerator.device)
    log += train_stage(2, model, defective, combined_loss, schedule, settings, accelerator)
    measure_batch_norm(model, clean, settings)
    save_weights(model, folder / "stage_2.safetensors")
    save_training_log(log, folder)
    trained = time.perf_counter()

    # Evaluation: what a residual means is measured on normal training images, never on test ones.
    evenly = torch.linspace(0, len(images) - 1, min(64, len(images))).long()
    normality = measure_normality(model, images[evenly], settings)
    mean = mean_image(images)
    masks = []
    maps: defaultdict[str, list[Map]] = defaultdict(list)
    pictures: defaultdict[str, list[Result]] = defaultdict(list)
    for result in evaluate(model, files.test, normality, settings):
        masks.append(result.mask.numpy())
        for name, score_map in result.maps.items():
            maps[f"residual {name}"].append(score_map)
        for name, score_map in input_only_maps(result.image, mean, settings.residual_sigma).items():
            maps[f"input only {name}"].append(score_map)
        if len(pictures[result.sample.defect]) < settings.pictures_per_type:
            pictures[result.sample.defect].append(result)
    defects = [sample.defect for sample in files.test]
    scores = {name: detection_metrics(values, masks, defects) for name, values in maps.items()}
    by_defect = detection_metrics_by_defect(maps["residual combined"], masks, defects)

    # Report.
    save_pictures(pictures, normality, folder / "pictures")
    seconds = {"training": trained - started, "total": time.perf_counter() - started}
    metrics = {
        "category": settings.category,
        "preset": settings.preset,
        "images": {"train": len(files.train), "test": dict(Counter(defects))},
        "parameters": count_parameters(model),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "scores": scores,
        "residual_combined_by_defect": by_defect,
        "normal_training_residuals": {
            name: {"mean": float(normality.means[name].mean()), "std": float(std.mean())}
            for name, std in normality.stds.items()
        },
    }
    save_json(metrics, folder / "metrics.json")
    print(f"\n{format_scores(scores)}\n")
    print("residual combined, each kind of defect with all good images:")
    print(f"{format_scores(by_defect)}\n")
    print(f"trained in {seconds['training']:.0f} s, {seconds['total']:.0f} s in all; see {folder}")


if __name__ == "__main__":
    main()
