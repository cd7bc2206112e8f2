"""The numbers of docs/migration.md: each library's SSIM loss, and ours that replaces it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import oracle
import pytest
import torch
import torch.nn.functional as F
from cases import camera, noise
from torch import Tensor

from aw_ssim import MSSSIMLoss, SSIMLoss, ssim

PAGE = Path(__file__).parents[2] / "docs" / "migration.md"
# The largest difference of the two values, as the page's table states it.
AGREEMENT = {
    "pytorch-msssim": 3e-5,
    "kornia": 1e-6,
    "piq": 1e-12,
    "torchmetrics": 1e-12,
    "MONAI": 3e-5,
    "MONAI, uniform": 3e-5,
    "MONAI, volumes": 1e-3,
    "fused-ssim": 1e-6,
    "3D Gaussian splatting": 1e-6,
    "monodepth2": 1e-6,
    "fastMRI": 1e-6,
    "scikit-image": 1e-12,
    "scikit-image, Gaussian": 1e-12,
    "TensorFlow": 1e-12,
    "piqa": 3e-5,
    "frame-analytics": 3e-5,
    "CompressAI": 3e-5,
    "BasicSR": 1e-12,
}
Loss = Callable[[Tensor, Tensor], Tensor]

# They warn, of torch's interfaces and their own, while being imported.
pytestmark = pytest.mark.filterwarnings("default")


def pair(height: int = 96, width: int = 80) -> tuple[Tensor, Tensor]:
    x = camera(height, width, top=0, left=0).double().expand(2, 3, -1, -1)
    return x, (x + 0.05 * noise(0, x).double()).clamp(0, 1)


def assert_agree(library: str, theirs: Loss, ours: Loss, images: Any = None) -> None:
    """Values in the table's agreement; gradients, over their maximum, in 100 times that."""
    x, y = pair() if images is None else images
    values, gradients = [], []
    for loss in (theirs, ours):
        prediction = x.clone().requires_grad_()
        value = loss(prediction, y).double()
        values.append(float(value.detach()))
        gradients.append(torch.autograd.grad(value, prediction)[0])
    assert values[0] > 0.01
    assert values[1] == pytest.approx(values[0], abs=AGREEMENT[library])
    error = (gradients[1] - gradients[0]).abs().max() / gradients[0].abs().max()
    assert float(error) < 100 * AGREEMENT[library]


@pytest.mark.parametrize("library", AGREEMENT)
def test_the_table_states_the_tested_agreement(library: str) -> None:
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {library} |")]
    assert row.split("|")[-2].strip() == f"{AGREEMENT[library]:.0e}"


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_pytorch_msssim(data_range: float) -> None:
    library = pytest.importorskip("pytorch_msssim")
    theirs = library.SSIM(data_range=data_range, channel=3)
    images = tuple(data_range * image for image in pair())
    assert_agree(
        "pytorch-msssim", lambda x, y: 1 - theirs(x, y), SSIMLoss(data_range=data_range), images
    )


def test_pytorch_msssim_has_a_range_of_255_by_default() -> None:
    library = pytest.importorskip("pytorch_msssim")
    images = tuple(255 * image for image in pair())
    assert_agree(
        "pytorch-msssim", lambda x, y: 1 - library.ssim(x, y), SSIMLoss(data_range=255), images
    )


@pytest.mark.parametrize("window_size", [7, 11])
def test_kornia(window_size: int) -> None:
    losses = pytest.importorskip("kornia.losses")
    ours = SSIMLoss(window_size=window_size, padding="same")
    assert_agree("kornia", losses.SSIMLoss(window_size), lambda x, y: ours(x, y) / 2)


def test_kornia_map() -> None:
    metrics = pytest.importorskip("kornia.metrics")
    x, y = pair()
    expected = metrics.ssim(x, y, 11, eps=0.0)
    torch.testing.assert_close(
        ssim(x, y, padding="same", reduction="none"), expected, atol=1e-6, rtol=0
    )


def test_piq() -> None:
    assert_agree("piq", pytest.importorskip("piq").SSIMLoss(), SSIMLoss())


def test_piq_pools_large_images_first() -> None:
    theirs = pytest.importorskip("piq").SSIMLoss()
    images = pair(400, 420)
    assert_agree(
        "piq", theirs, lambda x, y: SSIMLoss()(F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)), images
    )
    assert abs(float(theirs(*images) - SSIMLoss()(*images))) > 0.01


@pytest.mark.parametrize(("sigma", "window_size"), [(1.5, 11), (1.0, 9), (0.8, 7)])
def test_torchmetrics(sigma: float, window_size: int) -> None:
    functional = pytest.importorskip("torchmetrics.functional.image")

    def theirs(x: Tensor, y: Tensor) -> Tensor:
        value: Tensor = functional.structural_similarity_index_measure(
            x, y, data_range=1.0, sigma=sigma
        )
        return 1 - value

    ours = SSIMLoss(window_size=window_size, sigma=sigma, padding="same")
    assert_agree("torchmetrics", theirs, ours)


