"""Error of structure and of AW-SSIM's gradient in float32, on ordinary and hard images.

The reference is the library's own definition in float64, which the tests hold against an
independent oracle. Beside our backends stands the textbook way, variances as E[x^2] - E[x]^2, with
the same smooth product; other libraries do not compute the terms apart. Run
``python -m benchmarks.accuracy``; it writes ``results/accuracy.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import skimage.data
import torch
import torch.nn.functional as F
from torch import Tensor

from aw_ssim import ssim_components
from aw_ssim.gaussian_window import gaussian_window
from aw_ssim.local_terms import (
    Constants,
    WindowedStatistics,
    contrast_shortfall,
    luminance_shortfall,
    structure_shortfall,
)
from benchmarks.common import machine, save

CONSTANTS = Constants(0.01**2, 0.03**2)
SEED = 0

Components = Callable[[Tensor, Tensor], Sequence[Tensor]]


def cases() -> dict[str, tuple[Tensor, Tensor]]:
    """Pairs of float32 images 1 x 1 x 256 x 256."""
    generator = torch.Generator().manual_seed(SEED)
    camera = torch.from_numpy(skimage.data.camera()[100:356, 100:356].copy())[None, None] / 255
    noise = torch.randn(camera.shape, generator=generator)
    other = torch.randn(camera.shape, generator=generator)
    bright, brighter = 0.9 + 0.001 * noise, 0.9 + 0.00002 * noise
    return {
        "camera, and it with noise of 0.05": (camera, camera + 0.05 * noise),
        "the same, clipped to [0.3, 0.6]": (
            camera.clamp(0.3, 0.6),
            (camera + 0.05 * noise).clamp(0.3, 0.6),
        ),
        "flat 0.7, and camera": (torch.full_like(camera, 0.7), camera),
        "mean 0.9, std 0.001, independent": (bright, 0.9 + 0.001 * other),
        "mean 0.9, std 0.00002, and it plus 0.0001": (brighter, brighter + 1e-4),
        "mean 0.9, std 0.001, and it plus 0.0001": (bright, bright + 1e-4),
    }


def textbook_components(x: Tensor, y: Tensor) -> list[Tensor]:
    """Luminance, contrast and structure from raw moments, E[x^2] - E[x]^2."""
    taps = gaussian_window(11, 1.5)

    def mean(image: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(image, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))

    mean_x, mean_y = mean(x), mean(y)
    var_x = (mean(x * x) - mean_x * mean_x).clamp(min=0)
    var_y = (mean(y * y) - mean_y * mean_y).clamp(min=0)
    covariance = mean(x * y) - mean_x * mean_y
    no_shift = torch.zeros_like(mean_x)
    stats = WindowedStatistics(mean_x, mean_y, no_shift, no_shift, var_x, var_y, covariance)
    shortfalls = (luminance_shortfall, contrast_shortfall, structure_shortfall)
    return [1 - shortfall(stats, CONSTANTS) for shortfall in shortfalls]


def contestants() -> dict[str, Components]:
    return {
        "textbook moments": textbook_components,
        "aw_ssim, torch": lambda x, y: ssim_components(x, y, backend="torch"),
        "aw_ssim, analytic": lambda x, y: ssim_components(x, y, backend="analytic"),
    }


def structure_and_gradient(components: Components, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The structure map, and the gradient of AW-SSIM with equal weights, summed, to `x`."""
    x = x.detach().requires_grad_()
    luminance, contrast, structure = components(x, y)
    (gradient,) = torch.autograd.grad((luminance + contrast + structure).sum() / 3, x)
    return structure.detach().double(), gradient.double()


def errors(x: Tensor, y: Tensor) -> dict[str, dict[str, float]]:
    """Largest error of the structure map, and of the gradient over the true gradient's maximum."""
    definition = contestants()["aw_ssim, torch"]
    structure, gradient = structure_and_gradient(definition, x.double(), y.double())
    table = {}
    for name, components in contestants().items():
        own_structure, own_gradient = structure_and_gradient(components, x, y)
        table[name] = {
            "structure": float((own_structure - structure).abs().max()),
            "gradient": float((own_gradient - gradient).abs().max() / gradient.abs().max()),
        }
    return table


def main() -> None:
    table = {name: errors(*images) for name, images in cases().items()}
    for name, rows in table.items():
        print(f"\n{name}: error of structure, error of the gradient over its maximum")
        for contestant, row in rows.items():
            print(f"  {contestant:20} {row['structure']:10.1e} {row['gradient']:10.1e}")
    settings = {"dtype": "float32", "sigma": 1.5, "seed": SEED}
    print(f"\nwritten: {save('accuracy', {'machine': machine(), **settings, 'cases': table})}")


if __name__ == "__main__":
    main()
