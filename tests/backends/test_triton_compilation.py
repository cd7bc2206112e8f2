"""The kernel compiled for NVIDIA's chips, without one: resources read from the machine code."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from triton_release import require_triton

triton = require_triton()
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("the interpreter compiles nothing", allow_module_level=True)

from triton_compiled import compiled, types_of  # noqa: E402

from aw_ssim.backends.triton_gpu import run  # noqa: E402
from aw_ssim.backends.triton_gpu.kernel import SIZES, STRIDES, tiles_kernel  # noqa: E402

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
pytestmark = pytest.mark.skipif(
    not (TOOLS / "cuobjdump").exists(),
    reason="this build of Triton has no compiler for NVIDIA's chips",
)
DEFAULT = {
    "SIZE": 11,
    "SAME": False,
    "PRODUCT": False,
    "L1": False,
    "MASKED": False,
    "UPSTREAM": False,
    "MAPS": False,
    "GRADIENTS": 1,
}
EVERYTHING = {"SAME": True, "MASKED": True, "UPSTREAM": True, "MAPS": True, "GRADIENTS": 2}


class Bounds(NamedTuple):
    """A few per cent above what Triton 3.3 to 3.8 need."""

    stack: int
    """Bytes, where the registers that do not fit go. The variants with most of it are no faster on
    an H100 with more registers and fewer warps."""
    instructions: int
    """For a pixel of a tile, on sm_90. Tiles share some, which are not counted twice here."""


VARIANTS: dict[str, tuple[Bounds, dict[str, Any]]] = {
    "default": (Bounds(32, 520), {}),
    "product": (Bounds(8, 485), {"PRODUCT": True}),
    "product and L1": (Bounds(8, 495), {"PRODUCT": True, "L1": True}),
    "no gradient": (Bounds(8, 355), {"GRADIENTS": 0}),
    "both gradients": (Bounds(168, 665), {"GRADIENTS": 2}),
    "masked": (Bounds(0, 835), {"MASKED": True}),
    "everything": (Bounds(0, 975), EVERYTHING),
    "window 13": (Bounds(0, 745), {"SIZE": 13}),
    "window 13, everything": (Bounds(0, 1080), {**EVERYTHING, "SIZE": 13}),
    "window 33": (Bounds(184, 1430), {"SIZE": 33}),
}


def machine_code(
    architecture: int, image: str = "fp32", integer: str = "i32", **changes: Any
) -> Any:
    constants: dict[str, Any] = {**DEFAULT, **changes}
    kind = constants["SIZE"], constants["MASKED"], constants["GRADIENTS"]
    layout = run.layout(*kind, constants["SAME"], 256)
    return compiled(
        types_of(image, integer),
        constants | {"LANES": layout.lanes, "ROWS": layout.rows},
        architecture=architecture,
        warps=layout.warps,
        registers=run.registers_of_a_thread(*kind),
    )


def read(tool: str, option: str, cubin: bytes, folder: Path) -> str:
    """What a tool of NVIDIA's says of machine code."""
    file = folder / "kernel.cubin"
    file.write_bytes(cubin)
    command = [str(TOOLS / tool), option, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def resources(cubin: bytes, folder: Path) -> dict[str, int]:
    """Registers of a thread; bytes of its stack and local memory, where spilled ones would go."""
    text = read("cuobjdump", "--dump-resource-usage", cubin, folder)
    return {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", text)}


def instructions_of_a_block(cubin: bytes, folder: Path) -> int:
    """Of the loop over the rows, which lies in that over the tiles: the longest but one."""
    labels: dict[str, int] = {}
    lengths = []
    count = 0
    for line in read("nvdisasm", "-c", cubin, folder).splitlines():
        if label := re.match(r"(\.L_x_\d+):", line):
            labels[label[1]] = count
        elif re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+\S", line):
            count += 1
            back = re.search(r"\bBRA.*(\.L_x_\d+)", line)
            if back and back[1] in labels:
                lengths.append(count - labels[back[1]])
    return sorted(lengths)[-2]


@pytest.mark.parametrize(
    ("architecture", "variant"),
    [(90, name) for name in VARIANTS]
    + [(other, name) for other in (80, 100) for name in ("default", "no gradient", "everything")],
)
def test_all_planned_programs_fit(architecture: int, variant: str, tmp_path: Path) -> None:
    bounds, changes = VARIANTS[variant]
    kind = [{**DEFAULT, **changes}[name] for name in ("SIZE", "MASKED", "GRADIENTS")]
    cubin = machine_code(architecture, **changes).asm["cubin"]
    used = resources(cubin, tmp_path)
    assert used["STACK"] + used["LOCAL"] <= bounds.stack
    assert 0 < used["REG"] <= run.registers_of_a_thread(*kind)
    if architecture == 90:
        rows = run.layout(*kind, changes.get("SAME", False), 256).rows
        instructions = instructions_of_a_block(cubin, tmp_path) / rows
        # Far fewer, and it is another loop that was counted.
        assert 0.8 * bounds.instructions < instructions <= bounds.instructions


@pytest.mark.parametrize("image", ["fp16", "bf16"])
def test_half_images_and_wide_strides_compile(image: str, tmp_path: Path) -> None:
    used = resources(machine_code(90, image, "i64").asm["cubin"], tmp_path)
    assert used["STACK"] + used["LOCAL"] <= VARIANTS["default"][0].stack
    assert used["REG"] > 0


def test_a_block_moves_in_one_instruction_for_two_fields() -> None:
    """Loads and stores of 16 bytes; without them the kernel waits for its cache."""
    ptx = machine_code(90).asm["ptx"]
    assert len(re.findall(r"ld\.global\.v4\.b32", ptx)) >= 5
    assert len(re.findall(r"st\.global\.v4\.b32", ptx)) == 5
    # No lane's values go to another but through the scratch and in the sum of the losses.
    assert ptx.count("ld.shared") <= 2


def test_no_size_of_an_image_makes_triton_compile_anew() -> None:
    general = {parameter.name for parameter in tiles_kernel.params if parameter.do_not_specialize}
    assert general == {*SIZES, *STRIDES}


def test_a_barrier_stands_between_the_passes() -> None:
    assert machine_code(90).asm["ptx"].count("bar.sync") >= 4