def test_torchmetrics_measures_the_range_of_the_batch() -> None:
    functional = pytest.importorskip("torchmetrics.functional.image")
    x, y = (0.5 * image for image in pair())
    span = float(max(x.max() - x.min(), y.max() - y.min()))
    assert span < 0.6
    value = 1 - float(functional.structural_similarity_index_measure(x, y))
    expected = SSIMLoss(data_range=span, padding="same")(x, y)
    assert value == pytest.approx(float(expected), abs=AGREEMENT["torchmetrics"])


def test_monai() -> None:
    losses = pytest.importorskip("monai.losses")
    assert_agree("MONAI", losses.SSIMLoss(spatial_dims=2), SSIMLoss())


def test_monai_volumes() -> None:
    losses = pytest.importorskip("monai.losses")
    volumes = tuple(image[:, :1].reshape(2, 1, 12, 32, 20) for image in pair())
    assert_agree("MONAI, volumes", losses.SSIMLoss(spatial_dims=3), SSIMLoss(), volumes)


def fused_ssim_formula(x: Tensor, y: Tensor, padding: str = "same") -> Tensor:
    """What fused-ssim's CUDA source computes: blurs over an image surrounded by zeros."""
    taps = torch.from_numpy(oracle.gaussian(11, 1.5)).to(x)
    window = (taps[:, None] * taps).expand(x.shape[1], 1, 11, 11)

    def blur(image: Tensor) -> Tensor:
        return F.conv2d(image, window, padding=5, groups=x.shape[1])

    mx, my = blur(x), blur(y)
    vx, vy = (blur(x * x) - mx * mx).clamp(min=0), (blur(y * y) - my * my).clamp(min=0)
    luminance = (2 * mx * my + 0.01**2) / (mx * mx + my * my + 0.01**2)
    product = luminance * (2 * (blur(x * y) - mx * my) + 0.03**2) / (vx + vy + 0.03**2)
    product = product.clamp(-1, 1)
    return product.mean() if padding == "same" else product[..., 5:-5, 5:-5].mean()


@pytest.mark.parametrize("library", ["fused-ssim", "3D Gaussian splatting"])
def test_fused_ssim_surrounds_the_images_with_zeros(library: str) -> None:
    """As the trainer of 3D Gaussian splatting does in plain torch, and gsplat."""
    assert_agree(library, lambda x, y: 1 - fused_ssim_formula(x, y), SSIMLoss(padding="zeros"))


def test_monai_uniform() -> None:
    losses = pytest.importorskip("monai.losses")
    theirs = losses.SSIMLoss(spatial_dims=2, kernel_type="uniform", win_size=7)
    ours = SSIMLoss(window="uniform", window_size=7)
    assert_agree("MONAI, uniform", theirs, ours)


def test_monai_values_of_images() -> None:
    losses = pytest.importorskip("monai.losses")
    theirs = losses.SSIMLoss(spatial_dims=2, reduction="none")(*pair())
    ours = SSIMLoss(reduction="image")(*pair())
    torch.testing.assert_close(ours, theirs.flatten().double(), atol=AGREEMENT["MONAI"], rtol=0)


