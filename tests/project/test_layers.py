"""Which file or folder may import which: the arrows that the documentation draws."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ONLY_INTERFACE = {"interface"}

# By package: a folder or file, and what it may import beside itself, from the top to the bottom.
LAYERS: dict[Path, dict[str, set[str]]] = {
    ROOT / "aw_ssim": {
        "__main__": {"__init__", "availability"},
        "__init__": {
            *("availability", "categories", "functional", "l1", "loss", "multiscale"),
            *("perceptual", "sigma_schedule"),
        },
        "metrics": {"checks", "loss", "sigma_schedule"},
        "perceptual": {"checks", "image_checks", "loss", "trunk_weights"},
        "l1": {
            *("availability", "backends", "checks", "comparison", "gaussian_window"),
            *("image_checks", "loss", "memory_format", "options"),
        },
        "multiscale": {
            *("checks", "comparison", "image_checks", "loss", "options", "sigma_schedule"),
        },
        "loss": {"checks", "comparison", "options", "sigma_schedule"},
        "functional": {"comparison", "options", "sigma_schedule"},
        "comparison": {
            *("availability", "backends", "checks", "gaussian_window", "image_checks"),
            *("memory_format", "options", "sigma_schedule"),
        },
        "backends": {"availability", "formulas", "image_checks", "options"},
        "options": {"availability", "categories", "checks"},
        "memory_format": {"availability", "image_checks"},
        "availability": {"checks"},
        "sigma_schedule": {"checks"},
        "trunk_weights": set(),
        "gaussian_window": {"image_checks"},
        "categories": set(),
        "formulas": set(),
        "image_checks": {"checks"},
        "checks": set(),
    },
    ROOT / "aw_ssim" / "backends": {
        "__init__": {"autograd", "interface", "reference"},
        "autograd": {"interface", "operators"},
        # It brings in the folder of a closed form by name, when it is used.
        "operators": ONLY_INTERFACE,
        "analytic": ONLY_INTERFACE,
        "numba_cpu": ONLY_INTERFACE,
        "triton_gpu": ONLY_INTERFACE,
        "reference": ONLY_INTERFACE,
        "interface": set(),
    },
    ROOT / "examples" / "two_stage": {
        "commands": {"report", "scoring", "training", "pictures", "run"},
        "report": {"scoring", "training", "defects", "pictures", "run"},
        "scoring": {"training", "defects", "pictures", "run"},
        "training": {"defects", "pictures", "run"},
        "defects": {"pictures", "run"},
        "pictures": {"run"},
        "run": set(),
    },
}


def modules_imported(file: Path, package: Path) -> Iterator[str]:
    """Full names of what a file of the package imports, anywhere in it; `from` names the parts."""
    # Of a package inside a package, from the outer one on.
    outer = ("aw_ssim",) if package.parent.name == "aw_ssim" else ()
    here = (*outer, package.name, *file.relative_to(package).parent.parts)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) + 1 - node.level] if node.level else ()
            module = ".".join((*above, *filter(None, [node.module])))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def unit_of(file: Path, package: Path) -> str:
    """A file's folder in the package, or its own name if it lies at the top."""
    return file.relative_to(package).parts[0].removesuffix(".py")


def arrows(package: Path) -> dict[tuple[str, str], list[str]]:
    """(importing unit, imported unit) to the files that hold such an import."""
    found: dict[tuple[str, str], list[str]] = {}
    prefix = f"{'aw_ssim.' if package.parent.name == 'aw_ssim' else ''}{package.name}."
    for file in sorted(package.glob("**/*.py")):
        unit = unit_of(file, package)
        for module in modules_imported(file, package):
            if not module.startswith(prefix):
                continue
            other = module.removeprefix(prefix).partition(".")[0]
            # What is no file or folder is a name that `__init__` holds.
            if not ((package / other).is_dir() or (package / f"{other}.py").is_file()):
                other = "__init__"
            if other != unit:
                found.setdefault((unit, other), []).append(str(file.relative_to(package)))
    return found


@pytest.mark.parametrize("package", LAYERS, ids=lambda package: package.name)
def test_units_import_what_lies_below_them_and_all_of_it(package: Path) -> None:
    allowed = {(unit, other) for unit, others in LAYERS[package].items() for other in others}
    found = arrows(package)
    assert {arrow: found[arrow] for arrow in found.keys() - allowed} == {}
    assert allowed - found.keys() == set(), "nothing needs these arrows any longer"


@pytest.mark.parametrize("package", LAYERS, ids=lambda package: package.name)
def test_every_unit_has_its_row_and_no_row_points_up(package: Path) -> None:
    rows = list(LAYERS[package])
    units = {unit_of(file, package) for file in package.glob("**/*.py")}
    assert set(rows) == units - ({"__init__"} - set(rows))
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
