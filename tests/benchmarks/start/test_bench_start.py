from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.start.bench_start import main


def test_both_ways_are_timed_and_the_second_finds_what_the_first_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--videos", "1200", "--repeats", "1", "--folder", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["build", "open"]
    assert "build, median of 1" in lines[2] and "open, median of 1" in lines[3]
    assert len((tmp_path / "list.csv").read_text().splitlines()) == 1201
    assert [path.name for path in (tmp_path / "store").iterdir() if path.is_dir()]  # the kept manifests
