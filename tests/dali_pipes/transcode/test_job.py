from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dali_pipes.annotations.lists import read_list
from dali_pipes.jobs.map_files import make_engine
from dali_pipes.scan import scan as scan_module
from dali_pipes.transcode import job as transcode
from dali_pipes.transcode.encode import OutputSettings, Reencoded
from dali_pipes.transcode.job import GivenLists, Job, describe_records, done_records, plan, run, write_lists
from dali_pipes.transcode.journal import Record, journal_path, open_journal, read_journals
from dali_pipes.video_info import VideoInfo
from tests.conftest import numbered_clip

ROOT = Path(__file__).parents[3]
SETTINGS = OutputSettings(short_side=64)


def probe(path: Path) -> VideoInfo:
    return scan_module.probe(path).video_info


@pytest.fixture()
def source(tmp_path: Path) -> Path:
    """Two classes of two tiny videos, one file that is none, a list of each kind and a file of classes."""
    root = tmp_path / "old"
    for name in ("Run", "Jump High"):
        (root / name).mkdir(parents=True)
        numbered_clip(root / name / "v_1.avi", "mjpeg", 3)
        numbered_clip(root / name / "v_2.avi", "mjpeg", 4)
    (root / "Run" / "v_3.avi").write_bytes(b"not a video")
    paths = [f"{name}/v_{number}.avi" for name in ("Run", "Jump High") for number in (1, 2)] + ["Run/v_3.avi"]
    lines = [f'"{path}",{path.split("/")[0]},"g, {path[-5]}"' for path in paths]
    (root / "lists").mkdir()
    (root / "lists" / "train.csv").write_text("path, label, group\n" + "\n".join(lines) + "\n")
    (root / "ucf.txt").write_text("\n".join(f"{path} 1" for path in paths[:1] + paths[4:]) + "\n\n")
    (root / "classes.txt").write_text("Jump High\nRun\n")
    return root


def _all(job: Job, **options: int) -> dict[str, Record]:
    done = done_records(job)
    todo = [path for path in job.own_paths if path not in done]
    return done | {record.path: record for record in run(job, todo, engine=make_engine("local", num_workers=1))}


def test_a_new_root_is_ready_lists_and_all(source: Path, tmp_path: Path) -> None:
    lists, classes = (Path("lists/train.csv"), Path("ucf.txt")), (Path("classes.txt"),)
    job = plan(source, tmp_path / "new", SETTINGS, given=GivenLists(lists, classes))
    records = _all(job)
    sentences = write_lists(job, records)
    listed = read_list(tmp_path / "new", Path("lists/train.csv"))
    assert [(video.path, video.group) for video in listed] == [
        ("Run/v_1.mp4", "g, 1"), ("Run/v_2.mp4", "g, 2"), ("Jump High/v_1.mp4", "g, 1"), ("Jump High/v_2.mp4", "g, 2")
    ]  # fmt: skip
    assert (tmp_path / "new" / "ucf.txt").read_text() == "Run/v_1.mp4 1\n"
    assert (tmp_path / "new" / "classes.txt").read_text() == "Jump High\nRun\n"
    assert [probe(tmp_path / "new" / video.path).num_frames for video in listed] == [3, 4, 3, 4]
    assert probe(tmp_path / "new" / "Run/v_1.mp4").height == 64
    assert "1 videos without a usable frame left out" in sentences[0]
    assert records["Run/v_3.avi"].status.startswith("bad: ")
    with (tmp_path / "new" / "transcode.csv").open() as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert len(rows) == 5 and rows["Run/v_2.avi"]["frames_out"] == "4" and rows["Run/v_2.avi"]["status"] == "ok"
    summary = describe_records(list(records.values()))
    assert summary.startswith("4 ok, 1 bad; 14 frames") and "Run/v_3.avi: bad: " in summary


def test_only_what_changed_is_written_again(source: Path, tmp_path: Path) -> None:
    job = plan(source, tmp_path / "new", SETTINGS)
    assert len(_all(job)) == 5
    assert len(done_records(job)) == 5
    numbered_clip(source / "Run" / "v_1.avi", "mjpeg", 6)
    (tmp_path / "new" / "Run" / "v_2.mp4").unlink()
    (tmp_path / "new" / "Jump High" / "v_1.mp4").write_bytes(b"half")
    missing = {"Run/v_1.avi", "Run/v_2.avi", "Jump High/v_1.avi"}
    assert set(job.paths) - set(done_records(job)) == missing
    assert _all(job)["Run/v_1.avi"].frames_out == 6
    assert not done_records(replace(job, settings=OutputSettings(short_side=32)))


