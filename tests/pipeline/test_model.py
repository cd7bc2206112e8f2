"""The autoencoder: its shape, its two skips, and no way around the latent without skips."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from two_stage.run.groups import Network
from two_stage.training.model import (
    SKIPPED_STAGES,
    Autoencoder,
    DilatedAutoencoder,
    Skips,
    build_model,
    count_multiply_adds,
    count_parameters,
)

WIDTH = 4


def build(skips: Skips = "two", channels: int = 3) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(channels, WIDTH, latent_channels=8, skips=skips).eval()


@pytest.mark.parametrize(
    ("skips", "channels", "size"), list(product(SKIPPED_STAGES, (1, 3), ((32, 32), (64, 96))))
)
def test_the_output_has_the_input_s_shape_and_range(
    skips: Skips, channels: int, size: tuple[int, int]
) -> None:
    image = torch.rand(2, channels, *size)
    output = build(skips, channels)(image)
    assert output.shape == image.shape
    assert output.min() > 0
    assert output.max() < 1


def without_latent(model: Autoencoder) -> Autoencoder:
    """Nothing passes the latent any more; what still reaches the output takes a skip."""

    def erase(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return torch.zeros_like(output)

    model.latent.register_forward_hook(erase)
    return model


def test_without_skips_everything_passes_the_latent() -> None:
    model = without_latent(build("none"))
    first, second = torch.rand(2, 1, 3, 64, 64)
    assert torch.equal(model(first), model(second))


@pytest.mark.parametrize("skips", ["two", "all"])
def test_skips_pass_the_latent_by(skips: Skips) -> None:
    model = without_latent(build(skips))
    first, second = torch.rand(2, 1, 3, 64, 64)
    assert not torch.equal(model(first), model(second))


def test_there_are_exactly_two_skips_at_an_eighth_and_a_sixteenth() -> None:
    model = build("two")
    sizes = []
    for number, stage in enumerate(model.decoder):
        wide = stage[0].in_channels

        def note(module: nn.Module, inputs: tuple[Tensor], number: int = number) -> None:
            sizes.append((number, inputs[0].shape[1], inputs[0].shape[-1]))

        plain = WIDTH * 16 // 2**number
        if wide == 2 * plain:
            stage.register_forward_pre_hook(note)
        else:
            assert wide == plain
    model(torch.rand(1, 3, 128, 128))
    assert sizes == [(1, 2 * WIDTH * 8, 128 // 16), (2, 2 * WIDTH * 4, 128 // 8)]


def test_the_latent_is_narrow() -> None:
    shapes = []
    model = build("two")
    model.latent[0].register_forward_hook(
        lambda module, inputs, output: shapes.append(output.shape)
    )
    model(torch.rand(1, 3, 128, 128))
    assert shapes == [(1, 8, 4, 4)]


def test_decoder_blocks_are_transposed_convolution_norm_activation() -> None:
    for stage in build().decoder:
        assert [type(module) for module in stage] == [
            nn.ConvTranspose2d,
            nn.BatchNorm2d,
            nn.LeakyReLU,
        ]


def dilated(width: int = WIDTH) -> DilatedAutoencoder:
    torch.manual_seed(0)
    return DilatedAutoencoder(3, width).eval()


@pytest.mark.parametrize("size", [(32, 32), (64, 96)])
def test_the_dilated_network_keeps_shape_and_range(size: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *size)
    output = dilated()(image)
    assert output.shape == image.shape
    assert output.min() > 0
    assert output.max() < 1


def test_the_dilated_network_s_middle_sees_fifteen_cells_to_each_side() -> None:
    features = torch.rand(1, 16, 41, 41, requires_grad=True)
    dilated().middle(features)[0, :, 20, 20].sum().backward()
    rows = features.grad.abs().sum((0, 1, 3)).nonzero()[:, 0]
    assert (int(rows[0]), int(rows[-1])) == (20 - 15, 20 + 15)


def test_nothing_passes_the_dilated_network_s_middle_by() -> None:
    model = dilated()
    model.middle.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    first, second = torch.rand(2, 1, 3, 64, 64)
    assert torch.equal(model(first), model(second))


@pytest.mark.parametrize("architecture", ["paper", "dilated"])
def test_nearest_upsampling_has_no_transposed_convolution(architecture: Any) -> None:
    def kinds(upsampling: Any) -> set[type[nn.Module]]:
        network = Network(architecture=architecture, width=WIDTH, upsampling=upsampling)
        return {type(module) for module in build_model(3, network).modules()}

    assert nn.ConvTranspose2d in kinds("transposed")
    assert nn.ConvTranspose2d not in kinds("nearest")
    assert nn.Upsample in kinds("nearest")


def test_parameters_are_counted() -> None:
    assert count_parameters(nn.Conv2d(3, 5, 3)) == 5 * 3 * 9 + 5


def test_multiply_adds_are_those_of_a_convolution() -> None:
    model = nn.Conv2d(3, 5, 3, padding=1).train()
    assert count_multiply_adds(model, 3, 32) == 3 * 5 * 9 * 32 * 32
    assert model.training
