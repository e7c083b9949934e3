from __future__ import annotations

from pathlib import Path

import pytest

from dali_pipes.annotations.lists import parse_list, read_list, rewrite_list
from dali_pipes.choices import ListFormat


def _write(folder: Path, text: str, name: str = "list.txt") -> Path:
    (folder / name).write_bytes(text.encode())
    return folder


@pytest.mark.parametrize(
    ("text", "reading", "labels"),
    [
        ("videos/blue1.mp4 2\nvideos/red1.mp4 0\n", "numbers", ["2", "0"]),  # mmaction2's
        ("blue1.mp4 2\nred1.mp4 0\n", "numbers", ["2", "0"]),
        ("Run/a.avi 1\nJump/b.avi 2\nRun/c.avi 1\n", "ucf", ["Run", "Jump", "Run"]),
        ("Run/a.avi 1\nJump/b.avi 1\nRun/c.avi 2\n", "numbers", ["1", "1", "2"]),
        ("some/x 300 5\nsome/y 120 3\n", "frames_numbers", ["5", "3"]),  # TSN's
        ("v/a.mp4 1 5\nv/b.mp4 3\n", "numbers", ["1|5", "3"]),
        ("v/a.mp4,1\nv/b.mp4,3\n", "numbers", ["1", "3"]),
        ("v/a b.mp4\t1\r\nv/b.mp4\t3\r\n", "numbers", ["1", "3"]),
        ('"v/a b.mp4" 1\n# v/c.mp4 4\n\nv/b.mp4; 3\n', "numbers", ["1", "3"]),
        ("v/a.mp4 playing guitar\nv/b.mp4 run\n", "names", ["playing guitar", "run"]),
        ('v/a.mp4,"swim, far"\nv/b.mp4,run\n', "names", ["swim, far", "run"]),
        ("Run/a.avi\n./Jump/b.avi\n", "ucf", ["Run", "Jump"]),
    ],
)
def test_formats_are_recognized_by_what_they_hold(text: str, reading: str, labels: list[str], tmp_path: Path) -> None:
    parsed = parse_list(_write(tmp_path, text), "list.txt")
    assert parsed.reading == reading
    assert ["|".join(video.labels) for video in parsed.videos] == labels


def test_the_choice_is_reported_with_the_setting_that_forces_another(tmp_path: Path) -> None:
    _write(tmp_path, "Run/a.avi 1\nJump/b.avi 2\n")
    parsed = parse_list(tmp_path, "list.txt")
    assert "read as UCF101's" in parsed.remarks[0] and "data.list_format" in parsed.remarks[0]
    assert parsed.numbers == {"Run": 1, "Jump": 2}
    forced = parse_list(tmp_path, "list.txt", "numbers")
    assert [video.labels for video in forced.videos] == [("1",), ("2",)]
    assert parse_list(tmp_path, "list.txt", prefer="numbers").reading == "numbers"


@pytest.mark.parametrize(
    ("text", "list_format", "message"),
    [
        ("v/a.mp4 30 5\nv/b.mp4 40 3\n", "auto", "line 1: .*may be either.*numbers or frames_numbers"),
        ("v/a 1 30 5\nv/b 1 40 3\n", "auto", "line 1: .*may be either"),
        ("v/a.mp4 1\nv/b.mp4\nv/c.mp4 2\n", "auto", "line 2: expected a number behind the path .*found nothing"),
        ("v/a.mp4 1\nv/b.mp4 -1\n", "auto", "line 2: expected class numbers from 0 on, found -1"),
        ("v/a.mp4 1\nv/b.mp4 1.5\n", "auto", "line 2: expected class numbers from 0 on, found 1.5"),
        ("v/a.mp4 run\n", "numbers", "line 1: expected a path and class numbers"),
        ("a.mp4 1\n", "ucf", "line 1: expected <Class>/<video>"),
        ("v/a.mp4 1\n", "csv", "line 1: expected a first line that names the columns"),
        ('[{"id": "1"}]', "auto", "line 1: .*found JSON; .*reskd prepare import"),
        ("".join(f"{'ab'[n % 2]}/{n}.avi {n % 2}\n" for n in range(20)) + "a/x.avi 1\n", "auto", "line 21: .*number 0"),
    ],
)
def test_lists_that_fit_no_format_are_refused_with_the_line(
    text: str, list_format: ListFormat, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"list\.txt, {message}"):
        read_list(_write(tmp_path, text), "list.txt", list_format)


def test_hmdb51s_split_files_are_refused_in_words(tmp_path: Path) -> None:
    _write(tmp_path, "a.avi 1\nb.avi 2\n", "run_test_split1.txt")
    with pytest.raises(ValueError, match="HMDB51's split files"):
        read_list(tmp_path, "run_test_split1.txt")


@pytest.mark.parametrize(
    "text",
    [
        "v/a.mp4 1\nv/b.mp4 2\nv/c.mp4 0\n",
        '"v/a.mp4" 1\n"v/b.mp4" 2\nv/c.mp4, 0\n',
        "v/a.mp4\tsome run\nv/b.mp4\tx\nv/c.mp4\ty\n",
        "path;label\nv/a.mp4;run\nv/b.mp4;run\nv/c.mp4;x\n",
        'PATH,label\n"v/a.mp4",run\nv/b.mp4,"x, y"\nv/c.mp4,x\n',
        "v/a 30 1\nv/b 31 2\nv/c 32 0\n",
    ],
)
def test_a_rewritten_list_reads_the_same(text: str, tmp_path: Path) -> None:
    _write(tmp_path, text)
    before = read_list(tmp_path, "list.txt")
    new, num_left_out, needs_format = rewrite_list(
        tmp_path, Path("list.txt"), lambda path: None if "b" in path else path.replace("v/", "new folder/")
    )
    assert (num_left_out, needs_format) == (1, "")
    after = read_list(_write(tmp_path, new, "new.txt"), "new.txt")
    assert [(video.path, video.labels) for video in after] == [
        (video.path.replace("v/", "new folder/"), video.labels) for video in (before[0], before[2])
    ]


@pytest.mark.parametrize(
    ("text", "list_format", "needs_format"),
    [
        ("v/a.mp4 1\nw/b.mp4 1\nw/c.mp4 0\n", "auto", "numbers"),  # without b, folders and numbers are one to one
        ("v/a.mp4 1\nw/b.mp4 2\nw/c.mp4 2\n", "numbers", "numbers"),  # read as UCF101's otherwise
        ("v/a.mp4 30 1\nw/b.mp4 31 1\nw/c.mp4 32 0\n", "frames_numbers", "frames_numbers"),  # refused otherwise
        ("v/a.mp4 1\nw/b.mp4 0\nv/c.mp4 0\n", "numbers", ""),
    ],
)
def test_a_rewritten_list_that_reads_otherwise_names_its_format(
    text: str, list_format: ListFormat, needs_format: str, tmp_path: Path
) -> None:
    _write(tmp_path, text)
    new = rewrite_list(tmp_path, Path("list.txt"), lambda path: None if "b" in path else path, list_format)
    assert new.needs_format == needs_format
    after = parse_list(_write(tmp_path, new.text, "new.txt"), "new.txt", new.needs_format or "auto").videos
    assert [(video.path, video.labels) for video in after] == [
        (video.path, video.labels)
        for video in parse_list(tmp_path, "list.txt", list_format).videos
        if "b" not in video.path
    ]
