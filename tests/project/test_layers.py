"""Which folder may import which: the arrows that README.md of the pipeline draws."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

# By package: a folder, and what it may import beside itself, from the top to the bottom.
LAYERS: dict[Path, dict[str, set[str]]] = {
    EXAMPLES / "two_stage": {
        "commands": {"report", "scoring", "training", "pictures", "run"},
        "report": {"scoring", "training", "defects", "run"},
        "scoring": {"training", "defects", "pictures", "run"},
        "training": {"defects", "pictures", "run"},
        "defects": {"pictures", "run"},
        "pictures": {"run"},
        "run": set(),
    },
}


def modules_imported(file: Path, package: Path) -> Iterator[str]:
    """Full names of what a file of the package imports, anywhere in it; `from` names the parts."""
    here = (package.name, *file.relative_to(package).parent.parts)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) + 1 - node.level] if node.level else ()
            module = ".".join((*above, *filter(None, [node.module])))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def arrows(package: Path) -> dict[tuple[str, str], list[str]]:
    """(importing folder, imported folder) to the files that hold such an import."""
    found: dict[tuple[str, str], list[str]] = {}
    for file in sorted(package.glob("*/**/*.py")):
        folder = file.relative_to(package).parts[0]
        for module in modules_imported(file, package):
            root, _, rest = module.partition(".")
            if root == package.name and rest.partition(".")[0] != folder:
                arrow = (folder, rest.partition(".")[0])
                found.setdefault(arrow, []).append(str(file.relative_to(package)))
    return found


@pytest.mark.parametrize("package", LAYERS, ids=lambda package: package.name)
def test_folders_import_what_lies_below_them_and_all_of_it(package: Path) -> None:
    allowed = {(folder, other) for folder, others in LAYERS[package].items() for other in others}
    found = arrows(package)
    assert {arrow: found[arrow] for arrow in found.keys() - allowed} == {}
    assert allowed - found.keys() == set(), "nothing needs these arrows any longer"


@pytest.mark.parametrize("package", LAYERS, ids=lambda package: package.name)
def test_every_folder_has_its_row_and_no_row_points_up(package: Path) -> None:
    rows = list(LAYERS[package])
    assert sorted(rows) == sorted({file.parent.name for file in package.glob("*/*.py")})
    for number, row in enumerate(rows):
        assert LAYERS[package][row] <= set(rows[number + 1 :]), row


@pytest.mark.parametrize(
    "line",
    [
        "from ..commands import train",
        "from ..commands.train import main",
        "from .. import commands",
        "import two_stage.commands.train",
        "from two_stage import commands",
        "def later():\n    from two_stage.commands.command_line import main",
    ],
)
def test_every_way_to_import_is_seen(line: str, tmp_path: Path) -> None:
    package = tmp_path / "two_stage"
    for folder in ("pictures", "commands"):
        (package / folder).mkdir(parents=True)
    (package / "commands" / "train.py").write_text("import os\nfrom . import tune\n")
    (package / "pictures" / "files.py").write_text(line + "\n")
    assert arrows(package) == {("pictures", "commands"): ["pictures/files.py"]}
