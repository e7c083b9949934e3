"""Shards of one transcode: whichever ends last writes the lists, also with shards that run at once or miss a video."""

from __future__ import annotations

from pathlib import Path

import pytest

from dali_pipes.annotations.lists import read_list
from dali_pipes.jobs.map_files import make_engine, shard_of
from dali_pipes.transcode.encode import OutputSettings
from dali_pipes.transcode.job import GivenLists, Job, done_records, finish, plan, run
from dali_pipes.transcode.journal import Record
from tests.conftest import numbered_clip

SETTINGS = OutputSettings(short_side=64)
NUM_VIDEOS = 4


@pytest.fixture()
def source(tmp_path: Path) -> Path:
    root = tmp_path / "old"
    root.mkdir()
    for number in range(NUM_VIDEOS):
        numbered_clip(root / f"{number}.avi", "mjpeg", 3)
    return root


def jobs_of(source: Path, num_gone: int = 0) -> list[Job]:
    """Two shards; ``num_gone`` of the listed videos of each are not there."""
    names = [f"{number}.avi" for number in range(NUM_VIDEOS)]
    for shard in (1, 2):
        names += shard_of([f"gone_{number}.avi" for number in range(20)], (shard, 2))[:num_gone]
    (source / "list.csv").write_text("path,label\n" + "".join(f"{name},x\n" for name in names))
    given = GivenLists((Path("list.csv"),))
    return [plan(source, source.parent / "new", SETTINGS, given=given, shard=(shard, 2)) for shard in (1, 2)]


def transcode(job: Job, done: dict[str, Record]) -> dict[str, Record]:
    todo = [path for path in job.own_paths if path not in done]
    return done | {record.path: record for record in run(job, todo, engine=make_engine("local", num_workers=1))}


def listed(job: Job) -> list[str]:
    return [video.path for video in read_list(job.target_root, Path("list.csv"))]


def test_of_shards_that_run_at_once_the_last_writes_the_lists(source: Path) -> None:
    first, second = jobs_of(source)
    before = done_records(second)
    assert "3 videos of other shards are not finished" in list(finish(first, transcode(first, done_records(first))))[-1]
    assert "list with the new names" in list(finish(second, transcode(second, before)))[-1]
    assert listed(second) == [f"{number}.mp4" for number in range(NUM_VIDEOS)]


def test_videos_that_are_missing_in_each_shard_do_not_hold_up_the_lists(source: Path) -> None:
    first, second = jobs_of(source, num_gone=2)
    assert "of other shards are not finished" in list(finish(first, transcode(first, done_records(first))))[-1]
    said = list(finish(second, transcode(second, done_records(second))))
    assert "2 missing" in said[0] and "4 videos without a usable frame left out" in said[-1]
    assert listed(second) == [f"{number}.mp4" for number in range(NUM_VIDEOS)]


def test_a_missing_video_that_came_back_is_waited_for(source: Path) -> None:
    first, second = jobs_of(source, num_gone=1)
    list(finish(first, transcode(first, done_records(first))))
    (gone,) = (path for path in first.own_paths if path.startswith("gone"))
    numbered_clip(source / gone, "mjpeg", 3)
    said = list(finish(second, transcode(second, done_records(second))))
    assert said[-1].startswith("1 videos of other shards are not finished")
