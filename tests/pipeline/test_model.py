"""The autoencoder: its shape, its two skips, and no way around the latent without skips."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn
from two_stage.training.model import (
    SKIPPED_STAGES,
    Autoencoder,
    Skips,
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


def test_parameters_are_counted() -> None:
    assert count_parameters(nn.Conv2d(3, 5, 3)) == 5 * 3 * 9 + 5


def test_multiply_adds_are_those_of_a_convolution() -> None:
    model = nn.Conv2d(3, 5, 3, padding=1).train()
    assert count_multiply_adds(model, 3, 32) == 3 * 5 * 9 * 32 * 32
    assert model.training
