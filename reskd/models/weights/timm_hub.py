"""Weights of timm's networks from its hub (huggingface.co): from the cache of earlier downloads, else downloaded.

Without a connection, huggingface_hub tries each of two files six times and logs each attempt twice: a minute and two
dozen lines. So the cache is looked into first, and then the connection is tried once.
"""

from __future__ import annotations

import logging
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from torch import Tensor

from reskd.models.timm_catalog import TIMM

_FILES = ("model.safetensors", "pytorch_model.bin")  # of a network in the hub, the one that timm prefers first
_CONNECT_S = 5.0


def state_from_hub(backbone: str) -> dict[str, Tensor]:
    """The state dict of a timm network, as timm loads it.

    Args:
        backbone: "timm/NAME" or "timm/NAME.TAG".

    Raises:
        OSError: neither in the cache nor to be had; one sentence with what else to set.
    """
    import timm

    name = backbone.removeprefix(TIMM)
    found = timm.get_pretrained_cfg(name)
    repository = found.hf_hub_id if found and not found.custom_load else None
    cached = _in_cache(repository) if repository else None
    try:
        if cached is not None:
            overlay = {"file": str(cached)}
            state: dict[str, Tensor] = timm.create_model(
                name, pretrained=True, pretrained_cfg_overlay=overlay
            ).state_dict()
            return state
        if repository:
            _try_connection()
        with _quiet_hub():
            state = timm.create_model(name, pretrained=True).state_dict()
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise OSError(
            f"weights = hub: expected weights of {backbone} in the cache ({_cache_folder()}) or a connection to "
            f"{_endpoint()}, found: {reason}; set weights to none, to the path of a file, or for some networks to "
            "package, or load them once where there is a connection and copy that folder."
        ) from error
    return state


def _in_cache(repository: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for file in _FILES:
        found = try_to_load_from_cache(repository, file)
        if isinstance(found, str) and Path(found).is_file():
            return Path(found)
    return None


def _try_connection() -> None:
    """Raises OSError where the hub cannot be reached. A proxy is taken at its word."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set")
    address = urlsplit(_endpoint())
    if not urllib.request.getproxies().keys() & {address.scheme, "all"}:
        port = address.port or (80 if address.scheme == "http" else 443)
        socket.create_connection((address.hostname or "", port), timeout=_CONNECT_S).close()


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _cache_folder() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Without the lines on each attempt; the error of the last one says the same."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
