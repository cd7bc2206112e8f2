"""The report of a run: what it holds, what it escapes, and the tables over several runs."""

from __future__ import annotations

import copy
import csv
import dataclasses
import html
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from matplotlib.figure import Figure
from PIL import Image
from two_stage import figures, paper
from two_stage.report import repeat_command, write_report
from two_stage.settings import PRESETS
from two_stage.tables import MEASURES, ablation_table, category_table, format_scores, percent

NAMES = (
    "plain l1", "chosen", "l1", "aw_ssim", "gradient",
    "input only: gradient", "input only: distance to mean",
)  # fmt: skip
KINDS = {"crack": 5, "pill_type": 2}


def make_metrics(category: str = "pill", **changes: Any) -> dict[str, Any]:
    """Metrics in which every figure differs, so that each can be found in the report."""
    values = iter(np.linspace(0.2, 0.95, 400))

    def measures() -> dict[str, float]:
        return {key: float(next(values)) for key in MEASURES}

    scores = {
        name: {
            "all": measures(),
            "foreground": measures(),
            "without_dominating": measures(),
            "by_defect": {kind: measures() for kind in KINDS},
        }
        for name in NAMES
    }
    metrics = {
        "category": category, "arm": "two-stage", "preset": "quick", "seed": 0, "device": "cpu",
        "precision": "no",
        "images": {"train": 240, "validation": 27, "test": {"good": 13, **KINDS}},
        "model": {"parameters": 1234567, "multiply_adds_per_patch": 7654321},
        "seconds": {"stage_1": 1111.0, "evaluation": 2222.0},
        "chosen_on_held_out_normals": {
            "residual": "l1+aw_ssim", "smoothing": 4.0,
            "candidates": [{"residual": "l1", "smoothing": 2.0, "pixel_auroc": 0.1234,
                            "aupro": 0.1345, "criterion": 0.1456}],
        },
        "thresholds": {"quantile": 0.995, "pixel": 1.357, "image": 2.468},
        "dominating_defect": "pill_type",
        "scores": scores,
        "at_threshold": {"defective_images_found": 0.8121, "normal_images_flagged": 0.0769},
        "reconstruction_of_normals": {"psnr": 31.57, "ssim": 0.9135},
    }  # fmt: skip
    return copy.deepcopy({**metrics, **changes})


def write_run(folder: Path, metrics: dict[str, Any]) -> Path:
    """The files of a finished run; the pictures are the smallest ones possible."""
    folder.mkdir()
    settings = dataclasses.replace(PRESETS["quick"], seed=3).to_dict()
    settings["category"] = metrics["category"]
    values = {"settings": settings, "versions": {"torch": "2.15.0"}}
    (folder / "settings.yaml").write_text(yaml.safe_dump(values))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    line = [[0.0, 0.1, 1.0], [0.0, 0.8, 1.0]]
    (folder / "curves.json").write_text(json.dumps({n: {"roc": line, "pro": line} for n in NAMES}))
    with (folder / "training_log.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("stage", "epoch", "step", "loss", "sigma"), (1, 0, 0, 0.5, 0.6), (2, 0, 1, 0.4, 0.6)]
        )
    for name in ("artificial_defects", "panels", "image_scores"):
        Image.new("RGB", (2, 2)).save(folder / f"{name}.png")
    return folder


def leaves(values: Any) -> list[float | None]:
    if isinstance(values, dict):
        return [leaf for value in values.values() for leaf in leaves(value)]
    return [values]


def tables_in(markdown: str) -> list[list[list[str]]]:
    """Cells of each table; a bar that is escaped does not part cells."""
    blocks = re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE)
    return [[re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()] for block in blocks]


def cells_of(markdown: str) -> list[str]:
    return [cell.strip() for table in tables_in(markdown) for row in table for cell in row]


def result(name: str = "crack_001", value: float = 2.0) -> Any:
    score_map = np.zeros((24, 32), dtype=np.float32)
    score_map[4:12, 6:16] = value
    mask = torch.zeros(24, 32, dtype=torch.bool)
    mask[4:12, 6:16] = True
    return SimpleNamespace(
        sample=SimpleNamespace(name=name, defect="crack"),
        image=torch.full((1, 24, 32), 0.5),
        mask=mask,
        reconstruction=torch.full((1, 24, 32), 0.25),
        maps={"plain l1": score_map / 10, "chosen": score_map},
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("report") / "run", make_metrics())
    write_report(folder)
    return folder


