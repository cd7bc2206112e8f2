"""The command `export`: a run as `torch.export` programmes and ONNX files, all of them checked."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from ..run.errors import UserError
from ..run.folder import parse_json, refuse_links, save_json, versions
from ..run.lock import LOCK, held
from ..run.ownership import refuse_foreign
from ..scoring.export_metadata import describe
from ..scoring.exported_files import (
    OPSET,
    Programme,
    load_onnx,
    load_torch,
    save_onnx,
    save_torch,
)
from ..scoring.exported_graph import (
    IMAGE_AXES,
    INPUT,
    OUTPUTS,
    PICTURE,
    PICTURE_AXES,
    VERDICTS,
    Depth,
    depth_of,
    export_images,
    export_pictures,
)
from ..scoring.trained_run import load_trained_run
from .command_line import parse
from .export_cases import Case, image_cases, picture_cases, pictures_to_check

FILES = {"torch": "model.pt2", "onnx": "model.onnx"}
PICTURE_FILES = {"torch": "inspect.pt2", "onnx": "inspect.onnx"}
METADATA = "metadata.json"
PARTIAL = "partial_"
OWN = rf"(model|inspect)\.(pt2|onnx)|metadata\.json(\.partial)?|{PARTIAL}\w+|{re.escape(LOCK)}"
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

# Largest difference from eager that passes: a tenth of a grey level of 8 bits for reconstructions;
# for maps and scores a thousandth of the pixel threshold, or of a spread if that is more, which no
# decision should hang on.
RECONSTRUCTION_TOLERANCE = 0.1 / 255
MAP_TOLERANCE = 1e-3
# The graph that resizes may round a pixel to the next grey level, where Pillow's sum was a tie.
LEVELS = 5

Differences = dict[str, dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a trained run as files that score pictures without this code.

    inspect.pt2 and inspect.onnx take a picture's pixels, of any size, and say whether it is
    defective; model.pt2 and model.onnx take images that are prepared already, several at once.
    torch.export.load reads .pt2, any ONNX runtime .onnx. What goes in, what comes out and which
    thresholds hold is in metadata.json and in the files themselves.
    """

    run: Path
    """Folder of the run, as train printed it, or of an evaluation."""
    out: Path | None = None
    """Folder of the files. None: export/ in the run's folder. Earlier exports are replaced."""
    formats: tuple[Literal["torch", "onnx"], ...] = ("torch", "onnx")
    """What to write."""
    depth: Depth | None = None
    """Of the pixels that the inspect files take. None: that of the normal pictures."""


@dataclasses.dataclass(frozen=True)
class Graph:
    """A programme, its files by format, its names, and what it is checked on."""

    program: torch.export.ExportedProgram
    files: dict[str, str]
    given: tuple[str, tuple[str, ...]]
    returned: tuple[str, ...]
    cases: Sequence[Case]
    levels: int
    """How many times the tolerance it is granted."""


def main(arguments: Sequence[str]) -> None:
    """Read the command line, export, check against eager, and say how far they differ."""
    command = parse(Export, "export", arguments)
    if "onnx" in command.formats:
        require_onnx()
    # The files run on any device; made on the CPU they depend on none.
    run = load_trained_run(command.run, "cpu")
    out = command.out or command.run / "export"
    refuse_links(command.run if command.out is None else out)
    refuse_foreign(out, OWN, proof=_is_ours(out), holder="an export")
    pictures, origin = pictures_to_check(run, command.run)
    depth = command.depth or depth_of(run)
    names = [{one: files[one] for one in command.formats} for files in (FILES, PICTURE_FILES)]
    about: dict[str, Any] = {"files": names[0], "picture_files": names[1]}
    about |= describe(run, command.run, depth)
    # Files are moved to `out` once they have passed, so that a wrong one never lies there.
    with held(out), tempfile.TemporaryDirectory(prefix=PARTIAL, dir=out) as name:
        folder = Path(name)
        for left_over in out.glob(f"{PARTIAL}*"):
            if left_over != folder:
                shutil.rmtree(left_over)
        graphs = [
            Graph(
                export_images(run), FILES, (INPUT, IMAGE_AXES), OUTPUTS,
                image_cases(run, pictures), levels=1,
            ),
            Graph(
                export_pictures(run, depth), PICTURE_FILES, (PICTURE, PICTURE_AXES),
                (*OUTPUTS, *VERDICTS), picture_cases(run, pictures, depth, folder),
                levels=LEVELS,
            ),
        ]  # fmt: skip
        limits = [tolerances(run.scorer.pixel_threshold, graph.levels) for graph in graphs]
        found = [
            write_and_check(graph, command.formats, folder, about, limit)
            for graph, limit in zip(graphs, limits, strict=True)
        ]
        checks = [
            {"pictures": origin, "largest_difference_from_eager": differences, "tolerance": limit}
            for differences, limit in zip(found, limits, strict=True)
        ]
        _replace_earlier(out, folder, metadata(about, checks))
    for graph, differences in zip(graphs, found, strict=True):
        for format_, values in differences.items():
            text = ", ".join(f"{output} {value:.2g}" for output, value in values.items())
            print(f"{out / graph.files[format_]}: largest differences on {origin}: {text}")
    print(f"{out / METADATA} says how pictures are prepared and which thresholds hold")


