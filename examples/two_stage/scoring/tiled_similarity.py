"""AW-SSIM's map by matrix products: for exported graphs, few large operators, all in float32.

With a window of K taps, K - 1 windows in a row share exactly one pixel. So the image is cut into
tiles of (K - 1) x (K - 1) windows, and a tile's moments are taken about the pixel that all of its
windows hold: a window without contrast then has a variance of exactly 0. About any other value
rounding would be left, and its square root, which AW-SSIM takes, is not small. (A nearly flat
window with an edge just at that pixel keeps some of it: up to 5e-5 of the map.)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from aw_ssim import formulas
from aw_ssim.gaussian_window import gaussian_window
from aw_ssim.options import Options, parse_weights

from .residuals import SIGMA, Weights

OPTIONS = Options()
TAPS = OPTIONS.window_size
TILE = TAPS - 1


def tiled_similarity(images: Tensor, reconstructions: Tensor, weights: Weights) -> Tensor:
    """What `window_similarity` gives, but for rounding: N x C x H x W."""
    x, y = _tiles(images), _tiles(reconstructions)
    # The one pixel that all windows of a tile hold.
    pivot_x, pivot_y = (t[:, :, :, TILE : TILE + 1, :, TILE : TILE + 1] for t in (x, y))
    x, y = x - pivot_x, y - pivot_y
    sums = [_window_sums(t) for t in (x, y, x * x, y * y, x * y)]
    moments = formulas.whole_window(formulas.moments_of(pivot_x, pivot_y, sums))
    shortfalls, _ = formulas.terms(moments, OPTIONS.c1, OPTIONS.c2)
    loss = sum(w * term for w, term in zip(parse_weights(weights), shortfalls, strict=True))
    n, c, height, width = images.shape
    _, _, rows, _, columns, _ = loss.shape
    return 1 - loss.reshape(n, c, rows * TILE, columns * TILE)[:, :, :height, :width]


def _tiles(images: Tensor) -> Tensor:
    """N x C x rows of tiles x 2 TILE x columns of tiles x 2 TILE: each tile with its margins."""
    margin = TAPS // 2
    padded = F.pad(images, [margin] * 4, mode="reflect")
    # Beyond the last window anything will do: it is cut off at the end.
    fill = [-size % TILE for size in padded.shape[-2:]]
    padded = F.pad(padded, (0, fill[1], 0, fill[0]))
    n, c, height, width = padded.shape
    strips = padded.reshape(n, c, height // TILE, TILE, width)
    strips = torch.cat((strips[:, :, :-1], strips[:, :, 1:]), dim=3)
    blocks = strips.reshape(n, c, -1, 2 * TILE, width // TILE, TILE)
    return torch.cat((blocks[:, :, :, :, :-1], blocks[:, :, :, :, 1:]), dim=5)


def _window_sums(tiles: Tensor) -> Tensor:
    """N x C x rows x TILE x columns x TILE: each window's sum, weighted by its taps."""
    taps = gaussian_window(TAPS, SIGMA)
    band = torch.stack([F.pad(taps, (i, 2 * TILE - TAPS - i)) for i in range(TILE)])
    n, c, rows, side, columns, _ = tiles.shape
    summed = band @ tiles.reshape(n, c, rows, side, columns * side)
    return summed.reshape(n, c, rows, TILE, columns, side) @ band.T
