"""An exported graph as a file: written with what there is to know about it, and read back."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..run.folder import naming

OPSET = 18
# What a .pt2 file holds beside the programme.
EXTRA_FILE = "metadata.json"

Programme = Callable[[Tensor], Sequence[Tensor]]


def save_torch(
    program: torch.export.ExportedProgram, path: Path, metadata: Mapping[str, Any]
) -> None:
    """With the metadata as an extra file, which `torch.export.load(extra_files=...)` reads."""
    # To a file on a full disk torch writes with an error that names none.
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={EXTRA_FILE: json.dumps(metadata)})
    with naming(path):
        path.write_bytes(buffer.getbuffer())


def load_torch(path: Path) -> Programme:
    return torch.export.load(path).module()


def save_onnx(
    program: torch.export.ExportedProgram,
    path: Path,
    metadata: Mapping[str, Any],
    *,
    given: tuple[str, tuple[str, ...]],
    returned: Sequence[str],
) -> None:
    """With each entry of the metadata as JSON among the file's own `metadata_props`.

    Args:
        program: the graph.
        path: the file.
        metadata: what there is to know.
        given: name of the input, and of its axes whose size is free, which are the first ones.
        returned: names of the outputs.
    """
    # Not needed, and maybe not installed, where only torch's format is asked for.
    import onnx

    name, axes = given
    with naming(path):
        _write_onnx(program, path, name, returned)
    model = onnx.load(path)
    sizes = model.graph.input[0].type.tensor_type.shape.dim
    words = {size.dim_param: axis for size, axis in zip(sizes, axes, strict=False)}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in words:
                size.dim_param = words[size.dim_param]
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    with naming(path):
        onnx.save(model, path)


def _write_onnx(
    program: torch.export.ExportedProgram, path: Path, name: str, returned: Sequence[str]
) -> None:
    torch.onnx.export(
        program,
        (),
        path,
        dynamo=True,
        input_names=[name],
        output_names=list(returned),
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )


def load_onnx(path: Path) -> Programme:
    """The file as a function, run by onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(pixels: Tensor) -> list[Tensor]:
        return [torch.as_tensor(output) for output in session.run(None, {name: pixels.numpy()})]

    return run