def test_html_needs_nothing_from_outside(run: Path) -> None:
    text = (run / "report.html").read_text()
    targets = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(targets) == 6
    for target in targets:
        assert target.startswith(("data:image/png;base64,", "https://doi.org/"))
    assert not re.search(r"<script|<link|@import|url\(", text)


def test_every_figure_is_in_both_reports(run: Path) -> None:
    metrics = make_metrics()
    expected = {percent(value) for value in leaves(metrics["scores"])}
    expected |= {"12.3", "13.5", "14.6", "81.2", "7.7", "31.57", "0.9135", "1.357", "2.468"}
    expected |= {"240", "27", "13", "5", "1,234,567", "7,654,321", "1,111", "2,222", "2.15.0"}
    page = re.findall(r"<td>(.*?)</td>", (run / "report.html").read_text())
    assert expected <= set(page)
    assert expected <= set(cells_of((run / "report.md").read_text()))


def test_headline_has_the_papers_figure_and_the_test_set(run: Path) -> None:
    text = (run / "report.md").read_text()
    ours = make_metrics()["scores"]["chosen"]["all"]["pixel_auroc"]
    expected = [f"{100 * ours:.2f}", "95.64", f"{100 * ours - 95.64:+.2f}"]
    assert [cell.strip() for cell in tables_in(text)[0][2][1:]] == expected
    assert "the paper's figure" in text
    assert "26 normal and 141 defective" in text
    assert "13 normal and 7 defective" in text
    assert "The test sets differ" in text
    assert "oracle: threshold chosen on the labels" in text
    assert re.search(r"^- AUPRO, %: \*\*\d\d\.\d\*\*$", text, flags=re.MULTILINE)


def test_markdown_is_well_formed_and_its_links_exist(run: Path) -> None:
    text = (run / "report.md").read_text()
    tables = tables_in(text)
    assert len(tables) >= 10
    for table in tables:
        assert {len(row) for row in table} == {len(table[0])}
        assert re.fullmatch(r"( -+:? \|?)+", "|".join(table[1]))
    links = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert sorted(links) == sorted(path.name for path in run.glob("*.png"))
    assert not re.search(r"\n{3,}", text)


def test_baselines_stand_apart_and_the_headline_stands_out(run: Path) -> None:
    text = (run / "report.html").read_text()
    residuals, baselines = re.findall(r"<caption>All test.*?</table>", text, flags=re.DOTALL)
    assert "distance to mean" in baselines
    assert "distance to mean" not in residuals
    assert residuals.count('class="strong"') == 1
    assert "held-out normals (headline)" in residuals.split('class="strong"')[1].split("</td>")[0]


def test_unknown_figures_are_dashes(tmp_path: Path) -> None:
    metrics = make_metrics()
    metrics["scores"]["chosen"]["all"]["pixel_auroc"] = None
    metrics["scores"]["chosen"]["foreground"] = None
    metrics["reconstruction_of_normals"]["psnr"] = None
    folder = write_run(tmp_path / "run", metrics)
    write_report(folder)
    text = (folder / "report.md").read_text()
    assert [cell.strip() for cell in tables_in(text)[0][2][1:]] == ["-", "95.64", "-"]
    psnr = next(table for table in tables_in(text) if table[0][0].strip() == "PSNR (dB)")
    assert psnr[2] == [" - ", " 0.9135 "]
    figures_alone = text.split("## The run")[0] + text.split("## Appendix")[1]
    assert "None" not in figures_alone


def test_names_from_the_user_are_escaped(tmp_path: Path) -> None:
    category, kind = "<b>bold</b>", "a|b <img src=x> `c`"
    metrics = make_metrics(category)
    metrics["images"]["test"][kind] = 1
    for parts in metrics["scores"].values():
        parts["by_defect"][kind] = parts["by_defect"]["crack"]
    folder = write_run(tmp_path / "run", metrics)
    write_report(folder)
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    assert "<b>" not in page
    assert "<img src=x" not in page
    assert html.escape(category) in page
    assert page.count(html.escape(kind)) == 8
    assert r"a\|b \<img src=x\> \`c\`" in text
    for table in tables_in(text):
        assert {len(row) for row in table} == {len(table[0])}
    # The command stands in an indented block, where nothing is markup.
    assert "    python examples/mvtec_two_stage.py train" in text
    assert "--category '<b>bold</b>'" in text
    assert "Beside the paper" not in text