def test_a_killed_run_leaves_no_half_file_and_is_gone_on_with(source: Path, tmp_path: Path) -> None:
    for number in range(4, 16):
        numbered_clip(source / "Run" / f"v_{number}.avi", "mjpeg", 40, height=240, width=320)
    new = tmp_path / "new"
    program = (
        "from pathlib import Path; from dali_pipes.jobs.map_files import make_engine; "
        "from dali_pipes.transcode.job import OutputSettings, plan, run; "
        f"job = plan(Path({str(source)!r}), Path({str(new)!r}), OutputSettings()); "
        "run(job, job.paths, engine=make_engine('local'))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    job = plan(source, new, OutputSettings())
    deadline = time.monotonic() + 60
    while len(read_journals(new)) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.2)  # the kernel ends the workers with their parent
    done = done_records(job)
    assert 3 <= len(done) < len(job.paths), "the run was to be killed half-way"
    outputs = {path.relative_to(new).as_posix() for path in new.rglob("*.mp4")}
    for path in outputs:
        assert probe(new / path).health == "ok", path
    before = {path: (new / path).stat().st_mtime_ns for path in outputs}
    records = _all(job)
    assert len(records) == len(job.paths) and sum(record.usable for record in records.values()) == 16
    kept = {job.output_of(path) for path, record in done.items() if record.usable}
    assert all((new / path).stat().st_mtime_ns == before[path] for path in kept)
    assert not list(new.rglob("*.part"))


def test_a_line_that_a_kill_cut_short_is_not_believed(tmp_path: Path) -> None:
    record = Record("a.avi", "a.mp4", 3, 3, 10, 20, "ok", 5, "v1")
    path = journal_path(tmp_path, (1, 1))
    with open_journal(path) as journal:
        journal.add(record)
        journal.add(replace(record, path="b.avi"))
    whole = path.read_text()
    for length in range(whole.index("b.avi"), len(whole) - 3):
        path.write_text(whole[:length])
        assert list(read_journals(tmp_path).values()) == [record]
    with open_journal(path) as journal:
        journal.add(replace(record, path="c.avi"))
    assert [r.path for r in read_journals(tmp_path).values()] == ["a.avi", "c.avi"]


def test_shards_are_disjoint_and_make_up_the_whole(source: Path, tmp_path: Path) -> None:
    many = Job(source, tmp_path, tuple(f"{n}.avi" for n in range(1000)), SETTINGS)
    parts = [replace(many, shard=(i, 7)).own_paths for i in range(1, 8)]
    assert sorted(path for part in parts for path in part) == sorted(many.paths)
    assert all(90 < len(part) < 200 for part in parts)
    jobs = [plan(source, tmp_path / "new", SETTINGS, shard=(i, 2)) for i in (1, 2)]
    for job in jobs:
        _all(job)
    assert set(done_records(jobs[0])) == set(jobs[0].paths)
    names = {path.name for path in (tmp_path / "new").glob("*.csv")}
    assert names == {"transcode.1of2.csv", "transcode.2of2.csv"}


def test_two_runs_at_once_are_refused(source: Path, tmp_path: Path) -> None:
    job = plan(source, tmp_path / "new", SETTINGS)
    with (
        open_journal(journal_path(job.target_root, job.shard)),
        pytest.raises(ValueError, match="expected no other run on this folder"),
    ):
        _all(job)


def test_a_file_that_kills_its_process_is_bad_and_the_others_are_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcode, "_reencode_one", _reencode_or_die)
    records = _all(plan(source, tmp_path / "new", SETTINGS))
    assert records["Run/v_2.avi"].status == "bad: the decoder's process died"
    assert sum(record.usable for record in records.values()) == 3


_REENCODE_ONE = transcode._reencode_one


def _reencode_or_die(source_root: Path, target_root: Path, settings: OutputSettings, item: tuple[str, str]) -> Record:
    if item[0] == "Run/v_2.avi":
        os._exit(11)
    return _REENCODE_ONE(source_root, target_root, settings, item)


def test_a_listed_file_that_is_missing_is_named_and_looked_for_again(source: Path, tmp_path: Path) -> None:
    (source / "list.csv").write_text("path,label\nRun/v_1.avi,Run\nRun/gone.avi,Run\n")
    job = plan(source, tmp_path / "new", SETTINGS, given=GivenLists((Path("list.csv"),)))
    records = _all(job)
    assert records["Run/gone.avi"].status == "missing: no such file" and "Run/gone.avi" not in done_records(job)
    write_lists(job, records)
    assert (tmp_path / "new" / "list.csv").read_text() == "path,label\nRun/v_1.mp4,Run\n"


