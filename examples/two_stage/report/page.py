"""The report of a run, made only from the files of its folder."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from ..run.arms import ARMS
from ..run.folder import write_text
from . import paper
from .curves import save_curves, save_training_curves
from .sections import sections_of
from .tables import CONSTANT, MEASURES, escape_markdown, percent
from .verdicts import FLAGGED, FOUND

HEADLINES = ("pixel_auroc", "aupro", "image_auroc")


def write_report(folder: Path) -> None:
    """Draw the curves of a run folder and write its `report.html` and `report.md`.

    Raises:
        FileNotFoundError: `metrics.json` or `settings.yaml` is missing.
    """
    for name in ("metrics.json", "settings.yaml"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"a report needs {folder / name}; train and evaluate first")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    saved = yaml.safe_load((folder / "settings.yaml").read_text(encoding="utf-8"))
    if log := _rows(folder / "training_log.csv"):
        save_training_curves(log, folder / "training_curves.png")
    if (folder / "curves.json").is_file():
        curves = json.loads((folder / "curves.json").read_text(encoding="utf-8"))
        if curves:
            save_curves(curves, folder / "curves.png")
    content = {
        "title": f"{metrics['category']}: {ARMS[metrics['arm']].title}",
        "summary": f"Preset {metrics['preset']}, seed {metrics['seed']}, {metrics['device']}, "
        f"precision {metrics['precision']}. Nothing was chosen or normalised on test pictures.",
        "evaluated": _evaluated(metrics),
        "doubts": metrics.get("doubts", []),
        "facts": _facts(metrics),
        "sections": sections_of(metrics, saved, _rows(folder / "test_scores.csv"), folder),
        "doi": paper.DOI,
    }
    # The page last: a run that has it is complete.
    for suffix, environment in (("md", _environment(False)), ("html", _environment(True))):
        text = environment.get_template(f"template.{suffix}").render(content)
        write_text(folder / f"report.{suffix}", text)


def _rows(path: Path) -> list[dict[str, str]]:
    """Of a table that a run may have left; none where it did not."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def _evaluated(metrics: Mapping[str, Any]) -> str:
    found = metrics.get("evaluated")
    if found is None:
        return ""
    return (
        f"Evaluated {found['date']} on {found['host']} ({found['system']}), torch {found['torch']}."
    )


def _facts(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "chosen" not in metrics["scores"]:
        return []
    chosen, found = metrics["scores"]["chosen"]["all"], metrics["at_threshold"]
    facts = [(f"{MEASURES[key]}, %", percent(chosen[key])) for key in HEADLINES]
    if CONSTANT in metrics["scores"]:
        untrained = percent(metrics["scores"][CONSTANT]["all"]["pixel_auroc"])
        facts.append(("pixel AUROC without a network, %", untrained))
    facts.append(("defective pictures found, %", percent(found.get(FOUND))))
    return [*facts, ("normal pictures flagged, %", percent(found.get(FLAGGED)))]


def _environment(html: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=html,
        # What the templates mark as safe is Markup; everything else is escaped for Markdown.
        finalize=None if html else lambda v: v if isinstance(v, Markup) else escape_markdown(v),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["base64"] = lambda path: base64.b64encode(path.read_bytes()).decode()
    return environment
