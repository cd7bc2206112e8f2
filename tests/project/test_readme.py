"""README is short, keeps its two commands, and each of its figures is held by something."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from tolerances import TOLERANCES

pytest.importorskip("matplotlib", reason="matplotlib comes with the examples extra")

from benchmarks import ROOT
from benchmarks.measure.harness import load
from benchmarks.pages.readme import with_tables

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
# Tables are held by test_benchmark_page.py, code by test_docs.py.
PROSE = re.sub(
    r"^```.*?^```$|`[^`\n]*`|\]\([^)]*\)",
    "",
    with_tables(TEXT, {"benchmarks": "", "detection": ""}),
    flags=re.MULTILINE | re.DOTALL,
)


def test_readme_is_short() -> None:
    assert len(TEXT.splitlines()) <= 110


@pytest.mark.parametrize(
    ("marker", "command"),
    [
        ("demo", 'pip install -e ".[examples]" && python examples/mvtec_two_stage.py'),
        ("tests", 'pip install -e ".[test]" && python -m pytest -n auto --dist loadfile'),
    ],
)
def test_the_two_commands(marker: str, command: str) -> None:
    assert TEXT.count(f"<!-- {marker} -->\n```\n{command}\n```\n") == 1


def test_each_figure_in_the_prose_is_held() -> None:
    plain = re.sub(r"float\d+|Table 1|Apache-2\.0", "", PROSE)
    found = re.findall(r"\d[\d.,:()e+-]*\d|\d", plain)
    # `test_packaging.py` holds the Pythons.
    paper, python = ["2024", "10(5):111"], ["3.10", "3.13"]
    flat = load("accuracy")["components"]["flat 0.7, and camera"]["textbook moments"]["structure"]
    float32 = TOLERANCES[torch.float32]
    errors = [f"{flat:.2f}", *(f"{allowed:.0e}".replace("e-0", "e-") for allowed in float32)]
    assert sorted(found) == sorted([*paper, *python, *errors])


def test_the_prose_has_no_table_of_figures() -> None:
    rows = [line for line in PROSE.splitlines() if line.startswith("|")]
    assert rows
    assert [row for row in rows if re.search(r"\d\.\d", row)] == []


def test_documents_quote_nothing_of_readme() -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), Path(ROOT / "CONTRIBUTING.md")]
    assert [page.name for page in pages if '"README.md' in page.read_text(encoding="utf-8")] == []
