"""Who decodes a file, and that both decoders give the same frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest

from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.loader.decoder_choice import DECISIVE_FACTS, FACTS_FOR_NVDEC, DecoderRule
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.nvdec import verdicts
from dali_pipes.nvdec.abilities import Nvdec, PictureLimits
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
        (GOOD, "dali", "pyav"),
        (replace(GOOD, codec="vp8"), "dali", "pyav"),
        (MJPEG, "dali", "pyav"),
        (replace(GOOD, codec="h264"), "pyav", "dali"),
        (replace(GOOD, codec="hevc", matrix="bt601"), "pyav", "dali"),
        (replace(GOOD, codec="h264", interlaced=True), "pyav", "pyav"),
        (replace(GOOD, codec="av1"), "pyav", "pyav"),
        (replace(GOOD, codec="mpeg4"), "pyav", "pyav"),
        (replace(GOOD, rotation=90), "pyav", "pyav"),
        (replace(GOOD, mirrored=True), "pyav", "pyav"),
        (replace(GOOD, num_video_streams=2), "pyav", "pyav"),
        (replace(GOOD, pixel_width=16, pixel_height=15), "dali", "pyav"),
        (replace(GOOD, codec="h264", pixel_width=16, pixel_height=15), "pyav", "dali"),
        (replace(GOOD, matrix="bt709"), "pyav", "pyav"),
        (replace(GOOD, color_range="full"), "pyav", "pyav"),
        (replace(GOOD, num_packets=25), "pyav", "pyav"),
        (replace(GOOD, health="cut"), "pyav", "pyav"),
        (replace(GOOD, pix_fmt="yuv420p10le"), "pyav", "pyav"),
        (replace(GOOD, pix_fmt="yuv444p"), "pyav", "pyav"),
    ],
)
def test_dali_decodes_only_what_it_gets_right(video_info: VideoInfo, cpu: str, cuda: str) -> None:
    assert DecoderRule("cpu", "prefer_dali").choose(video_info) == cpu
    assert DecoderRule("cpu").choose(video_info) == "pyav"
    assert DecoderRule("cuda").choose(video_info) == DecoderRule("cuda", "prefer_dali").choose(video_info) == cuda


@pytest.mark.parametrize("fact", [{"rotation": 90}, {"mirrored": True}, {"num_packets": 25}, {"matrix": "bt709"}])
def test_what_dali_gets_wrong_is_refused_on_a_gpu_too(fact: dict[str, Any]) -> None:
    h264 = replace(GOOD, codec="h264")
    assert DecoderRule("cuda").choose(h264) == "dali" and DecoderRule("cuda").choose(replace(h264, **fact)) == "pyav"


def test_forcing_allows_what_is_not_proven_but_nothing_that_is_wrong() -> None:
    forced = DecoderRule("cuda", "dali")
    assert forced.why_not_dali(replace(GOOD, codec="mpeg4")) is None
    assert forced.why_not_dali(replace(GOOD, codec="h264", interlaced=True)) is None
    assert forced.why_not_dali(replace(GOOD, rotation=90)) == "it is rotated by 90 degrees"
    assert forced.why_not_dali(replace(GOOD, mirrored=True)) == "it is mirrored"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_files_of_a_kind_differ_in_nothing_that_the_choice_looks_at(device: Literal["cpu", "cuda"]) -> None:
    """Files are counted by kind: a fact that decides must tell kinds apart."""
    looked_at = set()

    class Spy:
        def __getattr__(self, name: str) -> object:
            looked_at.add(name)
            return getattr(replace(GOOD, codec="h264" if device == "cuda" else "vp9"), name)

    nvdec = Nvdec(limits={"h264": PictureLimits(48, 16, 4096, 4096, 65536)})
    assert DecoderRule(device, "prefer_dali", nvdec).why_not_dali(cast(VideoInfo, Spy())) is None
    for_nvdec = FACTS_FOR_NVDEC if device == "cuda" else ()
    assert looked_at == {*DECISIVE_FACTS, *for_nvdec, "num_frames", "num_packets"}


def _manifest_of(*video_info: VideoInfo) -> Manifest:
    videos = [LabeledVideo(f"{number}.mp4", (0,), "") for number in range(len(video_info))]
    of_path = {video.path: one for video, one in zip(videos, video_info, strict=True)}
    return Manifest.from_video_info(Path("root"), ["a"], videos, of_path)


H264, AV1 = replace(GOOD, codec="h264"), replace(GOOD, codec="av1")
LIMITS = PictureLimits(48, 16, 4096, 4096, 65536)


@pytest.mark.parametrize(
    ("nvdec", "expected"),
    [
        (Nvdec("no library"), "4 h264 PyAV, 2 av1 PyAV; 6 by PyAV as no library"),
        (Nvdec(), "3 h264 DALI mixed (NVDEC), 2 av1 PyAV, 1 h264 PyAV; 2 by PyAV as av1 on a GPU is not proven "
         "(reskd gpu-check); 1 by PyAV as it may hold fields"),
        (Nvdec(limits={"h264": LIMITS}, proven=frozenset({"av1"})),
         "3 h264 DALI mixed (NVDEC), 2 av1 PyAV, 1 h264 PyAV; 2 by PyAV as this GPU's video decoder has no av1; "
         "1 by PyAV as it may hold fields"),
        (Nvdec(limits={"h264": LIMITS, "av1": LIMITS}, proven=frozenset({"av1"})),
         "3 h264 DALI mixed (NVDEC), 2 av1 DALI mixed (NVDEC), 1 h264 PyAV; 1 by PyAV as it may hold fields"),
        (Nvdec(limits={"h264": LIMITS, "av1": LIMITS}, proven=frozenset({"av1"}), wrong=frozenset({"h264"})),
         "4 h264 PyAV, 2 av1 DALI mixed (NVDEC); 4 by PyAV as reskd gpu-check found wrong frames of h264 on this "
         "GPU"),
        (Nvdec(limits={"h264": LIMITS._replace(max_width=128, max_macroblocks=48)}),
         "2 h264 DALI mixed (NVDEC), 2 av1 PyAV, 2 h264 PyAV; 2 by PyAV as this GPU's video decoder has no av1; "
         "1 by PyAV as it may hold fields; 1 by PyAV as this GPU decodes h264 up to 128x4096 pixels"),
        (Nvdec(limits={"h264": LIMITS._replace(min_height=97), "av1": LIMITS}),
         "4 h264 PyAV, 2 av1 PyAV; 4 by PyAV as this GPU decodes h264 from 48x97 pixels on; "
         "2 by PyAV as av1 on a GPU is not proven (reskd gpu-check)"),
    ],
)  # fmt: skip
def test_what_the_gpu_does_not_decode_goes_to_pyav_with_the_reason(nvdec: Nvdec, expected: str) -> None:
    """One file is of 130 x 96 pixels in 144 x 96 coded ones, 54 blocks of 16 x 16."""
    wide = replace(H264, width=130, coded_width=144, coded_height=96)
    manifest = _manifest_of(H264, H264, wide, replace(H264, interlaced=True), AV1, AV1)
    counts = DecoderRule("cuda", nvdec=nvdec).count(manifest)
    assert counts.describe() == f"decoders: {expected}"
    assert not DecoderRule("cuda", "pyav", nvdec).count(manifest).not_by_nvdec


def test_a_forced_gpu_that_cannot_is_refused() -> None:
    with pytest.raises(ValueError, match=r"DALI can decode on cuda, found 1.mp4: this GPU's video decoder has no av1"):
        DecoderRule("cuda", "dali", Nvdec(limits={"h264": LIMITS})).check_forced(_manifest_of(H264, AV1))


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


@pytest.mark.parametrize(
    ("nvdec", "expected"),
    [
        (Nvdec("it has no decoder"), "decoders: 2 h264 PyAV; 2 by PyAV as it has no decoder; 2 of 2 files read by"),
        (Nvdec(limits={"h264": LIMITS}), "decoders: 2 h264 DALI mixed (NVDEC); 2 of 2 files read by"),
    ],
)
def test_a_loader_for_a_gpu_asks_its_driver_once(
    nvdec: Nvdec, expected: str, make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(verdicts, "nvdec_of", lambda index: asked.append(index) or nvdec)
    config = make_config(make_folder({"a": ["libx264"] * 2}, num_frames=8))
    options: dict[str, Any] = {"views": ("student",), "mode": "eval", "batch_size": 1}
    loader = clip_loader(make_manifest(config), config, device="cuda:1", **options)
    assert loader.describe_reading().startswith(expected) and asked == [1]


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
