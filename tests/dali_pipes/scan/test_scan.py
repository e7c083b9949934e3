from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dali_pipes.decode import pyav
from dali_pipes.scan import probe as probe_module
from dali_pipes.scan import scan as scan_module
from dali_pipes.scan.scan import Probed, default_store, scan
from dali_pipes.scan.store import VideoInfoWriter, read_video_info
from dali_pipes.video_info import VideoInfo
from tests.conftest import ENCODERS, HEIGHT, WIDTH, numbered_clip, write_clip


def probe(path: Path) -> VideoInfo:
    return scan_module.probe(path).video_info


CODEC_NAMES = {"libx264": "h264", "libvpx-vp9": "vp9", "mjpeg": "mjpeg", "mpeg4": "mpeg4"}


def _cut(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


@pytest.mark.parametrize("codec", ENCODERS)
def test_a_good_file_is_described(codec: str, tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / f"clip{ENCODERS[codec][0]}", codec, 21)
    video_info = probe(path)
    assert (video_info.num_frames, video_info.num_packets, video_info.width, video_info.height) == (
        21,
        21,
        WIDTH,
        HEIGHT,
    )
    assert (video_info.codec, video_info.pix_fmt, video_info.rotation) == (CODEC_NAMES[codec], ENCODERS[codec][1], 0)
    assert video_info.health == "ok" and video_info.file_size == path.stat().st_size


@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4"])
def test_a_cut_file_is_named_and_counted_to_its_last_good_frame(codec: str, tmp_path: Path) -> None:
    path = _cut(numbered_clip(tmp_path / "clip.avi", codec, 40), 0.6)
    video_info = probe(path)
    assert 5 < video_info.num_frames < 40 and video_info.usable
    assert video_info.health.startswith("cut: ")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("empty.mp4", b"", "is empty"), ("text.avi", b"not a video at all", "does not open")],
)
def test_what_is_no_video_is_bad(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    video_info = probe(path)
    assert not video_info.usable and video_info.num_frames == 0 and reason in video_info.health


def test_an_mp4_without_its_index_is_bad(tmp_path: Path) -> None:
    video_info = probe(_cut(numbered_clip(tmp_path / "clip.mp4", "libx264", 30), 0.5))
    assert not video_info.usable and "does not open" in video_info.health


def test_the_cache_spares_decoding_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["0.mp4", "1.mp4"]
    for location, name in enumerate(names):
        numbered_clip(tmp_path / name, "libx264", 3 + location)
    probed: list[tuple[int, int]] = []
    first = scan(names, root=tmp_path, on_progress=lambda done, total, num_bytes: probed.append((done, total)))
    assert [first[name].num_frames for name in names] == [3, 4] and probed == [(0, 2), (1, 2), (2, 2)]
    assert read_video_info(tmp_path / ".reskd_scan")["1.mp4"] == first["1.mp4"]
    again = scan(names, root=tmp_path, on_progress=lambda done, total, num_bytes: probed.append((done, total)))
    assert again == first and len(probed) == 3
    numbered_clip(tmp_path / "0.mp4", "libx264", 6)
    assert scan(names, root=tmp_path)["0.mp4"].num_frames == 6
    assert not list(tmp_path.glob("*.tmp"))


def test_two_roots_with_equal_names_share_a_cache(tmp_path: Path) -> None:
    roots = [tmp_path / "a", tmp_path / "b"]
    for number, root in enumerate(roots):
        root.mkdir()
        numbered_clip(root / "0.mp4", "libx264", 3 + number)
    probed: list[int] = []
    for turn in range(3):
        for number, root in enumerate(roots):
            found = scan(
                ["0.mp4"], root=root, store=tmp_path / "cache", on_progress=lambda done, *_: probed.append(done)
            )
            assert found["0.mp4"].num_frames == 3 + number
        assert len(probed) == 4, f"turn {turn}: each file is probed once"


def test_a_decoded_result_is_taken_though_a_later_one_has_counted_packets(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "0.mp4", "libx264", 3)
    scan(["0.mp4"], root=tmp_path)
    later = scan(["0.mp4"], root=tmp_path, store=tmp_path / "other", decode=False)["0.mp4"]
    with VideoInfoWriter(default_store(tmp_path)) as writer:
        writer.add("0.mp4", later, None)
    probed: list[int] = []
    found = scan(["0.mp4"], root=tmp_path, on_progress=lambda done, *_: probed.append(done))["0.mp4"]
    assert found.num_frames_source == "decode" and not probed


def test_a_cache_of_another_version_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("path,frames\na.mp4,3\n")
    assert read_video_info(tmp_path) == {}


def test_a_folder_that_cannot_be_written_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_store(tmp_path / "data").parent == tmp_path / "home" / ".cache" / "reskd"


def test_a_file_that_kills_its_decoder_is_bad_and_the_others_are_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a.mp4", "killer.mp4", "c.mp4"]
    for name in names:
        numbered_clip(tmp_path / name, "libx264", 3)
    monkeypatch.setattr(scan_module, "probe", probe_or_die)
    video_info = scan(names, root=tmp_path)
    assert [video_info[name].health for name in names] == ["ok", "bad: the decoder's process died", "ok"]


def probe_or_die(path: Path, *, decode: bool) -> Probed:
    if path.name == "killer.mp4":
        os._exit(11)
    return scan_module.probe(path, decode=decode)


def test_a_single_frame_is_a_video(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "one.avi", "mjpeg", [np.zeros((16, 32, 3), np.uint8)])
    assert (probe(path).num_frames, probe(path).height, probe(path).width) == (1, 16, 32)


def test_a_color_matrix_that_this_pyav_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = numbered_clip(tmp_path / "hd.mp4", "libx264", 3, bt709=True)
    monkeypatch.setitem(pyav._MATRIX_OF_NAME, "bt709", None)  # as bt2020 under PyAV 17
    monkeypatch.setattr(probe_module, "_CONVERTED", set())  # another test may have converted such a frame
    assert probe(clip).health.startswith("bad: no RGB picture: the color matrix is bt709: expected PyAV 18 or newer")


def test_a_folder_in_place_of_a_file_is_bad(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").mkdir()
    assert probe(tmp_path / "clip.mp4").health == "bad: it is not a regular file"


def test_a_pipe_in_place_of_a_file_is_bad_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "clip.mp4")
    assert probe(tmp_path / "clip.mp4").health == "bad: it is not a regular file"


def test_an_index_only_scan_counts_packets_and_a_later_whole_scan_looks_again(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "0.mp4", "libx264", 20)
    quick = scan(["0.mp4"], root=tmp_path, decode=False)["0.mp4"]
    assert (quick.num_frames, quick.num_frames_source, quick.whole_file) == (20, "demux", "") and quick.packets
    assert scan(["0.mp4"], root=tmp_path, decode=False)["0.mp4"] == quick
    whole = scan(["0.mp4"], root=tmp_path)["0.mp4"]
    assert (whole.num_frames, whole.num_frames_source, whole.whole_file) == (20, "decode", "")
    assert scan(["0.mp4"], root=tmp_path, decode=False)["0.mp4"] == whole
