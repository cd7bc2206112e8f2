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
from report_cases import NAMES, OFFICIAL_TEST, make_metrics, tables_in
from two_stage.report.page import write_report
from two_stage.report.sections import repeat_command
from two_stage.report.tables import format_scores, format_summary, percent
from two_stage.run.settings import PRESETS
from two_stage.scoring.baselines import CONSTANT
from two_stage.scoring.doubts import doubts


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
    metrics = make_metrics()
    metrics["images"]["test"] = OFFICIAL_TEST
    folder = write_run(tmp_path_factory.mktemp("report") / "run", metrics)
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
    expected |= {"15.6", "16.7", "17.8", "106", "35", "17", "9", "71.3", "72.4", "73.5", "74.6"}
    expected |= {"61.3", "62.4", "63.5", "30.46", "0.9024", "12.34", "0.1357", "3.579", "1.246"}
    expected |= {"240", "27", "26", "139", "1,234,567", "7,654,321", "1,111", "2,222", "2.15.0"}
    page = re.findall(r"<td>(.*?)</td>", (run / "report.html").read_text())
    assert expected <= set(page)
    assert expected <= set(cells_of((run / "report.md").read_text()))


def test_headline_has_the_papers_figure_and_the_test_set(run: Path) -> None:
    text = (run / "report.md").read_text()
    ours = make_metrics()["scores"]["chosen"]["all"]["pixel_auroc"]
    expected = [f"{100 * ours:.2f}", "95.64", f"{100 * ours - 95.64:+.2f}"]
    assert [cell.strip() for cell in tables_in(text)[0][2][1:]] == expected
    assert "the paper's figure" in text
    assert "as many as MVTec AD's: 26 normal and 141 defective" in text
    assert "oracle: threshold chosen on the labels" in text
    assert re.search(r"^- AUPRO, %: \*\*\d\d\.\d\*\*$", text, flags=re.MULTILINE)


