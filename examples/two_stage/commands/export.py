"""The command `export`: a run as one `torch.export` programme and one ONNX file, both checked."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ..pictures.files import load_image
from ..run.errors import UserError
from ..run.folder import naming, refuse_links, save_json, versions
from ..run.groups import Data
from ..run.lock import held
from ..scoring.exported_graph import INPUT, OPSET, OUTPUTS, export_program, save_onnx
from ..scoring.trained_run import TrainedRun, load_trained_run
from ..training.data import data_root_of, normal_pictures, split_held_out
from .command_line import parse

FILES = {"torch": "model.pt2", "onnx": "model.onnx"}
PARTIAL = "partial_"
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

# Largest difference from eager that passes: a tenth of a grey level of 8 bits for reconstructions;
# for maps and scores a thousandth of the pixel threshold, which no decision should hang on.
RECONSTRUCTION_TOLERANCE = 0.1 / 255
MAP_TOLERANCE = 1e-3
CHECKED_PICTURES = 3

Programme = Callable[[Tensor], Sequence[Tensor]]


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a trained run as files that score pictures without this code.

    model.pt2 is read by torch.export.load, model.onnx by any ONNX runtime; metadata.json says
    how pictures are prepared, which thresholds hold and how far both differ from this code.
    """

    run: Path
    """Folder of the run, as train printed it."""
    out: Path | None = None
    """Folder of the files. None: export/ in the run's folder. Earlier exports are replaced."""
    formats: tuple[Literal["torch", "onnx"], ...] = ("torch", "onnx")
    """What to write."""


def main(arguments: Sequence[str]) -> None:
    """Read the command line, export, check against eager, and say how far they differ."""
    command = parse(Export, "export", arguments)
    if "onnx" in command.formats:
        require_onnx()
    # The files run on any device; made on the CPU they depend on none.
    run = load_trained_run(command.run, "cpu")
    out = command.out or command.run / "export"
    refuse_links(command.run if command.out is None else out)
    pictures, origin = pictures_to_check(run, command.run)
    differences = {}
    # Files are moved to `out` once they have passed, so that a wrong one never lies there.
    with held(out), tempfile.TemporaryDirectory(prefix=PARTIAL, dir=out) as folder:
        for left_over in out.glob(f"{PARTIAL}*"):
            if left_over != Path(folder):
                shutil.rmtree(left_over)
        expected = eager(run, pictures)
        program = export_program(run)
        files = {name: Path(folder) / FILES[name] for name in command.formats}
        for name, file in files.items():
            if name == "torch":
                # To a file on a full disk torch writes with an error that names none.
                buffer = io.BytesIO()
                torch.export.save(program, buffer)
                with naming(file):
                    file.write_bytes(buffer.getbuffer())
                exported = torch.export.load(file).module()
            else:
                with naming(file):
                    save_onnx(program, file)
                exported = onnx_session(file)
            differences[name] = largest_differences(exported, pictures, expected)
            check(name, differences[name], run.scorer.pixel_threshold)
        for file in files.values():
            os.replace(file, out / file.name)
        save_json(metadata(run, command.run, differences, origin), out / "metadata.json")

    for name, values in differences.items():
        text = ", ".join(f"{output} {value:.2g}" for output, value in values.items())
        print(f"{out / FILES[name]}: largest differences from eager on {origin}: {text}")
    print(f"{out / 'metadata.json'} says how pictures are prepared and which thresholds hold")


def require_onnx() -> None:
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f'the format onnx needs {", ".join(missing)}: pip install "aw-ssim[export]", or '
            "pass --formats torch"
        )


def onnx_session(path: Path) -> Programme:
    """The file as a function, run by onnxruntime on the CPU."""
    # Not needed, and maybe not installed, where only torch's format is asked for.
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(image: Tensor) -> list[Tensor]:
        outputs = session.run(list(OUTPUTS), {INPUT: image.numpy()})
        return [torch.from_numpy(output) for output in outputs]

    return run


def pictures_to_check(run: TrainedRun, folder: Path) -> tuple[Tensor, str]:
    """Pictures N x C x S x S to compare on, and what they are.

    Held-out normal pictures if the run's data is there, otherwise blurred noise; and the negative
    of the first, so that maps far above the threshold are compared too.
    """
    data, seed = run.settings.data, run.settings.training.seed
    size, channels = data.image_size, data.channels
    data_root = data_root_of(data, folder)
    if (data_root / data.category).is_dir():
        files = normal_pictures(data_root, data.category)
        _, held_out = split_held_out(len(files), data, seed)
        chosen = [files[number] for number in held_out[:CHECKED_PICTURES].tolist()]
        pictures = torch.stack([load_image(path, size, channels, data.white) for path in chosen])
        origin = "held-out normal pictures"
    else:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(CHECKED_PICTURES, channels, size, size, generator=generator)
        pictures = torch.from_numpy(gaussian_filter(noise.numpy(), (0, 0, 2, 2)))
        origin = "blurred noise"
    return torch.cat((pictures, 1 - pictures[:1])), f"{origin} and a negative"


