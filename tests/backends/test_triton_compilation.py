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

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from aw_ssim.backends.triton_gpu import run  # noqa: E402
from aw_ssim.backends.triton_gpu.kernel import tiles_kernel  # noqa: E402

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
pytestmark = pytest.mark.skipif(
    not CUOBJDUMP.exists(), reason="this build of Triton has no compiler for NVIDIA's chips"
)
# As many as let all planned warps of a processor, which has 65,536, run at once.
REGISTERS = 65536 // (run.WARPS_PER_PROCESSOR * 32)
IMAGES = ("x", "y")
FLOATS = ("mask", "upstream", "taps", "scratch", "sums", "maps", "grad_x", "grad_y")
STRIDES = ("strides_x", "strides_y", "strides_mask")
INTEGERS = ("channels", "height", "width", "planes", "tiles", "blocks", "strip")
NUMBERS = ("scale", "c1", "c2", "a", "b", "g")
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
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "both gradients": {"GRADIENTS": 2},
    "masked": {"MASKED": True},
    "everything": EVERYTHING,
    "everything, window 13": {**EVERYTHING, "SIZE": 13},
    "window 33": {"SIZE": 33},
}


def machine_code(
    architecture: int, image: str = "fp32", integer: str = "i32", **changes: Any
) -> Any:
    constants: dict[str, Any] = {**DEFAULT, **changes}
    layout = run.layout(
        constants["SIZE"], constants["MASKED"], constants["GRADIENTS"], constants["SAME"], 256
    )
    constants |= {"LANES": layout.lanes, "COLUMNS": layout.columns}
    signature: dict[str, Any] = {
        **dict.fromkeys(IMAGES, f"*{image}"),
        **dict.fromkeys(FLOATS, "*fp32"),
        **dict.fromkeys(STRIDES, (integer,) * 4),
        **dict.fromkeys(INTEGERS, "i32"),
        **dict.fromkeys(NUMBERS, "fp32"),
        **dict.fromkeys(constants, "constexpr"),
    }
    return triton.compile(
        ASTSource(tiles_kernel, signature, constants),
        target=GPUTarget("cuda", architecture, 32),
        options={"num_warps": layout.warps, "num_stages": 1, "enable_fp_fusion": True},
    )


def resources(cubin: bytes, folder: Path) -> dict[str, int]:
    """Registers of a thread; bytes of its stack and local memory, where spilled ones would go."""
    file = folder / "kernel.cubin"
    file.write_bytes(cubin)
    command = [str(CUOBJDUMP), "--dump-resource-usage", str(file)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", text)}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("architecture", [80, 90, 100])
def test_nothing_is_spilled_and_all_programs_fit(
    architecture: int, variant: str, tmp_path: Path
) -> None:
    code = machine_code(architecture, **VARIANTS[variant])
    used = resources(code.asm["cubin"], tmp_path)
    assert used["STACK"] == used["LOCAL"] == 0
    assert 0 < used["REG"] <= REGISTERS


@pytest.mark.parametrize("image", ["fp16", "bf16"])
def test_half_images_and_wide_strides_compile(image: str, tmp_path: Path) -> None:
    used = resources(machine_code(90, image, "i64").asm["cubin"], tmp_path)
    assert used["STACK"] == used["LOCAL"] == 0
    assert 0 < used["REG"] <= REGISTERS


def test_no_size_of_an_image_makes_triton_compile_anew() -> None:
    general = {parameter.name for parameter in tiles_kernel.params if parameter.do_not_specialize}
    assert general == set(INTEGERS)


def test_a_barrier_stands_between_the_passes() -> None:
    assert machine_code(90).asm["ptx"].count("bar.sync") >= 4