def box_formula(x: Tensor, y: Tensor, size: int, factor: float) -> Tensor:
    """The map of SSIM over equal taps, whose covariances are multiplied by a factor."""
    mx, my = (F.avg_pool2d(image, size, 1) for image in (x, y))
    vx, vy, cov = (
        factor * (F.avg_pool2d(a * b, size, 1) - ma * mb)
        for a, b, ma, mb in ((x, x, mx, mx), (y, y, my, my), (x, y, mx, my))
    )
    luminance = (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
    return luminance * (2 * cov + 0.03**2) / (vx + vy + 0.03**2)


def test_monodepth2() -> None:
    """Its loss map, (1 - s) / 2 over 3 x 3 pixels with mirrored borders."""

    def theirs(x: Tensor, y: Tensor) -> Tensor:
        x, y = (F.pad(image, [1] * 4, mode="reflect") for image in (x, y))
        return ((1 - box_formula(x, y, 3, 1.0)) / 2).clamp(0, 1).mean()

    ours = SSIMLoss(window="uniform", window_size=3, padding="same")
    assert_agree("monodepth2", theirs, lambda x, y: ours(x, y) / 2)


def test_fastmri() -> None:
    """One channel, 7 x 7 equal taps, sample covariance, a range for each slice."""
    x, y = pair()
    x, y = x[:, :1] * torch.tensor([1.0, 5.0]).view(2, 1, 1, 1), y[:, :1]
    y = y * torch.tensor([1.0, 5.0]).view(2, 1, 1, 1)
    ranges = y.amax((1, 2, 3))

    def theirs(x: Tensor, y: Tensor) -> Tensor:
        x, y = (image / ranges.view(2, 1, 1, 1) for image in (x, y))
        return 1 - box_formula(x, y, 7, 49 / 48).mean()

    ours = SSIMLoss(window="uniform", window_size=7, covariance="sample")
    assert_agree("fastMRI", theirs, lambda x, y: ours(x, y, data_range=ranges), (x, y))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({}, {"window": "uniform", "window_size": 7, "covariance": "sample"}),
        ({"gaussian_weights": True}, {"covariance": "sample"}),
        ({"gaussian_weights": True, "use_sample_covariance": False}, {}),
        (
            {"use_sample_covariance": False, "win_size": 11, "sigma": 1.5},
            {"window": "uniform", "window_size": 11},
        ),
    ],
    ids=["its defaults", "Gaussian weights", "both", "not without Gaussian weights"],
)
def test_scikit_image(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    x, y = pair()
    expected = metrics.structural_similarity(
        x[0].numpy(), y[0].numpy(), data_range=1.0, channel_axis=0, **theirs
    )
    # Its mean leaves out a border as wide as "valid" does.
    assert float(ssim(x[:1], y[:1], **ours)) == pytest.approx(
        expected, abs=AGREEMENT["scikit-image, Gaussian"]
    )


def wang_formula(x: Tensor, y: Tensor) -> Tensor:
    """The map of SSIM by raw moments over an 11 x 11 Gaussian, inside the image, for range 1."""
    taps = torch.from_numpy(oracle.gaussian(11, 1.5)).to(x)
    window = torch.outer(taps, taps).expand(x.shape[1], 1, 11, 11)
    moments = [F.conv2d(m, window, groups=x.shape[1]) for m in (x, y, x * y, x * x + y * y)]
    product, squares = moments[0] * moments[1], moments[0] ** 2 + moments[1] ** 2
    luminance = (2 * product + 0.01**2) / (squares + 0.01**2)
    return luminance * (2 * (moments[2] - product) + 0.03**2) / (moments[3] - squares + 0.03**2)


def test_tensorflow() -> None:
    """Means over windows, then over channels: one value for each image."""
    x, y = pair()
    theirs = 1 - wang_formula(x, y).mean((2, 3)).mean(1)
    ours = SSIMLoss(reduction="image")(x, y)
    torch.testing.assert_close(ours, theirs, atol=AGREEMENT["TensorFlow"], rtol=0)


def test_basicsr() -> None:
    """Its metric: a border cut off, and each channel's mean of images from 0 to 255 in float64."""
    x, y = (image[..., 4:-4, 4:-4] for image in pair())
    ours = SSIMLoss(data_range=255)
    assert_agree(
        "BasicSR",
        lambda x, y: 1 - wang_formula(x / 255, y / 255).mean((2, 3)).mean(),
        ours,
        (255 * x, 255 * y),
    )


def test_piqa() -> None:
    theirs = pytest.importorskip("piqa").SSIM().double()
    assert_agree("piqa", lambda x, y: 1 - theirs(x, y), SSIMLoss())


def test_frame_analytics() -> None:
    """In float32, which is its own; it would compile itself for half a minute."""
    library = pytest.importorskip("frame_analytics")
    theirs = library.SSIM(data_range=1.0)
    x, y = (image.float() for image in pair())
    with torch._dynamo.config.patch(disable=True):
        assert_agree("frame-analytics", lambda x, y: 1 - theirs(x, y), SSIMLoss(), (x, y))


def test_compressai() -> None:
    """What its RateDistortionLoss takes for metric="ms-ssim"."""
    library = pytest.importorskip("pytorch_msssim")
    x, y = (image.float() for image in pair(192, 176))
    assert_agree(
        "CompressAI",
        lambda x, y: 1 - library.ms_ssim(x, y, data_range=1.0),
        MSSSIMLoss(),
        (x, y),
    )


def test_monai_sums_the_values_of_images_and_converts_them_to_float32() -> None:
    losses = pytest.importorskip("monai.losses")
    theirs = losses.SSIMLoss(spatial_dims=2, reduction="sum")(*pair())
    ours = SSIMLoss(reduction="image")(*pair()).sum()
    assert float(ours) == pytest.approx(float(theirs), abs=2 * AGREEMENT["MONAI"])
    mean = losses.SSIMLoss(spatial_dims=2, data_range=255)
    x, y = ((255 * image).byte() for image in pair())
    expected = SSIMLoss(data_range=255)(x.float(), y.float())
    assert float(mean(x, y)) == pytest.approx(float(expected), abs=AGREEMENT["MONAI"])
    halves = [image.half() for image in pair()]
    assert mean(*halves).dtype == SSIMLoss()(*halves).dtype == torch.float32
    for loss in (mean, SSIMLoss()):
        with pytest.raises((RuntimeError, ValueError)):
            loss(*(image[..., :8, :8] for image in pair()))


def test_fused_ssim_valid() -> None:
    assert_agree("fused-ssim", lambda x, y: 1 - fused_ssim_formula(x, y, "valid"), SSIMLoss())
