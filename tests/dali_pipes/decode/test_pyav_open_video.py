"""Names and titles that FFmpeg or PyAV take for something else: every reader opens such a file as any other."""

from __future__ import annotations

import io
import os
import re
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dali_pipes.config import DataConfig
from dali_pipes.decode.pyav import Window, decode_frames, ffmpeg_name, open_video, open_video_stream
from dali_pipes.manifest.build import build_manifests
from dali_pipes.scan.scan import scan
from dali_pipes.transcode.encode import OutputSettings, reencode
from tests.conftest import HEIGHT, WIDTH, numbered_clip, read_number
from tests.dali_pipes.loaders import clip_loader

NAMES = ("12:30:05.mp4", "a:b.mp4", "file:c.mp4", os.fsdecode(b"caf\xe9.mp4"))
TITLE, LATIN_1_TITLE = b"cafeQQQQ", b"caf\xe9QQQQ"


def numbered_clip_as(path: Path, codec: str = "libx264", num_frames: int = 5) -> Path:
    """A clip of any name: FFmpeg's writer is given a plain one."""
    plain = numbered_clip(path.resolve().with_name(f"plain{path.suffix}"), codec, num_frames)
    return plain.rename(path)


def clip_with_latin_1_texts(path: Path, codec: str) -> Path:
    """A video whose title, chapter and stream's title are no UTF-8, as old cameras and converters write them."""
    untitled = numbered_clip(path.with_name(f"untitled{path.suffix}"), codec, 5)
    with av.open(str(untitled)) as source, av.open(str(path), "w") as target:
        target.metadata["title"] = target.metadata["comment"] = TITLE.decode()
        chapter = {
            "id": 1,
            "start": 0,
            "end": 100,
            "time_base": Fraction(1, 1000),
            "metadata": {"title": TITLE.decode()},
        }
        target.set_chapters([chapter])
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.metadata["title"] = stream.metadata["handler_name"] = TITLE.decode()
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    untitled.unlink()
    content = path.read_bytes()
    for encoding in ("utf-8", "utf-16-le"):  # ASF has the latter: half of a surrogate pair
        wrong = LATIN_1_TITLE if encoding == "utf-8" else TITLE.decode().encode(encoding)[:-2] + b"\x00\xd8"
        content = content.replace(TITLE.decode().encode(encoding), wrong)
    assert content != path.read_bytes()
    path.write_bytes(content)
    return path


def numbers_of(video: Path | io.BytesIO) -> list[int]:
    window = Window((0, 0, HEIGHT, WIDTH), 0, WIDTH, HEIGHT)
    return [read_number(frame)[0] for frame in decode_frames(video, np.arange(5), window)]


def check_scan_loader_and_transcode(root: Path, target: Path, names: list[str]) -> None:
    """``root`` and ``target`` as a user gives them; the videos lie in class folders."""
    video_info = scan(names, root=root, store=root / "store")
    assert {name: (found.health, found.num_frames) for name, found in video_info.items()} == dict.fromkeys(
        names, ("ok", 5)
    )
    config = DataConfig(
        root=root,
        train="folders",
        val_fraction=0,
        scan_cache=root / "store",
        sampling={"num_frames": 2, "test_crop_ratio": 1.0},
        views={"student": {"size": (HEIGHT, WIDTH), "source": "decoded"}},
        loader={"num_workers": 1, "num_threads": 1, "sparse_decode": False},
    )
    manifest = build_manifests(config, seed=0, splits=("train",))["train"]
    options = {"views": ("student",), "mode": "eval", "batch_size": len(names)}
    with closing(clip_loader(manifest, config, **options)) as loader:
        (batch,) = loader
        assert not batch.substituted_N.any() and batch.positions_N.tolist() == list(range(len(names)))
    for name in names:
        result = reencode(root / name, target / Path(name).with_suffix(".mp4").name, OutputSettings(short_side=16))
        assert (result.status, result.frames_out) == ("ok", 5)


def test_a_name_that_looks_like_an_address_is_read_under_a_relative_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data/class").mkdir(parents=True)
    Path("new:er").mkdir()
    for name in NAMES:
        numbered_clip_as(Path("data/class", name))
        numbered_clip_as(Path(name))
        assert numbers_of(Path(name)) == [0, 1, 2, 3, 4]
    check_scan_loader_and_transcode(Path("data"), Path("new:er"), [f"class/{name}" for name in NAMES])
    video_info = scan(list(NAMES), root=Path(), store=tmp_path / "store")
    assert all(found.health == "ok" for found in video_info.values())


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".avi", "mpeg4"),
        (".mp4", "libx264"),
        (".mov", "libx264"),
        (".mkv", "libx264"),
        (".flv", "libx264"),
        (".wmv", "mpeg4"),
        (".ts", "libx264"),
        (".webm", "libvpx-vp9"),
    ],
)
def test_a_text_in_latin_1_makes_no_file_bad(suffix: str, codec: str, tmp_path: Path) -> None:
    (tmp_path / "data" / "class").mkdir(parents=True)
    path = clip_with_latin_1_texts(tmp_path / "data" / "class" / f"titled{suffix}", codec)
    if suffix == ".avi":
        with pytest.raises(UnicodeDecodeError):
            av.open(str(path))
    assert numbers_of(path) == numbers_of(io.BytesIO(path.read_bytes())) == [0, 1, 2, 3, 4]
    (tmp_path / "new").mkdir()
    check_scan_loader_and_transcode(tmp_path / "data", tmp_path / "new", [f"class/titled{suffix}"])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("clip.mp4", "clip.mp4"),
        ("/data/12:30.mp4", "/data/12:30.mp4"),
        ("12:30.mp4", "./12:30.mp4"),
        ("a:b/clip.mp4", "./a:b/clip.mp4"),
        ("a/b:c.mp4", "a/b:c.mp4"),
        ("http://host/a.mp4", "./http://host/a.mp4"),
    ],
)
def test_ffmpeg_is_given_the_name_that_the_user_knows(path: str, name: str) -> None:
    assert ffmpeg_name(path) == name


def test_a_message_names_the_path_as_given(tmp_path: Path) -> None:
    with pytest.raises(av.error.FileNotFoundError) as raised:
        open_video(tmp_path / "no.mp4")
    assert raised.value.filename == str(tmp_path / "no.mp4")


def two_streams(path: Path, *, default: int | None) -> Path:
    """A video with streams of 3 and of 8 pictures."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mpeg4", rate=25, width=64, height=48, pix_fmt="yuv420p") for _ in range(2)]
        for number, stream in enumerate(streams):
            stream.disposition = av.stream.Disposition.default if number == default else 0
        for stream, count in zip(streams, (3, 8), strict=True):
            for level in range(count):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * level, np.uint8), format="rgb24")
                frame.pts = level
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("default", [0, 1])
def test_of_several_video_streams_the_default_one_is_read(default: int, tmp_path: Path) -> None:
    path = two_streams(tmp_path / "two.mkv", default=default)
    with open_video(path) as container:
        assert open_video_stream(container).index == default


def test_every_reader_opens_videos_in_one_place() -> None:
    root = Path(__file__).parents[3]
    opens = re.compile(r"\bav\.open\((?![^\n]*\"w\")")
    found = {
        path.relative_to(root).as_posix()
        for folder in ("dali_pipes", "reskd", "tools", "benchmarks")
        for path in (root / folder).rglob("*.py")
        if opens.search(path.read_text(encoding="utf-8"))
    }
    alone = "reskd/inference/clients/run_onnx.py"  # runs without this package
    assert found == {"dali_pipes/decode/pyav.py", "dali_pipes/decode/live.py", alone}