def eager(run: TrainedRun, pictures: Tensor) -> list[Tensor]:
    """The outputs by the code that `predict` runs, one picture at a time."""
    reconstructions, maps = zip(*(run.score(picture) for picture in pictures), strict=True)
    stacked = torch.stack(maps)
    return [torch.stack(reconstructions), stacked, stacked.amax((1, 2))]


def largest_differences(
    exported: Programme, pictures: Tensor, expected: Sequence[Tensor]
) -> dict[str, float]:
    """Of each output, over all pictures in one batch and over the first in a batch of one."""
    differences = dict.fromkeys(OUTPUTS, 0.0)
    for count in (len(pictures), 1):
        with torch.no_grad():
            outputs = exported(pictures[:count])
        for name, output, value in zip(OUTPUTS, outputs, expected, strict=True):
            difference = float((output - value[:count]).abs().max())
            differences[name] = max(differences[name], difference)
    return differences


def check(name: str, differences: dict[str, float], pixel_threshold: float) -> None:
    """Raise a UserError where an exported file does not compute what this code does."""
    for output, limit in tolerances(pixel_threshold).items():
        # Not "greater": a NaN must not pass.
        if not differences[output] <= limit:
            raise UserError(
                f"the {name} export differs from eager by {differences[output]:.3g} in {output}, "
                f"expected at most {limit:.3g}; it was not written. Please report it with the "
                "versions of torch and onnxruntime"
            )


def tolerances(pixel_threshold: float) -> dict[str, float]:
    of_maps = MAP_TOLERANCE * abs(pixel_threshold)
    return dict(zip(OUTPUTS, (RECONSTRUCTION_TOLERANCE, of_maps, of_maps), strict=True))


def metadata(
    run: TrainedRun, folder: Path, differences: dict[str, dict[str, float]], origin: str
) -> dict[str, Any]:
    """All that a program needs to use the file, and where the file comes from."""
    packages = ONNX_PACKAGES if "onnx" in differences else ()
    return {
        "files": {name: FILES[name] for name in differences},
        **_interface(run.settings.data),
        **_origin(run, folder),
        "check": {
            "pictures": origin,
            "largest_difference_from_eager": differences,
            "tolerance": tolerances(run.scorer.pixel_threshold),
        },
        "onnx_opset": OPSET if "onnx" in differences else None,
        "versions": versions() | {name: importlib.metadata.version(name) for name in packages},
    }


def _interface(data: Data) -> dict[str, Any]:
    """What goes into the graph, and what comes out."""
    size, channels = data.image_size, data.channels
    pixels = ["batch", channels, size, size]
    return {
        "input": {
            "name": INPUT,
            "shape": pixels,
            "dtype": "float32",
            "range": [0, 1],
            "preprocessing": [
                f"convert to {'RGB' if channels == 3 else 'grey'}",
                f"resize to {size} x {size}, bilinear with antialiasing as Pillow's BILINEAR",
                "divide by the value of white, no more than 1: 255 for 8 bits, "
                f"{data.white or 65535} for more",
                "order as batch, channels, rows, columns",
            ],
        },
        "outputs": {
            "reconstruction": {"shape": pixels, "dtype": "float32", "range": [0, 1]},
            "anomaly_map": {
                "shape": ["batch", size, size],
                "dtype": "float32",
                "meaning": "larger where a defect is likelier; in spreads of normal images",
            },
            "image_score": {
                "shape": ["batch"],
                "dtype": "float32",
                "meaning": "the map's largest value",
            },
        },
    }


def _origin(run: TrainedRun, folder: Path) -> dict[str, Any]:
    settings, scorer = run.settings, run.scorer
    return {
        "thresholds": {
            "pixel": scorer.pixel_threshold,
            "image": scorer.image_threshold,
            "quantile": settings.scoring.threshold_quantile,
            "of": "normal images held out from training; defective is what lies above",
        },
        "run": {
            "folder": folder.resolve().name,
            "category": settings.data.category,
            "arm": settings.stages.arm,
            "preset": settings.preset,
            "residual": scorer.residual,
            "smoothing": scorer.smoothing,
            "patch_size": settings.training.patch_size,
            "test_stride": settings.scoring.test_stride,
        },
    }
