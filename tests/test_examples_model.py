"""The autoencoder: its shape, its two skips, and no way around the latent without skips."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from two_stage.checkpoint import load_weights, save_weights
from two_stage.model import SKIPPED_STAGES, Autoencoder, Skips, count_parameters

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


def test_weights_survive_the_disk_and_leave_no_partial_file(tmp_path: Path) -> None:
    model = build().to(memory_format=torch.channels_last)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"an older file")
    save_weights(model, path)
    other = Autoencoder(3, WIDTH, latent_channels=8)
    load_weights(other, path)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_failed_write_keeps_the_older_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(build(), path)
    older = path.read_bytes()

    def fail(file: Path, content: bytes) -> None:
        with file.open("wb") as half_written:
            half_written.write(content[: len(content) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        save_weights(build(), path)
    assert path.read_bytes() == older
