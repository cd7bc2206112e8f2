"""The notebook runs from top to bottom, and holds its code alone: no output, no one's paths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parents[2] / "docs" / "quickstart.ipynb"
CELLS: list[dict[str, Any]] = json.loads(PATH.read_text(encoding="utf-8"))["cells"]


def test_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="matplotlib comes with the examples")
    pyplot.switch_backend("agg")
    names: dict[str, Any] = {"__name__": "notebook"}
    for number, cell in enumerate(CELLS):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{PATH.name}, cell {number}", "exec"), names)
    pyplot.close("all")
    assert "AW-SSIM loss" in capsys.readouterr().out


def test_it_holds_nothing_of_a_run() -> None:
    for cell in CELLS:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert not cell["metadata"]
