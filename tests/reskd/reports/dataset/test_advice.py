from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dali_pipes.video_info import VideoInfo
from reskd.reports.dataset.advice import advice, describe_coded_sizes
from reskd.reports.dataset.videos import VideoSet

SOUND = VideoInfo(100, 100, 320, 256, 0, "mpeg4", "yuv420p", "untagged", "untagged", 1000, 0, "ok")
ROOT = Path("videos")


def video_set(videos: dict[str, VideoInfo]) -> VideoSet:
    """Videos by their names; the folder is the class."""
    infos = {ROOT / name: found for name, found in videos.items()}
    classes = {ROOT / name: (name.partition("/")[0],) for name in videos if "/" in name}
    return VideoSet(ROOT, infos, {}, (), classes)


def many(name: str, count: int, **changes: object) -> dict[str, VideoInfo]:
    return {f"{name}/{number}.mp4": replace(SOUND, **changes) for number in range(count)}  # type: ignore[arg-type]


def advised(videos: dict[str, VideoInfo], *, num_frames: int = 8) -> str:
    return "\n".join(line for line in advice(video_set(videos), num_frames=num_frames) if "Reading" not in line)


def test_a_sound_even_set_needs_nothing() -> None:
    assert advised(many("a", 20) | many("b", 25)) == ""


def test_damage_is_named_with_what_to_do() -> None:
    bad = {f"a/bad{number}.mp4": VideoInfo.bad("no frame") for number in range(4)}
    cut = {"a/cut.mp4": replace(SOUND, health="cut: the file ends 9 bytes too early")}
    text = advised(many("a", 20) | many("b", 20) | bad | cut)
    assert "4 videos cannot be read (a/bad0.mp4, a/bad1.mp4, a/bad2.mp4, ...): training leaves them out." in text
    assert "1 video ends in damage (a/cut.mp4): only the frames before it are used." in text


def test_small_and_uneven_classes_are_named() -> None:
    text = advised(many("large", 100) | many("small", 4) | many("tiny", 2))
    assert "2 of 3 classes have fewer than 10 usable videos (tiny: 2, small: 4)" in text
    assert "large has 50 times the videos of tiny (100 and 2)" in text


def test_videos_outside_class_folders_are_counted() -> None:
    text = advised(many("a", 20) | many("b", 20) | {"loose.mp4": SOUND})
    assert "1 video lies in no class folder (loose.mp4): training on folders does not see it." in text
    assert "There is one class" in advised(many("a", 20))


def test_copies_and_copies_with_other_labels_are_named() -> None:
    videos = many("a", 20) | many("b", 20)
    videos |= {"a/x.mp4": replace(SOUND, content=5), "b/y.mp4": replace(SOUND, content=5)}
    text = advised(videos | {"a/other.mp4": replace(SOUND, content=5, file_size=7)})
    assert "1 video seems to be a copy of another (a/x.mp4 = b/y.mp4)." in text
    assert "1 set of copies has different labels: see a/x.mp4 and b/y.mp4." in text


def test_a_size_that_suits_small_videos_is_proposed() -> None:
    text = advised(many("a", 20, width=160, height=144) | many("b", 10))
    assert "67 % of the videos have a short side below 224 pixels (median 144)" in text
    assert "128 suits these videos" in text
    assert "even one of 64 from many" in advised(
        many("a", 20, width=48, height=48) | many("b", 20, width=48, height=40)
    )


def test_videos_shorter_than_a_clip_are_counted() -> None:
    text = advised(many("a", 20) | many("b", 20) | {"a/short.mp4": replace(SOUND, num_frames=3)})
    assert "1 video has fewer than 8 frames: frames of it repeat in a clip." in text


def test_the_command_that_transcodes_is_given_where_it_pays() -> None:
    whole = many("a", 20, num_frames=3000, file_size=10_000_000, codec="hevc", width=1920, height=1080)
    (line,) = [line for line in advice(video_set(whole | many("b", 20)), num_frames=8) if "Reading" in line]
    assert line.endswith("reskd prepare transcode videos videos_small")


def test_files_for_which_a_gpu_sets_up_a_decoder_each_time_are_counted(video_info: dict[Path, VideoInfo]) -> None:
    """128 x 96 is coded as it is shown; 340 x 256 is coded in whole blocks of 16."""
    whole = next(found for found in video_info.values() if found.codec == "h264")
    padded = replace(whole, width=340, height=256, coded_width=352, coded_height=256)
    assert describe_coded_sizes([whole, replace(padded, codec="mpeg4"), replace(padded, coded_width=0)]) == []
    (sentence,) = describe_coded_sizes([whole, padded, padded])
    assert sentence.startswith("On a GPU: 2 of 3 H.264 and HEVC files") and "352 x 256 for 340 x 256" in sentence
