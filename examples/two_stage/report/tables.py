"""Tables of a run and over several runs, in percent; the latter as Tables 1 and 2 of the paper."""

from __future__ import annotations

import dataclasses
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..run.arms import ARMS
from ..scoring.baselines import CONSTANT, INPUT_ONLY
from . import paper
from .ranking import choice_of_arm, criterion

MEASURES = {
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "aupro": "AUPRO",
    "aupro_05": "AUPRO to 0.05",
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "best_f1": "best F1 (oracle: threshold chosen on the labels)",
}
SCORES = {
    "chosen": "chosen on held-out normals (headline)",
    "plain l1": "plain mean |x - x'|, unsmoothed (the paper's residual)",
    "l1": "L1",
    "aw_ssim": "AW-SSIM map",
    "gradient": "multi-scale gradients",
    CONSTANT: "constant reconstruction, scored the same way as the network's",
}


@dataclasses.dataclass(frozen=True)
class Table:
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    # First cell of the row that stands out.
    strong: str = ""


def paper_tables(metrics: Mapping[str, Any]) -> list[Table]:
    if not is_the_papers(metrics) or not metrics["scores"]:
        return []
    rows = []
    for name in ("chosen", "plain l1"):
        ours = metrics["scores"][name]["all"]["pixel_auroc"]
        rows.append([SCORES[name], percent(ours, 2), *_beside_paper(ours, metrics)])
    header = ("pixel AUROC, %", "ours", "the paper's figure", "difference")
    return [Table(header, rows, strong=SCORES["chosen"])]


def score_tables(metrics: Mapping[str, Any]) -> list[Table]:
    dominating = metrics["dominating_defect"]
    scores = sorted(metrics["scores"].items(), key=lambda item: item[0] != "chosen")
    tables = []
    for part, caption in (
        ("all", "All test pictures"),
        ("without_dominating", f"Without {dominating}, which holds most defective pixels"),
        ("foreground", "Foreground only"),
    ):
        for baselines, of in ((False, "residuals"), (True, "input-only baselines, no training")):
            rows = [
                [SCORES.get(name, name.removeprefix(INPUT_ONLY)), *_cells(parts[part])]
                for name, parts in scores
                if name.startswith(INPUT_ONLY) == baselines and parts.get(part)
            ]
            if rows:
                header = ("score", *MEASURES.values())
                tables.append(Table(header, rows, f"{caption}: {of}", SCORES["chosen"]))
    return tables


def kind_tables(metrics: Mapping[str, Any], names: Iterable[str]) -> list[Table]:
    counts = metrics["images"]["test"]
    tables = []
    for name in names:
        kinds = metrics["scores"].get(name, {}).get("by_defect", {})
        rows = [[kind, str(counts.get(kind, "-")), *_cells(m)] for kind, m in kinds.items()]
        if rows:
            header = ("kind of defect", "pictures", *MEASURES.values())
            tables.append(Table(header, rows, SCORES.get(name, name)))
    return tables


def ablation_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: the arms of one category, mean ± sample standard deviation over seeds, percent."""
    if len({(run["category"], run["preset"]) for run in runs}) != 1:
        raise ValueError("an ablation compares runs of one category and one preset")
    columns = ("pixel_auroc", "aupro", "pixel_ap", "image_auroc")
    header = ["arm", "seeds", *(MEASURES[key] for key in columns)]
    header += ["image AUROC, painted on held-out", "pixel AUROC, plain residual"]
    # The paper's Table 2 is of that category alone.
    beside = runs[0]["category"] == "hazelnut" and all(map(is_the_papers, runs))
    header += ["paper, hazelnut only"] if beside else []
    rows = []
    for name, arm in ARMS.items():
        those = [run for run in runs if run["arm"] == name]
        if not those:
            continue
        cells = [_spread(_figures(those, "chosen", key)) for key in columns]
        cells.append(_spread([criterion(run) for run in those]))
        cells.append(_spread(_figures(those, "plain l1", "pixel_auroc")))
        if beside:
            cells.append("-" if arm.table_2 is None else f"{arm.table_2:.2f}")
        rows.append([arm.title, str(len(those)), *cells])
    # Every arm has the same one, for each seed.
    untrained = list({run["seed"]: run for run in runs}.values())
    cells = [_spread(_figures(untrained, CONSTANT, key)) for key in columns]
    rest = ["-"] * (len(header) - 2 - len(cells))
    rows.append([f"no training: {SCORES[CONSTANT]}", str(len(untrained)), *cells, *rest])
    return _markdown(Table(header, rows))


def ablation_notes(runs: Sequence[Mapping[str, Any]], pictures: Sequence[str]) -> str:
    """Markdown below the table: the arm to take, the rows of arms.png by number, doubts of runs."""
    lines = [f"{number}. {escape_markdown(name)}" for number, name in enumerate(pictures, start=1)]
    choice = choice_of_arm(runs)
    blocks = [choice] if choice else []
    blocks += ["The rows of arms.png:\n\n" + "\n".join(lines)] if lines else []
    for run in runs:
        doubts = [f"- {escape_markdown(text)}" for text in run.get("doubts", ())]
        if doubts:
            head = f"Before you trust {run['arm']}, seed {run['seed']}:"
            blocks.append("\n".join([head, "", *doubts]))
    return "".join(f"\n{block}\n" for block in blocks)


def category_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: ours, the paper's figure and the difference for each category, percent."""
    if len({(run["arm"], run["preset"]) for run in runs}) != 1:
        raise ValueError("a table of categories compares runs of one arm and one preset")
    beside = any(map(is_the_papers, runs))
    header = ["category", "seeds", "test pictures, normal / defective", "pixel AUROC, ours"]
    header += ["paper", "difference"] if beside else []
    header += ["plain residual", "constant reconstruction, no training", "best without training"]
    header += ["AUPRO", "pixel AP", "image AUROC"]
    rows = []
    for category in dict.fromkeys(run["category"] for run in runs):
        those = [run for run in runs if run["category"] == category]
        ours = _figures(those, "chosen", "pixel_auroc")
        names = [name for name in those[0]["scores"] if name.startswith(INPUT_ONLY)]
        untrained = [_mean(_figures(those, name, "pixel_auroc")) for name in names]
        rows.append(
            [
                category,
                str(len(those)),
                " / ".join(map(str, count_test_pictures(those[0]))),
                _spread(ours),
                *(_beside_paper(_mean(ours), those[0]) if beside else ()),
                _spread(_figures(those, "plain l1", "pixel_auroc")),
                _spread(_figures(those, CONSTANT, "pixel_auroc")),
                percent(max((b for b in untrained if b is not None), default=None)),
                *(_spread(_figures(those, "chosen", k)) for k in ("aupro", "pixel_ap")),
                _spread(_figures(those, "chosen", "image_auroc")),
            ]
        )
    return _markdown(Table(header, rows))