def test_a_run_without_test_set_has_a_report(tmp_path: Path) -> None:
    metrics = make_metrics(scores={}, dominating_defect=None, at_threshold={})
    metrics["images"]["test"] = {}
    metrics["reconstruction_of_normals"] = {"psnr": None, "ssim": None}
    folder = write_run(tmp_path / "run", metrics)
    for name in ("curves.json", "training_log.csv", "panels.png", "image_scores.png"):
        (folder / name).unlink()
    write_report(folder)
    text = (folder / "report.md").read_text()
    titles = re.findall("^## (.*)$", text, flags=re.MULTILINE)
    assert titles == [
        "Thresholds and what they give", "Chosen on held-out normals",
        "Reconstruction of normal test pictures", "Training", "The run",
    ]  # fmt: skip
    assert format_scores(metrics) == "no test pictures with defects, so no scores"


def test_missing_metrics_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"metrics\.json; train and evaluate first"):
        write_report(tmp_path)


def test_repeat_command_names_what_differs_from_the_preset() -> None:
    settings = dataclasses.replace(
        PRESETS["paper"], data_root=Path("my data"), defect_count=(2, 3), compile=True, seed=4
    ).to_dict()
    assert repeat_command(settings) == (
        "python examples/mvtec_two_stage.py train --preset paper --data-root 'my data' --seed 4 "
        "--defect-count 2 3 --compile"
    )


def run_of(arm: str, seed: int, auroc: float, category: str = "hazelnut") -> dict[str, Any]:
    metrics = make_metrics(category, arm=arm, seed=seed)
    metrics["scores"]["chosen"]["all"]["pixel_auroc"] = auroc
    return metrics


def test_ablation_has_mean_and_sample_deviation_over_seeds() -> None:
    runs = [run_of("two-stage", seed, value) for seed, value in enumerate((0.90, 0.92, 0.97))]
    table = tables_in(ablation_table([*runs, run_of("no-lpips", 0, 0.8)]))[0]
    assert table[0][-1].strip() == "paper, hazelnut only"
    two_stage, no_lpips = ([cell.strip() for cell in row] for row in table[2:])
    assert two_stage[1:3] == ["3", "93.0 ± 3.6"]
    assert two_stage[-1] == "98.89"
    assert no_lpips[1:3] == ["1", "80.0"]
    assert no_lpips[-1] == "-"


def test_ablation_shows_a_dash_where_a_seed_lacks_the_figure() -> None:
    runs = [run_of("aw-ssim", 0, 0.9), run_of("aw-ssim", 1, None)]
    assert [cell.strip() for cell in tables_in(ablation_table(runs))[0][2][1:3]] == ["2", "-"]


def test_ablation_refuses_several_categories() -> None:
    with pytest.raises(ValueError, match="one category"):
        ablation_table([run_of("aw-ssim", 0, 0.9), run_of("aw-ssim", 0, 0.9, "pill")])


def test_category_table_has_the_difference_and_the_best_baseline() -> None:
    runs = [run_of("two-stage", 0, 0.97, "pill"), run_of("two-stage", 0, 0.9, "a|b")]
    metrics = runs[0]["scores"]
    metrics["input only: gradient"]["all"]["pixel_auroc"] = 0.874
    metrics["input only: distance to mean"]["all"]["pixel_auroc"] = 0.513
    pill, other = ([cell.strip() for cell in row] for row in tables_in(category_table(runs))[0][2:])
    assert pill[:6] == ["pill", "1", "13 / 7", "97.0", "95.64", "+1.36"]
    assert pill[7] == "87.4"
    assert other[0] == r"a\|b"
    assert other[4:6] == ["-", "-"]


def test_terminal_table_is_in_percent_and_aligned() -> None:
    metrics = make_metrics()
    metrics["scores"]["chosen"]["all"]["aupro"] = None
    lines = format_scores(metrics).splitlines()
    assert len(lines) == 1 + len(NAMES)
    assert len({len(line) for line in lines}) == 1
    row = next(line for line in lines if line.startswith("chosen"))
    measures = metrics["scores"]["chosen"]["all"]
    assert row.split()[1:] == [percent(measures[key]) for key in MEASURES]


def test_paper_means_and_totals_agree_with_the_paper() -> None:
    assert round(sum(paper.TABLE_1.values()) / 6, 2) == pytest.approx(paper.TABLE_1_MEAN, abs=0.011)
    assert paper.TABLE_2["two-stage"] == paper.TABLE_1["hazelnut"]
    assert sum(map(sum, paper.OFFICIAL_TEST_IMAGES.values())) == 714