def test_nothing_stands_beside_the_paper_on_other_pictures_of_that_name(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", make_metrics())
    write_report(folder)
    text = (folder / "report.md").read_text()
    assert "95.64" not in text
    assert "## Beside the paper" not in text
    assert "267 to train on, 26 normal and 141 defective ones to test on" in text
    assert "Here they are 267, 13 and 7: other data, or a part of it" in text


def test_when_and_where_the_run_was_evaluated(run: Path) -> None:
    for name in ("report.html", "report.md"):
        text = html.unescape((run / name).read_text()).replace("\\", "")
        assert "Evaluated 2026-01-02 03:04+00:00 on bench-7 (Linux-6), torch 2.15.0+cpu." in text


def test_doubts_come_before_every_figure(tmp_path: Path) -> None:
    metrics = make_metrics(doubts=["A <first> doubt.", "Another."])
    folder = write_run(tmp_path / "run", metrics)
    write_report(folder)
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    assert page.index("A &lt;first&gt; doubt.") < page.index("Another.") < page.index("<dt>")
    assert "\n- A \\<first\\> doubt.\n- Another.\n\n" in text
    assert text.index("Another.") < text.index("pixel AUROC")
    lines = format_summary(metrics).splitlines()
    assert lines[:3] == ["pill", "careful: A <first> doubt.", "careful: Another."]
    assert "trust" not in (write_and_read(tmp_path / "sound", make_metrics()))


def write_and_read(folder: Path, metrics: dict[str, Any]) -> str:
    write_report(write_run(folder, metrics))
    return (folder / "report.md").read_text()


def test_thresholds_say_what_they_rest_on_and_what_they_give(run: Path) -> None:
    tables = {table[0][0].strip(): table for table in tables_in((run / "report.md").read_text())}
    pixel, image = ([cell.strip() for cell in row] for row in tables["threshold for a"][2:])
    assert pixel[1:] == ["1.357", "the 0.995 quantile of the pixels of 27 held-out normal pictures"]
    assert image[1] == "2.468"
    assert image[2].startswith("the largest score of 27 held-out normal pictures, and a margin")
    defective, normal = tables["test pictures that are"][2:]
    assert [cell.strip() for cell in defective] == ["defective", "106", "35"]
    assert [cell.strip() for cell in normal] == ["normal", "17", "9"]
    assert "up to about 3.6 % are to be expected" in (run / "report.md").read_text()


def test_misses_and_false_alarms_are_named_worst_first(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", make_metrics())
    rows = [("file", "kind", "score", "threshold", "called_defective", "outcome")]
    rows += [(f"test/a/{n:02d}|.png", "a", 2.4 - n / 100, 2.468, "no", "missed") for n in range(25)]
    rows += [("test/good/7.png", "good", 2.6, 2.468, "yes", "false alarm")]
    rows += [("test/good/木材.png", "good", 9.5, 2.468, "yes", "false alarm")]
    rows += [("test/b/0.png", "b", 5, 2.468, "yes", "found")]
    with (folder / "test_scores.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows(rows)
    write_report(folder)
    text = (folder / "report.md").read_text()
    missed, alarms = (table for table in tables_in(text) if table[0][0].strip() == "picture")
    names = [row[0].strip() for row in missed[2:]]
    assert names == [rf"test/a/{n:02d}\|.png" for n in range(24, 4, -1)]
    assert "the first 20 of 25" in text
    assert [row[0].strip() for row in alarms[2:]] == ["test/good/木材.png", "test/good/7.png"]
    assert "test/b/0.png" not in text


def test_the_pictures_shown_are_listed_by_number(run: Path) -> None:
    rows = next(t for t in tables_in((run / "report.md").read_text()) if "number" in t[0][0])[2:]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["1", r"crack\_000", "3.579", "defective"],
        ["2", r"good\_000", "1.246", "good"],
    ]


def test_metrics_of_an_earlier_version_make_a_report(tmp_path: Path) -> None:
    metrics = make_metrics()
    for name in ("evaluated", "reconstruction_of_held_out", "shown", "doubts"):
        del metrics[name]
    for name in ("held_out", "expected_false_alarms"):
        del metrics["thresholds"][name]
    for name in ("pictures", "pixels"):
        del metrics["at_threshold"][name]
    del metrics["chosen_on_held_out_normals"]["untrained"], metrics["scores"][CONSTANT]
    for parts in metrics["scores"].values():
        for figures in (parts["all"], *parts["by_defect"].values()):
            del figures["aupro_05"], figures["image_ap"]
    text = write_and_read(tmp_path / "run", metrics)
    assert "the 0.995 quantile of the scores of held-out normal pictures" in text
    assert format_summary(metrics).splitlines()[1].split()[:2] == ["pixel", "AUROC"]


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
    metrics["images"]["test"] = OFFICIAL_TEST
    metrics["scores"]["chosen"]["all"]["pixel_auroc"] = None
    metrics["scores"]["chosen"]["foreground"] = None
    metrics["reconstruction_of_normals"]["psnr"] = None
    metrics["reconstruction_of_held_out"]["network"]["psnr"] = None
    folder = write_run(tmp_path / "run", metrics)
    write_report(folder)
    text = (folder / "report.md").read_text()
    assert [cell.strip() for cell in tables_in(text)[0][2][1:]] == ["-", "95.64", "-"]
    psnr = next(table for table in tables_in(text) if table[0][1].strip() == "PSNR (dB)")
    assert psnr[2] == [" held-out normal pictures ", " - ", " 0.9024 "]
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
    assert page.count(html.escape(kind)) == 9
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
    metrics["doubts"] = doubts(metrics)
    folder = write_run(tmp_path / "run", metrics)
    for name in ("curves.json", "training_log.csv", "image_scores.png"):
        (folder / name).unlink()
    write_report(folder)
    text = (folder / "report.md").read_text()
    titles = re.findall("^## (.*)$", text, flags=re.MULTILINE)
    assert titles == [
        "Results in pictures", "Thresholds and what they give", "Chosen on held-out normals",
        "Reconstruction of normal pictures", "Training", "The run",
    ]  # fmt: skip
    assert "There was no test set" in text
    assert "There was no test set" in format_summary(metrics)
    # No table of dashes.
    for table in tables_in(text):
        assert {cell.strip() for row in table[2:] for cell in row[1:]} != {"-"}
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
