"""Settings, presets, and the folder that belongs to them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from two_stage.commands.command_line import by_category, read_settings
from two_stage.run.errors import UserError
from two_stage.run.folder import (
    find_run_folder,
    load_metrics,
    load_settings,
    make_run_folder,
    save_json,
    versions,
)
from two_stage.run.settings import PRESETS, Settings
from two_stage.training.losses import stages_of

from aw_ssim import AWSSIMLoss, category_weights


def open_run_folder(settings: Settings) -> Path:
    folder = find_run_folder(settings)
    make_run_folder(settings, folder)
    return folder


def test_presets_move_the_defaults_and_arguments_win() -> None:
    assert read_settings([]) == PRESETS["demo"]
    assert read_settings(["--preset", "paper"]) == PRESETS["paper"]
    assert read_settings(["--data-root", "data"]).preset == "quick"
    changed = read_settings(["--preset", "paper", "--width", "8", "--weights", "1", "0", "2"])
    assert changed.network.width == 8
    assert changed.stages.weights == (1.0, 0.0, 2.0)
    assert changed.data == PRESETS["paper"].data


def test_the_paper_preset_has_the_paper_s_sizes() -> None:
    paper = PRESETS["paper"]
    assert (paper.data.image_size, paper.training.patch_size) == (512, 128)
    assert sum(stage.epochs for stage in stages_of(paper)) == 25


def test_best_asks_for_pixels_too_and_the_paper_s_presets_do_not() -> None:
    assert PRESETS["best"].stages.pixel_weight > 0
    for name in ("demo", "quick", "paper", "long"):
        plain = PRESETS[name]
        assert (plain.stages.pixel_weight, plain.stages.lpips_share) == (0.0, 1.0)
        assert (plain.training.least_patches, plain.network.architecture) == (0, "paper")


def test_settings_of_earlier_versions_are_read_with_what_they_did_then() -> None:
    saved = PRESETS["quick"].to_dict()
    for name in ("architecture", "upsampling", "pixel_weight", "repair_weight", "lpips_share"):
        del saved[name]
    del saved["defect_noise"], saved["least_patches"], saved["normality"], saved["scored_area"]
    assert Settings.from_dict(saved) == PRESETS["quick"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": 100}, "multiple of 32, got 100"),
        ({"image_size": 64}, r"image_size \(64\) must be at least patch_size \(128\)"),
        ({"test_stride": 0}, r"test_stride must be from 1 to .*\(64\).*; got 0"),
        ({"test_stride": 128}, r"test_stride must be from 1 to .*\(64\).*; got 128"),
        ({"patches": "grid"}, r"multiple of patch_size \(128\), got 160"),
        ({"width": 0}, "width must be from 1 to 1,024, got 0"),
        ({"checkpoint_steps": 0}, "checkpoint_steps must be from 1 to 1,000,000,000, got 0"),
        ({"stage_2_epochs": -1}, "stage_2_epochs must be from 0 to 1,000,000, got -1"),
        ({"validation_share": 1.0}, "validation_share must lie between 0 and 1, got 1.0"),
        (
            {"defect_side": (0.4, 0.1)},
            "defect_side must be a least and a largest value, both",
        ),
        ({"defect_sources": ()}, "defect_sources is empty"),
        ({"defect_sources": ("folder",)}, "source folder and --texture-folder go together"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings.of(**change)


@pytest.mark.parametrize("category", ["pill", "carpet", "brick"])
def test_weights_default_to_the_category_s(category: str) -> None:
    loss = AWSSIMLoss(Settings.of(category=category).loss_weights())
    expected = (1 / 3,) * 3 if category == "brick" else category_weights(category)
    assert tuple(loss.weights) == pytest.approx(expected)
    assert Settings.of(category=category, weights=(1, 2, 3)).loss_weights() == (1, 2, 3)


def test_settings_survive_yaml_with_versions_beside_them(tmp_path: Path) -> None:
    settings = Settings.of(
        data_root=Path("data"),
        weights=(1.0, 2.0, 3.0),
        seed=7,
        run_folder=tmp_path / "run",
        defect_sources=("same", "noise"),
    )
    folder = open_run_folder(settings)
    assert load_settings(folder) == settings
    saved = yaml.safe_load((folder / "settings.yaml").read_text())
    assert saved["versions"] == versions()
    assert saved["versions"]["torch"] == torch.__version__.split("+")[0]


def test_the_same_settings_find_their_folder_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = PRESETS["demo"]
    assert open_run_folder(settings) == Path("runs/brick-demo-001")
    (tmp_path / "runs/brick-demo-001/checkpoint").write_text("progress")
    assert open_run_folder(settings) == Path("runs/brick-demo-001")
    assert (tmp_path / "runs/brick-demo-001/checkpoint").read_text() == "progress"
    assert open_run_folder(settings.changed(seed=1)) == Path("runs/brick-demo-002")
    assert open_run_folder(settings) == Path("runs/brick-demo-001")


def test_a_run_never_overwrites_another(tmp_path: Path) -> None:
    used = tmp_path / "mine"
    settings = Settings.of(run_folder=used)
    open_run_folder(settings)
    (used / "result").touch()
    with pytest.raises(UserError, match=r"other settings \(width 16 -> 8, seed 0 -> 1\)"):
        open_run_folder(settings.changed(seed=1, width=8))
    open_run_folder(settings.changed(seed=1, overwrite=True))
    assert [path.name for path in used.iterdir()] == ["settings.yaml"]
    with pytest.raises(UserError, match=r"got the file .*settings.yaml"):
        open_run_folder(settings.changed(run_folder=used / "settings.yaml"))


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_that_is_no_run_s_is_never_touched(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(
        UserError,
        match=r"not the folder of a run: it holds other files|expected the folder of a run",
    ):
        open_run_folder(Settings.of(run_folder=tmp_path, overwrite=overwrite))
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "content",
    [
        "settings: {surprise: 1}",
        "settings: {width: 0}",
        "no settings",
        "[",
        "!!python/object/apply:os.system ['touch hacked']",
    ],
)
def test_settings_of_strangers_are_read_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.yaml").write_text(content)
    with pytest.raises(UserError, match=r"settings\.yaml does not hold the settings of a run"):
        load_settings(tmp_path)
    assert not (tmp_path / "hacked").exists()


def test_json_is_strict_and_a_failed_write_keeps_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    save_json({"auroc": 0.5}, path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_json({"auroc": float("nan")}, path)
    assert load_metrics(tmp_path) == {"auroc": 0.5}
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]
    with pytest.raises(UserError, match="complete run"):
        load_metrics(tmp_path / "elsewhere")


def test_several_categories_have_a_folder_each(tmp_path: Path) -> None:
    both = by_category(Settings.of(category="brick,gravel", run_folder=tmp_path))
    assert [(s.data.category, s.running.run_folder) for s in both] == [
        ("brick", tmp_path / "brick"),
        ("gravel", tmp_path / "gravel"),
    ]
    every = by_category(Settings.of(category="all"))
    assert [(s.data.category, s.running.run_folder) for s in every] == [
        ("brick", None), ("grass", None), ("gravel", None),
    ]  # fmt: skip
    with pytest.raises(UserError, match="brick, grass, gravel, got 'marble'"):
        by_category(Settings.of(category="marble"))
