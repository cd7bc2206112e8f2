"""Where to compute: devices by name, and whether they can be used."""

from __future__ import annotations

import torch

from .errors import UserError, one_line


def accelerator_is_there() -> bool:
    return (
        torch.cuda.is_available() or torch.xpu.is_available() or torch.backends.mps.is_available()
    )


def find_device(name: str | None) -> torch.device:
    """The device of that name, such as cpu or cuda:1; None is cuda if there is one.

    Raises:
        UserError: torch knows no such device, or cannot compute on it.
    """
    wanted = name if name is not None else "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
        # The first use shows whether a driver is there, and the number; "meta" holds no values.
        torch.zeros(1, device=device).item()
    # What a build of torch without the device raises differs from one to the other.
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = one_line(error).partition(". ")[0]
        raise UserError(
            f"the device {wanted!r} cannot be used ({reason}); here there is "
            f"{', '.join(_devices())}"
        ) from error
    return device


def _devices() -> list[str]:
    cuda = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    xpu = [f"xpu:{number}" for number in range(torch.xpu.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *cuda, *xpu, *mps]
