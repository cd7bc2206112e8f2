"""`predict`: pictures of every size and kind, damaged ones, and thresholds."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image
from predicting import predict, read, write_pictures
from scipy.ndimage import binary_dilation, binary_erosion
from tiny_run import IMAGE_THRESHOLD, PIXEL_THRESHOLD, write_run
from two_stage.commands.predict import Thresholds, main, pictures_below, row_of
from two_stage.commands.predicted_pictures import png_names, resize_map
from two_stage.pictures.files import load_image
from two_stage.report.figures import COLOUR_MAP, FOUND
from two_stage.report.overlay import DARK, found_regions
from two_stage.run.errors import UserError
from two_stage.scoring.scorer import Scorer
from two_stage.scoring.trained_run import load_trained_run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures")


def test_every_picture_is_scored_and_drawn_at_its_own_size(
    run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    rows = {row["file"]: row for row in predict(run_folder, pictures, out)}
    sizes = {
        "wide.png": (203, 61),
        "tall.bmp": (33, 149),
        "sub/deep.tif": (95, 80),
        "sub/small.jpg": (5, 9),
    }
    assert set(rows) == set(sizes)
    run = load_trained_run(run_folder, "cpu")
    for name, size in sizes.items():
        row = rows[name]
        _, expected = run.score(load_image(pictures / name, 72, 3))
        assert (int(row["width"]), int(row["height"])) == size
        assert float(row["score"]) == float(expected.max())
        is_defective = float(expected.max()) > IMAGE_THRESHOLD
        assert row["defective"] == ("yes" if is_defective else "no")
        assert row["verdict"] == ("defective" if is_defective else "good")
        share = (expected > PIXEL_THRESHOLD).float().mean()
        assert float(row["share_above_pixel_threshold"]) == pytest.approx(float(share))
        assert row["error"] == ""
        for kind in ("heat_maps", "overlays"):
            with Image.open(out / kind / Path(name).with_suffix(".png")) as drawn:
                assert drawn.size == size
    assert sorted(path.name for path in out.iterdir()) == ["heat_maps", "overlays", "scores.csv"]


def test_a_product_that_lies_elsewhere_than_in_training_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Scored are the upper two thirds.
    folder = write_run(tmp_path / "run", scored_area="product", residual="l1")
    for name, top in (("high.png", 10), ("low.png", 40)):
        picture = np.zeros((72, 72, 3), np.uint8)
        picture[top : top + 24, 24:48] = 200
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "pictures" / name)
    rows = {row["file"]: row for row in predict(folder, tmp_path / "pictures", tmp_path / "out")}
    assert float(rows["high.png"]["share_not_scored"]) == 0
    # Rows 48 to 63 of 40 to 63, but for the blurred outline.
    assert float(rows["low.png"]["share_not_scored"]) == pytest.approx(16 / 24, abs=0.03)
    printed = capsys.readouterr().out
    assert "on 1 pictures, such as low.png, more than 1 % of the product lies where none" in printed
    whole = write_run(tmp_path / "whole", residual="l1")
    for row in predict(whole, tmp_path / "pictures", tmp_path / "all"):
        assert row["share_not_scored"] == ""
    assert "careful" not in capsys.readouterr().out


def test_a_map_and_its_worst_place_follow_the_picture_s_proportions() -> None:
    score_map = torch.zeros(72, 72)
    score_map[60, 12] = 3.0
    row = row_of(score_map, 144, 288, Thresholds(image=2.0, pixel=1.0))
    assert (row["worst_row"], row["worst_column"]) == (121, 50)
    assert row["share_above_pixel_threshold"] == pytest.approx(1 / 72**2)
    resized = resize_map(score_map, 144, 288)
    assert resized.shape == (144, 288)
    assert abs(np.unravel_index(resized.argmax(), resized.shape)[1] - 50) <= 1
    # Defective is what lies above a threshold, not what is equal to it.
    row = row_of(score_map, 144, 288, Thresholds(image=3.0, pixel=3.0))
    assert (row["defective"], row["share_above_pixel_threshold"]) == ("no", 0)


def test_the_overlay_is_the_picture_with_a_line_where_the_map_is_above(
    run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    picture = np.asarray(Image.open(pictures / "wide.png"))
    for number, (threshold, lined) in enumerate((("0", True), ("1e9", False))):
        out = tmp_path / f"out_{number}"
        # Above 0 everywhere.
        lift(run_folder, tmp_path / f"run_{number}")
        run_folder = tmp_path / f"run_{number}"
        rows = predict(run_folder, pictures, out, "--pixel-threshold", threshold)
        drawn = np.asarray(Image.open(out / "overlays" / "wide.png"))
        assert np.array_equal(drawn, picture) is not lined
        line = (drawn == FOUND).all(2)
        assert line[0].all() == lined
        assert np.array_equal(drawn[1:-1, 1:-1], picture[1:-1, 1:-1])
        assert {float(row["share_above_pixel_threshold"]) for row in rows} == {float(lined)}


def test_results_of_a_grey_run_are_drawn_pixel_for_pixel(pictures: Path, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", channels=1)
    options = ("--pixel-threshold", "0.75", "--threshold", "-1e9")
    predict(folder, pictures, tmp_path / "out", *options)
    for name, size in (("wide.png", (61, 203)), ("sub/deep.tif", (80, 95))):
        _, score_map = load_trained_run(folder, "cpu").score(load_image(pictures / name, 72, 1))
        full = resize_map(score_map, *size)
        colours = colormaps[COLOUR_MAP](np.clip(full / (2 * PIXEL_THRESHOLD), 0, 1), bytes=True)
        drawn = np.asarray(Image.open((tmp_path / "out/heat_maps" / name).with_suffix(".png")))
        assert np.array_equal(drawn, colours)
        drawn = np.asarray(Image.open((tmp_path / "out/overlays" / name).with_suffix(".png")))
        line = (drawn == FOUND).all(2)
        assert 0 < line.mean() < 1
        found = found_regions(full, 0.75)
        assert np.array_equal(line, found & ~binary_erosion(found))
        around = binary_dilation(found) & ~found
        assert (drawn[around] == DARK).all()
        picture = np.asarray(Image.open(pictures / name)).reshape(*size, -1)
        expected = picture / (257 if picture.dtype == np.uint16 else 1)
        assert np.abs(drawn - expected)[~line & ~around].max() <= 0.5


def test_equal_colours_mean_equal_scores_whatever_the_threshold(
    run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    predict(run_folder, pictures, tmp_path / "a")
    predict(run_folder, pictures, tmp_path / "b", "--pixel-threshold", "0.1")
    drawn = [np.asarray(Image.open(tmp_path / out / "heat_maps/wide.png")) for out in "ab"]
    assert np.array_equal(*drawn)
    assert len(np.unique(drawn[0].reshape(-1, 4), axis=0)) > 20


@pytest.mark.parametrize(("threshold", "verdict"), [("-1e9", "yes"), ("1e9", "no")])
def test_thresholds_are_shown_and_can_be_changed(
    threshold: str,
    verdict: str,
    run_folder: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ("--threshold", threshold, "--no-heat-maps", "--no-overlays")
    rows = predict(run_folder, pictures, tmp_path / "out", *options)
    assert [row["defective"] for row in rows] == [verdict] * 4
    assert {float(row["threshold"]) for row in rows} == {float(threshold)}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scores.csv"]
    printed = capsys.readouterr().out
    count = 4 if verdict == "yes" else 0
    assert f"{count} defective, with a score above {float(threshold):g} (--threshold)" in (
        printed.replace("e+09", "e9").replace("1e9", f"{1e9:g}")
    )
    origin = "the 0.995 quantile of the pixels of held-out normal pictures"
    assert f"above {PIXEL_THRESHOLD:g} ({origin})" in printed


def test_a_damaged_picture_costs_its_own_row_and_the_exit_code(
    run_folder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "sub" / "broken.png").write_bytes(b"no picture")
    content = (pictures / "wide.png").read_bytes()
    (pictures / "short.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(SystemExit, match="2 of 6 pictures could not be read") as exit_info:
        predict(run_folder, pictures, tmp_path / "out", "--threshold", "-1e9")
    printed = capsys.readouterr().out
    assert printed.startswith("4 pictures of")
    assert "\n4 defective" in printed
    # Python's exit code for a message is 1.
    assert isinstance(exit_info.value.code, str)
    rows = {row["file"]: row for row in read(tmp_path / "out")}
    assert len(rows) == 6
    for name in ("sub/broken.png", "short.png"):
        assert rows[name]["error"].startswith("error: ")
        assert Path(name).name in rows[name]["error"]
        assert rows[name]["score"] == ""
        # Who looks at one column alone must not let it pass.
        assert (rows[name]["defective"], rows[name]["verdict"]) == ("yes", "unreadable")
    readable = [row for row in rows.values() if not row["error"]]
    assert len(readable) == 4
    assert all(row["score"] for row in readable)


@pytest.mark.parametrize("name", ["--threshold", "--pixel-threshold"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_threshold_that_would_pass_everything_is_an_error(
    name: str, value: str, run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"{name} must be a finite number, got {value}; leave it"):
        predict(run_folder, pictures, tmp_path / "out", f"{name}={value}")
    assert not (tmp_path / "out").exists()


def test_a_pixel_threshold_below_0_is_an_error(
    run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"must be at least 0, got -0\.1"):
        predict(run_folder, pictures, tmp_path / "out", "--pixel-threshold=-0.1")


def test_a_score_that_is_no_number_is_defective() -> None:
    row = row_of(torch.full((8, 8), torch.nan), 8, 8, Thresholds(image=1.0, pixel=1.0))
    assert (row["defective"], row["verdict"]) == ("yes", "defective")


def test_a_run_whose_own_pixel_threshold_is_below_0_is_drawn(
    run_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    """A low quantile gives one; a colour scale needs room above 0."""
    change(run_folder, tmp_path / "run", pixel_threshold=-0.2)
    assert len(predict(tmp_path / "run", pictures, tmp_path / "out")) == 4
    with Image.open(tmp_path / "out/heat_maps/wide.png") as drawn:
        assert len(drawn.getcolors(1 << 24)) > 20


def lift(run_folder: Path, folder: Path) -> None:
    """A copy of a run whose maps lie far above 0 everywhere."""
    scorer = change(run_folder, folder)
    means = {part: mean - 100 for part, mean in scorer.normality.means.items()}
    normality = dataclasses.replace(scorer.normality, means=means)
    dataclasses.replace(scorer, normality=normality).save(folder / "scorer.safetensors")


def change(run_folder: Path, folder: Path, **values: float) -> Scorer:
    """A copy of a run with other thresholds."""
    shutil.copytree(run_folder, folder)
    scorer = dataclasses.replace(Scorer.load(folder / "scorer.safetensors"), **values)
    scorer.save(folder / "scorer.safetensors")
    return scorer


def test_a_spreadsheet_sees_the_letters_of_a_name(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("L", (9, 9)).save(tmp_path / "pictures" / "Müll 木.png")
    (row,) = predict(run_folder, tmp_path / "pictures", tmp_path / "out")
    assert row["file"] == "Müll 木.png"
    assert (tmp_path / "out" / "scores.csv").read_bytes().startswith(b"\xef\xbb\xbffile,score")


def test_results_never_replace_or_join_what_is_there(
    run_folder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="taken holds something already"):
        predict(run_folder, pictures, taken)
    with pytest.raises(UserError, match=r"notes\.txt holds something already"):
        predict(run_folder, pictures, taken / "notes.txt")
    with pytest.raises(UserError, match="lies in the folder of the pictures"):
        predict(run_folder, pictures, pictures / "sub" / "scores")
    assert not (pictures / "sub" / "scores").exists()

    monkeypatch.chdir(tmp_path)
    for name in ("pictures_scores", "pictures_scores_2"):
        main(["pictures", "--run", str(run_folder), "--device", "cpu"])
        assert len(read(tmp_path / name)) == 4


def test_folders_without_pictures_are_errors(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"a picture or a folder of pictures, there is no .*nowhere"
    ):
        predict(run_folder, tmp_path / "nowhere", tmp_path / "out")
    empty = tmp_path / "empty"
    (empty / ".hidden").mkdir(parents=True)
    Image.new("L", (4, 4)).save(empty / ".hidden" / "a.png")
    with pytest.raises(UserError, match=r"no pictures in .*empty"):
        predict(run_folder, empty, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such file names")
def test_a_file_name_that_is_no_text_is_scored_too(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    with open(os.fsencode(tmp_path / "pictures") + b"/\xff.png", "wb") as file:
        Image.new("L", (9, 9)).save(file, "PNG")
    rows = predict(run_folder, tmp_path / "pictures", tmp_path / "out", "--no-heat-maps")
    assert [row["file"] for row in rows] == [r"\udcff.png"]


def test_pictures_of_one_stem_get_files_of_their_own() -> None:
    assert png_names([Path("a/x.jpg"), Path("b/x.jpg")]) == [Path("a/x.png"), Path("b/x.png")]
    names = png_names([Path("x.jpg"), Path("x.jpg.png"), Path("x.png")])
    assert len(set(names)) == 3


def test_pictures_are_found_in_order_of_their_folders(pictures: Path) -> None:
    names = [path.relative_to(pictures).as_posix() for path in pictures_below(pictures)]
    assert names == ["tall.bmp", "wide.png", "sub/deep.tif", "sub/small.jpg"]