def require_onnx() -> None:
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f'the format onnx needs {", ".join(missing)}: pip install "aw-ssim[export]", or '
            "pass --formats torch"
        )


def write_and_check(
    graph: Graph,
    formats: Sequence[str],
    folder: Path,
    about: dict[str, Any],
    limit: dict[str, float],
) -> Differences:
    """The graph's files below `folder`, and of each format its largest differences from eager."""
    found = {}
    for format_ in formats:
        file = folder / graph.files[format_]
        if format_ == "torch":
            save_torch(graph.program, file, about)
            exported = load_torch(file)
        else:
            save_onnx(graph.program, file, about, given=graph.given, returned=graph.returned)
            exported = load_onnx(file)
        found[format_] = largest_differences(exported, graph.cases)
        check(format_, found[format_], limit)
    return found


def largest_differences(exported: Programme, cases: Sequence[Case]) -> dict[str, float]:
    """Of each output, over all cases; verdicts follow from scores, and are not compared."""
    differences = dict.fromkeys(OUTPUTS, 0.0)
    for given, expected in cases:
        with torch.no_grad():
            outputs = exported(given)
        for name, output, value in zip(OUTPUTS, outputs, expected, strict=False):
            difference = float((output - value).abs().max())
            # Not "greater": a NaN must not be lost.
            if not difference <= differences[name]:
                differences[name] = difference
    return differences


def check(name: str, differences: dict[str, float], limits: dict[str, float]) -> None:
    """Raise a UserError where an exported file does not compute what this code does."""
    for output, limit in limits.items():
        # Not "greater": a NaN must not pass.
        if not differences[output] <= limit:
            raise UserError(
                f"the {name} export differs from eager by {differences[output]:.3g} in {output}, "
                f"expected at most {limit:.3g}; it was not written. Please report it with the "
                "versions of torch and onnxruntime"
            )


def tolerances(pixel_threshold: float, levels: int) -> dict[str, float]:
    # A low quantile can lie near 0; the map's own unit is the spread of normal images.
    of_maps = levels * MAP_TOLERANCE * max(1.0, abs(pixel_threshold))
    limits = (levels * RECONSTRUCTION_TOLERANCE, of_maps, of_maps)
    return dict(zip(OUTPUTS, limits, strict=True))


def metadata(about: dict[str, Any], checks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What metadata.json holds: what the files say, and how far they were found to differ."""
    of_images, of_pictures = checks
    packages = ONNX_PACKAGES if "onnx" in about["files"] else ()
    return {
        **about,
        "check": {**of_images, "picture": of_pictures},
        "onnx_opset": OPSET if "onnx" in about["files"] else None,
        "versions": versions() | {name: importlib.metadata.version(name) for name in packages},
    }


def _replace_earlier(out: Path, folder: Path, values: dict[str, Any]) -> None:
    """Stopped anywhere in between, files are missing; those that are there fit each other."""
    for file in (*FILES.values(), *PICTURE_FILES.values()):
        (out / file).unlink(missing_ok=True)
    save_json(values, out / METADATA)
    for path in sorted(folder.iterdir()):
        os.replace(path, out / path.name)


def _is_ours(out: Path) -> bool:
    path = out / METADATA
    if not path.is_file():
        # Stopped before the first file was there.
        return out.is_dir() and all(one.name.startswith("partial_") for one in out.iterdir())
    try:
        return {"thresholds", "files"} <= parse_json(path.read_bytes(), path).keys()
    except UserError:
        return False
