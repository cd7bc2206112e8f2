"""AW-SSIM as the loss of a small network that fills in missing pixels of a picture.

Half of the pixels of a brick wall are lost; a small convolutional network learns to bring them
back. Takes less than a minute on two CPU cores and writes a picture of before and after:
    python examples/quickstart.py [OUTPUT_FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import skimage.data
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from tqdm import trange

from aw_ssim import AWSSIMLoss, SigmaSchedule

STEPS = 200
PATCH_SIZE = 64
BATCH_SIZE = 8


def drop_pixels(image: Tensor, generator: torch.Generator) -> Tensor:
    """Set half of the pixels to 0, the same ones in all channels."""
    keep = torch.rand(image[:, :1].shape, generator=generator) < 0.5
    return image * keep


def random_patches(picture: Tensor, generator: torch.Generator) -> Tensor:
    """BATCH_SIZE patches of a picture 1 x C x H x W."""
    limit = min(picture.shape[-2:]) - PATCH_SIZE + 1
    corners = torch.randint(limit, (BATCH_SIZE, 2), generator=generator).tolist()
    return torch.cat([picture[..., y : y + PATCH_SIZE, x : x + PATCH_SIZE] for y, x in corners])


torch.manual_seed(0)
generator = torch.Generator().manual_seed(0)
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart")

# Train on the left of the picture, look at the right.
wall = torch.from_numpy(skimage.data.brick())[None, None].float() / 255
train, test = wall[..., :320], wall[..., 320:]
damaged = drop_pixels(test, generator)

model = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1), nn.LeakyReLU(0.1),
    nn.Conv2d(32, 32, 3, padding=2, dilation=2), nn.LeakyReLU(0.1),
    nn.Conv2d(32, 32, 3, padding=2, dilation=2), nn.LeakyReLU(0.1),
    nn.Conv2d(32, 1, 3, padding=1), nn.Sigmoid(),
)  # fmt: skip
optimiser = torch.optim.Adam(model.parameters(), 2e-3)

# The loss: weights of luminance, contrast and structure, and a window that widens from 0.5 to
# 2.5 pixels while training goes on. In eval mode its sigma is fixed, so that losses compare.
schedule = SigmaSchedule.per_epoch(0.5, 2.5, steps_per_epoch=STEPS)
loss = AWSSIMLoss((0.3, 0.3, 0.4), padding="same", sigma=schedule)


def restore_test_picture() -> tuple[Tensor, float]:
    loss.eval()
    with torch.no_grad():
        restored = model(damaged)
        value = float(loss(restored, test))
    loss.train()
    return restored, value


before, loss_before = restore_test_picture()
for _ in trange(STEPS, desc="training"):
    target = random_patches(train, generator)
    value = loss(model(drop_pixels(target, generator)), target)
    optimiser.zero_grad()
    value.backward()
    optimiser.step()
    schedule.step()
after, loss_after = restore_test_picture()

folder.mkdir(parents=True, exist_ok=True)
figure = Figure(figsize=(8, 5.8), layout="constrained")
panels = {
    "input: half of the pixels lost": damaged,
    f"before training, loss {loss_before:.3f}": before,
    f"after training, loss {loss_after:.3f}": after,
    "the original": test,
}
for axis, (title, picture) in zip(figure.subplots(1, 4), panels.items(), strict=True):
    axis.imshow(picture[0, 0].numpy(), cmap="gray", vmin=0, vmax=1)
    axis.set_title(title, fontsize=8)
    axis.axis("off")
figure.savefig(folder / "before_after.png", dpi=120)
print(f"AW-SSIM loss on unseen bricks: {loss_before:.3f} before, {loss_after:.3f} after training")
print(f"picture: {folder / 'before_after.png'}")
