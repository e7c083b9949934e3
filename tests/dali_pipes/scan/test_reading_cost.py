from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from dali_pipes.decode.cost import Keyframes, count_decoded
from dali_pipes.scan.reading_cost import describe_cost, mean_decoded, reading_factor
from dali_pipes.scan.scan import scan
from dali_pipes.video_info import VideoInfo
from tests.dali_pipes.made_video_info import make_video_info
from tests.dali_pipes.streams import RECIPES, make


@pytest.mark.parametrize("distances", [[250], [1] * 100, [12] * 20, [4] * 60, [100, 3, 40], [1]])
@pytest.mark.parametrize("num_frames", [1, 8])
def test_the_mean_is_that_of_selecting_packets(distances: list[int], num_frames: int) -> None:
    exact = count_decoded(Keyframes.from_distances(distances), num_frames, num_draws=256)  # other draws
    assert mean_decoded(distances, num_frames) == pytest.approx(exact.from_keyframes, rel=0.15)
    assert mean_decoded(distances, num_frames, from_start=True) == pytest.approx(exact.from_start, rel=0.15)


def video(num_frames: int, width: int, height: int, codec: str = "h264") -> VideoInfo:
    info = make_video_info(num_frames=num_frames, num_packets=num_frames, whole_file="packed")
    return replace(info, width=width, height=height, codec=codec, file_size=2000 * num_frames)


def test_large_files_that_are_read_whole_cost_many_times_what_transcoded_ones_do() -> None:
    assert 30 < reading_factor([video(300, 1920, 1080)]) < 200
    assert 5 < reading_factor([video(300, 340, 256)]) < 15
    assert reading_factor([video(8, 340, 256)]) < 1.5
    assert reading_factor([video(300, 1920, 1080)] * 1000) == pytest.approx(reading_factor([video(300, 1920, 1080)]))
    assert reading_factor([]) == reading_factor([VideoInfo.bad("no video")]) == 1


def test_an_index_spares_reading_and_a_lost_one_does_not(tmp_path: Path) -> None:
    make(RECIPES["mjpeg avi"], tmp_path)
    found = scan(["clip.avi"], root=tmp_path, store=tmp_path / "store")
    with_index = reading_factor(found.values())
    for part in (tmp_path / "store").glob("*.packets"):
        part.unlink()
    assert with_index < reading_factor(found.values())


def test_the_line_names_the_factor_and_a_command_that_can_be_pasted() -> None:
    assert describe_cost([video(8, 340, 256)], Path("videos")) == []
    lists, classes = [Path("train.csv"), Path("test.csv")], [Path("classes.txt")]
    (line,) = describe_cost([video(100, 340, 256)], Path("my videos"), lists, classes)
    said, _, command = line.partition(": ")
    assert re.fullmatch(r"reading clips costs about \d\.\d times what it would from transcoded files", said)
    assert shlex.split(command)[2:] == [
        *("transcode", "my videos", "my videos_small"),
        *("--list", "train.csv", "test.csv", "--classes", "classes.txt"),
    ]
    assert re.search(r"about \d\d+ times", describe_cost([video(300, 1920, 1080)], Path("videos"))[0])
