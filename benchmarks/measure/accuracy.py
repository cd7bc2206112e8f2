"""Errors of value and gradient against float64, on ordinary and hard images, in four dtypes.

Components: the structure map and AW-SSIM's gradient in float32, beside the textbook way, variances
as E[x^2] - E[x]^2, with the same smooth product; other libraries do not compute the terms apart.

Losses: value and gradient of every library's SSIM and of both our losses. The truth is
``tests/support/oracle.py``, which shares no code with the library, on the images as rounded to the
dtype: standard SSIM for SSIM, equal weights for AW-SSIM. The float64 column shows how far a
library's *definition* is from the common one; what the others have beyond it is rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import oracle
import skimage.data
import torch
import torch.nn.functional as F
from torch import Tensor

from aw_ssim import AWSSIMLoss, SSIMLoss, ssim_components
from benchmarks.measure.harness import machine, save
from benchmarks.measure.peers import SIGMA, WINDOW, Loss, peer_versions, peers
from benchmarks.measure.speed import running_backends

C1, C2, EPS = 0.01**2, 0.03**2, 1e-12
SEED = 0
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
# Of the images for whole losses: the oracle unfolds every window, and is slow.
SIDE = 128
# Weights as the oracle takes them; None is the product, standard SSIM.
KINDS = {"SSIM": None, "AW-SSIM": (1.0, 1.0, 1.0)}

Components = Callable[[Tensor, Tensor], Sequence[Tensor]]
Truth = tuple[float, Tensor]


def cases() -> dict[str, tuple[Tensor, Tensor]]:
    """Pairs of float32 images 1 x 1 x 256 x 256."""
    generator = torch.Generator().manual_seed(SEED)
    camera = torch.from_numpy(skimage.data.camera()[100:356, 100:356].copy())[None, None] / 255
    noise = torch.randn(camera.shape, generator=generator)
    other = torch.randn(camera.shape, generator=generator)
    noisy = (camera + 0.05 * noise).clamp(0, 1)
    bright, brighter = 0.9 + 0.001 * noise, 0.9 + 0.00002 * noise
    return {
        "camera, and it with noise of 0.05": (camera, noisy),
        "the same, clipped to [0.3, 0.6]": (camera.clamp(0.3, 0.6), noisy.clamp(0.3, 0.6)),
        "flat 0.7, and camera": (torch.full_like(camera, 0.7), camera),
        "mean 0.9, std 0.001, independent": (bright, 0.9 + 0.001 * other),
        "mean 0.9, std 0.00002, and it plus 0.0001": (brighter, brighter + 1e-4),
        "mean 0.9, std 0.001, and it plus 0.0001": (bright, bright + 1e-4),
    }


def textbook_components(x: Tensor, y: Tensor) -> list[Tensor]:
    """Luminance, contrast and structure from raw moments, E[x^2] - E[x]^2."""
    offsets = torch.arange(WINDOW, dtype=x.dtype) - WINDOW // 2
    taps = torch.softmax(-0.5 * (offsets / SIGMA) ** 2, dim=0)

    def mean(image: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(image, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))

    mean_x, mean_y = mean(x), mean(y)
    var_x = (mean(x * x) - mean_x * mean_x).clamp(min=0)
    var_y = (mean(y * y) - mean_y * mean_y).clamp(min=0)
    covariance = mean(x * y) - mean_x * mean_y
    root_x, root_y = (var_x + EPS).sqrt(), (var_y + EPS).sqrt()
    deviations = root_x * root_y - EPS
    return [
        1 - (mean_x - mean_y) ** 2 / (mean_x * mean_x + mean_y * mean_y + C1),
        1 - (root_x - root_y) ** 2 / (var_x + var_y + C2),
        1 - (deviations - covariance) / (deviations + C2 / 2),
    ]


def components(backend: str) -> Components:
    return lambda x, y: ssim_components(x, y, backend=backend)


def structure_and_gradient(terms: Components, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The structure map, and the gradient of AW-SSIM with equal weights, summed, to `x`."""
    x = x.detach().requires_grad_()
    luminance, contrast, structure = terms(x, y)
    (gradient,) = torch.autograd.grad((luminance + contrast + structure).sum() / 3, x)
    return structure.detach().double(), gradient.double()


