"""The autoencoder of J. Imaging 2024, 10(5):111, section 3.1; sizes where the paper has none."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..run.groups import Network

Skips = Literal["none", "two", "all"]

STAGES = 5
# Its narrowest features are one pixel.
SMALLEST_PATCH = 2**STAGES

# Decoder stages that see the encoder's features of the same size. Their inputs have 1/16, 1/8,
# 1/4 and 1/2 of the image's resolution: skips shallower than 1/8 copy defects.
SKIPPED_STAGES: dict[Skips, tuple[int, ...]] = {"none": (), "two": (1, 2), "all": (1, 2, 3, 4)}


class Autoencoder(nn.Module):
    """N x C x H x W in [0, 1] to the same shape and range; H and W are multiples of 32."""

    def __init__(
        self, channels: int = 3, width: int = 32, latent_channels: int = 64, skips: Skips = "two"
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
            _up(before * 2 if stage in self.skipped else before, after)
            for stage, (before, after) in enumerate(
                zip(wide_first, [*wide_first[1:], width], strict=True)
            )
        )
        self.head = nn.Sequential(nn.Conv2d(width, channels, 3, padding=1), nn.Sigmoid())

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


def build_model(channels: int, network: Network) -> Autoencoder:
    """The network of a run, in the memory layout that convolutions are fastest in."""
    model = Autoencoder(channels, network.width, network.latent_channels, network.skips)
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


def _up(before: int, after: int) -> nn.Sequential:
    return _block(nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False), after)


def _block(convolution: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.LeakyReLU(0.2, inplace=True))
