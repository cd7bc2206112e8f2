"""What speaks against taking a run's figures at their word, in sentences.

The console and the report show them first, and `metrics.json` holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .baselines import INPUT_ONLY
from .thresholds import origin_of_image_threshold

Metrics = Mapping[str, Any]

# A network that halves the squared error of one flat colour, 3 dB, has learned little.
LEAST_GAIN_DB = 3.0
# Of what the flat colour's SSIM lacks to 1.
LEAST_SSIM_SHARE = 0.1
# An AUROC is told from another by a point; painted defects of which many are faint are found by a
# trained network in 80 to 100 of 100 comparisons with a clean picture, by chance in 50.
SAME = 0.01
LEAST_CRITERION = 0.7
# Of a product, that may lie beyond what is scored: its blurred outline does.
MOST_BEYOND = 0.01
# So many times as many false alarms as asked for are no longer what was asked for.
MANY_TIMES = 10
FIGURES = {"pixel_auroc": "pixel AUROC", "aupro": "AUPRO", "image_auroc": "image AUROC"}


def doubts(metrics: Metrics) -> list[str]:
    """One sentence or two for each; empty where nothing is to be said."""
    checks: tuple[Callable[[Metrics], str | None], ...] = (
        _of_the_reconstruction,
        _of_the_detection,
        _of_painted_defects,
        _of_the_scored_area,
        _of_the_threshold,
        _of_the_test_set,
    )
    return [text for check in checks if (text := check(metrics))]


def _of_the_reconstruction(metrics: Metrics) -> str | None:
    compared = metrics["reconstruction_of_held_out"]
    ours, flat = compared["network"], compared["constant"]
    # An infinite PSNR is no cause for doubt.
    if None in (ours["psnr"], flat["psnr"]):
        return None
    gain = ours["psnr"] - flat["psnr"]
    share = (ours["ssim"] - flat["ssim"]) / max(1 - flat["ssim"], 1e-6)
    if gain >= LEAST_GAIN_DB and share >= LEAST_SSIM_SHARE:
        return None
    return (
        "The network has hardly learned to reconstruct: on normal pictures held out from training "
        f"it reaches {ours['psnr']:.1f} dB and an SSIM of {ours['ssim']:.2f}, one flat colour "
        f"{flat['psnr']:.1f} dB and {flat['ssim']:.2f}. What is found below is then seen in the "
        "picture itself. Take --preset best, train longer or on more pictures."
    )


def _of_the_detection(metrics: Metrics) -> str | None:
    scores = metrics["scores"]
    ours = scores.get("chosen", {}).get("all", {})
    known = [key for key in FIGURES if ours.get(key) is not None]
    for name, parts in scores.items():
        theirs = parts["all"]
        if not name.startswith(INPUT_ONLY) or not known:
            continue
        if all(ours[key] < theirs[key] + SAME for key in known):
            figures = ", ".join(
                f"{FIGURES[key]} {100 * ours[key]:.1f} and {100 * theirs[key]:.1f}" for key in known
            )
            return (
                "The network has not earned this result: what needs no training "
                f"({name.removeprefix(INPUT_ONLY)}) finds these defects about as well or better "
                f"({figures}). The test pictures are too easy to tell, or the training failed."
            )
    return None


def _of_painted_defects(metrics: Metrics) -> str | None:
    criterion = metrics["chosen_on_held_out_normals"]["candidates"][0]["criterion"]
    if criterion >= LEAST_CRITERION:
        return None
    return (
        "Defects painted on held-out normal pictures are found hardly better than by chance: image "
        f"AUROC {100 * criterion:.1f}, chance is 50. Do not rely on what this run calls defective."
    )


def _of_the_scored_area(metrics: Metrics) -> str | None:
    area = metrics["chosen_on_held_out_normals"].get("scored_area")
    if area is None or area["product_beyond"] <= MOST_BEYOND:
        return None
    return (
        f"On normal pictures held out from training {100 * area['product_beyond']:.1f} % of the "
        "product lies where none lay in training, and is not scored: a defect there is missed. "
        "Train with pictures of every place where the product can lie, or evaluate with "
        "--scored-area picture."
    )


def _of_the_threshold(metrics: Metrics) -> str | None:
    thresholds = metrics["thresholds"]
    asked, expected = 1 - thresholds["quantile"], thresholds["expected_false_alarms"]
    if expected < MANY_TIMES * asked:
        return None
    origin = origin_of_image_threshold(thresholds["quantile"], thresholds["held_out"])
    return (
        f"The threshold for pictures is {origin}: up to about {100 * expected:.0f} % of good "
        f"pictures will be called defective, not {100 * asked:.2g} %. Train with more normal "
        "pictures or a larger --validation-share, or give predict a --threshold of your own."
    )


def _of_the_test_set(metrics: Metrics) -> str | None:
    kinds = metrics["images"]["test"]
    if not kinds:
        return (
            "There was no test set: nothing here says how well real defects are found. The "
            "pictures shown are held-out normal ones, also with painted defects."
        )
    if "good" not in kinds:
        return (
            "The test set has no normal pictures: nothing here says how many good ones are flagged."
        )
    if set(kinds) == {"good"}:
        return (
            "The test set has normal pictures only: it shows false alarms, and not what is found."
        )
    return None
