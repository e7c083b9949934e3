from __future__ import annotations

import gzip
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dali_pipes.checksums import checksum_of_json
from dali_pipes.decode.pyav import Window, decode_frames
from dali_pipes.loader.clip_reader import SPARSE, WHOLE, ClipReader
from dali_pipes.loader.decoder_choice import DecoderRule
from dali_pipes.manifest.build import build_manifests
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.clip_plan import VideoShape, plan_clip
from dali_pipes.sampling.spec import rules_from_config
from dali_pipes.storage import shards as shards_module
from dali_pipes.storage.shards import expand_pattern, list_shards
from dali_pipes.storage.tar_index import TarVideo, list_videos, read_member
from dali_pipes.storage_spec import Storage, is_shard_pattern
from tests.conftest import HEIGHT, WIDTH, numbered_clip, read_number
from tests.dali_pipes.storage.stored_clips import make_config, write_tar

SHARDS = {"kind": "shards"}
NUM_FRAMES = 60


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return numbered_clip(tmp_path_factory.mktemp("v") / "v.mp4", "libx264", NUM_FRAMES).read_bytes()


def list_one(path: Path) -> list[tuple[str, tuple[str, ...]]]:
    found = list_shards(path.parent, Storage("shards"), path.name, path.parent / "store")
    return [(video.path, video.labels) for video in found]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"a.cls": b"3"}, ("3",)),
        ({"a.txt": b"swim \n"}, ("swim",)),
        ({"a.json": b'{"label": 7, "fps": 25}'}, ("7",)),
        ({"a.json": b'{"label": ["run", "jump"]}'}, ("run", "jump")),
        ({"a.txt": b"a caption of it", "a.cls": b"1"}, ("1",)),
        ({"a.json": b'{"fps": 25}', "a.txt": b"swim"}, ("swim",)),
    ],
)
def test_labels_are_read_as_webdataset_writes_them(
    labels: Mapping[str, bytes], expected: tuple[str, ...], tmp_path: Path
) -> None:
    for members in ({"a.mp4": b"x", **labels}, {**labels, "a.mp4": b"x"}):
        assert list_one(write_tar(tmp_path / "s.tar", members)) == [("s.tar/a.mp4", expected)]
        os.utime(tmp_path / "s.tar", ns=(0, len(members)))


def test_members_are_found_whatever_their_names_and_neighbors(tmp_path: Path) -> None:
    long_name = "d/" + "n" * 150
    members = {
        "./x/1.left.mp4": b"one",
        "x/1.cls": b"0",
        "x/._1.mp4": b"of macOS",
        f"{long_name}.avi": b"two",
        f"{long_name}.cls": b"1",
        "x/2.jpg": b"no video",
    }
    path = write_tar(tmp_path / "s.tar", members)
    found = list_videos(str(path), path.stat().st_size)
    assert [(video.name, video.size, video.labels) for video in found.videos] == [
        ("x/1.left.mp4", 3, ("0",)),
        (f"{long_name}.avi", 3, ("1",)),
    ]
    assert [read_member(str(path), video.start, video.size) for video in found.videos] == [b"one", b"two"]