def test_a_run_that_cannot_write_stops_with_one_sentence(source: Path, tmp_path: Path) -> None:
    job = plan(source, tmp_path / "new", SETTINGS)
    (tmp_path / "new" / "Run").mkdir()
    (tmp_path / "new" / "Run" / ".v_1.mp4.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="could not be written: No space left on device; free space or choose another"):
        _all(job)
    assert len(_all(job)) == 5


@pytest.mark.parametrize(
    ("target", "listed", "message"),
    [
        ("old/new", None, "expected a folder for the new files outside .*old, found .*new inside it"),
        ("old", None, "expected a folder for the new files outside"),
        ("new", "path,label\n../x/v.avi,Run\nRun/v_1.avi,Run\n", "expected paths inside"),
        ("new", "path,label\nRun/nothing.avi,Run\n", "found none of 1 listed; check the root"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_file(
    target: str, listed: str | None, message: str, source: Path, tmp_path: Path
) -> None:
    lists = []
    if listed is not None:
        (source / "list.csv").write_text(listed)
        lists = [Path("list.csv")]
    with pytest.raises(ValueError, match=message):
        plan(source, tmp_path / target, SETTINGS, given=GivenLists(tuple(lists)))
    assert not (source / "new").exists()


def test_a_missing_root_or_file_of_classes_is_told(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a folder with videos"):
        plan(tmp_path / "nothing", tmp_path / "new", SETTINGS)
    with pytest.raises(ValueError, match="expected a file of class names"):
        plan(source, tmp_path / "new", SETTINGS, given=GivenLists(classes=(Path("names.txt"),)))


def test_failed_files_are_tried_again(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = plan(source, tmp_path / "new", SETTINGS)
    status = (source / "Run/v_1.avi").stat()
    failed = transcode._record("Run/v_1.avi", "Run/v_1.mp4", status, Reencoded(3, 0, 0, "failed: for a test"), SETTINGS)
    with open_journal(journal_path(job.target_root, job.shard)) as journal:
        journal.add(failed)
    assert "Run/v_1.avi" not in done_records(job)


def test_videos_of_one_name_get_longer_names_that_lists_journal_and_later_runs_keep(
    source: Path, tmp_path: Path
) -> None:
    numbered_clip(source / "Run" / "v_1.mov", "libx264", 5)
    paths = ["Run/v_1.avi", "Run/v_1.mov", "Run/v_2.avi"]
    (source / "list.csv").write_text("path,label\n" + "".join(f"{path},Run\n" for path in paths))
    job = plan(source, tmp_path / "new", SETTINGS, given=GivenLists((Path("list.csv"),)))
    assert job.renamed == {"Run/v_1.avi": "Run/v_1.avi.mp4", "Run/v_1.mov": "Run/v_1.mov.mp4"}
    write_lists(job, _all(job))
    new = tmp_path / "new"
    assert [video.path for video in read_list(new, Path("list.csv"))] == [
        *("Run/v_1.avi.mp4", "Run/v_1.mov.mp4", "Run/v_2.mp4")
    ]
    assert [probe(new / name).num_frames for name in ("Run/v_1.avi.mp4", "Run/v_1.mov.mp4")] == [3, 5]
    numbered_clip(source / "Run" / "v_2.mp4", "libx264", 6)  # would take the name of a finished output
    (source / "list.csv").write_text("path,label\nRun/v_1.avi,Run\nRun/v_2.avi,Run\nRun/v_2.mp4,Run\n")
    again = plan(source, new, SETTINGS, given=GivenLists((Path("list.csv"),)))
    assert {path: again.output_of(path) for path in again.paths} == {
        "Run/v_1.avi": "Run/v_1.avi.mp4", "Run/v_2.avi": "Run/v_2.mp4", "Run/v_2.mp4": "Run/v_2.mp4.mp4"
    }  # fmt: skip
    assert set(done_records(again)) == {"Run/v_1.avi", "Run/v_2.avi"}


def test_an_output_never_replaces_a_source_or_a_folder(tmp_path: Path) -> None:
    source = tmp_path / "data" / "src"
    (source / "src").mkdir(parents=True)
    numbered_clip(source / "a.mp4", "libx264", 3)
    numbered_clip(source / "src" / "a.avi", "mjpeg", 4)
    (source / "b.mp4").mkdir()
    numbered_clip(source / "b.mp4" / "c.avi", "mjpeg", 3)
    numbered_clip(source / "b.avi", "mjpeg", 3)
    job = plan(source, tmp_path / "data", SETTINGS)
    assert job.renamed == {"src/a.avi": "src/a.avi.mp4", "b.avi": "b.avi.mp4"}
    before = (source / "a.mp4").read_bytes()
    assert all(record.status == "ok" for record in _all(job).values())
    assert (source / "a.mp4").read_bytes() == before


@pytest.mark.parametrize("is_recorded", [False, True])
def test_an_output_never_replaces_the_file_that_a_linked_source_leads_to(is_recorded: bool, tmp_path: Path) -> None:
    new, source = tmp_path / "new", tmp_path / "some"
    new.mkdir()
    numbered_clip(new / "a.mp4", "libx264", 3)
    if is_recorded:  # as the output of an earlier run
        with open_journal(journal_path(new, (1, 1))) as journal:
            journal.add(Record("a.mp4", "a.mp4", 3, 3, 10, 20, "ok", 5, "v1"))
    source.mkdir()
    (source / "a.mp4").symlink_to(new / "a.mp4")
    before = (new / "a.mp4").read_bytes()
    assert _all(plan(source, new, SETTINGS))["a.mp4"].output == "a.mp4.mp4"
    assert (new / "a.mp4").read_bytes() == before
