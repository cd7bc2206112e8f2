"""Writes every page and picture that shows results."""

from __future__ import annotations

from pathlib import Path

from benchmarks import ROOT
from benchmarks.__main__ import FILES, GPU_FILES
from benchmarks.measure.harness import load
from benchmarks.pages import benchmarks_page, detection_page, figures, readme, reconstructions


def texts() -> dict[Path, str]:
    """Each page and what it should hold."""
    results = {name: load(name) for name in (*FILES, *GPU_FILES)}
    rows, (demo,) = load("detection")["runs"], load("demo")["runs"]
    tables = {
        "benchmarks": readme.at_a_glance(results),
        "detection": readme.detection(rows, demo),
    }
    return {
        ROOT / "docs" / "benchmarks.md": benchmarks_page.page(results),
        ROOT / "docs" / "detection.md": "\n".join(
            (detection_page.page(rows, demo), reconstructions.section(rows))
        ),
        ROOT / "README.md": readme.with_tables((ROOT / "README.md").read_text("utf-8"), tables),
    }


def main() -> None:
    for name in figures.PICTURES:
        figures.draw(name, figures.picture(name))
    for path, text in texts().items():
        path.write_text(text, encoding="utf-8")
        print(f"written: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
