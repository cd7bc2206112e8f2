"""`predict` on a single picture, and with pictures of defective ones alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from predicting import predict, read, write_pictures
from tiny_run import write_run
from two_stage.commands.predict import main
from two_stage.pictures.files import load_image
from two_stage.scoring.trained_run import load_trained_run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures")


@pytest.mark.parametrize("name", ["wide.png", "sub/deep.tif"])
def test_a_single_picture(
    name: str, run_folder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = pictures / name
    (row,) = predict(run_folder, place, tmp_path / "out")
    expected = load_trained_run(run_folder, "cpu").score(load_image(place, 72, 3))[1].max()
    assert (row["file"], float(row["score"])) == (place.name, float(expected))
    assert (tmp_path / "out" / "overlays" / place.with_suffix(".png").name).is_file()
    # Beside the picture, where its results are not taken for pictures.
    monkeypatch.chdir(place.parent)
    main([place.name, "--run", str(run_folder), "--device", "cpu"])
    assert len(read(Path(f"{place.stem}_scores"))) == 1


def test_a_single_picture_that_is_none_is_unreadable(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(SystemExit, match="1 of 1 pictures could not be read"):
        predict(run_folder, tmp_path / "notes.txt", tmp_path / "out")
    assert [row["verdict"] for row in read(tmp_path / "out")] == ["unreadable"]


def test_pictures_of_defective_ones_alone(run_folder: Path, pictures: Path, tmp_path: Path) -> None:
    scores = {
        row["file"]: float(row["score"]) for row in predict(run_folder, pictures, tmp_path / "a")
    }
    middle = sorted(scores.values())[1]
    options = ("--only-defective", "--threshold", repr(middle))
    predict(run_folder, pictures, tmp_path / "b", *options)
    above = {Path(name).with_suffix(".png") for name, score in scores.items() if score > middle}
    assert len(above) == 2
    for kind in ("heat_maps", "overlays"):
        folder = tmp_path / "b" / kind
        assert {path.relative_to(folder) for path in folder.rglob("*.png")} == above
