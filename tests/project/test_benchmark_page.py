"""Page, README and pictures of the benchmarks say what the results say."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="matplotlib comes with the examples extra")

from benchmarks.common import RESULTS, save
from benchmarks.lost import Pair, lost_table, pairs
from benchmarks.page import END, PAGE, README, START, page, read_results, readme_section
from benchmarks.plot import PICTURES, digest, draw, picture
from benchmarks.tables import label, table

RESULTS_NOW = read_results()
ROOT = Path(__file__).parents[2]
REMEDY = "run `python -m benchmarks page`"


def test_the_page_is_what_the_results_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(RESULTS_NOW), REMEDY


def test_the_readme_is_what_the_results_give() -> None:
    section = README.read_text(encoding="utf-8").split(START)[1].split(END)[0]
    assert section == readme_section(RESULTS_NOW), REMEDY


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
    monkeypatch.setattr("benchmarks.common.RESULTS", tmp_path)
    with pytest.raises(ValueError, match="JSON"):
        save("broken", {"value": float("nan")})
    assert not (tmp_path / "broken.json").exists()


def test_prose_of_the_readme() -> None:
    """The two figures outside of the generated section."""
    text = " ".join(README.read_text(encoding="utf-8").split())
    (error,) = re.findall(r"leaves structure wrong by up to ([\d.]+)", text)
    rows = RESULTS_NOW["accuracy"]["components"]["flat 0.7, and camera"]
    assert float(error) == round(rows["textbook moments"]["structure"], 2)
    (kept,) = re.findall(r"nothing for the backward pass but the gradient \((\d+) bytes", text)
    for case in RESULTS_NOW["memory"]["cases"]:
        assert case["bytes_per_element"]["aw_ssim AWSSIMLoss"]["kept"] == float(kept)


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
    assert "backend `brandnew`" in readme_section(results)


def test_defeats_are_counted() -> None:
    figures = {"aw_ssim SSIMLoss": 3.0, "faster": 1.0, "about as fast": 2.9, "slower": 5.0}
    found = [pair for pair in pairs("time", "a case", figures) if pair.lost()]
    expected = Pair("time", "a case", "aw_ssim SSIMLoss", "faster", 3.0, 1.0)
    assert found == [expected]
    assert "| time: `SSIMLoss` | faster | 1 of 1 | a case: 3 against 1 |" in lost_table(found)


def test_tables() -> None:
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |\n"
