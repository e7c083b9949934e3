from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dali_pipes.manifest.build import build_manifests
from dali_pipes.storage.frame_folders import probe_frames
from dali_pipes.storage_spec import check_template
from dali_pipes.video_info import JPEG_FILES
from tests.conftest import picture
from tests.dali_pipes.storage.stored_clips import jpeg, make_config, write_frames

TEMPLATE = "img_{:05d}.jpg"


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("decode", [True, False])
def test_a_sound_folder_is_counted_from_its_first_number(first: int, decode: bool, tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "v", 5, first=first)
    for other in ("img_1.jpg", "img_000001.jpg", "flow_00001.jpg", "Thumbs.db"):
        (folder / other).write_bytes(b"not of this template")
    video_info, index = probe_frames(folder, TEMPLATE, decode=decode)
    assert (video_info.num_frames, video_info.start, video_info.codec, video_info.health, index) == (
        5,
        first,
        JPEG_FILES,
        "ok",
        None,
    )
    assert (video_info.height, video_info.width, video_info.rotation, video_info.color_range) == (96, 128, 0, "full")
    assert video_info.file_size == sum(path.stat().st_size for path in folder.glob("img_?????.jpg"))
    assert video_info.num_frames_source == ("decode" if decode else "demux")


def _garble(path: Path) -> None:
    data = path.read_bytes()
    at = data.index(b"\xff\xda") + 40
    path.write_bytes(data[:at] + bytes(200) + data[at + 200 :])


@pytest.mark.parametrize(
    ("damage", "num_frames", "health"),
    [
        (lambda f: (f / "img_00004.jpg").unlink(), 3, "cut: img_00004.jpg is missing; 3 files from there on"),
        (lambda f: (f / "img_00003.jpg").write_bytes(b""), 2, "cut: img_00003.jpg is empty; 5 files from there on"),
        (
            lambda f: (f / "img_00007.jpg").write_bytes(jpeg(picture(1, width=64))),
            6,
            "cut: img_00007.jpg: expected 128x96 pixels as the first, found 64x96; 1 files",
        ),
        (
            lambda f: (f / "img_00007.jpg").write_bytes((f / "img_00007.jpg").read_bytes()[:-9]),
            6,
            "cut: img_00007.jpg: it is truncated: its end mark is missing; 1 files",
        ),
        (
            lambda f: (f / "img_00007.jpg").write_bytes(b"\x89PNG...."),
            6,
            "cut: img_00007.jpg: expected a JPEG, found a PNG",
        ),
        (lambda f: (f / "img_00001.jpg").write_bytes(b""), 0, "bad: img_00001.jpg is empty"),
        (lambda f: (f / "img_00001.jpg").write_bytes(b"text"), 0, "bad: img_00001.jpg: expected a JPEG, found a file"),
        (
            lambda f: (f / "img_00001.jpg").unlink(),
            0,
            "bad: expected img_00000.jpg or img_00001.jpg, found img_00002.jpg",
        ),
        (
            lambda f: [one.unlink() for one in f.iterdir()],
            0,
            "bad: expected img_00000.jpg or img_00001.jpg, found none",
        ),
        (lambda f: ([one.unlink() for one in f.iterdir()], f.rmdir()), 0, "bad: does not open: No such file"),
    ],
)
@pytest.mark.parametrize("decode", [True, False])
def test_damage_is_named_and_what_is_before_it_is_used(
    damage: Callable[[Path], object], num_frames: int, health: str, decode: bool, tmp_path: Path
) -> None:
    folder = write_frames(tmp_path / "v", 7)
    damage(folder)
    video_info = probe_frames(folder, TEMPLATE, decode=decode).video_info
    assert video_info.num_frames == num_frames
    assert video_info.health.startswith(health)


def test_only_a_full_scan_sees_damage_inside_of_a_folder(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "v", 7)
    _garble(folder / "img_00004.jpg")
    assert probe_frames(folder, TEMPLATE, decode=False).video_info.health == "ok"
    video_info = probe_frames(folder, TEMPLATE, decode=True).video_info
    assert video_info.num_frames == 3 and video_info.health.startswith("cut: img_00004.jpg: it does not decode")


