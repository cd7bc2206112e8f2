"""Which of several trainings held-out normal pictures would choose, without a test picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from ..run.arms import ARMS

ONE_SEED = "One seed cannot tell a difference from chance; pass several with `--seeds`."


def criterion_of(candidates: Sequence[Mapping[str, Any]]) -> float:
    """Image AUROC of held-out pictures, clean against painted, by the best candidate residual."""
    return max(candidate["criterion"] for candidate in candidates)


def criterion(metrics: Mapping[str, Any]) -> float | None:
    """The same of a run; None where no residual had to be chosen."""
    candidates = metrics.get("chosen_on_held_out_normals", {}).get("candidates")
    return criterion_of(candidates) if candidates else None


def choice_of_arm(runs: Sequence[Mapping[str, Any]]) -> str:
    """A sentence or two for the ablation's report; empty where there is nothing to choose."""
    found: dict[str, dict[int, float]] = {}
    for run in runs:
        value = criterion(run)
        if value is None:
            return ""
        found.setdefault(run["arm"], {})[run["seed"]] = value
    if len(found) < 2:
        return ""
    first, second, *_ = sorted(found, key=lambda arm: mean(found[arm].values()), reverse=True)
    best, next_best = (100 * mean(found[arm].values()) for arm in (first, second))
    seeds = found[first]
    won = sum(
        all(value >= of_arm.get(seed, 0.0) for of_arm in found.values())
        for seed, value in seeds.items()
    )
    text = (
        f"Held-out normal pictures would choose {first} ({ARMS[first].title}): painted defects of "
        f"kinds that training does not use are told from clean pictures with an image AUROC of "
        f"{best:.1f} %; with {second}, the next, {next_best:.1f} %. "
    )
    return text + (ONE_SEED if len(seeds) == 1 else f"It is first in {won} of {len(seeds)} seeds.")