def format_summary(metrics: Mapping[str, Any]) -> str:
    """For the terminal: what speaks against the figures, then the figures."""
    # Runs of earlier versions hold no doubts.
    careful = [f"careful: {text}" for text in metrics.get("doubts", ())]
    return "\n".join([metrics["category"], *careful, format_scores(metrics)])


def format_scores(metrics: Mapping[str, Any]) -> str:
    """A plain text table in percent for the terminal, one row for each score."""
    if not metrics["scores"]:
        return "no test pictures with defects, so no scores"
    width = max(len(name) for name in metrics["scores"])
    labels = [*list(MEASURES.values())[:-1], "best F1 (oracle)"]
    lines = [" " * width + "".join(f"  {label}" for label in labels)]
    for name, parts in metrics["scores"].items():
        cells = zip(labels, _cells(parts["all"]), strict=True)
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>{len(la) + 2}}" for la, cell in cells))
    lines += [f"note: {note}" for note in metrics.get("notes", ())]
    return "\n".join(lines)


def percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f}"


def _signed_percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:+.{digits}f}"


def _beside_paper(ours: float | None, metrics: Mapping[str, Any]) -> tuple[str, str]:
    """The paper's figure, and ours less the paper's; nothing beside other pictures than its."""
    if not is_the_papers(metrics):
        return "-", "-"
    theirs = paper.TABLE_1[metrics["category"]]
    return f"{theirs:.2f}", _signed_percent(None if ours is None else ours - theirs / 100, 2)


def is_the_papers(metrics: Mapping[str, Any]) -> bool:
    images = metrics["images"]
    normal, defective = count_test_pictures(metrics)
    train = images["train"] + images["validation"]
    return paper.is_official(metrics["category"], train, normal, defective)


def count_test_pictures(metrics: Mapping[str, Any]) -> tuple[int, int]:
    """How many normal and how many defective pictures a run was tested on."""
    counts = metrics["images"]["test"]
    return counts.get("good", 0), sum(n for kind, n in counts.items() if kind != "good")


def escape_markdown(text: Any) -> str:
    """Text that Markdown shows as it is, on one line; a table's bars survive too."""
    return re.sub(r"([\\`*_\[\]<>|~#&])", r"\\\1", " ".join(str(text).split()))


def _cells(measures: Mapping[str, float | None]) -> list[str]:
    return [percent(measures.get(key)) for key in MEASURES]


def _figures(runs: Sequence[Mapping[str, Any]], score: str, key: str) -> list[float | None]:
    return [run["scores"].get(score, {}).get("all", {}).get(key) for run in runs]


def _mean(values: Sequence[float | None]) -> float | None:
    """None where a seed lacks the figure: a mean over fewer seeds would not compare."""
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known and len(known) == len(values) else None


def _spread(values: Sequence[float | None]) -> str:
    """Mean ± sample standard deviation; one value has no deviation."""
    mean = _mean(values)
    if mean is None or len(values) == 1:
        return percent(mean)
    return f"{percent(mean)} ± {percent(statistics.stdev(v for v in values if v is not None))}"


def _markdown(table: Table) -> str:
    lines = [table.header, ["---", *["---:"] * (len(table.header) - 1)], *table.rows]
    cells = [[escape_markdown(cell) for cell in line] for line in lines]
    return "".join("| " + " | ".join(line) + " |\n" for line in cells)
