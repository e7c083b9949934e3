from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from dali_pipes.batch import ClipBatch, View
from reskd.gpu_checks import frames
from reskd.gpu_checks.frames import FrameCheck, check_codec

pytest.importorskip("nvidia.dali")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "SIZES", ((128, 212),))


@pytest.mark.slow
def test_a_codec_that_dali_decodes_is_right(quick: None, tmp_path: Path) -> None:
    found = check_codec("mjpeg", tmp_path, device="cpu")
    assert found["right"] is True and found["refused"] == []
    assert [check["reading"] for check in found["checks"]] == ["whole files", "needed packets"]
    assert all(check["num_frames"] == 48 and check["num_wrong"] == 0 for check in found["checks"])


def test_a_codec_that_the_loader_refuses_is_neither_right_nor_wrong(quick: None, tmp_path: Path) -> None:
    found = check_codec("h264", tmp_path, device="cpu")
    assert found["right"] is None and found["refused"] == ["codec h264 is not among mjpeg, vp8, vp9"]


@pytest.mark.slow
def test_frames_of_another_time_are_wrong(quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the decoder had taken a hidden picture for a shown one."""
    read = frames._read

    def read_late(manifest: Any, config: Any, device: Any, messages: list[str]) -> Sequence[ClipBatch]:
        batches = read(manifest, config, device, messages)
        if config.loader.decoder != "dali":
            return batches
        views = [batch.views["student"] for batch in batches]
        assert all(isinstance(view, View) for view in views)
        return [
            ClipBatch(
                {"student": View(view.data.roll(1, dims=1).contiguous(), view.frame_index_NT, view.valid_NT)},
                batch.labels_N, batch.ids_N, batch.positions_N, batch.substituted_N,
            )
            for batch, view in zip(batches, views, strict=True)
        ]  # fmt: skip

    monkeypatch.setattr(frames, "_read", read_late)
    found = check_codec("mjpeg", tmp_path, device="cpu")
    assert found["right"] is False
    assert all(check["num_wrong"] == 48 for check in found["checks"])


@pytest.mark.parametrize(
    "changes",
    [{"num_wrong": 1}, {"mean_difference": 9.0}, {"messages": ("it restarted",)}, {"refused": "no decoder"}],
)
def test_any_of_these_is_not_right(changes: dict[str, Any]) -> None:
    assert FrameCheck("vp9", "256x256", "whole files", num_frames=48).right
    assert not FrameCheck("vp9", "256x256", "whole files", **{"num_frames": 48, **changes}).right


def test_a_codec_without_an_encoder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected an encoder of theora in PyAV's FFmpeg"):
        check_codec("theora", tmp_path, device="cpu")


def test_padding_is_no_frame() -> None:
    view = View(torch.zeros(2, 8, 4, 4, 3, dtype=torch.uint8), torch.zeros(2, 8, dtype=torch.int64),
                torch.ones(2, 8, dtype=torch.bool))  # fmt: skip
    numbers = torch.tensor([0, -1])
    batch = ClipBatch({"student": view}, numbers, numbers, numbers, torch.zeros(2, dtype=torch.bool))
    pictures, wanted = frames._frames_of([batch])
    assert len(pictures) == len(wanted) == 8
