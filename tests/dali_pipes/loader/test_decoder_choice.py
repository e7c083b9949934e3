"""Who decodes a file, and that both decoders give the same frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest

from dali_pipes.loader.decoder_choice import DECISIVE_FACTS, choose_decoder, why_not_dali
from dali_pipes.video_info import VideoInfo
from tests.conftest import ENCODERS, read_number, write_clip
from tests.dali_pipes.loader.test_clip_loader import make_config, make_manifest, take
from tests.dali_pipes.loaders import clip_loader
from tests.dali_pipes.made_video_info import make_video_info

GOOD = make_video_info(codec="vp9")
MJPEG = replace(GOOD, codec="mjpeg", pix_fmt="yuvj422p", matrix="bt601", color_range="full")


@pytest.mark.parametrize(
    ("video_info", "cpu", "cuda"),
    [
        (GOOD, "dali", "dali"),
        (replace(GOOD, codec="vp8"), "dali", "dali"),
        (MJPEG, "dali", "pyav"),
        (replace(GOOD, codec="h264"), "pyav", "dali"),
        (replace(GOOD, codec="hevc", matrix="bt601"), "pyav", "dali"),
        (replace(GOOD, codec="av1"), "pyav", "dali"),
        (replace(GOOD, codec="mpeg4"), "pyav", "pyav"),
        (replace(GOOD, rotation=90), "pyav", "pyav"),
        (replace(GOOD, mirrored=True), "pyav", "pyav"),
        (replace(GOOD, num_video_streams=2), "pyav", "pyav"),
        (replace(GOOD, pixel_width=16, pixel_height=15), "dali", "dali"),
        (replace(GOOD, matrix="bt709"), "pyav", "pyav"),
        (replace(GOOD, color_range="full"), "pyav", "pyav"),
        (replace(GOOD, num_packets=25), "pyav", "pyav"),
        (replace(GOOD, health="cut"), "pyav", "pyav"),
        (replace(GOOD, pix_fmt="yuv420p10le"), "pyav", "pyav"),
        (replace(GOOD, pix_fmt="yuv444p"), "pyav", "pyav"),
    ],
)
def test_dali_decodes_only_what_it_gets_right(video_info: VideoInfo, cpu: str, cuda: str) -> None:
    assert (
        choose_decoder(video_info, "cpu", "prefer_dali") == cpu and choose_decoder(video_info, "cpu", "auto") == "pyav"
    )
    assert choose_decoder(video_info, "cuda", "auto") == choose_decoder(video_info, "cuda", "prefer_dali") == cuda


def test_forcing_allows_what_is_not_proven_but_nothing_that_is_wrong() -> None:
    assert why_not_dali(replace(GOOD, codec="mpeg4"), "cuda", allow_unproven=True) is None
    assert why_not_dali(replace(GOOD, rotation=90), "cuda", allow_unproven=True) == "it is rotated by 90 degrees"
    assert why_not_dali(replace(GOOD, mirrored=True), "cuda", allow_unproven=True) == "it is mirrored"


def test_files_of_a_kind_differ_in_nothing_that_the_choice_looks_at() -> None:
    """Files are counted by kind: a fact that decides must tell kinds apart."""
    looked_at = set()

    class Spy:
        def __getattr__(self, name: str) -> object:
            looked_at.add(name)
            return getattr(GOOD, name)

    assert why_not_dali(cast(VideoInfo, Spy()), "cpu", allow_unproven=False) is None
    assert looked_at == {*DECISIVE_FACTS, "num_frames", "num_packets"}


@pytest.mark.parametrize(
    ("codec", "allowed"),
    [("mjpeg", True), ("libvpx-vp9", True), ("libx264", False)],
)
def test_a_forced_way_in_is_honored_or_refused(codec: str, allowed: bool, make_folder: Callable[..., Path]) -> None:
    config = make_config(make_folder({"a": [codec]}, num_frames=8), decoder="dali")
    manifest = make_manifest(config)
    options: dict[str, Any] = {"views": ("student",), "mode": "eval", "batch_size": 1}
    if allowed:
        assert "DALI cpu" in clip_loader(manifest, config, **options).describe_reading()
    else:
        with pytest.raises(ValueError, match=r"decoder=dali: .* on cpu, found a/00.mp4: codec h264 is not among mjpeg"):
            clip_loader(manifest, config, **options)
    config = make_config(config.root, decoder="pyav")
    assert "PyAV" in clip_loader(manifest, config, **options).describe_reading()


@pytest.fixture(scope="module")
def colored_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Moving colors with fine texture: worst for chroma, where decoders differ."""
    folder = tmp_path_factory.mktemp("colored")
    (folder / "a").mkdir()
    y, x = np.mgrid[0:121, 0:161]  # odd sizes
    texture = np.random.default_rng(0).integers(-20, 20, (121, 161, 1))
    frames = [
        np.stack([128 + 100 * np.sin((x + 3 * t) / 9), 128 + 100 * np.sin((y - 2 * t) / 7), 0 * x + 8 * t], -1)
        + texture
        for t in range(24)
    ]
    pictures = [frame.clip(0, 255).astype(np.uint8) for frame in frames]
    even = [picture[:120, :160] for picture in pictures]
    write_clip(folder / "a" / "mjpeg.avi", "mjpeg", pictures)
    write_clip(folder / "a" / "vp9.webm", "libvpx-vp9", even)
    write_clip(folder / "a" / "vp9_odd.webm", "libvpx-vp9", pictures)
    return folder


@pytest.mark.parametrize("content", ["numbers", "colors"])
def test_both_ways_in_give_the_same_frames(
    content: str, colored_folder: Path, make_folder: Callable[..., Path]
) -> None:
    codecs = [codec for codec in ENCODERS if codec in ("mjpeg", "libvpx-vp9")]
    folder = colored_folder if content == "colors" else make_folder({"a": codecs}, num_frames=24)
    pixels = {}
    decoders: tuple[Literal["dali", "pyav"], ...] = ("dali", "pyav")
    for way in decoders:
        config = make_config(folder, decoder=way, views={"student": {"size": (96, 128), "source": "decoded"}})
        manifest = make_manifest(config)
        loader = clip_loader(manifest, config, views=("student",), mode="eval", batch_size=len(manifest))
        view = take(loader, 1)[0].views["student"]
        pixels[way] = view.data_NTHWC.numpy().astype(int)
        if content == "numbers":
            for clip in range(len(manifest)):
                seen = [read_number(frame)[0] for frame in view.data_NTHWC[clip].numpy()]
                assert seen == view.frame_index_NT[clip].tolist()
    difference = np.abs(pixels["dali"] - pixels["pyav"])
    assert difference.mean() < 2
    assert np.quantile(difference, 0.99) <= 10
