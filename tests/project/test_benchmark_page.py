"""Every page and picture of results says what the results say."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="matplotlib comes with the examples extra")

from benchmarks import RESULTS, ROOT
from benchmarks.__main__ import FILES, GPU_FILES
from benchmarks.measure.harness import load, save
from benchmarks.pages.benchmarks_page import page
from benchmarks.pages.contestants import label
from benchmarks.pages.figures import PICTURES, digest, draw, picture
from benchmarks.pages.lost import Pair, lost_table, pairs
from benchmarks.pages.markdown import digits, spread, table
from benchmarks.pages.readme import at_a_glance, with_tables
from benchmarks.pages.write import texts

RESULTS_NOW = {name: load(name) for name in (*FILES, *GPU_FILES)}
PAGE = ROOT / "docs" / "benchmarks.md"
REMEDY = "run `python -m benchmarks page`"


@pytest.mark.parametrize("path", texts(), ids=lambda path: path.name)
def test_a_page_is_what_the_results_give(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == texts()[path], REMEDY


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_of_these_results(name: str) -> None:
    text = picture(name).read_text(encoding="utf-8")
    assert digest(name) in text, REMEDY
    assert len(text) < 200_000
    assert f"images/{picture(name).name}" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_drawn_twice_has_the_same_bytes(name: str, tmp_path: Path) -> None:
    for number in range(2):
        draw(name, tmp_path / f"{number}.svg")
    assert (tmp_path / "0.svg").read_bytes() == (tmp_path / "1.svg").read_bytes()


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_results_are_strict_json(path: Path) -> None:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_nan_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.measure.harness.RESULTS", tmp_path)
    with pytest.raises(ValueError, match="JSON"):
        save("broken", {"value": float("nan")})
    assert not (tmp_path / "broken.json").exists()


def test_every_contestant_has_the_common_definition() -> None:
    """In float64 and on the ordinary pair; some round their window or everything to float32."""
    ordinary = next(iter(RESULTS_NOW["accuracy"]["losses"].values()))
    for name, row in ordinary["torch.float64"].items():
        if "failed" in row:
            # A kernel of ours that takes no float64 says so.
            assert "computes in float32, and the images are float64" in row["failed"], name
            continue
        assert row["value"] < 1e-5, name
        assert row["gradient"] < 1e-3, name


def test_a_new_backend_gets_its_lines() -> None:
    results = copy.deepcopy(RESULTS_NOW)
    new = "aw_ssim AWSSIMLoss, brandnew"
    for case in results["speed"]["cases"]:
        for times in case["milliseconds"].values():
            times[new] = {"median": 1e6, "low": 1e6, "high": 1e6, "speedup": 0.0}
    for case in results["memory"]["cases"]:
        case["bytes_per_element"][new] = {"peak": 1.0, "kept": 1.0}
    text = page(results)
    assert text.count("\n| `AWSSIMLoss`, backend `brandnew` |") == 3
    # The slowest of all: every other library is named as faster in every case.
    cases = 2 * len(results["speed"]["cases"])
    assert f"| time: {label(new)} | pytorch-msssim | {cases} of {cases} |" in text


def test_the_glance_names_the_best_of_the_others() -> None:
    results = copy.deepcopy(RESULTS_NOW)
    times = results["speed"]["cases"][0]["milliseconds"]["forward + backward"]
    times["pytorch-msssim"]["median"] = 54.8
    times["kornia"] |= {"median": 0.5, "speedup": 100.0}
    errors = [by["torch.float32"] for by in results["accuracy"]["losses"].values()]
    errors[-1]["aw_ssim SSIMLoss, numba"]["gradient"] = 0.5
    text = at_a_glance(results)
    assert "16x3x128x128, ms | 54.8 (1.0x) | 0.50 (100.0x), kornia |" in text
    assert "worst of 6 pairs | 9e+00 | 4e+00, frame-analytics | 5e-01 |" in text


def test_a_table_ends_at_the_next_heading() -> None:
    text = "a\n<!-- new -->\nold\n\n## Next\n"
    assert with_tables(text, {"new": "| 1 |\n"}) == "a\n<!-- new -->\n| 1 |\n\n## Next\n"
    with pytest.raises(ValueError, match="<!-- other -->"):
        with_tables(text, {"other": ""})


def test_defeats_are_counted() -> None:
    figures = {"aw_ssim SSIMLoss": 3.0, "faster": 1.0, "about as fast": 2.9, "slower": 5.0}
    found = [pair for pair in pairs("time", "a case", figures) if pair.lost()]
    expected = Pair("time", "a case", "aw_ssim SSIMLoss", "faster", 3.0, 1.0)
    assert found == [expected]
    assert "| time: `SSIMLoss` | faster | 1 of 1 | a case: 3 against 1 |" in lost_table(found)


def test_tables() -> None:
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |\n"
    assert [digits(value) for value in (123.4, 12.34, 1.234)] == ["123", "12.3", "1.23"]


def test_spread_is_mean_least_and_greatest() -> None:
    assert spread([1.0, 2.0, 6.0], "{:.1f}".format) == "3.0 (1.0 to 6.0)"
    assert spread([1.01, 0.99], "{:.1f}".format) == "1.0"
    assert spread([], str) == "-"
