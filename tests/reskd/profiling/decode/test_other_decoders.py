"""The other decoders show the frames that the plan wants, and what they decode is counted right."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dali_pipes.manifest.manifest import ManifestRow
from dali_pipes.sampling.clip_plan import ClipPlan, Crop
from dali_pipes.scan.scan import probe
from reskd.profiling.decode.candidates import CANDIDATES
from reskd.profiling.decode.other_decoders import (
    DecordReader,
    Frames,
    PacketIndex,
    PyAVReader,
    Reader,
    StageClock,
    TorchcodecReader,
    frames_put_out_by_seeking,
    render_views,
)
from tests.conftest import ENCODERS, HEIGHT, WIDTH, numbered_clip, read_number, set_display_rotation

NUM_FRAMES = 60
WANTED = [[3, 5, 30, 31], [0, 1, 2, 3], [59, 59, 59, 59], [11, 12, 24, 47], [13, 25, 37, 58]]


def _works(package: str, name: str) -> Callable[[], Reader]:
    reason = CANDIDATES[name].why_not(None, "cpu")  # type: ignore[arg-type]
    if importlib.util.find_spec(package) is None or reason:
        pytest.skip(f"{package} is not here: {reason}")
    return {
        "torchcodec-exact": lambda: TorchcodecReader("exact"),
        "torchcodec-approximate": lambda: TorchcodecReader("approximate"),
        "decord": DecordReader,
    }[name]


@pytest.fixture(scope="module", params=list(ENCODERS))
def row(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ManifestRow:
    codec = request.param
    path = numbered_clip(tmp_path_factory.mktemp("peers") / f"clip{ENCODERS[codec][0]}", codec, NUM_FRAMES)
    return ManifestRow(path, 0, probe(path).video_info)


WHOLE = Crop(0, 0, 8, 8)


def _plan(numbers: list[int], crop: Crop = WHOLE, *, flip: bool = False) -> ClipPlan:
    valid_T, all_T = np.ones(len(numbers), np.bool_), np.arange(len(numbers), dtype=np.int32)
    return ClipPlan(0, 0, 0, np.array(numbers, np.int32), valid_T, all_T, valid_T, crop, flip)


def _numbers(frames: Frames) -> list[int]:
    return [read_number(picture)[0] for picture in frames.data_THWC.numpy()]


@pytest.mark.parametrize("wanted", WANTED)
def test_pyav_shows_the_wanted_frames_and_decodes_as_many_as_the_rule_says(row: ManifestRow, wanted: list[int]) -> None:
    found = PyAVReader()(row, _plan(wanted), StageClock())
    assert found.data_THWC.shape == (4, HEIGHT, WIDTH, 3)
    assert _numbers(found) == wanted
    assert found.num_decoded == frames_put_out_by_seeking(PacketIndex.of(row), wanted)


@pytest.mark.parametrize(
    ("package", "name"),
    [("torchcodec", "torchcodec-exact"), ("torchcodec", "torchcodec-approximate"), ("decord", "decord")],
)
def test_the_others_show_the_wanted_frames(row: ManifestRow, package: str, name: str) -> None:
    reader = _works(package, name)()
    for wanted in WANTED:
        assert _numbers(reader(row, _plan(wanted), StageClock())) == wanted


def test_only_the_nearer_of_here_and_a_keyframe_is_decoded_from() -> None:
    index = PacketIndex(tuple(range(0, 500, 10)), (0, 12, 24))
    assert frames_put_out_by_seeking(index, [3, 5, 30]) == 13
    assert frames_put_out_by_seeking(index, [12, 12, 13]) == 2
    assert frames_put_out_by_seeking(None, [3, 30, 5]) == 31


def test_a_file_whose_times_do_not_tell_the_frame_is_decoded_from_the_start(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "b.avi", "mpeg4", 30)  # DivX and XviD pack B-frames into such files
    row = ManifestRow(path, 0, probe(path).video_info)
    assert PacketIndex.of(row) is None
    found = PyAVReader()(row, _plan([2, 20]), StageClock())
    assert (_numbers(found), found.num_decoded) == ([2, 20], 21)


def test_a_turned_picture_comes_out_upright(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "turned.mp4", "libx264", 14)
    set_display_rotation(path, quarter_turns_clockwise=1)
    found = PyAVReader()(ManifestRow(path, 0, probe(path).video_info), _plan([1, 13]), StageClock())
    assert found.data_THWC.shape == (2, WIDTH, HEIGHT, 3)


def test_a_video_that_ends_too_soon_is_named(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "short.mp4", "libx264", 14)
    with pytest.raises(ValueError, match=r"short.mp4: expected frame 20, found 14 frames; scan it again"):
        PyAVReader()(ManifestRow(path, 0, probe(path).video_info), _plan([1, 20]), StageClock())


def test_views_are_cropped_flipped_and_the_student_comes_from_the_teacher() -> None:
    pictures = torch.zeros(2, 10, 12, 3, dtype=torch.uint8)
    pictures[:, 2:6, 3:5] = 200  # the crop's left third
    plan = _plan([0, 1], Crop(2, 3, 4, 6), flip=True)
    teacher, student = render_views(pictures, plan, ((8, 12), (4, 6)))
    assert teacher.shape == (2, 8, 12, 3) and student.shape == (2, 4, 6, 3)
    assert teacher.is_contiguous() and student.is_contiguous() and teacher.dtype == torch.uint8
    assert teacher[0, :, -3:].float().mean() == 200 and teacher[0, :, :6].float().mean() == 0
    assert student[0, :, -1].float().mean() == 200
