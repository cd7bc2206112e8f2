"""The autoencoder of J. Imaging 2024, 10(5):111, section 3.1; sizes where the paper has none."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..run.groups import Network, Upsampling

Skips = Literal["none", "two", "all"]

STAGES = 5
# Its narrowest features are one pixel.
SMALLEST_PATCH = 2**STAGES

# Decoder stages that see the encoder's features of the same size. Their inputs have 1/16, 1/8,
# 1/4 and 1/2 of the image's resolution: skips shallower than 1/8 copy defects.
SKIPPED_STAGES: dict[Skips, tuple[int, ...]] = {"none": (), "two": (1, 2), "all": (1, 2, 3, 4)}

# Of the dilated network: how often it halves the resolution, and how far apart its taps are.
HALVINGS = 3
DILATIONS = (1, 2, 4, 8)


class Autoencoder(nn.Module):
    """N x C x H x W in [0, 1] to the same shape and range; H and W are multiples of 32."""

    def __init__(
        self,
        channels: int = 3,
        width: int = 32,
        latent_channels: int = 64,
        skips: Skips = "two",
        upsampling: Upsampling = "transposed",
    ) -> None:
        super().__init__()
        self.skipped = SKIPPED_STAGES[skips]
        widths = [width * 2**stage for stage in range(STAGES)]
        self.encoder = nn.ModuleList(
            _down(before, after) for before, after in zip([channels, *widths], widths, strict=False)
        )
        self.latent = nn.Sequential(
            _block(nn.Conv2d(widths[-1], latent_channels, 1, bias=False), latent_channels),
            _block(nn.Conv2d(latent_channels, widths[-1], 1, bias=False), widths[-1]),
        )
        wide_first = widths[::-1]
        self.decoder = nn.ModuleList(
            _up(before * 2 if stage in self.skipped else before, after, upsampling)
            for stage, (before, after) in enumerate(
                zip(wide_first, [*wide_first[1:], width], strict=True)
            )
        )
        self.head = _head(width, channels)

    def forward(self, image: Tensor) -> Tensor:
        features = []
        x = image
        for stage in self.encoder:
            x = stage(x)
            features.append(x)
        x = self.latent(x)
        for number, stage in enumerate(self.decoder):
            if number in self.skipped:
                x = torch.cat((x, features[-1 - number]), dim=1)
            x = stage(x)
        return self.head(x)


class DilatedAutoencoder(nn.Module):
    """Of the same shape and range. Features stay at 1/8 of the resolution, where a repair is drawn
    from far around: dilated convolutions see 15 cells to each side, and nothing passes them by.

    After Bauer, Nakajima and Mueller, Mathematics 12:3988, 2024.
    """

    def __init__(
        self, channels: int = 3, width: int = 32, upsampling: Upsampling = "transposed"
    ) -> None:
        super().__init__()
        widths = [width * 2**stage for stage in range(HALVINGS)]
        self.encoder = nn.Sequential(
            *(_down(a, b) for a, b in zip([channels, *widths], widths, strict=False))
        )
        self.middle = nn.Sequential(*(Dilated(widths[-1], dilation) for dilation in DILATIONS))
        wide_first = widths[::-1]
        self.decoder = nn.Sequential(
            *(
                _up(a, b, upsampling)
                for a, b in zip(wide_first, [*wide_first[1:], width], strict=True)
            )
        )
        self.head = _head(width, channels)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.decoder(self.middle(self.encoder(image))))


class Dilated(nn.Module):
    """What a dilated convolution adds to its input."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        convolution = nn.Conv2d(
            channels, channels, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.block = _block(convolution, channels)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.block(features)


def build_model(channels: int, network: Network) -> nn.Module:
    """The network of a run, in the memory layout that convolutions are fastest in."""
    model: nn.Module
    if network.architecture == "dilated":
        model = DilatedAutoencoder(channels, network.width, network.upsampling)
    else:
        model = Autoencoder(
            channels, network.width, network.latent_channels, network.skips, network.upsampling
        )
    return model.to(memory_format=torch.channels_last)


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def count_multiply_adds(model: nn.Module, channels: int, patch_size: int) -> int:
    """Of the forward pass on one patch."""
    parameter = next(model.parameters())
    patch = torch.zeros(1, channels, patch_size, patch_size, device=parameter.device)
    training = model.training
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.eval()(patch)
    model.train(training)
    return counter.get_total_flops() // 2


def _down(before: int, after: int) -> nn.Sequential:
    return _block(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False), after)


def _up(before: int, after: int, upsampling: Upsampling) -> nn.Sequential:
    if upsampling == "nearest":
        # A transposed convolution has other taps for every second pixel, which can leave a grid.
        convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
        return nn.Sequential(nn.Upsample(scale_factor=2), *_block(convolution, after))
    return _block(nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False), after)


def _head(before: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, channels, 3, padding=1), nn.Sigmoid())


def _block(convolution: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.LeakyReLU(0.2, inplace=True))
