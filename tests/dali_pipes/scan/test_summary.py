from __future__ import annotations

from dataclasses import replace

import pytest

from dali_pipes.scan.summary import describe_damage, describe_pictures, describe_scan, kind_of
from dali_pipes.video_info import VideoInfo
from tests.dali_pipes.made_video_info import make_video_info

SOUND = make_video_info(whole_file="")


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("", ""),
        ("cut: 253 frames, but the header says 363", "cut: N frames, but the header says N"),
        ("its pictures cannot be found in its packets (packet 7)", "its pictures cannot be found in its packets"),
        ("it is 4:4:4 of an old x264 (packet 0)", "it is 4:4:4 of an old x264"),
        ("no index is made for codec mpeg2video", "no index is made for codec mpeg2video"),
        ("no frame of codec msmpeg4v3", "no frame of codec msmpeg4v3"),
        ("expected PyAV 18 or newer for it, found 17.1.0", "expected PyAV 18 or newer for it, found 17.1.0"),
        ("the settings change at packet 12", "the settings change at packet N"),
    ],
)
def test_numbers_of_reasons_are_left_out_and_those_of_names_are_kept(reason: str, kind: str) -> None:
    assert kind_of(reason) == kind


def test_damage_is_named_file_by_file_and_peculiarities_are_one_line() -> None:
    packed = [replace(SOUND, whole_file="packed: two pictures in one packet")] * 120
    texts = [replace(SOUND, whole_file=f"its pictures cannot be found in its packets (packet {n})") for n in range(3)]
    damaged = {
        "run/v_007.avi": replace(SOUND, health="cut: 3 frames, but the header says 9", whole_file="it is damaged"),
        "b.avi": VideoInfo.bad("does not open: End of file"),
    }
    lines = describe_scan({**{f"{n}.avi": one for n, one in enumerate([SOUND, *packed, *texts])}, **damaged})
    assert lines == [
        "run/v_007.avi: cut: 3 frames, but the header says 9",
        "b.avi: bad: does not open: End of file",
        "126 files: 124 sound, 1 cut, 1 bad",
        "1 have a packet index: a clip reads and decodes only what it needs",
        "123 sound files are read whole for a clip: packed: two pictures in one packet (120); its pictures cannot be "
        "found in its packets (3)",
    ]
    assert describe_damage(found.health for found in damaged.values()) == "2 of 2 files are damaged: 1 cut, 1 bad"
    assert describe_damage([SOUND.health]) == ""


def test_files_that_cost_a_decoder_for_each_clip_on_a_gpu_are_counted() -> None:
    padded = make_video_info(width=340, height=256, coded_width=352, coded_height=256)
    whole = make_video_info(width=352, height=256, coded_width=352, coded_height=256)
    found = [padded, padded, whole, replace(padded, codec="vp9"), make_video_info()]
    assert describe_pictures(found) == [
        "2 (H.264, HEVC) are coded larger than shown, as 1080 lines in 1088: on a GPU each clip costs a new decoder; "
        "transcoded files do not"
    ]
    assert describe_pictures([whole]) == []