def test_damage_of_the_last_frame_has_a_quick_scan_find_the_first_damage(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "v", 7)
    for number in (4, 7):
        _garble(folder / f"img_{number:05d}.jpg")
    assert probe_frames(folder, TEMPLATE, decode=False).video_info.num_frames == 3


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("img.jpg", "a file name with one number"),
        ("img_{:05d}_{:d}.jpg", "a file name with one number"),
        ("frames/{:05d}.jpg", "a file name with one number"),
        ("img_{}.jpg", "a file name with one number"),
        ("img_{:05d}.png", r"expected JPEG files \(.jpg, .jpeg\), found img_{:05d}.png"),
    ],
)
def test_templates_that_name_no_frames_are_refused(template: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_template(template)
    assert check_template("{:06d}.JPEG") == "{:06d}.JPEG"


def test_lists_name_folders_or_the_videos_that_the_frames_are_from(tmp_path: Path) -> None:
    for name in ("Run/v_0", "Run/v_1", "Walk/v_2"):
        write_frames(tmp_path / name, 3, template="{:d}.jpg")
    (tmp_path / "Walk" / "empty").mkdir()
    (tmp_path / "ucf.txt").write_text("Run/v_0.avi 1\nRun/v_1.avi 1\nWalk/v_2.avi 2\n")
    storage = {"kind": "frames", "template": "{:d}.jpg"}
    hashes = set()
    for train in ("folders", "ucf.txt"):
        config = make_config(tmp_path, storage=storage, train=train)
        manifest = build_manifests(config, seed=0, splits=("train",))["train"]
        assert [manifest.path(n) for n in range(3)] == ["Run/v_0", "Run/v_1", "Walk/v_2"]
        assert manifest.row(2).path == tmp_path / "Walk" / "v_2" and manifest.row(2).template == "{:d}.jpg"
        hashes.add(manifest.content_hash)
    assert len(hashes) == 1
    with pytest.raises(ValueError, match=r"expected <class>/<video>/img_00001.jpg .* data.storage.template"):
        build_manifests(make_config(tmp_path, storage={"kind": "frames"}, train="folders"), seed=0)
    (tmp_path / "ucf.txt").write_text("Run/v_0.avi 1\nRun/v_9.avi 1\n")
    with pytest.raises(ValueError, match="ucf.txt: .* 1 of them missing: Run/v_9; check data.root"):
        build_manifests(make_config(tmp_path, storage=storage, train="ucf.txt"), seed=0)


def test_what_the_scan_found_holds_until_the_folder_or_the_template_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_frames(tmp_path / "a" / "v", 3)
    write_frames(tmp_path / "a" / "w", 3)
    for number in range(2):
        (tmp_path / "a" / "v" / f"{number}.jpg").write_bytes(jpeg(picture(number)))
        (tmp_path / "a" / "w" / f"{number}.jpg").write_bytes(jpeg(picture(number)))

    def counts(template: str) -> list[int]:
        config = make_config(tmp_path, storage={"kind": "frames", "template": template}, train="folders")
        manifest = build_manifests(config, seed=0, splits=("train",))["train"]
        return [manifest.row(n).video_info.num_frames for n in range(2)]

    assert counts(TEMPLATE) == [3, 3] and counts("{:d}.jpg") == [2, 2]
    num_tables = len(list((tmp_path / ".reskd_scan").glob("*.csv")))
    assert counts(TEMPLATE) == [3, 3] and len(list((tmp_path / ".reskd_scan").glob("*.csv"))) == num_tables
    time.sleep(0.02)
    (tmp_path / "a" / "w" / "img_00003.jpg").unlink()
    assert counts(TEMPLATE) == [3, 2]


def test_a_folder_with_damage_is_looked_into_again_for_it_may_be_mended_in_place(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "a" / "v", 3)
    config = make_config(tmp_path, storage={"kind": "frames"}, train="folders")
    third = (folder / "img_00003.jpg").read_bytes()
    for content, num_frames in ((b"", 2), (third, 3)):
        (folder / "img_00003.jpg").write_bytes(content)
        manifest = build_manifests(config, seed=0, splits=("train",))["train"]
        assert manifest.row(0).video_info.num_frames == num_frames
