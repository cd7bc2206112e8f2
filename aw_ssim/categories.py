"""Weights of luminance, contrast and structure by product category (eq. 7 and Fig. 4).

The paper says which term weighs most for which category and gives no numbers: the direction is
the paper's (caption of Fig. 4), the numbers are ours.
"""

from __future__ import annotations

import difflib

STRUCTURE_FIRST = (0.25, 0.25, 0.50)
LUMINANCE_FIRST = (0.50, 0.25, 0.25)

PRESETS: dict[str, tuple[float, float, float]] = {
    "carpet": STRUCTURE_FIRST,
    "leather": STRUCTURE_FIRST,
    "wood": STRUCTURE_FIRST,
    "tile": LUMINANCE_FIRST,
    "hazelnut": LUMINANCE_FIRST,
    "pill": LUMINANCE_FIRST,
}


def category_weights(category: str) -> tuple[float, float, float]:
    """The preset ``(luminance, contrast, structure)`` of a category of MVTec AD.

    Structure weighs most for carpet, leather and wood, luminance for tile, hazelnut and pill.

    Raises:
        TypeError: ``category`` is not a string.
        ValueError: there is no preset of that name; the message tells the nearest one.

    Example:
        >>> category_weights("carpet")
        (0.25, 0.25, 0.5)
    """
    if not isinstance(category, str):
        raise TypeError(
            f"category: expected a name such as 'carpet', got {type(category).__name__}."
        )
    if category in PRESETS:
        return PRESETS[category]
    nearest = difflib.get_close_matches(category.lower(), PRESETS, n=1, cutoff=0.0)[0]
    raise ValueError(
        f"category: expected one of {', '.join(PRESETS)}, got {category!r} (the nearest is "
        f"{nearest!r}). For another product pass three numbers as weights instead."
    )
