"""The report of a run: what it holds, and what it escapes."""

from __future__ import annotations

import csv
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from report_cases import NAMES, make_metrics, tables_in
from two_stage.report.page import write_report
from two_stage.report.sections import repeat_command
from two_stage.report.tables import format_scores, percent
from two_stage.run.settings import PRESETS


def write_run(folder: Path, metrics: dict[str, Any]) -> Path:
    """The files of a finished run; the pictures are the smallest ones possible."""
    folder.mkdir()
    settings = PRESETS["quick"].changed(seed=3).to_dict()
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


def cells_of(markdown: str) -> list[str]:
    return [cell.strip() for table in tables_in(markdown) for row in table for cell in row]


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
    settings = (
        PRESETS["paper"]
        .changed(data_root=Path("my data"), defect_count=(2, 3), compile=True, seed=4)
        .to_dict()
    )
    assert repeat_command(settings) == (
        "python examples/mvtec_two_stage.py train --preset paper --data-root 'my data' --seed 4 "
        "--compile --defect-count 2 3"
    )
