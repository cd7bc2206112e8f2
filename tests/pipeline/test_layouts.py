"""Layouts that other data sets come in, and what is said of files that nothing reads."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from mvtec_two_stage import main
from PIL import Image
from tiny_run import TINY
from two_stage.commands.command_line import checked_categories, read_settings
from two_stage.pictures.category import find_category
from two_stage.pictures.layouts import parse_categories
from two_stage.pictures.masks import read_mask
from two_stage.run.errors import FaultsError, UserError


def save(path: Path, level: int = 200, side: int = 24) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((side, side), level, dtype=np.uint8)
    pixels[:4] = 0
    Image.fromarray(pixels).save(path)
    return path


def save_all(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        save(folder / name, 255 - number)


def notes(root: Path, category: str) -> list[str]:
    return [str(note) for note in find_category(root, category).notes]


def test_a_folder_of_masks_per_picture_is_mvtec_loco_s(tmp_path: Path) -> None:
    save_all(
        tmp_path / "juice", "train/good/000.png", "validation/good/000.png", "test/good/000.png",
        "test/logical_anomalies/000.png", "test/logical_anomalies/001.png",
        "ground_truth/logical_anomalies/000/000.png", "ground_truth/logical_anomalies/000/001.png",
        "ground_truth/logical_anomalies/001/000.png",
    )  # fmt: skip
    files = find_category(tmp_path, "juice")
    good, first, second = files.test
    assert good.mask_path is None
    assert first.mask_path == tmp_path / "juice/ground_truth/logical_anomalies/000"
    assert [path.name for path in first.files] == ["000.png", "000.png", "001.png"]
    assert read_mask(second.mask_path).defective.any()
    assert any("1 picture in validation/good" in note for note in notes(tmp_path, "juice"))
    save(tmp_path / "juice/ground_truth/logical_anomalies/002/000.png")
    with pytest.raises(UserError, match="logical_anomalies/002 belongs to no defect image"):
        find_category(tmp_path, "juice")


VISA = (
    "Data/Images/Normal/0000.JPG", "Data/Images/Normal/0001.JPG", "Data/Images/Normal/0002.JPG",
    "Data/Images/Anomaly/000.JPG", "Data/Masks/Anomaly/000.png",
)  # fmt: skip


def test_visa_is_read_with_its_split_and_without(tmp_path: Path) -> None:
    save_all(tmp_path / "candle", *VISA)
    (tmp_path / "candle" / "image_anno.csv").write_text("image,label,mask\n")
    files = find_category(tmp_path, "candle")
    assert [path.name for path in files.train] == ["0000.JPG", "0001.JPG", "0002.JPG"]
    assert [(s.name, s.mask_path.name) for s in files.test] == [("defective_000", "000.png")]
    split = tmp_path / "split_csv" / "1cls.csv"
    split.parent.mkdir()
    split.write_text(
        "object,split,label,image,mask\n"
        "candle,train,normal,candle/Data/Images/Normal/0000.JPG,\n"
        "candle,test,normal,candle/Data/Images/Normal/0001.JPG,\n"
        "pcb1,test,normal,pcb1/Data/Images/Normal/0002.JPG,\n"
        "candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png\n"
    )
    files = find_category(tmp_path, "candle")
    assert [path.name for path in files.train] == ["0000.JPG", "0002.JPG"]
    assert [sample.name for sample in files.test] == ["good_0001", "defective_000"]
    assert parse_categories("all", tmp_path) == ["candle"]
    split.write_text("something,else\n1,2\n")
    with pytest.raises(UserError, match=r"1cls\.csv is not VisA's split: .* column 'object'"):
        find_category(tmp_path, "candle")


@pytest.mark.parametrize("picture", ["NFC", "NFD"])
def test_names_that_look_the_same_are_the_same(tmp_path: Path, picture: str) -> None:
    other = "NFD" if picture == "NFC" else "NFC"
    one, two = (
        {name: unicodedata.normalize(form, name) for name in ("Tür", "Kratzér", "müll")}
        for form in (picture, other)
    )
    folder = tmp_path / one["Tür"]
    save_all(
        folder, "train/good/a.png", f"test/{one['Kratzér']}/{one['müll']}.png",
        f"ground_truth/{two['Kratzér']}/{two['müll']}_mask.png",
    )  # fmt: skip
    (sample,) = find_category(tmp_path, two["Tür"]).test
    assert sample.mask_path is not None
    assert parse_categories(two["Tür"], tmp_path) == [one["Tür"]]


def test_all_that_is_not_read_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "nut"
    save_all(folder, "normal/0.png", "normal/batch 2/1.png", "normal/batch 2/deep/2.PNG", "all.png")
    for name in ("a.heic", "b.heic", "c.raw", "notes.txt", ".DS_Store", "Thumbs.db"):
        (folder / "normal" / name).write_bytes(b"x")
    (folder / "normal" / "loop").symlink_to(folder / "normal")
    (note,) = find_category(tmp_path, "nut").notes
    assert set(note.files) == {
        "all.png", "normal/a.heic", "normal/b.heic", "normal/c.raw", "normal/batch 2/1.png",
        "normal/batch 2/deep/2.PNG",
    }  # fmt: skip
    for words in ("1 picture,", "2 .heic in normal", "1 .raw in normal", "in normal/batch 2/deep"):
        assert words in str(note)


def test_a_folder_whose_pictures_lie_deeper_says_where(tmp_path: Path) -> None:
    save(tmp_path / "nut" / "normal" / "batch" / "0.png")
    (tmp_path / "nut" / "normal" / "1.heic").write_bytes(b"x")
    with pytest.raises(
        UserError, match=r"got none in the folder .*normal; it holds 1 \.heic, 1 picture in batch: "
    ):
        find_category(tmp_path, "nut")


def test_a_slash_after_a_category_is_not_part_of_its_name(tmp_path: Path) -> None:
    save_all(tmp_path, *(f"{name}/normal/{n}.png" for name in ("nut", "bolt") for n in range(4)))
    for text, names in (("nut/", ["nut"]), ("nut/, bolt/", ["nut", "bolt"])):
        arguments = ["--data-root", str(tmp_path), "--category", text, *TINY]
        checked = checked_categories(read_settings(arguments))
        assert [one.data.category for one in checked] == names


def test_the_only_category_is_taken_where_none_is_named(tmp_path: Path) -> None:
    save_all(tmp_path, *(f"nut/normal/{n}.png" for n in range(4)))
    root = ["--data-root", str(tmp_path)]
    assert read_settings(root).data.category == "nut"
    assert read_settings([*root, "--category", "bolt"]).data.category == "bolt"
    save(tmp_path / "bolt/normal/0.png")
    with pytest.raises(UserError, match=r"has several .*--category with one of bolt, nut, several"):
        read_settings(root)
    # The usual one of the presets.
    save(tmp_path / "pill/normal/0.png")
    assert read_settings(root).data.category == "pill"


def test_a_folder_of_pictures_alone_says_where_to_put_them(tmp_path: Path) -> None:
    save_all(tmp_path, *(f"{n}.png" for n in range(4)))
    advice = rf"; it holds 4 pictures: put the good ones into {tmp_path}/NAME/normal and pass"
    with pytest.raises(UserError, match=advice):
        read_settings(["--data-root", str(tmp_path)])
    with pytest.raises(UserError, match=f"no category 'nut' in {tmp_path}{advice}"):
        parse_categories("nut", tmp_path)
    with pytest.raises(UserError, match=rf"4 pictures: .* into {tmp_path}/normal$"):
        parse_categories(tmp_path.name, tmp_path.parent)
    (tmp_path / "NAME/normal").mkdir(parents=True)
    for number in range(4):
        (tmp_path / f"{number}.png").rename(tmp_path / f"NAME/normal/{number}.png")
    assert len(find_category(tmp_path, "NAME").train) == 4


def test_every_category_is_checked_before_the_first_is_trained(tmp_path: Path) -> None:
    save_all(tmp_path, *(f"{name}/normal/{n}.png" for name in ("a", "b", "c") for n in range(4)))
    (tmp_path / "b/normal/1.png").write_bytes(b"no picture")
    (tmp_path / "b/normal/2.png").write_bytes(b"")
    (tmp_path / "c/normal/3.png").unlink()
    arguments = ["--data-root", str(tmp_path), "--category", "all", *TINY]
    with pytest.raises(FaultsError) as caught:
        checked_categories(read_settings(arguments))
    first, second, third = caught.value.faults
    assert "b/normal/1.png is not a picture" in first
    assert "b/normal/2.png is empty" in second
    assert "at least 4 normal images in c, got 3" in third
    with pytest.raises(SystemExit) as end:
        main(["train", *arguments, "--run-folder", str(tmp_path / "runs")])
    lines = str(end.value.code).splitlines()
    assert lines == [f"error: {fault}" for fault in caught.value.faults]
    assert not (tmp_path / "runs").exists()


def test_a_console_is_not_flooded(tmp_path: Path) -> None:
    for number in range(70):
        path = tmp_path / "a" / "normal" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    with pytest.raises(SystemExit) as end:
        main(["train", "--data-root", str(tmp_path), *TINY])
    lines = str(end.value.code).splitlines()
    assert len(lines) == 51
    assert "49.png is empty" in lines[49]
    assert lines[50] == "error: and 20 more"


def test_large_pictures_are_read_once_they_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    for number in range(4):
        save(tmp_path / f"nut/normal/{number}.png", side=400)
    arguments = ["--data-root", str(tmp_path), *TINY]
    with pytest.raises(UserError, match=r"0\.16 megapixels, more than 0\.1; .*megapixels 0\.2"):
        checked_categories(read_settings([*arguments, "--max-megapixels", "0.1"]))
    (settings,) = checked_categories(read_settings([*arguments, "--max-megapixels", "0.2"]))
    assert settings.running.max_megapixels == 0.2
