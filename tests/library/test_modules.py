"""The modules: equal to their functions for every option, copied, saved and printed."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from cases import PAIRS, noise
from torch import Tensor, nn

from aw_ssim import AWSSIMLoss, SigmaSchedule, SSIMLoss, aw_ssim, ssim

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "data_range": {"data_range": 2.0},
    "window_size": {"window_size": 7},
    "sigma": {"sigma": 2.5},
    "sigma tensor": {"sigma": torch.tensor(2.5)},
    "k1": {"k1": 0.1},
    "k2": {"k2": 0.1},
    "sum": {"reduction": "sum"},
    "none": {"reduction": "none"},
    "same": {"padding": "same"},
    "zeros": {"padding": "zeros"},
    "image": {"reduction": "image"},
    "uniform": {"window": "uniform"},
    "sample": {"covariance": "sample", "window_size": 3, "k2": 0.3},
    "range of each image": {"data_range": torch.tensor([2.0])},
    "all": {
        "data_range": 1.5,
        "window_size": 9,
        "sigma": 1.1,
        "k1": 0.02,
        "k2": 0.04,
        "reduction": "none",
        "padding": "same",
    },
}
WEIGHTS = (0.2, 0.3, 0.5)


def mask_for(image: Tensor) -> Tensor:
    return noise(6, image).abs() * (noise(7, image) > -0.5)


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_modules_equal_their_functions(options: dict[str, Any], masked: bool, backend: str) -> None:
    x, y = PAIRS["noisy"]
    mask = mask_for(x) if masked else None
    options = {**options, "backend": backend}
    for loss, similarity in (
        (AWSSIMLoss(WEIGHTS, **options), aw_ssim(x, y, WEIGHTS, mask=mask, **options)),
        (SSIMLoss(**options), ssim(x, y, mask=mask, **options)),
    ):
        # an identical pair has similarity 1 everywhere: the mask's share of each reduction
        best = ssim(x, x, mask=mask, **options)
        torch.testing.assert_close(loss(x, y, mask), best - similarity, atol=2e-6, rtol=3e-6)
        torch.testing.assert_close(loss(x, y, mask=mask), loss(x, y, mask), atol=0, rtol=0)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_option_matters(options: dict[str, Any]) -> None:
    if not options:
        return
    changed = AWSSIMLoss(**options)(*PAIRS["noisy"])
    default = AWSSIMLoss()(*PAIRS["noisy"])
    assert changed.shape != default.shape or abs(float(changed - default)) > 1e-4


@pytest.mark.parametrize("name", PAIRS)
def test_loss_gradient_is_minus_the_similarity_gradient(name: str, backend: str) -> None:
    x, y = (image.clone().requires_grad_() for image in PAIRS[name])
    expected = torch.autograd.grad(aw_ssim(x, y, WEIGHTS, backend=backend), (x, y))
    actual = torch.autograd.grad(AWSSIMLoss(WEIGHTS, backend=backend)(x, y), (x, y))
    for left, right in zip(actual, expected, strict=True):
        torch.testing.assert_close(left, -right, atol=1e-8, rtol=1e-4)


def test_identical_images_have_no_loss(backend: str) -> None:
    for name in ("noisy", "low contrast", "black", "checkerboard"):
        x, _ = PAIRS[name]
        for loss in (AWSSIMLoss(WEIGHTS, backend=backend), SSIMLoss(backend=backend)):
            assert abs(float(loss(x, x))) < 1e-6


def test_a_small_loss_keeps_its_digits(backend: str) -> None:
    """1 - similarity would be 0 in float32, whose numbers near 1 are 6e-8 apart."""
    x, y = PAIRS["bright shift"]
    exact = float(AWSSIMLoss(WEIGHTS, backend="torch")(x.double(), y.double()))
    assert 0 < exact < 1e-8
    assert float(AWSSIMLoss(WEIGHTS, backend=backend)(x, y)) == pytest.approx(exact, rel=1e-3)


MODULES = {
    "plain": lambda: AWSSIMLoss("pill", window_size=7, sigma=2.0, padding="same"),
    "ssim": lambda: SSIMLoss(data_range=2.0, reduction="none"),
    "sigma tensor": lambda: AWSSIMLoss(sigma=torch.tensor(2.0)),
    "schedule": lambda: AWSSIMLoss(WEIGHTS, sigma=SigmaSchedule(0.5, 0.4, maximum=2.0)),
}


@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_copies(way: str, make: Any) -> None:
    module = make()
    if isinstance(module.sigma, SigmaSchedule):
        module.sigma.step()
    expected = module(*PAIRS["noisy"])
    twin = copy.deepcopy(module) if way == "deepcopy" else pickle.loads(pickle.dumps(module))
    assert repr(twin) == repr(module)
    if isinstance(module.sigma, SigmaSchedule):
        module.sigma.step()
    assert torch.equal(twin(*PAIRS["noisy"]), expected)


def test_part_of_a_model() -> None:
    """The loss inside a module: nothing to train, and a state that comes back."""
    model = nn.ModuleDict({"net": nn.Conv2d(1, 1, 3, padding=1), "loss": MODULES["schedule"]()})
    assert len(list(model.parameters())) == 2
    model["loss"].sigma.step()
    fresh = nn.ModuleDict({"net": nn.Conv2d(1, 1, 3, padding=1), "loss": MODULES["schedule"]()})
    fresh.load_state_dict(model.state_dict())
    x, y = PAIRS["noisy"]
    assert torch.equal(fresh["loss"](x, y), model["loss"](x, y))
    assert not torch.equal(MODULES["schedule"]()(x, y), model["loss"](x, y))


def test_repr_says_the_options() -> None:
    text = repr(AWSSIMLoss((1, 1, 2), data_range=255.0, window_size=7, sigma=2.5, padding="same"))
    assert text.startswith("AWSSIMLoss(")
    for part in ("0.25", "0.5", "255", "window_size=7", "sigma=2.5", "same", "0.01", "0.03"):
        assert part in text
    assert "weights" not in repr(SSIMLoss())
    scheduled = repr(AWSSIMLoss(sigma=SigmaSchedule(0.5, 0.25, maximum=2.0)))
    for part in ("SigmaSchedule", "start=0.5", "increment=0.25", "maximum=2"):
        assert part in scheduled


def test_options_are_keywords() -> None:
    with pytest.raises(TypeError):
        AWSSIMLoss((1, 1, 1), 255.0)  # type: ignore[misc]
    with pytest.raises(TypeError):
        SSIMLoss(255.0)  # type: ignore[misc]
    with pytest.raises(TypeError):
        ssim(*PAIRS["noisy"], 255.0)  # type: ignore[misc]


def test_a_parameter_as_sigma_is_learned() -> None:
    """Through moves and copies of the loss, as one of its parameters."""
    sigma = nn.Parameter(torch.tensor(1.5))
    loss = AWSSIMLoss(sigma=sigma).to(torch.float64).to(torch.float32)
    assert [name for name, _ in loss.named_parameters()] == ["sigma"]
    optimiser = torch.optim.SGD(loss.parameters(), lr=1.0)
    loss(*PAIRS["noisy"]).backward()
    optimiser.step()
    assert float(loss.sigma.detach()) != 1.5


def test_a_uniform_window_has_no_schedule() -> None:
    with pytest.raises(ValueError, match="Leave sigma out"):
        AWSSIMLoss(sigma=SigmaSchedule(0.5, 0.1), window="uniform")(*PAIRS["noisy"])
    assert AWSSIMLoss(window="uniform")(*PAIRS["noisy"]).isfinite()
