"""Random and adversarial calls: each backend gives the same clear error or the same numbers.

The truth is the `torch` backend on float64 copies of the images. The tests run a few hundred calls;
by hand, and a single one of them again:
    PYTHONPATH=tests/support python tests/tools/fuzz_backends.py --calls 10000 --seed 0
    PYTHONPATH=tests/support python tests/tools/fuzz_backends.py --calls 1 --seed 0 --first 123
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from fuzz_calls import Call, random_call
from tested_backends import BACKENDS
from torch import Tensor

from aw_ssim import AWSSIMLoss, SSIMLoss, aw_ssim, ssim, ssim_components

# Of a similarity, on a scale of 1; of a gradient, over the largest entry of any backend's.
VALUE, GRADIENT = 1e-5, 1e-2
# Rounding of a product of two pixels, which counts over C3 where images leave their range.
PIXEL = 1e-6
# Images this far beyond their range have squares that float32 cannot hold; nobody promises more
# than that such calls end.
SQUARES_OVERFLOW = 1e15
# What is left of a gradient that cancels to 0, over the size of the parts that cancel.
CANCELLED = 1e-5


class Outcome(NamedTuple):
    """What a call gave: an error, or its values and the gradients of their sum."""

    error: str | None
    values: tuple[Tensor, ...] = ()
    gradients: tuple[Tensor, ...] = ()


def functions() -> dict[str, Callable[..., Any]]:
    def loss(kind: type[AWSSIMLoss] | type[SSIMLoss]) -> Callable[..., Tensor]:
        def apply(x: Tensor, y: Tensor, mask: Tensor | None, **options: Any) -> Tensor:
            value: Tensor = kind(**options)(x, y, mask)
            return value

        return apply

    return {
        "aw_ssim": aw_ssim,
        "ssim": ssim,
        "ssim_components": ssim_components,
        "AWSSIMLoss": loss(AWSSIMLoss),
        "SSIMLoss": loss(SSIMLoss),
    }


def leaf(image: Any) -> Any:
    """The image, to be differentiated by; what is no floating tensor as it is."""
    if not isinstance(image, Tensor) or not image.is_floating_point():
        return image
    return image.detach().requires_grad_()


def outcome(call: Call, backend: str) -> Outcome:
    x, y = leaf(call.x), leaf(call.y)
    try:
        result = functions()[call.function](x, y, mask=call.mask, backend=backend, **call.options)
    except (TypeError, ValueError) as error:
        return Outcome(f"{type(error).__name__}: {error}")
    values = tuple(result) if isinstance(result, tuple) else (result,)
    total = sum(value.sum() for value in values)
    assert isinstance(total, Tensor)
    return Outcome(None, tuple(v.detach() for v in values), torch.autograd.grad(total, (x, y)))


def judge(call: Call, backends: Sequence[str] = BACKENDS) -> tuple[str, str | None]:
    """How the call ends, and what is wrong with the backends' outcomes, or None."""
    found = {backend: outcome(call, backend) for backend in backends}
    # What a backend does not take is no error of the call.
    found = {
        backend: other
        for backend, other in found.items()
        if not (other.error or "").startswith(f"ValueError: backend: {backend!r} cannot compute")
    }
    first = found[backends[0]]
    for backend, other in found.items():
        if other.error != first.error:
            return "refused", f"{backends[0]}: {first.error!r}, {backend}: {other.error!r}"
    if first.error is not None:
        clear = "expected" in first.error and "got" in first.error
        return "refused", None if clear else f"unclear error: {first.error!r}"
    truth = exact(call)
    finite = all(bool(value.isfinite().all()) for value in truth.values)
    problems = (
        f"{backend}: {problem}"
        for backend, other in found.items()
        if (problem := difference(call, other, truth)) is not None
    )
    return "finite" if finite else "not finite", next(problems, None)


