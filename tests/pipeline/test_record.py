"""Data that changes while a run goes on: nothing held out is ever trained on, and it is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from two_stage.pictures.demo import write_demo_dataset
from two_stage.run.errors import UserError
from two_stage.run.run import Run
from two_stage.run.settings import Settings
from two_stage.training.data import RunData, load_data_again, prepare_data
from two_stage.training.record import Record


@pytest.fixture
def category(tmp_path: Path) -> Path:
    write_demo_dataset(tmp_path / "data", "brick", normals=10, test_normals=2, per_defect=1)
    return tmp_path / "data" / "brick"


def run_on(category: Path, **changes: object) -> Run:
    settings = Settings.of(
        data_root=category.parent, channels=1, image_size=64, patch_size=64, test_stride=32,
        validation_share=0.3, **changes,
    )  # fmt: skip
    return Run(settings, category.parents[1] / "run", Accelerator(cpu=True))


def notes(data: RunData) -> str:
    return "\n".join(map(str, data.notes))


def same(one: RunData, other: RunData) -> bool:
    return torch.equal(one.train, other.train) and torch.equal(one.held_out, other.held_out)


def test_the_record_names_every_file_and_the_split(category: Path) -> None:
    run = run_on(category)
    prepare_data(run)
    saved = json.loads((run.folder / "data.json").read_text())
    assert list(saved["normal"]) == [f"train/good/{n:03d}.png" for n in range(10)]
    assert len(saved["held_out"]) == 3
    assert {"test/good/000.png", "test/hole/000.png", "ground_truth/hole/000_mask.png"} <= (
        saved["test"].keys()
    )
    assert len(set(saved["normal"].values())) == 10
    assert all(len(digest) == 64 for digest in saved["normal"].values())
    assert Record.of(run.folder) == Record(saved["normal"], saved["held_out"], saved["test"])


@pytest.mark.parametrize("load", [prepare_data, load_data_again])
def test_new_pictures_change_neither_training_nor_what_is_held_out(category: Path, load) -> None:
    run = run_on(category)
    before = prepare_data(run)
    for number in range(5):
        shutil.copy(category / "test/good/000.png", category / f"train/good/000_{number}.png")
    after = load(run)
    assert same(before, after)
    assert "5 normal pictures came after the run began (train/good/000_0.png" in notes(after)
    assert "train anew" in notes(after)
    # The advice, followed.
    anew = prepare_data(run_on(category, overwrite=True))
    assert len(anew.train) + len(anew.held_out) == 15


@pytest.mark.parametrize("load", [prepare_data, load_data_again])
def test_renamed_and_moved_pictures_are_found_by_their_content(category: Path, load) -> None:
    run = run_on(category)
    before = prepare_data(run)
    (category / "train/good/000.png").rename(category / "train/good/zzz.png")
    (category / "train/good/001.png").rename(category / "train/good/swap.png")
    (category / "train/good/002.png").rename(category / "train/good/001.png")
    (category / "train/good/swap.png").rename(category / "train/good/002.png")
    assert same(before, load(run))


@pytest.mark.parametrize("load", [prepare_data, load_data_again])
def test_lost_and_changed_pictures_are_refused_by_name(category: Path, load) -> None:
    run = run_on(category)
    prepare_data(run)
    (category / "train/good/003.png").unlink()
    shutil.copy(category / "test/good/000.png", category / "train/good/007.png")
    with pytest.raises(
        UserError,
        match=r"^2 of the 10 normal pictures .* gone \(1\) or were changed \(1\): "
        r"train/good/003\.png, train/good/007\.png; put them back, or .* --overwrite",
    ):
        load(run)
    before = (run.folder / "data.json").read_bytes()
    assert (run.folder / "data.json").read_bytes() == before


def test_another_test_set_is_said_and_the_rest_stays(category: Path) -> None:
    run = run_on(category)
    before = prepare_data(run)
    assert "test set" not in notes(load_data_again(run))
    shutil.copy(category / "test/good/000.png", category / "test/good/new.png")
    (category / "test/good/001.png").unlink()
    shutil.copy(category / "test/hole/000.png", category / "test/stain/000.png")
    after = load_data_again(run)
    assert same(before, after)
    assert (
        "the test set is not the one the run began with: 1 new (test/good/new.png), 1 gone "
        "(test/good/001.png), 1 changed (test/stain/000.png)" in notes(after)
    )


def test_copies_across_the_split_and_in_the_test_set_are_named(category: Path) -> None:
    assert "trained on" not in notes(prepare_data(run_on(category)))
    record = Record.of(run_on(category).folder)
    trained = next(name for name in record.normal if name not in record.held_out)
    shutil.copy(category / trained, category / "test/good/copy.png")
    shutil.copy(category / trained, category / record.held_out[0])
    said = notes(prepare_data(run_on(category, overwrite=True)))
    assert "in the test set are copies of pictures that are trained on (test/good/copy.png)" in said
    assert f"held out are copies of pictures that are trained on ({record.held_out[0]})" in said


def test_a_run_without_a_record_says_so(category: Path) -> None:
    run = run_on(category)
    prepare_data(run)
    (run.folder / "data.json").unlink()
    assert "kept no record of its pictures" in notes(load_data_again(run))


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"normal": {"a": 1}, "held_out": ["a"], "test": null}',
        '{"normal": {"a": "0"}, "held_out": ["b"], "test": null}',
        '{"normal": {"a": "0"}, "held_out": ["a"], "test": null}',
        '{"normal": {"a": "0", "b": "1"}, "held_out": "a", "test": null}',
        '{"normal": {"a": "0", "b": "1"}, "held_out": ["a"], "test": ["a"]}',
    ],
)
def test_a_damaged_record_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "data.json").write_text(content)
    with pytest.raises(UserError, match=r"data\.json is (damaged|not of a run)"):
        Record.of(tmp_path)
