"""The emulator by hand; see README.md.

`PYTHONPATH=tests:tests/support python -m emulator --help`, from the root of the project.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator

import torch
from tolerances import COMPILED_GRADIENT, TOLERANCES

from . import cases
from .cases import CASES, MASKED, Case, compare, errors
from .launcher import EmulatedGPU
from .machine import SCHEDULES

ARCHITECTURES = (90, 80)


def every(options: argparse.Namespace) -> Iterator[str]:
    """Each case on both chips by every schedule, then with approximate results off by 2 units."""
    for architecture in ARCHITECTURES:
        for name, case in (CASES | MASKED).items():
            started = time.monotonic()
            gpu = EmulatedGPU(architecture)
            first = compare(case, gpu)
            text = f"sm_{architecture} {name}: {_described(case, gpu, errors(case, first))}"
            for schedule in SCHEDULES[1:]:
                again = EmulatedGPU(architecture, schedule)
                if not compare(case, again).same_bits(first):
                    again.launches[0].problems.append(f"other bits by the schedule {schedule!r}")
                gpu.launches += again.launches
            noisy = errors(case, compare(case, EmulatedGPU(architecture, noise=2)))
            print(f"{text}; approximate {noisy.gradient:.1e}; {time.monotonic() - started:.0f} s")
            yield from gpu.problems
            yield from _too_far(name, case, noisy)


def at_random(options: argparse.Namespace) -> Iterator[str]:
    """Random shapes and schedules, for some seconds."""
    draw = random.Random(options.seed)
    until = time.monotonic() + options.seconds
    worst: dict[str, float] = {}
    count = 0
    while time.monotonic() < until:
        case = cases.random_case(draw)
        gpu = EmulatedGPU(
            draw.choice(ARCHITECTURES), draw.choice(SCHEDULES), seed=draw.randrange(2**31)
        )
        found = errors(case, compare(case, gpu))
        kind = "masked" if case.masked else "without a mask"
        worst[kind] = max(worst.get(kind, 0.0), found.gradient)
        count += 1
        yield from (f"{case}: {problem}" for problem in gpu.problems)
        yield from _too_far(str(case), case, found)
    print(f"{count} cases; largest error of a gradient: {worst}")


def masked(options: argparse.Namespace) -> Iterator[str]:
    """How accurate gradients are with masks that hide most of a window, by compiled code."""
    draw = random.Random(options.seed)
    drawn = [cases.random_case(draw, masked=True) for _ in range(options.count)]
    found = []
    for name, case in [*MASKED.items(), *((f"random {k}", one) for k, one in enumerate(drawn))]:
        gpu = EmulatedGPU()
        found.append(errors(case, compare(case, gpu)).gradient)
        if name in MASKED:
            print(f"{name}: {found[-1]:.1e}", flush=True)
        elif found[-1] > COMPILED_GRADIENT[torch.float32]:
            print(f"{name}: {found[-1]:.1e}, {case}", flush=True)
        yield from gpu.problems
    bar = COMPILED_GRADIENT[torch.float32]
    above = sum(error > bar for error in found)
    print(f"{len(found)} cases, {above} above {bar:.0e}, largest {max(found):.1e}")


def _too_far(name: str, case: Case, found: cases.Errors) -> Iterator[str]:
    """What is wrong with the numbers."""
    allowed = cases.Errors(TOLERANCES[case.dtype].value, COMPILED_GRADIENT[case.dtype])
    if not (found.value <= allowed.value and found.gradient <= allowed.gradient):
        yield f"{name}: {found}, of which {allowed} are allowed"


def _described(case: Case, gpu: EmulatedGPU, found: cases.Errors) -> str:
    launches = ", ".join(f"{one.programs} x {one.warps} warps" for one in gpu.launches)
    return f"value {found.value:.1e}, gradient {found.gradient:.1e}; {launches}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m emulator", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def add(name: str, function: Callable[..., Iterator[str]]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=function.__doc__)
        command.set_defaults(function=function)
        return command

    add("every", every)
    for command, option, default in (
        (add("random", at_random), "seconds", 300),
        (add("masked", masked), "count", 50),
    ):
        command.add_argument(option, nargs="?", type=int, default=default)
        command.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    problems = list(options.function(options))
    sys.exit("\n".join(problems) if problems else None)


if __name__ == "__main__":
    main()
