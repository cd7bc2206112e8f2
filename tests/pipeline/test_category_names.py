"""Which categories a data root has, and what is said of one that it has not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from two_stage.pictures.category import find_category
from two_stage.pictures.layouts import categories_in, parse_categories
from two_stage.run.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """'tile' in the MVTec layout, 'bolt' and 'nut' in the plain one."""
    for name in ("tile/train/good", "bolt/normal", "nut/normal"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def test_categories_are_the_folders_of_either_layout(root: Path) -> None:
    (root / "notes").mkdir()
    (root / ".hidden/normal").mkdir(parents=True)
    (root / "normal.png").touch()
    assert categories_in(root) == ["bolt", "nut", "tile"]
    assert parse_categories("all", root) == ["bolt", "nut", "tile"]
    assert parse_categories("tile", root) == ["tile"]
    assert parse_categories("tile, bolt", root) == ["tile", "bolt"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tiles", r"no category 'tiles' in .*, which has bolt, nut, tile; did you mean 'tile'\?$"),
        ("bolt,xyz", r"no category 'xyz' in .*, which has bolt, nut, tile$"),
        ("bolt,,tile", r"no category '' in .*, which has bolt, nut, tile$"),
        ("../tile", r"no category '../tile' in"),
        (
            "tile,bolt,tile",
            r"expected each category once, got \['tile'\] again in 'tile,bolt,tile'",
        ),
        ("notes", r"notes is not a category: expected train/good, .* defective and masks in it$"),
    ],
)
def test_a_category_that_is_not_there(root: Path, text: str, message: str) -> None:
    (root / "notes").mkdir()
    with pytest.raises(UserError, match=message):
        parse_categories(text, root)
    if "," not in text:
        with pytest.raises(UserError, match=message):
            find_category(root, text)


def test_a_data_root_without_categories(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere is not a folder; pass --data-root$"):
        find_category(tmp_path / "nowhere", "tile")
    with pytest.raises(UserError, match=r"no category in .*: expected train/good, .* folders$"):
        parse_categories("all", tmp_path)


@pytest.mark.parametrize("category", ["tile", "nut"])
def test_a_category_given_as_data_root(root: Path, category: str) -> None:
    message = (
        rf"no category '{category}' in .*{category}; .* pass --data-root {re.escape(str(root))} "
        f"--category {category}$"
    )
    with pytest.raises(UserError, match=message):
        find_category(root / category, category)
