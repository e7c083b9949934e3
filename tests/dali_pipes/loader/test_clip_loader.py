from __future__ import annotations

import itertools
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dali_pipes.batch import PADDING_POSITION, ClipBatch
from dali_pipes.config import DataConfig
from dali_pipes.decode.pyav import Window, decode_frames
from dali_pipes.loader.clip_loader import ClipLoader
from dali_pipes.manifest.build import build_manifests
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.clip_plan import VideoShape, plan_clip
from dali_pipes.sampling.order import epoch_order
from dali_pipes.sampling.spec import TestViews, rules_from_config
from tests.conftest import HEIGHT, WIDTH, read_number
from tests.dali_pipes.loaders import clip_loader

pytest.importorskip("nvidia.dali")

NUM_FRAMES = 24
CENTER = {"num_frames": 4, "crop": {"kind": "center"}, "test_crop_ratio": 1.0}
BOTH = {"teacher": {"size": (HEIGHT, WIDTH)}, "student": {"size": (HEIGHT // 2, WIDTH // 2)}}


def make_config(root: Path, *, sampling: Any = None, views: Any = None, **loader: Any) -> DataConfig:
    return DataConfig(
        root=root,
        train="folders",
        val_fraction=0.0,
        sampling=sampling or CENTER,
        views=views or BOTH,
        loader={"num_workers": 1, "num_threads": 1, "decoder": "prefer_dali", **loader},
    )


def make_manifest(config: DataConfig) -> Manifest:
    return build_manifests(config, seed=0, splits=("train",))["train"]


def take(loader: ClipLoader, num_batches: int) -> list[ClipBatch]:
    with closing(loader):
        return list(itertools.islice(loader, num_batches))


@pytest.fixture(scope="module")
def mixed_folder(make_folder: Callable[..., Path]) -> Path:
    classes = {"h264": ["libx264"] * 2, "mjpeg": ["mjpeg"] * 2, "vp9": ["libvpx-vp9"] * 2}
    return make_folder(classes, num_frames=NUM_FRAMES)


@pytest.fixture(scope="module")
def batches(mixed_folder: Path) -> list[ClipBatch]:
    """Two epochs of 6 clips, three a batch, by both decoders."""
    config = make_config(mixed_folder)
    return take(clip_loader(make_manifest(config), config, views=("teacher", "student"), mode="train", batch_size=3), 4)


def test_both_views_show_the_announced_frames_and_the_same_flip(batches: Sequence[ClipBatch]) -> None:
    flips = set()
    for batch in batches:
        teacher, student = batch.views["teacher"], batch.views["student"]
        assert torch.equal(teacher.frame_index_NT, student.frame_index_NT)
        for clip in range(batch.num_clips):
            seen = [[read_number(frame) for frame in view.data_NTHWC[clip].numpy()] for view in (teacher, student)]
            assert seen[0] == seen[1]
            assert [number for number, _ in seen[0]] == teacher.frame_index_NT[clip].tolist()
            assert len({flipped for _, flipped in seen[0]}) == 1
            flips.add(seen[0][0][1])
    assert flips == {False, True}


def test_every_epoch_shows_every_clip_once_with_its_label(batches: Sequence[ClipBatch], mixed_folder: Path) -> None:
    manifest = make_manifest(make_config(mixed_folder))
    for epoch in range(2):
        ids = torch.cat([batch.ids_N for batch in batches[2 * epoch : 2 * epoch + 2]])
        assert ids.tolist() == epoch_order(0, epoch, 6).tolist()
    for batch in batches:
        assert batch.labels_N.tolist() == [manifest.row(int(row)).label for row in batch.ids_N]
    assert torch.cat([batch.positions_N for batch in batches]).tolist() == list(range(12))
    assert not any(batch.substituted_N.any() for batch in batches)


def test_frames_are_channels_last_without_a_copy(batches: Sequence[ClipBatch]) -> None:
    for view in batches[0].views.values():
        assert view.frames_BCHW.is_contiguous(memory_format=torch.channels_last)
        assert view.frames_BCHW.data_ptr() == view.data_NTHWC.data_ptr()
        assert view.to("cpu").data_NTHWC.data_ptr() == view.data_NTHWC.data_ptr()


def test_a_resumed_loader_goes_on_with_the_same_pixels(batches: Sequence[ClipBatch], mixed_folder: Path) -> None:
    config = make_config(mixed_folder, prefetch=1)
    (third,) = take(
        clip_loader(
            make_manifest(config), config, views=("teacher", "student"), mode="train", batch_size=3, first_batch=2
        ),
        1,
    )
    _assert_equal(third, batches[2])


def test_each_global_step_holds_the_same_clips_with_two_ranks(batches: Sequence[ClipBatch], mixed_folder: Path) -> None:
    """A step of 6 clips: one rank makes two batches of 3, two ranks make one each."""
    config = make_config(mixed_folder)
    manifest = make_manifest(config)
    ranks = [
        take(
            clip_loader(
                manifest,
                config,
                views=("student",),
                mode="train",
                batch_size=3,
                global_batch_size=6,
                rank=rank,
                world_size=2,
            ),
            2,
        )
        for rank in range(2)
    ]
    for step in range(2):
        for rank in range(2):
            one, other = batches[2 * step + rank], ranks[rank][step]
            assert torch.equal(one.ids_N, other.ids_N) and torch.equal(one.positions_N, other.positions_N)
            assert torch.equal(one.views["student"].data_NTHWC, other.views["student"].data_NTHWC)


def _assert_equal(one: ClipBatch, other: ClipBatch) -> None:
    for name in ("labels_N", "ids_N", "positions_N", "substituted_N"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    for name, view in one.views.items():
        assert torch.equal(view.data_NTHWC, other.views[name].data_NTHWC)


def _shrink(frames_THWC: Tensor, size: tuple[int, int]) -> Tensor:
    frames = frames_THWC.permute(0, 3, 1, 2).float()
    return interpolate(frames, size, mode="bilinear", align_corners=False).permute(0, 2, 3, 1)


@pytest.mark.parametrize(
    ("student", "names"),
    [
        ({"size": (24, 40), "num_frames": 3}, ("student", "teacher")),
        ({"size": (24, 40), "source": "decoded"}, ("student",)),
        ({"size": (24, 40), "upsample_to_teacher": True}, ("teacher", "student")),
    ],
)
def test_views_are_the_planned_crop_resized_from_one_decode(
    student: dict[str, Any], names: tuple[str, ...], mixed_folder: Path
) -> None:
    sampling = {"num_frames": 4, "crop": {"kind": "multi_scale"}}
    config = make_config(mixed_folder, sampling=sampling, views={"teacher": {"size": (48, 80)}, "student": student})
    manifest = make_manifest(config)
    (batch,) = take(clip_loader(manifest, config, views=names, mode="train", batch_size=6, seed=3), 1)
    assert tuple(batch.views) == names
    rules = rules_from_config(config.sampling, view_size=(48, 80), mode="train")
    for clip in range(6):
        row = manifest.row(int(batch.ids_N[clip]))
        plan = plan_clip(rules, VideoShape(NUM_FRAMES, HEIGHT, WIDTH), seed=3, position=clip, attempt=0, row=0)
        decoded = decode_frames(row.path, plan.frame_index_T, Window(plan.crop, 0, WIDTH, HEIGHT))
        frames = torch.from_numpy(np.stack(decoded))
        frames = frames.flip(2) if plan.flip else frames
        expected = {"teacher": _shrink(frames, (48, 80))}
        chosen = [0, 1, 2] if student.get("num_frames") else [0, 1, 2, 3]
        source = frames if student.get("source") == "decoded" else expected["teacher"]
        expected["student"] = _shrink(source[chosen], (24, 40))
        if student.get("upsample_to_teacher"):
            expected["student"] = _shrink(expected["student"], (48, 80))
        for name in names:
            view = batch.views[name]
            assert view.data_NTHWC[clip].shape == expected[name].shape
            assert (view.data_NTHWC[clip].float() - expected[name]).abs().mean() < 2.5
        assert batch.views["student"].frame_index_NT[clip].tolist() == plan.frame_index_T[chosen].tolist()


@pytest.mark.parametrize(
    "student",
    [
        {"num_frames": 2, "selection": "random"},
        {"num_frames": 3, "selection": "random", "source": "decoded", "antialias": True},
    ],
    ids=["workers render what PyAV decodes", "dali renders all"],
)
def test_a_student_alone_gets_the_pixels_that_it_gets_beside_its_teacher(
    student: dict[str, Any], mixed_folder: Path
) -> None:
    views = {"teacher": {"size": (48, 80)}, "student": {"size": (24, 40), **student}}
    config = make_config(mixed_folder, sampling={"num_frames": 5}, views=views)
    manifest = make_manifest(config)
    loaders = [
        clip_loader(manifest, config, views=names, mode="train", batch_size=6, seed=3)
        for names in (("teacher", "student"), ("student",))
    ]
    beside, alone = (take(loader, 1)[0] for loader in loaders)
    _assert_equal(alone, beside)
    teacher, seen, own = beside.views["teacher"], beside.views["student"], alone.views["student"]
    assert torch.equal(own.frame_index_NT, seen.frame_index_NT) and torch.equal(own.valid_NT, seen.valid_NT)
    assert {tuple(own.data_NTHWC.shape), tuple(seen.data_NTHWC.shape)} == {(6, student["num_frames"], 24, 40, 3)}
    for clip in range(6):
        assert set(seen.frame_index_NT[clip].tolist()) <= set(teacher.frame_index_NT[clip].tolist())
        indices = [teacher.frame_index_NT[clip].tolist().index(number) for number in seen.frame_index_NT[clip].tolist()]
        shrunk = _shrink(teacher.data_NTHWC[clip, indices], (24, 40))
        assert (seen.data_NTHWC[clip].float() - shrunk).abs().mean() < 6
    assert len({tuple(row) for row in seen.frame_index_NT.tolist()}) > 3


@pytest.fixture
def evaluation(mixed_folder: Path) -> Iterator[Callable[..., ClipLoader]]:
    loaders: list[ClipLoader] = []

    def make(**options: Any) -> ClipLoader:
        config = make_config(mixed_folder)
        loaders.append(clip_loader(make_manifest(config), config, views=("student",), mode="eval", **options))
        return loaders[-1]

    yield make
    for loader in loaders:
        loader.close()


def test_evaluation_counts_every_clip_once_and_can_be_repeated(evaluation: Callable[..., ClipLoader]) -> None:
    loader = evaluation(batch_size=4)
    first = list(loader)
    assert loader.num_batches == len(first) == 2
    assert torch.cat([batch.positions_N for batch in first]).tolist() == [0, 1, 2, 3, 4, 5] + [PADDING_POSITION] * 2
    assert torch.cat([batch.ids_N for batch in first]).tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    assert first[0].views["student"].frame_index_NT[0].tolist() == [3, 9, 15, 21]
    next(iter(loader))  # broken off
    for one, other in zip(first, loader, strict=True):
        _assert_equal(one, other)


def test_evaluation_has_as_many_batches_on_every_rank(evaluation: Callable[..., ClipLoader]) -> None:
    positions = [
        [batch.positions_N.tolist() for batch in evaluation(batch_size=1, rank=rank, world_size=4)] for rank in (1, 3)
    ]
    assert positions == [[[1], [5]], [[3], [PADDING_POSITION]]]


def test_three_crops_of_two_clips_are_shown_unstretched_in_both_ways_in(mixed_folder: Path) -> None:
    """A square view of a wider picture: left, middle and right of the full height, at two times."""
    views = {"teacher": {"size": HEIGHT}, "student": {"size": HEIGHT // 2}}
    config = make_config(mixed_folder, views=views)
    manifest = make_manifest(config)
    loader = clip_loader(
        manifest, config, views=("teacher", "student"), mode="eval", batch_size=6, test_views=TestViews(2, 3)
    )
    assert (loader.num_samples, loader.num_test_views, loader.num_batches) == (6, 6, 6)
    for video, batch in enumerate(take(loader, 6)):
        assert batch.positions_N.tolist() == list(range(6 * video, 6 * video + 6))
        assert batch.ids_N.tolist() == [video] * 6
        for view in range(6):
            x = (view % 3) * (WIDTH - HEIGHT) // 2
            numbers = np.array([[3, 9, 15, 21], [0, 6, 12, 18]][view // 3])
            crop = (0, x, HEIGHT, HEIGHT)
            path = manifest.row(video).path
            expected = np.stack(decode_frames(path, numbers, Window(crop, 0, WIDTH, HEIGHT)))
            frames = torch.from_numpy(expected)
            for name, picture in (("teacher", frames.float()), ("student", _shrink(frames, (HEIGHT // 2,) * 2))):
                seen = batch.views[name]
                assert seen.frame_index_NT[view].tolist() == numbers.tolist()
                assert (seen.data_NTHWC[view].float() - picture).abs().mean() < 2.5


def test_a_looped_clip_of_a_short_video_shows_the_announced_frames_in_both_ways_in(mixed_folder: Path) -> None:
    frames = {"kind": "dense", "stride": 10, "short_video": "loop"}
    config = make_config(mixed_folder, sampling={**CENTER, "num_frames": 5, "frames": frames})
    loader = clip_loader(make_manifest(config), config, views=("student",), mode="eval", batch_size=6)
    (batch,) = take(loader, 1)
    for clip in batch.views["student"].data_NTHWC.numpy():
        assert [read_number(frame)[0] for frame in clip] == [0, 10, 20, 6, 16]
    assert batch.views["student"].valid_NT.tolist() == [[True, True, True, False, False]] * 6


def test_several_labels_follow_the_clip_that_is_shown_also_in_padding_and_substitutes(
    mixed_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(mixed_folder, tmp_path, dirs_exist_ok=True)
    lines = ["h264/00.mp4,a|c", "h264/01.mp4,b", "mjpeg/00.avi,c|b", "mjpeg/01.avi,a"]
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join(lines))
    config = make_config(tmp_path).model_copy(update={"train": Path("list.csv")})
    manifest = make_manifest(config)
    (tmp_path / "h264" / "01.mp4").write_bytes(b"gone")
    shown = take(clip_loader(manifest, config, views=("student",), mode="eval", batch_size=3), 2)
    sets = {0: [0, 2], 1: [1], 2: [1, 2], 3: [0]}
    for batch in shown:
        assert batch.label_sets_NK is not None
        found = [labels.nonzero().flatten().tolist() for labels in batch.label_sets_NK]
        assert found == [sets[row] for row in batch.ids_N.tolist()]
    assert shown[0].substituted_N.tolist() == [False, True, False]
    assert shown[1].padding_N.tolist() == [False, True, True]


def test_a_file_that_went_bad_is_replaced_and_flagged_the_same_way_each_time(
    mixed_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "clips"
    shutil.copytree(mixed_folder, folder)
    config = make_config(folder)
    manifest = make_manifest(config)
    (folder / "h264" / "00.mp4").write_bytes(b"gone")  # another size than scanned
    for name in ("mjpeg/01.avi", "vp9/00.webm"):
        (folder / name).unlink()
    loaders = [clip_loader(manifest, config, views=("student",), mode="eval", batch_size=6) for _ in range(2)]
    first, second = (take(loader, 1)[0] for loader in loaders)
    _assert_equal(first, second)
    assert first.substituted_N.tolist() == [True, False, False, True, True, False]
    assert first.positions_N.tolist() == list(range(6))
    assert not {0, 3, 4} & set(first.ids_N.tolist())
    assert {"h264/00.mp4", "mjpeg/01.avi", "vp9/00.webm"} == set(loaders[0].faults.files)
    for clip, row in enumerate(first.ids_N.tolist()):
        assert first.labels_N[clip] == manifest.row(row).label


def test_no_readable_file_ends_the_run_with_their_names(mixed_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    shutil.copytree(mixed_folder, folder)
    config = make_config(folder)
    loader = clip_loader(make_manifest(config), config, views=("student",), mode="train", batch_size=2)
    for path in folder.glob("*/*.[amw]*"):
        path.unlink()
    with pytest.raises(
        RuntimeError, match=r"expected a readable clip, found none among 6 of the list(.|\n)*positions \[0, 1"
    ):
        next(iter(loader))
    assert not multiprocessing.active_children()
    with pytest.raises(RuntimeError, match="closed or has failed"):
        next(iter(loader))


def test_batches_outlive_a_closed_loader(mixed_folder: Path) -> None:
    config = make_config(mixed_folder)
    loader = clip_loader(make_manifest(config), config, views=("student",), mode="eval", batch_size=6)
    (batch,) = list(loader)
    before = batch.views["student"].data_NTHWC.clone()
    folder = loader._folder
    assert folder is not None and folder.exists()
    loader.close()
    loader.close()
    assert not folder.exists() and not multiprocessing.active_children()
    assert torch.equal(batch.views["student"].data_NTHWC, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": ("teacher", "pupil")}, r"expected some of \['teacher', 'student'\]"),
        ({"views": ()}, "found \\[\\]"),
        ({"batch_size": 0}, "batch_size: expected at least 1, found 0"),
        ({"rank": 2, "world_size": 2}, "rank: expected 0 to 1, found 2"),
        ({"global_batch_size": 5}, "expected a multiple of world size 1 times batch size 2"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options: dict[str, Any], message: str, mixed_folder: Path) -> None:
    config = make_config(mixed_folder)
    settings = {"views": ("student",), "mode": "train", "batch_size": 2, **options}
    with pytest.raises(ValueError, match=message):
        clip_loader(make_manifest(config), config, **settings)


def test_the_ways_in_are_said_in_one_line(mixed_folder: Path) -> None:
    config = make_config(mixed_folder)
    loader = clip_loader(make_manifest(config), config, views=("student",), mode="train", batch_size=2)
    decoders, by_packets, processes = loader.describe_reading().split("; ")
    assert by_packets == "6 of 6 files read by their needed packets only"
    assert processes == "workers: 1, threads of DALI: 1"
    assert sorted(decoders.removeprefix("decoders: ").split(", ")) == [
        "2 h264 PyAV",
        "2 mjpeg DALI cpu",
        "2 vp9 DALI cpu",
    ]


def test_a_saved_manifest_is_used_where_it_lies(mixed_folder: Path, tmp_path: Path) -> None:
    config = make_config(mixed_folder)
    make_manifest(config).save(tmp_path)
    loader = clip_loader(tmp_path, config, views=("student",), mode="eval", batch_size=6)
    assert np.array_equal(take(loader, 1)[0].ids_N, np.arange(6))
    assert (tmp_path / "rows.npy").exists()
