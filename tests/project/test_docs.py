"""Every Python block of README and docs runs, and the links between their files lead somewhere."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "aw_ssim"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "examples" / "README.md",
    ROOT / "benchmarks" / "README.md",
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)")


class Block(NamedTuple):
    """A fenced Python block, and the line of its page on which its code starts."""

    page: Path
    line: int
    code: str

    def missing_module(self) -> str | None:
        """The first module that the block imports at its top level and that is not installed."""
        for node in ast.parse(self.code).body:
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                package = str(name).partition(".")[0]
                if importlib.util.find_spec(package) is None:
                    return package
        return None


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, match.start(2)) + 1, match[2])
        for match in FENCE.finditer(text)
        if match[1] == "python"
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.fixture
def nothing_left_behind() -> Iterator[None]:
    """accelerate keeps its mixed precision for the whole process, and for those that it starts."""
    environment = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(environment)
    if "accelerate.state" in sys.modules:
        sys.modules["accelerate.state"].AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("nothing_left_behind")
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: f"{b.page.name}:{b.line}")
def test_block_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = block.missing_module()
    if missing is not None:
        pytest.skip(f"{missing} is not installed")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    # The two names that README's first block expects; a block may define its own.
    names: dict[str, Any] = {
        "__name__": "block",
        "prediction": torch.rand(2, 3, 64, 64, requires_grad=True),
        "target": torch.rand(2, 3, 64, 64),
    }
    # As many newlines as precede it, so that a traceback shows the page's line.
    source = "\n" * (block.line - 1) + block.code
    exec(compile(source, str(block.page), "exec"), names)
    if {"before", "after"} <= names.keys():
        torch.testing.assert_close(names["after"], names["before"], atol=1e-4, rtol=0)


def test_blocks_are_found() -> None:
    found = {block.page.name for block in BLOCKS}
    assert {"README.md", "migration.md", "recipes.md"} <= found
    assert len(BLOCKS) > 15


def test_missing_libraries_are_named() -> None:
    block = Block(ROOT, 1, "import torch\nfrom no_such_library.part import thing\n")
    assert block.missing_module() == "no_such_library"
    assert (
        Block(ROOT, 1, "import torch\nfrom aw_ssim.loss import SSIMLoss").missing_module() is None
    )


def test_architecture_names_every_module() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| file in `aw_ssim/` .*?\n\n", text, re.MULTILINE | re.DOTALL)
    # `a/b.py`, `c.py` in one cell: c.py lies beside b.py.
    patterns: list[str] = []
    for row in table.splitlines():
        folder = ""
        for name in re.findall(r"`([\w/*]+\.py)`", row):
            folder = name.rpartition("/")[0] or folder
            patterns.append(f"{folder}/{name.rpartition('/')[2]}".lstrip("/"))
    modules = [str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py")]
    unnamed = [m for m in modules if not any(fnmatch(m, pattern) for pattern in patterns)]
    missing = [p for p in patterns if not any(fnmatch(module, p) for module in modules)]
    assert (unnamed, missing) == ([], [])


def test_the_site_has_every_page() -> None:
    settings = (ROOT / ".ci" / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if f"- {page}\n" not in settings] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    targets = [page.parent / name for name in LINK.findall(page.read_text(encoding="utf-8"))]
    assert [str(target) for target in targets if not target.exists()] == []
