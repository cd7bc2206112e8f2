"""The benchmarks' own arithmetic, at tiny settings."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("lpips", reason="LPIPS comes with the offline extra")
pytest.importorskip("skimage", reason="scikit-image comes with the examples extra")
pytest.importorskip("sklearn", reason="scikit-learn comes with the examples extra")

from benchmarks.__main__ import FILES, NAMES, first_line, parse
from benchmarks.measure import (
    ablation,
    accuracy,
    features,
    harness,
    overhead,
    peers,
    scaling,
    speed,
)


@pytest.fixture(scope="module")
def runs() -> list[dict[str, Any]]:
    tiny = ablation.Recipe(
        textures=("brick",), seeds=(0,), steps=2, batch_size=2, width=4,
        normals=4, test_normals=1, per_defect=1,
    )  # fmt: skip
    return ablation.measure(tiny)


def test_ablation_has_all_metrics_of_every_loss(runs: list[dict[str, Any]]) -> None:
    assert [run["loss"] for run in runs] == list(ablation.losses())
    for run in runs:
        assert tuple(run["metrics"]) == ablation.METRICS
        assert all(math.isfinite(value) for value in run["metrics"].values())


def test_ablation_trains_with_different_losses(runs: list[dict[str, Any]]) -> None:
    assert len({run["metrics"]["psnr"] for run in runs}) == len(runs)


def test_ablation_gives_every_loss_the_same_batches() -> None:
    pictures = torch.rand(6, 1, 4, 4)
    recipe = ablation.Recipe(steps=3)
    first, second = (list(ablation.batches(pictures, 1, recipe)) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert not torch.equal(first[0], first[1])


def test_a_training_that_breaks_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"broken": lambda x, y: (x - y).sum() * float("nan")}
    monkeypatch.setattr(ablation, "losses", lambda: broken)
    recipe = ablation.Recipe(
        textures=("brick",), seeds=(0,), steps=1, width=4, normals=4, test_normals=1, per_defect=1
    )
    (run,) = ablation.measure(recipe)
    assert "nan at step 0" in run["failed"]
    assert "metrics" not in run


def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(1, 1, 24, 24, generator=generator) for _ in range(2))  # type: ignore


# frame-analytics compiles itself for half a minute; the test of the results holds it.
@pytest.mark.parametrize("package", [name for name in peers.MODULES if name != "frame-analytics"])
def test_other_libraries_have_the_common_definition(package: str) -> None:
    theirs, absent = peers.peers(packages=[package])
    if package in absent:
        pytest.skip(f"{package}: {absent[package]}")
    x, y = (image.double() for image in pair())
    row = accuracy.loss_error(theirs[package], x, y, accuracy.truths(x, y)["SSIM"])
    # Some round their window or everything to float32.
    assert row["value"] < 1e-5
    assert row["gradient"] < 1e-3


# What frame-analytics gives stands in the table of errors.
@pytest.mark.parametrize("package", ["pytorch-msssim", "kornia", "piq", "torchmetrics", "monai"])
def test_others_in_float64_compute_in_float64(package: str) -> None:
    theirs, absent = peers.peers(packages=[package])
    if package in absent:
        pytest.skip(f"{package}: {absent[package]}")
    # float32 does not see so small a step.
    x, y = (image.double() for image in pair())
    apart = theirs[package](x, y) - theirs[package](x + 1e-9 * torch.sign(y - x), y)
    assert (abs(apart) > 1e-13) == (package in peers.IN_FLOAT64)
    assert (apart.dtype is torch.float64) == (package in peers.IN_FLOAT64)


@pytest.mark.parametrize(
    ("build", "packages", "shape"),
    [
        (peers._map_loss, peers.WITH_MAPS, (1, 2, 15, 16)),
        (peers._volume_loss, peers.WITH_VOLUMES, (1, 2, 11, 13, 12)),
    ],
)
def test_maps_and_volumes_of_others_have_the_common_definition(
    build: Any, packages: tuple[str, ...], shape: tuple[int, ...]
) -> None:
    theirs, _ = peers.peers(packages=packages, build=build)
    x, y = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)).double()
    truth = accuracy.truths(x, y)["SSIM"]
    for name, loss in theirs.items():
        row = accuracy.loss_error(loss, x, y, truth)
        assert row["value"] < 1e-5, name
        assert row["gradient"] < 1e-3, name


def test_features_measure_those_that_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "PICTURES", (2, 1, 16, 17))
    monkeypatch.setattr(features, "VOLUME", (1, 1, 12, 11, 13))
    others = {"other": lambda x, y: (x - y).mean()}
    monkeypatch.setattr(features, "float64_peers", lambda: (others, {}))
    for name in ("map_peers", "volume_peers"):
        monkeypatch.setattr(features, name, lambda: ({}, {}))
    every = features.features()
    assert list(every) == ["float64", "a map", "a mask", "a volume"]
    assert [feature.dtype for feature in every.values()] == [torch.float64] + 3 * [torch.float32]
    ours = ["aw_ssim SSIMLoss", "aw_ssim AWSSIMLoss"]
    assert list(every["float64"].losses) == ["other", *ours]
    for feature in every.values():
        rows = features.times(feature, rounds=2)
        assert list(rows)[-2:] == ours
        assert all(0 < row["low"] <= row["median"] for row in rows.values())
    # The mask and the map are of the same images as the plain loss, and another number.
    x, y = features.images(every["a map"])
    plain = features.ours()["aw_ssim SSIMLoss"](x, y)
    torch.testing.assert_close(every["a map"].losses["aw_ssim SSIMLoss"](x, y), plain)
    assert abs(every["a mask"].losses["aw_ssim SSIMLoss"](x, y) - plain) > 1e-5


def test_our_losses_have_their_truths() -> None:
    x, y = pair()
    truth = accuracy.truths(x, y)
    ours = {n: entry for n, entry in accuracy.losses().items() if n.startswith("aw_ssim")}
    assert len(ours) == 2 * len(speed.running_backends("cpu"))
    for loss, kind in ours.values():
        row = accuracy.loss_error(loss, x, y, truth[kind])
        assert row["value"] < 1e-6
        assert row["gradient"] < 1e-5
    other = accuracy.loss_error(ours["aw_ssim SSIMLoss, torch"][0], x, y, truth["AW-SSIM"])
    assert other["gradient"] > 1e-2


def test_failures_are_recorded() -> None:
    x, y = pair()
    truth = accuracy.truths(x, y)["SSIM"]

    def raising(x: Tensor, y: Tensor) -> Tensor:
        raise RuntimeError("no such dtype\nand more")

    assert accuracy.loss_error(raising, x, y, truth) == {"failed": "RuntimeError: no such dtype"}
    nan = accuracy.loss_error(lambda x, y: (x - y).sum() * float("nan"), x, y, truth)
    assert nan["failed"].startswith("NaN")
    assert accuracy.loss_error(lambda x, y: (x - y).square().sum(), x, x, truth)["gradient"] is None


def test_scaling_varies_one_thing_at_a_time() -> None:
    place = {"channels": 1, "batch": 0}
    for sweep, points in scaling.SWEEPS.items():
        for value, (shape, window) in points.items():
            if sweep in place:
                assert shape[place[sweep]] == value
            assert value == (window if sweep == "window" else shape[place.get(sweep, 2)])
        fixed = {
            (tuple(n for axis, n in enumerate(shape) if axis != place.get(sweep)), window)
            for shape, window in points.values()
        }
        assert len(fixed) == (1 if sweep in place else len(points))


def test_scaling_measures_each_contestant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "CONTESTANTS", (peers.BASELINE,))
    case = scaling.measure((1, 1, 40, 40), 7, rounds=2)
    rows = case["milliseconds"]
    assert list(rows)[:3] == [peers.BASELINE, "aw_ssim SSIMLoss", "aw_ssim AWSSIMLoss"]
    assert all(0 < row["low"] <= row["median"] <= row["high"] for row in rows.values())
    assert rows[peers.BASELINE]["speedup"] == 1


def test_overhead_is_in_microseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "_milliseconds", lambda run: 0.25 if run() is not None else 0.0)
    losses = {"a": lambda x, y: (x - y).square().sum()}
    found = overhead.measure(losses, "cpu", rounds=2)
    row = {"a": {"median": 250.0, "low": 250.0, "high": 250.0}}
    assert found == {"forward": row, "forward + backward": row}


def test_contestants_take_turns() -> None:
    calls: list[str] = []
    runs = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = harness.interleaved_times(runs, 2, warm_up=1)
    assert "".join(calls) == "ababab"
    assert list(times) == ["a", "b"]


def test_warm_up_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1000.0, 1.0, 2.0, 3.0])
    monkeypatch.setattr(harness, "_milliseconds", lambda run: next(times))
    row = harness.interleaved_times({"a": lambda: None}, 3, warm_up=1)["a"]
    assert row == {"median": 2.0, "low": 1.5, "high": 2.5}


def test_speedup_is_of_medians() -> None:
    rows = harness.with_speedup({"a": {"median": 3.0}, "b": {"median": 2.0}}, "a")
    assert [row["speedup"] for row in rows.values()] == [1.0, 1.5]


def test_textbook_terms_are_ours_but_for_rounding() -> None:
    x, y = (image.double() for image in pair())
    torch.testing.assert_close(
        accuracy.textbook_components(x, y), list(accuracy.components("torch")(x, y))
    )


def test_every_benchmark_has_a_line_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    text = capsys.readouterr().out
    folder = Path(harness.__file__).parent
    helpers = {"__init__", "harness", "peers"}
    assert {path.stem for path in folder.glob("*.py")} - helpers == set(NAMES)
    for name in NAMES:
        assert re.search(rf"^  {name} +{re.escape(first_line(name))}$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["all"], (list(FILES), [])),
        (["page"], ([], [])),
        (["memory", "speed"], (["speed", "memory"], [])),
        (["speed", "--device", "cuda"], (["speed"], ["--device", "cuda"])),
        (["detection", "runs/a", "runs/b"], (["detection"], ["runs/a", "runs/b"])),
        (["tune_triton"], (["tune_triton"], [])),
    ],
)
def test_one_door(words: list[str], expected: tuple[list[str], list[str]]) -> None:
    assert parse(words) == expected


@pytest.mark.parametrize(
    "words", [[], ["wrong"], ["memory", "wrong"], ["speed", "memory", "--device", "cuda"]]
)
def test_what_no_benchmark_knows_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        parse(words)
    assert error.value.code == 2
