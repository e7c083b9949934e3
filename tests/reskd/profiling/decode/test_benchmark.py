"""The decode benchmark: turns, rows, failures that become rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from reskd.profiling.decode.benchmark import Row, draw_rows, frames_decoded, measure_files, rotated
from reskd.profiling.decode.candidates import check_names
from reskd.profiling.decode.process import CandidateHost
from reskd.profiling.decode.workload import Workload
from reskd.profiling.measurement_rows import append_rows, read_rows
from tests.conftest import numbered_clip
from tests.reskd.profiling.decode.test_correctness import saved_manifest

SIZES = ((64, 64), (32, 32))


@pytest.fixture
def workload(tmp_path: Path) -> Workload:
    clip = numbered_clip(tmp_path / "clip.mp4", "libx264", 40)
    return Workload(saved_manifest(tmp_path, [clip]), 4, batch_size=2, num_workers=1, num_positions=8, sizes=SIZES)


def test_a_candidate_is_checked_timed_and_taken_apart(workload: Workload, tmp_path: Path) -> None:
    row, absent = measure_files("tiny", workload, ["pyav", "torchcodec-cuda"], rounds=2, batches_a_turn=2)
    assert (row.status, row.codec, row.num_clips, row.wrong_frames, row.checked_frames) == ("ok", "h264", 8, 0, 8)
    assert row.cpu_ms is not None and row.clips_per_s is not None and row.read_kib is not None
    assert row.cpu_ms > 0 and row.clips_per_s > 0 and row.read_kib > 1 and row.peak_mib is not None
    assert row.frames_decoded is not None and row.amplification == pytest.approx(row.frames_decoded / 4)
    assert {"demux", "decode", "convert", "resize", "rest"} <= set(row.stages_ms)
    assert sum(row.stages_ms.values()) == pytest.approx(row.cpu_ms)
    assert absent.status == "absent: it is for --device cuda" and absent.cpu_ms is None
    rows = tmp_path / "rows.csv"
    append_rows(rows, [{"device": "a machine", "commit": "0", **found.as_columns()} for found in (row, absent)])
    draw_rows(read_rows(rows), tmp_path / "rows.png")
    assert (tmp_path / "rows.png").stat().st_size > 1000


def test_a_candidate_that_fails_gets_a_row_that_says_so(workload: Workload) -> None:
    manifest = workload.chooser().manifest
    (manifest.root / manifest.path(0)).write_bytes(b"no video")
    with CandidateHost("pyav", workload) as host, pytest.raises(RuntimeError, match="pyav: "):
        host.first_batch()


def test_needed_packets_are_fewer_than_seeking_decodes_and_what_is_hidden_stays_unknown(workload: Workload) -> None:
    seeking, needed = frames_decoded(workload, "pyav"), frames_decoded(workload, "reskd")
    assert seeking is not None and needed is not None and 4 <= needed < seeking <= 40
    assert frames_decoded(workload, "dali-reader") is None


def test_everyone_comes_first_and_last_in_turn() -> None:
    names = ["a", "b", "c"]
    orders = [rotated(names, number) for number in range(6)]
    assert orders[0] == names and orders[1] == ["a", "c", "b"] and orders[2] == ["c", "a", "b"]
    assert {order[0] for order in orders} == {order[-1] for order in orders} == set(names)
    assert rotated([], 3) == []


def test_an_unknown_candidate_is_refused() -> None:
    with pytest.raises(ValueError, match="--candidates: expected some of reskd, dali-reader, .*, found cv2"):
        check_names(["reskd", "cv2"])


def test_numbers_that_are_not_known_stay_empty() -> None:
    columns = Row("tiny", "h264", 8, 4, 2, 16, "x", "absent: no").as_columns()
    assert columns["cpu_ms"] is None and columns["remux_ms"] is None and "stages_ms" not in columns