def component_errors(x: Tensor, y: Tensor) -> dict[str, dict[str, float]]:
    """Largest error of the structure map, and of the gradient over the true gradient's maximum.

    The truth is the library's definition in float64, which the tests hold against the oracle.
    """
    structure, gradient = structure_and_gradient(components("torch"), x.double(), y.double())
    contestants = {"textbook moments": textbook_components} | {
        f"aw_ssim, {backend}": components(backend) for backend in running_backends("cpu")
    }
    table = {}
    for name, terms in contestants.items():
        own_structure, own_gradient = structure_and_gradient(terms, x, y)
        table[name] = {
            "structure": float((own_structure - structure).abs().max()),
            "gradient": float((own_gradient - gradient).abs().max() / gradient.abs().max()),
        }
    return table


def losses() -> dict[str, tuple[Loss, str]]:
    """Every library's loss, ours through each backend, and the kind of truth it is held to."""
    table: dict[str, tuple[Loss, str]] = {name: (loss, "SSIM") for name, loss in peers()[0].items()}
    for backend in running_backends("cpu"):
        table[f"aw_ssim SSIMLoss, {backend}"] = SSIMLoss(backend=backend), "SSIM"
    for backend in running_backends("cpu"):
        table[f"aw_ssim AWSSIMLoss, {backend}"] = AWSSIMLoss(backend=backend), "AW-SSIM"
    return table


def truths(x: Tensor, y: Tensor) -> dict[str, Truth]:
    """Value of each kind of loss and its gradient to `x`, both in float64."""
    x = x.double().requires_grad_()
    maps = oracle.windows(x, y, window_size=WINDOW, sigma=SIGMA)
    values = {kind: 1 - maps.similarity(weights).mean() for kind, weights in KINDS.items()}
    return {
        kind: (value.item(), torch.autograd.grad(value, x, retain_graph=True)[0])
        for kind, value in values.items()
    }


def loss_error(loss: Loss, x: Tensor, y: Tensor, truth: Truth) -> dict[str, Any]:
    """Of the value, and the gradient's largest over the true one's maximum; or why there is none.

    The gradient of equal images is 0, and so has no relative error.
    """
    value, gradient = truth
    prediction = x.detach().requires_grad_()
    try:
        own = loss(prediction, y)
        own_gradient = torch.autograd.grad(own, prediction)[0].double()
    # Libraries raise whatever they like for a dtype that they do not take.
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
    if not (own.isfinite() and own_gradient.isfinite().all()):
        return {"failed": "NaN or infinity in the loss or its gradient"}
    largest = float((own_gradient - gradient).abs().max())
    relative = None if torch.equal(x, y) else largest / float(gradient.abs().max())
    return {"value": abs(own.item() - value), "gradient": relative}


def loss_errors(x: Tensor, y: Tensor) -> dict[str, dict[str, dict[str, Any]]]:
    """By dtype and contestant."""
    table = {}
    for dtype in DTYPES:
        own_x, own_y = (image[..., :SIDE, :SIDE].to(dtype) for image in (x, y))
        truth = truths(own_x, own_y)
        table[str(dtype)] = {
            name: loss_error(loss, own_x, own_y, truth[kind])
            for name, (loss, kind) in losses().items()
        }
    return table


def main() -> None:
    of_components = {name: component_errors(*images) for name, images in cases().items()}
    for name, rows in of_components.items():
        print(f"\n{name}, components: error of structure, of the gradient over its maximum")
        for contestant, row in rows.items():
            print(f"  {contestant:30} {row['structure']:10.1e} {row['gradient']:10.1e}")
    of_losses = {name: loss_errors(*images) for name, images in cases().items()}
    for name, by_dtype in of_losses.items():
        for dtype, table in by_dtype.items():
            print(f"\n{name}, {dtype}: error of the loss, of the gradient over its maximum")
            for contestant, row in table.items():
                print(f"  {contestant:30} {row}")
    results = {
        "machine": machine(),
        "packages": peer_versions(peers()[0]),
        "auto": running_backends("cpu")[0],
        "settings": {"window": WINDOW, "sigma": SIGMA, "seed": SEED},
        "components": of_components,
        "losses": of_losses,
    }
    print(f"\nwritten: {save('accuracy', results)}")


if __name__ == "__main__":
    main()