def test_patterns_are_written_out_or_looked_up(tmp_path: Path) -> None:
    for name in ("b-01.tar", "b-00.tar", "c.tar"):
        write_tar(tmp_path / "d" / name, {})
    base = str(tmp_path)
    assert expand_pattern(base, "t-{08..11}.tar") == ["t-08.tar", "t-09.tar", "t-10.tar", "t-11.tar"]
    assert expand_pattern(base, "{a,b}/{0..1}.tar") == ["a/0.tar", "a/1.tar", "b/0.tar", "b/1.tar"]
    assert expand_pattern(base, "d/b-*.tar") == ["d/b-00.tar", "d/b-01.tar"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.mp4": b"x"}, r"s.tar/a.mp4: expected a label in a.cls, a.txt or a.json .* found none; or give a CSV"),
        ({"a.mp4": b"x", "a.cls": b" "}, r"s.tar/a.cls: expected a label, .* found ''"),
        ({"a.mp4": b"x", "a.txt": b"\xff\xfe"}, r"s.tar/a.txt: expected a label as text or JSON"),
        ({"a.mp4": b"x", "a.json": b"{"}, r"s.tar/a.json: expected a label as text or JSON"),
        ({"a.mp4": b"x", "a.json": b'{"label": {"id": 3}}'}, r"s.tar/a.json: expected a label, .* found \{'id': 3\}"),
        ({"a.mp4": b"x", "a.json": b'{"label": true}'}, r"s.tar/a.json: expected a label, .* found True"),
        ({"a.txt": b"x"}, r"s.tar: expected at least one video in 1 tar files, found none"),
    ],
)
def test_shards_that_do_not_fit_are_refused(members: Mapping[str, bytes], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        list_one(write_tar(tmp_path / "s.tar", members))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.tar.gz", b"", "expected uncompressed .tar files, found s.tar.gz; decompress them"),
        ("s.tgz", b"", "expected uncompressed .tar files, found s.tgz"),
        ("s.TAR", b"", "expected uncompressed .tar files, found s.TAR"),
        ("s.tar", gzip.compress(bytes(2048), mtime=0), "expected an uncompressed tar file, found gzip"),
        ("s.tar", b"\x28\xb5\x2f\xfd" + bytes(2048), "expected an uncompressed tar file, found zstd"),
        ("s.tar", b"", "expected a tar file, found none: empty file"),
        ("s.tar", b"text" * 500, "expected a tar file, found none"),
    ],
)
def test_what_is_no_plain_tar_file_is_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list_one(tmp_path / name)


def test_missing_shards_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected the tar file .*/s-1.tar, found none .* data.storage.url"):
        write_tar(tmp_path / "s-0.tar", {"a.mp4": b"x", "a.cls": b"0"})
        list_one(tmp_path / "s-{0..1}.tar")
    with pytest.raises(ValueError, match=r"expected tar files t-\*.tar in .*, found none"):
        list_one(tmp_path / "t-*.tar")


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("a.mp4"), io.BytesIO())
    with pytest.raises(ValueError, match=r"expected each name once, found a.mp4 twice"):
        list_one(tmp_path / "s.tar")


@pytest.mark.parametrize(
    ("cut_at", "videos", "damage"),
    [
        (lambda starts: starts[1] + 1, ["0.mp4"], "it ends within 1.mp4"),
        (lambda starts: starts[1] - 512, ["0.mp4"], "it ends at byte 3072 without an end mark, so it may be truncated"),
        (lambda starts: starts[1] - 100, ["0.mp4"], "it ends at byte 3484 without an end mark, so it may be truncated"),
        (
            lambda starts: starts[1] + 1000,
            ["0.mp4", "1.mp4"],
            "it ends at byte 4584 without an end mark, so it may be truncated",
        ),
    ],
)
def test_of_a_cut_shard_what_is_before_the_cut_is_used_and_named(
    cut_at: Callable[[list[int]], int], videos: list[str], damage: str, tmp_path: Path
) -> None:
    members = {f"{n}.{suffix}": b"x" * (n + 1) for n in range(3) for suffix in ("cls", "mp4")}
    path = write_tar(tmp_path / "s.tar", members)
    starts = [video.start for video in list_videos(str(path), path.stat().st_size).videos]
    os.truncate(path, cut_at(starts))
    messages: list[str] = []
    found = list_shards(tmp_path, Storage("shards"), "s.tar", tmp_path / "store", messages.append)
    assert [video.path for video in found] == [f"s.tar/{name}" for name in videos]
    expected = f"s.tar: {damage}; the rest is not used; {len(videos)} videos before it are"
    assert messages == [expected]


