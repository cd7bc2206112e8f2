"""The kernel compiled for NVIDIA's chips, without one: resources read from the machine code."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from triton_release import require_triton

triton = require_triton()
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("the interpreter compiles nothing", allow_module_level=True)

from triton_compiled import compiled, types_of  # noqa: E402

from aw_ssim.backends.triton_gpu import run  # noqa: E402
from aw_ssim.backends.triton_gpu.kernel import SIZES, STRIDES, tiles_kernel  # noqa: E402

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
pytestmark = pytest.mark.skipif(
    not CUOBJDUMP.exists(), reason="this build of Triton has no compiler for NVIDIA's chips"
)
DEFAULT = {
    "SIZE": 11,
    "SAME": False,
    "PRODUCT": False,
    "MASKED": False,
    "UPSTREAM": False,
    "MAPS": False,
    "GRADIENTS": 1,
}
EVERYTHING = {"SAME": True, "MASKED": True, "UPSTREAM": True, "MAPS": True, "GRADIENTS": 2}
# With the bytes of stack that it may take, where the registers that do not fit go. These are no
# faster on an H100 with more registers and fewer warps.
VARIANTS: dict[str, tuple[int, dict[str, Any]]] = {
    "default": (0, {}),
    "no gradient": (16, {"GRADIENTS": 0}),
    "both gradients": (160, {"GRADIENTS": 2}),
    "masked": (64, {"MASKED": True}),
    "everything": (144, EVERYTHING),
    "everything, window 13": (96, {**EVERYTHING, "SIZE": 13}),
    "window 33": (0, {"SIZE": 33}),
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


def resources(cubin: bytes, folder: Path) -> dict[str, int]:
    """Registers of a thread; bytes of its stack and local memory, where spilled ones would go."""
    file = folder / "kernel.cubin"
    file.write_bytes(cubin)
    command = [str(CUOBJDUMP), "--dump-resource-usage", str(file)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", text)}


@pytest.mark.parametrize(
    ("architecture", "variant"),
    [(90, name) for name in VARIANTS]
    + [(other, name) for other in (80, 100) for name in ("default", "no gradient", "everything")],
)
def test_all_planned_programs_fit(architecture: int, variant: str, tmp_path: Path) -> None:
    stack, changes = VARIANTS[variant]
    constants = {**DEFAULT, **changes}
    used = resources(machine_code(architecture, **changes).asm["cubin"], tmp_path)
    assert used["STACK"] + used["LOCAL"] <= stack
    kind = constants["SIZE"], constants["MASKED"], constants["GRADIENTS"]
    assert 0 < used["REG"] <= run.registers_of_a_thread(*kind)


@pytest.mark.parametrize("image", ["fp16", "bf16"])
def test_half_images_and_wide_strides_compile(image: str, tmp_path: Path) -> None:
    used = resources(machine_code(90, image, "i64").asm["cubin"], tmp_path)
    assert used["STACK"] == used["LOCAL"] == 0
    assert used["REG"] > 0


def test_a_block_moves_in_one_instruction_for_two_fields() -> None:
    """Loads and stores of 16 bytes; without them the kernel waits for its cache."""
    ptx = machine_code(90).asm["ptx"]
    assert len(re.findall(r"ld\.global\.v4\.b32", ptx)) >= 5
    assert len(re.findall(r"st\.global\.v4\.b32", ptx)) == 5
    # No lane's values go to another but through the scratch and, once, in the sum of the losses.
    assert ptx.count("ld.shared") <= 1


def test_no_size_of_an_image_makes_triton_compile_anew() -> None:
    general = {parameter.name for parameter in tiles_kernel.params if parameter.do_not_specialize}
    assert general == {*SIZES, *STRIDES}


def test_a_barrier_stands_between_the_passes() -> None:
    assert machine_code(90).asm["ptx"].count("bar.sync") >= 4
