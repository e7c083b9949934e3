from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from benchmarks.ucf10 import make_ucf10
from benchmarks.ucf10.make_ucf10 import FILES, main, read_videos


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two videos, of which the second is cut after 3 bytes."""
    lines = ["path,split1,split2,split3,bytes,sha256"]
    videos = (("A/a.avi", "test,train,train", b"whole", 5), ("B/b.avi", "train,train,test", b"long", 3))
    for name, parts, content, kept in videos:
        (tmp_path / "UCF-101" / name).parent.mkdir(parents=True)
        (tmp_path / "UCF-101" / name).write_bytes(content)
        lines.append(f"{name},{parts},{kept},{hashlib.sha256(content[:kept]).hexdigest()}")
    (tmp_path / "files.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(make_ucf10, "FILES", tmp_path / "files.csv")
    return tmp_path / "UCF-101"


def test_videos_are_copied_or_cut_and_listed(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # what is there is checked alone
        main([str(source), str(tmp_path / "out")])
    assert "2 of 2 videos are those of the results" in capsys.readouterr().out
    assert (tmp_path / "out" / "B" / "b.avi").read_bytes() == b"lon"
    lists = {path.name: path.read_text().split() for path in (tmp_path / "out").glob("split*.txt")}
    assert lists["split1_test.txt"] == ["A/a.avi"] and lists["split1_train.txt"] == ["B/b.avi"]
    assert lists["split3_test.txt"] == ["B/b.avi"] and lists["split2_test.txt"] == []


def test_a_video_that_is_missing_or_another_one_is_named(source: Path, tmp_path: Path) -> None:
    (source / "A" / "a.avi").unlink()
    (source / "B" / "b.avi").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"A/a.avi: expected it under .*\n.*B/b.avi: expected sha256 .*, found"):
        main([str(source), str(tmp_path / "out")])


def test_the_list_is_that_of_the_results() -> None:
    videos = read_videos(FILES)
    assert len(videos) == len({video.path for video in videos}) == 400
    counts = [[video.parts[split] for video in videos].count("test") for split in range(3)]
    assert counts == [108, 122, 104] and sum("test" in video.parts for video in videos) == 334
    assert sum(video.num_bytes in (768 * 1024, 1024 * 1024) for video in videos) == 25


def test_without_a_copy_of_ucf101_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected the folder of UCF101 at .*/none, found none"):
        main([str(tmp_path / "none"), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
