"""What is said against figures, and where nothing is."""

from __future__ import annotations

from typing import Any

import pytest
from report_cases import make_metrics
from two_stage.scoring.baselines import CONSTANT
from two_stage.scoring.doubts import doubts

FIGURES = ("pixel_auroc", "aupro", "image_auroc")


def sound(**changes: Any) -> dict[str, Any]:
    """A run of which nothing bad is to be said."""
    metrics = make_metrics(**changes)
    for name, parts in metrics["scores"].items():
        parts["all"] |= dict.fromkeys(FIGURES, 0.9 if name == "chosen" else 0.6)
    metrics["chosen_on_held_out_normals"]["candidates"][0]["criterion"] = 0.9
    return metrics


def only(metrics: dict[str, Any]) -> str:
    (text,) = doubts(metrics)
    return text


def test_nothing_is_said_of_a_sound_run() -> None:
    assert doubts(sound()) == []


@pytest.mark.parametrize(
    ("psnr", "ssim"),
    [(15.1, 0.54), (13.0, 0.9), (20.0, 0.15), (11.0, 0.1)],
    ids=["flat", "no better in dB", "no better in SSIM", "worse"],
)
def test_a_network_that_repaints_hardly_better_than_one_colour(psnr: float, ssim: float) -> None:
    metrics = sound()
    metrics["reconstruction_of_held_out"]["network"] = {"psnr": psnr, "ssim": ssim}
    flat = {"psnr": 15.0, "ssim": 0.53} if psnr == 15.1 else {"psnr": 12.3, "ssim": 0.1}
    metrics["reconstruction_of_held_out"]["constant"] = flat
    text = only(metrics)
    assert "hardly learned to reconstruct" in text
    for figure in (
        f"{psnr:.1f} dB",
        f"{ssim:.2f}",
        f"{flat['psnr']:.1f} dB",
        f"{flat['ssim']:.2f}",
    ):
        assert figure in text


def test_a_perfect_reconstruction_is_no_doubt() -> None:
    metrics = sound()
    metrics["reconstruction_of_held_out"]["network"] = {"psnr": None, "ssim": 1.0}
    assert doubts(metrics) == []


def test_a_product_that_lies_beyond_what_is_scored() -> None:
    metrics = sound()
    chosen = metrics["chosen_on_held_out_normals"]
    chosen["scored_area"] = {"share": 0.4, "product_beyond": 0.009}
    assert doubts(metrics) == []
    chosen["scored_area"]["product_beyond"] = 0.031
    assert "3.1 % of the product lies where none lay in training" in only(metrics)
    assert "--scored-area picture" in only(metrics)


@pytest.mark.parametrize("name", [CONSTANT, "input only: gradient"])
def test_what_needs_no_training_finds_as_much(name: str) -> None:
    metrics = sound()
    metrics["scores"][name]["all"] |= {"pixel_auroc": 0.895, "aupro": 0.97, "image_auroc": 0.9}
    text = only(metrics)
    assert f"({name.removeprefix('input only: ')})" in text
    assert "pixel AUROC 90.0 and 89.5, AUPRO 90.0 and 97.0, image AUROC 90.0 and 90.0" in text
    # One figure that is clearly better was earned.
    metrics["scores"][name]["all"]["image_auroc"] = 0.88
    assert doubts(metrics) == []


def test_a_residual_of_the_network_itself_is_no_baseline() -> None:
    metrics = sound()
    metrics["scores"]["gradient"]["all"] |= dict.fromkeys(FIGURES, 0.99)
    assert doubts(metrics) == []


def test_without_masks_the_pictures_alone_are_compared() -> None:
    metrics = sound()
    for parts in metrics["scores"].values():
        parts["all"] |= {"pixel_auroc": None, "aupro": None}
    assert doubts(metrics) == []
    metrics["scores"][CONSTANT]["all"]["image_auroc"] = 0.95
    assert "(image AUROC 90.0 and 95.0)" in only(metrics)


def test_painted_defects_found_by_chance() -> None:
    metrics = sound()
    metrics["chosen_on_held_out_normals"]["candidates"][0]["criterion"] = 0.603
    assert "hardly better than by chance: image AUROC 60.3, chance is 50" in only(metrics)


def test_a_threshold_of_two_pictures() -> None:
    metrics = sound()
    metrics["thresholds"] |= {"held_out": 2, "expected_false_alarms": 1 / 3}
    text = only(metrics)
    assert "the largest score of 2 held-out normal pictures" in text
    assert "up to about 33 % of good pictures" in text
    assert "not 0.5 %" in text
    # As many as were asked for.
    metrics["thresholds"] |= {"quantile": 0.7}
    assert doubts(metrics) == []


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ({}, "There was no test set"),
        ({"good": 3}, "normal pictures only"),
        ({"crack": 3}, "no normal pictures"),
    ],
)
def test_a_test_set_that_cannot_show_everything(kinds: dict[str, int], words: str) -> None:
    metrics = sound(scores={}) if not kinds else sound()
    for parts in metrics["scores"].values():
        parts["all"] = dict.fromkeys(parts["all"])
    metrics["images"]["test"] = kinds
    assert words in only(metrics)