def exact(call: Call) -> Outcome:
    """The outcome in float64, of the images that dividing by the range leaves in float32."""
    span = call.options["data_range"]
    arithmetic = torch.promote_types(torch.promote_types(call.x.dtype, call.y.dtype), torch.float32)
    x, y = ((image.to(arithmetic) / span).double() for image in (call.x, call.y))
    truth = outcome(call._replace(x=x, y=y, options={**call.options, "data_range": 1.0}), "torch")
    return truth._replace(gradients=tuple(gradient / span for gradient in truth.gradients))


def difference(call: Call, actual: Outcome, truth: Outcome) -> str | None:
    brightest = brightness(call.x, call), brightness(call.y, call)
    if max(brightest) > SQUARES_OVERFLOW:
        return None
    beyond = brightest[0] * brightest[1]
    c3 = call.options.get("k2", 0.03) ** 2 / 2
    rounding = PIXEL * beyond / c3 if beyond > 1.01 else 0.0
    scale, upstream = sizes(call)
    for value, expected in zip(actual.values, truth.values, strict=True):
        problem = compare(value, expected, (VALUE + rounding) * scale)
        if problem is not None:
            return f"value: {problem}"
    parts = upstream / call.options["data_range"] / (2 * c3**0.5) * max(1, beyond)
    for gradient, expected in zip(actual.gradients, truth.gradients, strict=True):
        largest = float(expected.nan_to_num(0, 0, 0).abs().max())
        allowed = (GRADIENT + rounding) * largest + CANCELLED * parts
        limits = torch.finfo(gradient.dtype)
        # What overflows the gradient's dtype is infinite there, and is as large as it can be.
        held, wanted = (g.double().clamp(limits.min, limits.max) for g in (gradient, expected))
        problem = compare(held, wanted, max(allowed, limits.smallest_normal))
        if problem is not None:
            return f"gradient: {problem}, largest {largest:.3g}"
    return None


def sizes(call: Call) -> tuple[float, float]:
    """The largest value that a result can have, and the largest weight of a window in it."""
    margin = 0 if call.options["padding"] == "same" else call.options["window_size"] // 2
    mask = torch.ones_like(call.x) if call.mask is None else call.mask.expand_as(call.x)
    inner = [slice(margin, side - margin) for side in mask.shape[2:]]
    centres = mask[(..., *inner)].double()
    total, largest = float(centres.sum()), float(centres.max())
    reduction = call.options.get("reduction", "none")
    return {"mean": (1.0, largest / total), "sum": (total, largest), "none": (largest, largest)}[
        reduction
    ]


def brightness(image: Tensor, call: Call) -> float:
    """The largest finite value over the data range."""
    finite = image.detach().double().nan_to_num(0, 0, 0)
    return float(finite.abs().max()) / call.options["data_range"]


def compare(actual: Tensor, expected: Tensor, allowed: float) -> str | None:
    if actual.shape != expected.shape:
        return f"shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    actual, expected = actual.double(), expected.double()
    lost = int((actual.isfinite() != expected.isfinite()).sum())
    if lost:
        return f"{lost} of {actual.numel()} are finite and should not be, or the reverse"
    error = float((actual - expected).nan_to_num(0, 0, 0).abs().max())
    return f"off by {error:.3g}, allowed {allowed:.3g}" if error > allowed else None


class Result(NamedTuple):
    """How many calls ended in which way, and what was wrong."""

    kinds: Counter[str]
    complaints: list[str]


def run(calls: int, seed: int, first: int = 0, backends: Sequence[str] = BACKENDS) -> Result:
    result = Result(Counter(), [])
    for index in range(first, first + calls):
        call = random_call(random.Random(f"{seed}/{index}"))
        kind, problem = judge(call, backends)
        result.kinds[kind] += 1
        if problem is not None:
            result.complaints.append(f"{index}: {problem}\n    {call}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--backends", nargs="+", default=BACKENDS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = run(arguments.calls, arguments.seed, arguments.first, arguments.backends)
    for line in result.complaints:
        print(line)
    print(", ".join(f"{count} {kind}" for kind, count in result.kinds.most_common()))
    sys.exit(len(result.complaints) > 0)


if __name__ == "__main__":
    main()
