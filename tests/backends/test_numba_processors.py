"""The CPU kernel's code for processors that are not here: compiled, not run."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("numba", reason="numba is optional: the extra aw_ssim[cpu]")

import llvmlite.binding as llvm
from numba_cases import images, value_and_gradients

from aw_ssim.backends.numba_cpu import run
from aw_ssim.backends.numba_cpu.values import LANES

# Triple, processor, numbers in a register, a packed multiply-add or multiply-subtract.
PROCESSORS = {
    "NEON": ("aarch64-unknown-linux-gnu", "neoverse-n1", 4, r"\bfml[as]\s+v\d+\.4s"),
    "AVX2": ("x86_64-unknown-linux-gnu", "znver3", 8, r"\bvfn?m(?:add|sub)\d+ps\s.*%ymm"),
    "AVX-512": (
        "x86_64-unknown-linux-gnu",
        "skylake-avx512",
        16,
        r"\bvfn?m(?:add|sub)\d+ps\s.*%zmm",
    ),
}


@pytest.fixture(scope="module")
def code() -> str:
    """LLVM's code of the kernel; numba keeps only what is made of it for this processor."""
    kind = run.Kind(masked=False, window=run.USUAL_WINDOW)
    dispatcher = run._dispatcher(kind, kept=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(run._kernels, kind, dispatcher)
        value_and_gradients(*images((1, 1, 20, 20)), backend="numba")
    (compiled,) = dispatcher.overloads.values()
    text = compiled.library.get_llvm_str()
    # numba's own counting of references is of this processor alone.
    return re.sub(r"^define .*?^}\n", _declared, text, flags=re.DOTALL | re.MULTILINE)


def _declared(function: re.Match[str]) -> str:
    text = function[0]
    if "llvm.x86" not in text and "llvm.aarch64" not in text:
        return text
    head = text.splitlines()[0].rstrip("{ ")
    return re.sub(r"^define (linkonce_odr |internal |private )*", "declare ", head) + "\n"


@pytest.mark.parametrize("name", PROCESSORS)
def test_every_processor_computes_in_whole_registers(name: str, code: str) -> None:
    triple, processor, numbers, packed = PROCESSORS[name]
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=processor, opt=3)
    module = llvm.parse_assembly(re.sub(r"^target .*$", "", code, flags=re.MULTILINE))
    assembly = machine.emit_assembly(module)
    fused = len(re.findall(rf"call .*@llvm\.fmuladd\.v{LANES}f32\(", code))
    assert fused > 60
    if numbers <= LANES:
        assert len(re.findall(packed, assembly)) >= fused * LANES // numbers
    # One number at a time, or by a function of the C library.
    assert not re.search(r"\bfmadd\s+s\d|\bvfn?m(?:add|sub)\d+ss\s|\b(?:fmaf|sqrtf)\b", assembly)
