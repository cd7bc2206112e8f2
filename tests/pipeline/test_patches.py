"""Which patches are drawn at which step, and what is done to their inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from two_stage.defects.adga import DefectRanges
from two_stage.defects.sources import SourceBank
from two_stage.run.groups import Training
from two_stage.run.seeds import seeded
from two_stage.run.settings import Settings
from two_stage.training.losses import Stage, stages_of
from two_stage.training.patches import PatchStream, Share, clean_patches, cut_patches, draw_places

SIZE, PATCH = 64, 32
TRAINING = Training(patch_size=PATCH, crops_per_image=4, batch_size=6)
NORMAL, DEFECTIVE = stages_of(Settings())


def images(count: int = 5, channels: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (count, channels, SIZE, SIZE)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def stream(stage: Stage = DEFECTIVE, training: Training = TRAINING, **options: Any) -> PatchStream:
    pictures = images()
    bank = SourceBank(pictures, (range(len(pictures)),), own=0)
    ranges = DefectRanges()
    return PatchStream(pictures, stage, 2, training, bank=bank, ranges=ranges, **options)


def is_cut_from(patch: Tensor, pictures: Tensor) -> bool:
    windows = pictures.float().div(255).unfold(2, PATCH, 1).unfold(3, PATCH, 1)
    return bool((windows == patch[0]).flatten(-2).all(-1).any())


def test_targets_are_cut_from_the_images_and_inputs_differ_by_defects_alone() -> None:
    patches = stream()
    inputs, targets, defective = patches.batch(0)
    assert inputs.shape == targets.shape == (6, 1, PATCH, PATCH)
    assert all(is_cut_from(target, images()) for target in targets)
    changed = [not torch.equal(a, b) for a, b in zip(inputs, targets, strict=True)]
    assert any(changed)
    assert not all(changed)
    assert torch.equal((inputs != targets) & ~defective, torch.zeros_like(defective))
    assert changed == defective.flatten(1).any(1).tolist()


@pytest.mark.parametrize("flips", ["none", "horizontal", "both"])
def test_patches_are_mirrored_only_as_asked(flips: Any) -> None:
    training = replace(TRAINING, flips=flips, crops_per_image=16)
    places = draw_places(images(), training, seeded(0, 1, "test", 0))
    upside_down, mirrored = places.flip.any(0).tolist()
    assert (upside_down, mirrored) == (flips == "both", flips != "none")
    patches = cut_patches(images(), places, PATCH)
    for number in range(len(places)):
        top, left = int(places.top[number]), int(places.left[number])
        expected = images()[places.image[number], :, top : top + PATCH, left : left + PATCH]
        axes = [axis for axis in (0, 1) if places.flip[number, axis]]
        assert torch.equal(patches[number], expected.flip([axis + 1 for axis in axes]))


def test_the_grid_has_each_cell_of_each_image_once_an_epoch() -> None:
    training = replace(TRAINING, patches="grid")
    places = draw_places(images(), training, seeded(0, 1, "test", 0))
    cells = list(zip(places.image.tolist(), places.top.tolist(), places.left.tolist(), strict=True))
    assert sorted(cells) == [
        (image, top, left) for image in range(5) for top in (0, 32) for left in (0, 32)
    ]
    assert cells != sorted(cells)


def test_random_patches_take_every_image_equally_often() -> None:
    places = draw_places(images(), TRAINING, seeded(0, 1, "test", 0))
    assert torch.equal(places.image.bincount(), torch.full((5,), TRAINING.crops_per_image))
    assert len({(int(t), int(left)) for t, left in zip(places.top, places.left, strict=True)}) > 10


def test_a_step_s_patches_do_not_depend_on_what_came_before() -> None:
    in_order = stream()
    for step in range(7):
        expected = in_order.batch(step)
    for value, other in zip(stream().batch(6), expected, strict=True):
        assert torch.equal(value, other)
    assert not torch.equal(stream().batch(5)[1], expected[1])
    other_seed = stream(training=replace(TRAINING, seed=1)).batch(6)
    assert not torch.equal(other_seed[1], expected[1])


@pytest.mark.parametrize("stage", [NORMAL, DEFECTIVE], ids=["noise", "defects"])
def test_processes_share_the_batch_of_one(stage: Stage) -> None:
    whole = stream(stage).batch(3)
    shares = [stream(stage, share=Share(index, 3)).batch(3) for index in range(3)]
    for number in range(3):
        together = torch.cat([share[number] for share in shares])
        torch.testing.assert_close(together, whole[number], rtol=0, atol=1e-6)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size \(6\) must be a multiple .* \(4\)"):
        stream(share=Share(0, 4))


def test_noise_is_on_stage_one_s_input_alone() -> None:
    inputs, targets, defective = stream(NORMAL).batch(0)
    assert not defective.any()
    difference = inputs - targets
    assert float(difference.std()) == pytest.approx(NORMAL.noise, rel=0.05)
    assert all(is_cut_from(target, images()) for target in targets)


def test_defects_keep_to_the_foreground() -> None:
    foregrounds = torch.zeros(5, SIZE, SIZE, dtype=torch.bool)
    inputs, targets, _ = stream(foregrounds=foregrounds).batch(0)
    assert torch.equal(inputs, targets)
    foregrounds[:, :, : SIZE // 2] = True
    training = replace(TRAINING, patches="grid", batch_size=20)
    patches = stream(training=training, foregrounds=foregrounds)
    inputs, targets, _ = patches.batch(0)
    changed = (inputs != targets).flatten(1).any(1)
    places = draw_places(images(), training, seeded(0, 2, "places", 0))
    assert changed.any()
    assert not changed[places.left == PATCH].any()


@pytest.mark.parametrize(("batch_size", "steps"), [(6, 3), (20, 1), (64, 1)])
def test_an_epoch_has_whole_batches_or_one_small_one(batch_size: int, steps: int) -> None:
    patches = stream(training=replace(TRAINING, batch_size=batch_size))
    assert patches.steps_per_epoch == steps
    assert len(patches.batch(0)[0]) == min(batch_size, 20)


def test_few_images_are_cropped_more_often() -> None:
    training = replace(TRAINING, least_patches=31)
    places = draw_places(images(), training, seeded(0, 1, "test", 0))
    # 7 of each of the 5 images are the fewest that make 31 patches.
    assert places.image.bincount().tolist() == [7] * 5
    assert stream(training=training).steps_per_epoch == 5
    assert stream(training=replace(TRAINING, least_patches=20)).steps_per_epoch == 3
    assert [len(batch) for batch in clean_patches(images(count=8), training)] == [6, 2]


def test_clean_patches_are_one_of_each_image() -> None:
    batches = clean_patches(images(count=8), TRAINING)
    assert [len(batch) for batch in batches] == [6, 2]
    found = torch.cat(batches)
    for picture in images(count=8):
        assert any(is_cut_from(patch, picture[None]) for patch in found)
