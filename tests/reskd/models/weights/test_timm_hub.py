"""``weights: hub``: from the cache of earlier downloads, or from a hub that a test plays."""

from __future__ import annotations

import logging
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reskd.models.config import parse_recognizer
from reskd.models.families.registry import build_recognizer
from reskd.models.recognizer import Recognizer
from reskd.models.weights import timm_hub
from reskd.models.weights.load import load_weights
from reskd.models.weights.timm_hub import state_from_hub

timm = pytest.importorskip("timm")
huggingface_hub = pytest.importorskip("huggingface_hub")
NAME = "resnet18.a1_in1k"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no proxy."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(timm_hub.urllib.request, "getproxies", dict)
    return tmp_path / "hub"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """No host has an address; returns what was asked for."""
    asked: list[Any] = []

    def refuse(address: Any, timeout: float) -> None:
        asked.append(address)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(timm_hub.socket, "create_connection", refuse)
    return asked


def downloaded(cache: Path, file: str) -> dict[str, Tensor]:
    """Weights in the cache as huggingface_hub lays them out."""
    torch.manual_seed(3)
    state: dict[str, Tensor] = timm.create_model("resnet18").state_dict()
    folder = cache / f"models--timm--{NAME}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    if file.endswith(".safetensors"):
        from safetensors.torch import save_file

        save_file(state, folder / "snapshots" / "abc" / file)
    else:
        torch.save(state, folder / "snapshots" / "abc" / file)
    return state


def model() -> Recognizer:
    return build_recognizer(parse_recognizer({"backbone": f"timm/{NAME}"}), 1000)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_what_was_downloaded_needs_no_connection(file: str, cache: Path, offline: list[Any]) -> None:
    state, found = downloaded(cache, file), model()
    load_weights(found, "hub")
    assert offline == []
    mine = found.state_dict()["backbone.network.layer4.1.conv2.weight"]
    assert torch.equal(mine, state["layer4.1.conv2.weight"])


def test_without_a_connection_one_sentence_comes_at_once(
    cache: Path, offline: list[Any], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    found, start = model(), time.monotonic()
    before = {name: value.clone() for name, value in found.state_dict().items()}
    message = (
        rf"^weights = hub: expected weights of timm/{NAME} in the cache \({cache}\) or a connection to https://\S+, "
        r"found: \[Errno -2\] Name or service not known; set weights to none, to the path .* copy that folder\.$"
    )
    with caplog.at_level(logging.INFO), pytest.raises(OSError, match=message):
        load_weights(found, "hub")
    assert offline == [("huggingface.co", 443)] and caplog.messages == [] and capfd.readouterr().err == ""
    assert time.monotonic() - start < 30  # huggingface_hub alone waits for a minute
    assert all(torch.equal(value, before[name]) for name, value in found.state_dict().items())


def test_the_offline_switch_of_the_hub_is_obeyed(monkeypatch: pytest.MonkeyPatch, offline: list[Any]) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match="found: HF_HUB_OFFLINE is set; set weights to none"):
        state_from_hub(f"timm/{NAME}")
    assert offline == []


@pytest.mark.parametrize("proxies", [{}, {"https": "http://proxy:3128"}])
def test_with_a_connection_or_a_proxy_timm_downloads(proxies: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, asked, connected = timm.create_model("resnet18"), list[tuple[str, bool]](), list[Any]()

    class Connection:
        def close(self) -> None:
            pass

    def connect(address: Any, timeout: float) -> Connection:
        connected.append(address)
        return Connection()

    def create_model(name: str, pretrained: bool) -> Any:
        asked.append((name, pretrained))
        return theirs

    monkeypatch.setattr(timm_hub.urllib.request, "getproxies", lambda: proxies)
    monkeypatch.setattr(timm_hub.socket, "create_connection", connect)
    found = model()
    monkeypatch.setattr(timm, "create_model", create_model)
    load_weights(found, "hub")
    assert asked == [(NAME, True)] and len(connected) == (not proxies)
    assert torch.equal(found.state_dict()["backbone.network.conv1.weight"], theirs.state_dict()["conv1.weight"])


@pytest.mark.parametrize("error", [OSError("no route to host"), RuntimeError("No pretrained weights exist")])
def test_a_failed_download_says_what_to_do(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def create_model(name: str, pretrained: bool) -> None:
        raise error

    monkeypatch.setattr(timm_hub, "_try_connection", lambda: None)
    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(OSError, match=rf"weights of timm/resnet18 .*, found: {error}; set weights to none"):
        state_from_hub("timm/resnet18")
    assert logging.getLogger("huggingface_hub").level == logging.WARNING