def test_heat_maps_are_not_stretched(tmp_path: Path) -> None:
    scales = {"plain l1": 0.4, "chosen": 4.0}
    figures.save_result_files(result("a", 2.0), tmp_path, scales, threshold=1.0)
    figures.save_result_files(result("b", 4.0), tmp_path, scales, threshold=1.0)
    heat = {name: np.array(Image.open(tmp_path / f"{name}_heat_map.png")) for name in "ab"}
    assert heat["a"].shape[:2] == (24, 32)
    np.testing.assert_array_equal(heat["a"][0, 0], heat["b"][0, 0])
    assert heat["a"][6, 8].tolist() != heat["b"][6, 8].tolist()


def test_predicted_mask_overlay_and_reconstruction(tmp_path: Path) -> None:
    case = result()
    figures.save_result_files(case, tmp_path, {"plain l1": 1.0, "chosen": 4.0}, threshold=1.0)
    predicted = np.array(Image.open(tmp_path / "crack_001_predicted_mask.png"))
    np.testing.assert_array_equal(predicted, 255 * case.mask.numpy().astype(np.uint8))
    overlay = np.array(Image.open(tmp_path / "crack_001_overlay.png"))
    assert tuple(overlay[4, 10]) == figures.FOUND
    assert tuple(overlay[3, 10]) == figures.TRUE
    assert tuple(overlay[8, 10]) == (128, 128, 128)
    reconstruction = np.array(Image.open(tmp_path / "crack_001_reconstruction.png"))
    assert np.unique(reconstruction).tolist() == [64]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    saved: list[Figure] = []
    original = Figure.savefig

    def savefig(self: Figure, *arguments: Any, **options: Any) -> None:
        saved.append(self)
        original(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved


def test_panels_share_their_scale(tmp_path: Path, drawn: list[Figure]) -> None:
    results = [result("a$b$c", 2.0), result("b", 9.0)]
    figures.save_panels(results, tmp_path / "p.png", {"plain l1": 0.4, "chosen": 4.0}, 1.0)
    axes = drawn[0].axes
    assert [axis.get_title() for axis in axes[:6]][0::5] == ["input", "ground truth"]
    for row in (0, 6):
        assert axes[row + 2].images[0].get_clim() == (0, 0.4)
        assert axes[row + 3].images[0].get_clim() == (0, 4.0)


def test_arm_panels_have_a_column_for_each_arm(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = {"aw-ssim": [result("a")], "two-stage": [result("a")]}
    figures.save_arm_panels(rows, tmp_path / "p.png", {"aw-ssim": 3.0, "two-stage": 5.0})
    titles = [axis.get_title() for axis in drawn[0].axes[:4]]
    assert titles == ["input", "ground truth", "aw-ssim", "two-stage"]
    assert [axis.images[0].get_clim()[1] for axis in drawn[0].axes[2:4]] == [3.0, 5.0]
    with pytest.raises(ValueError, match="in this order"):
        figures.save_arm_panels({**rows, "b": [result("z")]}, tmp_path / "q.png", {})


def test_adga_sheet_takes_bytes_and_floats(tmp_path: Path, drawn: list[Figure]) -> None:
    targets = torch.full((3, 3, 8, 8), 51, dtype=torch.uint8)
    masks = torch.ones(3, 8, 8, dtype=torch.bool)
    figures.save_adga_sheet(targets, targets.float() / 255, masks, tmp_path / "sheet.png")
    values = [np.unique(axis.images[0].get_array()).tolist() for axis in drawn[0].axes]
    assert values == [[51]] * 6 + [[255]] * 3


def test_histogram_counts_every_picture(tmp_path: Path, drawn: list[Figure]) -> None:
    figures.save_score_histogram([0.1, 0.2], [0.3, 0.9, 1.0], 0.5, tmp_path / "h.png")
    counts = [sum(bar.get_height() for bar in bars) for bars in drawn[0].axes[0].containers]
    assert counts == [2, 3]
    assert drawn[0].axes[0].lines[0].get_xdata() == [0.5, 0.5]


def test_training_curves_mark_the_stages(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [{"stage": str(stage), "loss": "0.5", "sigma": "1.0"} for stage in (1, 1, 1, 2, 2)]
    figures.save_training_curves(rows, tmp_path / "t.png")
    loss_axis = drawn[0].axes[0]
    labels = [text.get_text() for text in loss_axis.get_legend().get_texts()]
    assert labels == ["stage 1, smoothed", "stage 2, smoothed"]
    assert loss_axis.lines[-1].get_xdata() == [3, 3]
    assert loss_axis.lines[-2].get_xdata().tolist() == [3, 4]