def test_a_video_whose_label_lies_behind_the_cut_is_left_out_and_named(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", {"0.mp4": b"x", "0.txt": b"run", "1.mp4": b"x", "1.txt": b"run"})
    os.truncate(path, 3072)
    messages: list[str] = []
    (found,) = list_shards(tmp_path, Storage("shards"), "s.tar", tmp_path / "store", messages.append)
    assert found.path == "s.tar/0.mp4"
    assert messages[1] == "s.tar: left out: 1 video whose label is missing in a damaged tar file (s.tar/1.mp4)"


def test_members_without_a_label_or_a_video_are_counted_and_named_once(tmp_path: Path) -> None:
    labels = {f"{n}.{suffix}": b"run" for n in range(3) for suffix in ("cls", "txt")}
    write_tar(tmp_path / "s-0.tar", {"a.mp4": b"x", "a.cls": b"0", **labels, "._a.mp4": b"", "notes.md": b""})
    write_tar(tmp_path / "s-1.tar", {"a.mp4": b"x", "a.cls": b"0", "b\nc.cls": b"0", "a.npy": b""})
    for _ in ("read", "kept"):
        messages: list[str] = []
        listed = list_shards(tmp_path, Storage("shards"), "s-*.tar", tmp_path / "store", messages.append)
        assert [video.path for video in listed] == ["s-0.tar/a.mp4", "s-1.tar/a.mp4"]
        assert messages == [
            "s-*.tar: left out: 7 labels without a video (s-0.tar/0.cls, s-0.tar/0.txt, s-0.tar/1.cls, ...), "
            "1 hidden file (s-0.tar/._a.mp4), 2 files of another kind (s-0.tar/notes.md, s-1.tar/a.npy)"
        ]
    write_tar(tmp_path / "s-1.tar", {f"{n}.mp4": b"x" for n in range(4)})
    with pytest.raises(
        ValueError,
        match=r"s-1.tar/0.mp4: expected a label in 0.cls.*, found none for 4 videos \(s-1.tar/0.mp4, .*\.\.\.",
    ):
        list_shards(tmp_path, Storage("shards"), "s-*.tar", tmp_path / "store")


def test_a_shard_with_garbage_inside_is_used_up_to_it(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", {"0.cls": b"0", "0.mp4": b"x", "1.cls": b"0", "1.mp4": b"x"})
    data = bytearray(path.read_bytes())
    data[2048:2100] = b"?" * 52
    path.write_bytes(data)
    assert list_videos(str(path), len(data)).damage == "there is no header at byte 2048; the rest is not used"


def manifest_of(root: Path, **changes: Any) -> Manifest:
    config = make_config(root, **{"storage": SHARDS, "train": "s-*.tar", **changes})
    return build_manifests(config, seed=0, splits=("train",))["train"]


def write_shards(root: Path, video: bytes) -> None:
    for number in range(2):
        members = {"a.mp4": video, "a.cls": b"0", "b.mp4": video, "b.cls": b"1"}
        write_tar(root / f"s-{number}.tar", members)


def test_a_manifest_of_shards_has_an_index_of_each_video_and_hashes_like_its_copy(video: bytes, tmp_path: Path) -> None:
    write_shards(tmp_path / "one", video)
    write_shards(tmp_path / "two", video)
    manifest = manifest_of(tmp_path / "one")
    assert [manifest.path(n) for n in range(4)] == ["s-0.tar/a.mp4", "s-0.tar/b.mp4", "s-1.tar/a.mp4", "s-1.tar/b.mp4"]
    row = manifest.row(3)
    assert (row.label, row.video_info.num_frames, row.video_info.health) == (1, NUM_FRAMES, "ok")
    assert row.video_info.packets is not None and row.shard == str(tmp_path / "one" / "s-1.tar")
    assert manifest.content_hash == manifest_of(tmp_path / "two").content_hash
    manifest.save(tmp_path / "saved")
    assert Manifest.open(tmp_path / "saved").row(3) == row


def test_a_list_may_name_videos_of_shards(video: bytes, tmp_path: Path) -> None:
    write_tar(tmp_path / "d" / "s.tar", {"x/a.mp4": video, "b.mp4": video})
    (tmp_path / "list.csv").write_text("path,label\nd/s.tar/b.mp4,run\nd/s.tar/x/a.mp4,swim\n")
    manifest = manifest_of(tmp_path, train="list.csv")
    assert manifest.class_names == ("run", "swim") and manifest.path(1) == "d/s.tar/x/a.mp4"
    for line, message in (
        ("d/s.tar/c.mp4,run", "expected the listed video c.mp4 in .*/d/s.tar, found 2 others"),
        ("a.mp4,run", "expected <shard>.tar/<video> in the list of shards' videos, found a.mp4"),
    ):
        (tmp_path / "list.csv").write_text(f"path,label\n{line}\n")
        with pytest.raises(ValueError, match=message):
            manifest_of(tmp_path, train="list.csv")


def test_a_video_of_a_shard_that_does_not_decode_is_dropped_by_name(video: bytes, tmp_path: Path) -> None:
    write_tar(tmp_path / "s-0.tar", {"a.mp4": b"text", "a.cls": b"0", "b.mp4": video[:-300], "b.cls": b"1"})
    write_tar(tmp_path / "s-1.tar", {"a.mp4": video, "a.cls": b"0", "b.mp4": b"", "b.cls": b"1"})
    manifest = manifest_of(tmp_path)
    assert {path for path, _ in manifest.dropped} >= {"s-0.tar/a.mp4", "s-1.tar/b.mp4"}


def test_headers_and_videos_are_read_again_only_where_a_shard_changed(
    video: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(tmp_path, video)
    listed: Counter[str] = Counter()

    def counting(file: str, size: int) -> Any:
        listed[Path(file).name] += 1
        return list_videos(file, size)

    monkeypatch.setattr(shards_module, "list_videos", counting)
    for _ in range(2):
        assert len(manifest_of(tmp_path)) == 4
    assert listed == {"s-0.tar": 1, "s-1.tar": 1} and len(list((tmp_path / ".reskd_scan").glob("*.csv"))) == 1
    write_tar(tmp_path / "s-1.tar", {"c.mp4": video, "c.cls": b"1"})
    assert [manifest_of(tmp_path).path(n) for n in range(3)] == ["s-0.tar/a.mp4", "s-0.tar/b.mp4", "s-1.tar/c.mp4"]
    assert listed == {"s-0.tar": 1, "s-1.tar": 2}


def read_row(manifest: Manifest, number: int, *, sparse: bool = True, by_pyav: bool = False) -> Any:
    config = make_config(Path(), storage=SHARDS, train="s.tar")
    rules = rules_from_config(config.sampling, view_size=(HEIGHT, WIDTH), mode="eval")
    options: dict[str, Any] = {"seed": 0, "position": 0, "attempt": 0, "row": number}
    plan = plan_clip(rules, VideoShape(NUM_FRAMES, HEIGHT, WIDTH), **options)
    return plan, ClipReader(DecoderRule("cpu", "auto"), sparse=sparse).read(plan, manifest.row(number), by_pyav=by_pyav)


@pytest.mark.parametrize(("sparse", "how"), [(True, SPARSE), (False, WHOLE)])
def test_a_clip_of_a_shard_has_the_pixels_of_the_file(sparse: bool, how: int, video: bytes, tmp_path: Path) -> None:
    write_shards(tmp_path, video)
    plan, clip = read_row(manifest_of(tmp_path), 3, sparse=sparse)
    expected = np.stack(decode_frames(io.BytesIO(video), plan.frame_index_T, Window(plan.crop, 0, WIDTH, HEIGHT)))
    assert clip.how == how and np.array_equal(clip.raw_THWC, expected)
    assert [read_number(frame)[0] for frame in clip.raw_THWC] == plan.frame_index_T.tolist()


@pytest.mark.parametrize("sparse", [True, False])
def test_a_shard_written_anew_is_noticed_by_a_clip(sparse: bool, video: bytes, tmp_path: Path) -> None:
    write_shards(tmp_path, video)
    manifest = manifest_of(tmp_path)
    write_tar(tmp_path / "s-0.tar", {"0.cls": b"0", "a.mp4": video, "b.mp4": video})
    with pytest.raises(ValueError, match="is not the one that was scanned|expected a member at|expected .* bytes at"):
        read_row(manifest, 0, sparse=sparse)
    os.truncate(tmp_path / "s-1.tar", 4096)
    with pytest.raises((ValueError, OSError), match=r"expected \d+ bytes at \d+ of .*s-1.tar, found|was scanned"):
        read_row(manifest, 2, sparse=sparse)


@pytest.fixture
def counted() -> Iterator[tuple[str, list[int]]]:
    """A URL in memory, and the sizes of the requests made of it."""
    pytest.importorskip("fsspec")
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    requests: list[int] = []

    class Counted(MemoryFileSystem):
        protocol = "counted"

        def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
            data = super().cat_file(path, start=start, end=end, **options)
            requests.append(len(data))
            return data

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return MemoryFileSystem._strip_protocol(path.replace("counted://", "memory://"))

    fsspec.register_implementation("counted", Counted, clobber=True)
    yield f"counted://{uuid.uuid4().hex}", requests


def upload(url: str, shard: Path) -> None:
    import fsspec

    with fsspec.open(f"{url}/{shard.name}", "wb") as file:
        file.write(shard.read_bytes())


def test_listing_a_remote_shard_takes_a_request_a_video_and_little_else(
    counted: tuple[str, list[int]], tmp_path: Path
) -> None:
    url, requests = counted
    members = {f"{n}.{s}": bytes(200_000) if s == "mp4" else b"0" for n in range(10) for s in ("cls", "json2", "mp4")}
    shard = write_tar(tmp_path / "s-0.tar", members)
    upload(url, shard)
    storage = Storage("shards", url=f"{url}/")
    found = list_shards(tmp_path, storage, "s-*.tar", tmp_path / "store")
    assert len(found) == 10 and found[3].path == "s-0.tar/3.mp4"
    assert len(requests) <= 12 and sum(requests) < 12 * 16_384 < shard.stat().st_size / 10
    requests.clear()
    assert list_shards(tmp_path, storage, "s-{0..0}.tar", tmp_path / "store") == found and not requests
    upload(url, write_tar(tmp_path / "s-0.tar", {"z.mp4": b"x", "z.cls": b"1"}))
    assert [video.path for video in list_shards(tmp_path, storage, "s-0.tar", tmp_path / "store")] == ["s-0.tar/z.mp4"]


@pytest.mark.parametrize(("sparse", "num_requests"), [(True, 1), (False, 1)])
def test_a_clip_of_a_remote_shard_takes_one_request(
    sparse: bool, num_requests: int, video: bytes, counted: tuple[str, list[int]], tmp_path: Path
) -> None:
    """Scanned where it lay locally; a memory file system is no other process's."""
    url, requests = counted
    write_shards(tmp_path, video)
    manifest = manifest_of(tmp_path)
    upload(url, tmp_path / "s-1.tar")
    remote = Manifest(**{**vars(manifest), "storage": Storage("shards", url=url)})
    plan, clip = read_row(remote, 3, sparse=sparse)
    assert [read_number(frame)[0] for frame in clip.raw_THWC] == plan.frame_index_T.tolist()
    assert len(requests) == num_requests
    assert sum(requests) < len(video) if sparse else sum(requests) == len(video) + 512


def test_a_kind_of_url_that_nobody_opens_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(ValueError, match=r"nosuch://b: expected an installed fsspec|Protocol not known"):
        list_shards(tmp_path, Storage("shards", url="nosuch://b"), "*.tar", tmp_path / "store")


def test_without_fsspec_a_url_is_refused_and_paths_are_served(
    video: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    write_shards(tmp_path, video)
    assert len(manifest_of(tmp_path)) == 4
    with pytest.raises(ValueError, match="s3://bucket: expected an installed fsspec that opens such URLs"):
        list_shards(tmp_path, Storage("shards", url="s3://bucket"), "*.tar", tmp_path / "store")


def test_shards_are_told_from_lists_by_their_names() -> None:
    assert all(map(is_shard_pattern, ["a.tar", Path("d/a-{00..10}.tar"), "*.tar", "a.tar.gz", "a.tgz", "a.tar.zst"]))
    assert not any(map(is_shard_pattern, ["folders", "a.csv", Path("a.tar.csv"), "a.tar/list.txt", "tar"]))


def test_workers_import_fsspec_only_for_a_url() -> None:
    code = (
        "import sys, dali_pipes.loader.external_source, dali_pipes.manifest.sources; assert 'fsspec' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"storage": SHARDS, "train": "folders"}, "train=folders, but the storage is shards; name them"),
        ({"storage": {"kind": "videos"}, "train": "s.tar"}, "train and test name tar files; set storage.kind=shards"),
        (
            {"storage": {**SHARDS, "url": "/data"}, "train": "s.tar"},
            "expected a URL, as in s3://bucket/folder, found /data",
        ),
        ({"storage": {"kind": "tars"}, "train": "s.tar"}, "kind"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        make_config(tmp_path, **changes)


@pytest.mark.parametrize("damage", [b"", b"{", b"[" * 100_000, b"\xff" * 30, b"[]", b'{"of": 1}', b"9" * 5000])
def test_kept_headers_that_are_damaged_are_read_again_with_a_line(
    damage: bytes, video: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shard = write_tar(tmp_path / "s.tar", {"a.mp4": video, "a.cls": b"0"})
    first = list_one(shard)
    (kept,) = (tmp_path / "store" / "shards").iterdir()
    content = kept.read_bytes()
    of_another = {"kind": "records"}
    with_sum = json.dumps(of_another | {"checksum": checksum_of_json(of_another)}).encode()
    for data in (damage, with_sum, content.replace(b'["0"]', b'["1"]'), content.replace(b"512", b"513")):
        kept.write_bytes(data)
        caplog.clear()
        assert list_one(shard) == first
        assert kept.read_bytes() == content
        assert caplog.messages == [f"{kept}: the kept contents of a tar file are damaged and are read again"]


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_what_is_no_file_is_refused_and_does_not_block(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(ValueError, match=r"expected the tar file .*s\.tar, found none \(expected a file at .*found a"):
        list_one(path)


def test_what_follows_the_end_mark_is_told(video: bytes, tmp_path: Path) -> None:
    one, other = (write_tar(tmp_path / f"{n}.tar", {f"{n}.mp4": video, f"{n}.cls": b"0"}) for n in "ab")
    one.write_bytes(one.read_bytes() + other.read_bytes())
    messages: list[str] = []
    listed = list_shards(tmp_path, Storage("shards"), "a.tar", tmp_path / "store", messages.append)
    assert [video.path for video in listed] == ["a.tar/a.mp4"]
    assert re.search("a.tar: it goes on after the end mark at byte .*; the rest is not used; 1 videos", messages[0])


def test_kept_headers_are_text(video: bytes, tmp_path: Path) -> None:
    list_one(write_tar(tmp_path / "s.tar", {"a.mp4": video, "a.cls": b"0"}))
    (kept,) = (tmp_path / "store" / "shards").iterdir()
    about = json.loads(kept.read_text())
    assert TarVideo(*about["videos"][0]).size == len(video)
