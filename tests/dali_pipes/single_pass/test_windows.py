"""Windows of time: which frames they hold, in one decode and bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from dali_pipes.loader.cpu_render import RenderPlan
from dali_pipes.sampling.spec import SamplingRules, StudentFrames
from dali_pipes.single_pass import timed_frames as timed_module
from dali_pipes.single_pass import windows as windows_module
from dali_pipes.single_pass.test_views import ViewsRule, read_test_views
from dali_pipes.single_pass.window_reader import ReadingNotes, UnreadableVideoError, read_pictures, read_windows
from dali_pipes.single_pass.windows import WindowClip, WindowRule
from tests.conftest import numbered_clip, picture, read_number

RULES = SamplingRules(
    num_frames=4,
    frame_kind="segments",
    random_frames=False,
    crop_kind="center",
    view_aspect=128 / 96,
    center_ratio=1.0,
    flip_probability=0.0,
    student=StudentFrames(alone=True),
)
RENDER = RenderPlan(None, (96, 128), False, None, ("student",))


def rule(length_s: float, stride_s: float | None = None) -> WindowRule:
    return WindowRule(length_s, stride_s or length_s, RULES, RENDER)


def write_timed(path: Path, times_ms: Sequence[int], **options: str) -> Path:
    """A clip whose frame i shows the number i and begins at ``times_ms[i]``."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"crf": "12", "bf": "0", "g": "12", **options})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def numbers(clip: WindowClip) -> list[int]:
    return [read_number(frame)[0] for frame in clip.frames_THWC]


def read(path: Path, wanted: WindowRule) -> tuple[list[WindowClip], ReadingNotes]:
    notes = ReadingNotes()
    return list(read_windows(path, wanted, notes)), notes


def test_windows_follow_one_another_and_the_last_ends_with_the_video(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "a.mp4", "libx264", 60)  # 25 a second: 2.4 s
    clips, notes = read(path, rule(1.0))
    assert [(clip.start_s, round(clip.end_s, 6)) for clip in clips] == [(0, 1), (1, 2), (2, 2.4)]
    assert [clip.num_frames for clip in clips] == [25, 25, 10]
    assert numbers(clips[1]) == [25 + 25 * (2 * k + 1) // 8 for k in range(4)]
    assert notes.num_frames == 60 and notes.end_s == pytest.approx(2.4) and not notes.damage


def test_windows_that_overlap_decode_each_frame_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = numbered_clip(tmp_path / "a.mp4", "libx264", 50)
    decoded, opened, av_open = [], [], av.open
    timed_frames = timed_module.timed_frames

    def counted(*arguments: Any) -> Any:
        for timed in timed_frames(*arguments):
            decoded.append(timed.begin_s)
            yield timed

    monkeypatch.setattr("dali_pipes.single_pass.window_reader.timed_frames", counted)
    monkeypatch.setattr(av, "open", lambda *a, **k: opened.append(a) or av_open(*a, **k))  # type: ignore[func-returns-value]
    clips, _ = read(path, rule(1.0, 0.2))
    assert len(decoded) == 50 and len(opened) == 1
    assert [round(clip.start_s, 6) for clip in clips] == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert numbers(clips[2]) == [10 + 25 * (2 * k + 1) // 8 for k in range(4)]


def test_a_stride_beyond_the_length_leaves_gaps(tmp_path: Path) -> None:
    clips, _ = read(numbered_clip(tmp_path / "a.mp4", "libx264", 60), rule(0.4, 1.0))
    assert [(clip.start_s, clip.num_frames) for clip in clips] == [(0, 10), (1, 10), (2, 10)]


def test_times_are_those_of_the_timestamps(tmp_path: Path) -> None:
    path = write_timed(tmp_path / "a.mkv", [0, 100, 200, 1050, 1950, 5200, 5240])
    clips, _ = read(path, rule(1.0))
    assert [(clip.start_s, clip.num_frames) for clip in clips] == [(0, 3), (1, 2), (2, 0), (3, 0), (4, 0), (5, 2)]
    assert numbers(clips[1]) == [3, 3, 4, 4]
    assert [numbers(clip) for clip in clips[2:5]] == [[4, 4, 4, 4]] * 3  # the frame on the screen
    assert numbers(clips[5]) == [5, 5, 6, 6]


def test_a_window_over_the_whole_video_is_the_clip_of_evaluation(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "a.mp4", "libx264", 17)
    (clip,), _ = read(path, rule(60.0))
    views = read_test_views(ViewsRule(RULES, RENDER), str(path))
    assert views.frames_VTHWC is not None and views.valid_VT is not None
    np.testing.assert_array_equal(clip.frames_THWC, views.frames_VTHWC[0])
    np.testing.assert_array_equal(clip.valid_T, views.valid_VT[0])
    assert clip.end_s == pytest.approx(17 / 25)


def test_frames_that_wait_are_resized_above_the_limit_and_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = numbered_clip(tmp_path / "a.mp4", "libx264", 50)
    expected, _ = read(path, rule(1.0, 0.3))
    monkeypatch.setattr(windows_module, "_RAW_BYTES", 4 * 128 * 96 * 3 // 2)
    found, _ = read(path, rule(1.0, 0.3))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.frames_THWC, other.frames_THWC)
    monkeypatch.setattr(windows_module, "_MOST_BYTES", 10 * 128 * 96 * 3)
    with pytest.raises(ValueError, match=r"choose shorter windows \(--windows\)"):
        read(path, rule(1.0))


def test_no_more_frames_wait_than_a_window_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0
    limit_memory = windows_module.WindowCutter._limit_memory

    def watched(cutter: windows_module.WindowCutter) -> None:
        nonlocal most
        most = max(most, len(cutter._waiting))
        limit_memory(cutter)

    monkeypatch.setattr(windows_module.WindowCutter, "_limit_memory", watched)
    read(numbered_clip(tmp_path / "a.mp4", "libx264", 63), rule(0.4, 0.2))
    assert most <= 12


def test_a_damaged_part_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "a.avi", "mpeg4", 60)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 600] = b"\xff" * 600
    path.write_bytes(content)
    clips, notes = read(path, rule(0.4))
    assert notes.damage and all(" s" in sentence for sentence in notes.damage)
    assert sum(clip.num_damaged for clip in clips) >= 1
    assert clips[0].num_damaged == clips[-1].num_damaged == 0
    assert read_number(clips[-1].frames_THWC[-1])[0] >= 55


@pytest.mark.parametrize("content", [b"no video", b""])
def test_what_is_no_video_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(UnreadableVideoError, match="does not open: "):
        read(tmp_path / "a.mp4", rule(1.0))


def test_pictures_are_upright_with_their_times(tmp_path: Path) -> None:
    path = write_timed(tmp_path / "a.mkv", [0, 40, 900])
    shown = list(read_pictures(path))
    assert [read_number(one.picture_HWC)[0] for one in shown] == [0, 1, 2]
    assert [one.begin_s for one in shown] == pytest.approx([0, 0.04, 0.9])
