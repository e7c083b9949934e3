from __future__ import annotations

from pathlib import Path

import pytest

from dali_pipes.annotations.lists import parse_list, read_list, rewrite_list


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na.mp4,run, fast\n", "line 2: expected 2 cells as in the first line, found 3"),
        ('path,label\n"a\nb.mp4",run\n', "line 2: expected a path on one line"),
        ('path,label\na.mp4,run\n"b.mp4,run\nc.mp4,x\n', "line 3: expected quotes in pairs"),
        ("path,label,label\na.mp4,run,x\n", "expected each column once, found 'label' twice"),
        ("path,class\na.mp4,run\n", r"columns path,label\[,group\]"),
        ("path,label\na.mp4,run\n\0,x\n", "line 3: expected text, found a NUL byte"),
        (
            "path,label\na.mp4,x\n./a.mp4,x\n",
            "line 3: a.mp4 and ./a.mp4 are one path, which is listed twice .also line 2",
        ),
    ],
)
def test_damaged_csvs_are_refused_with_the_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"list\.csv.*{message}"):
        read_list(tmp_path, "list.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize(
    "text", ["Path; LABEL ;x\na.mp4;swim, far;\n\nb.mp4;run\n", "x\tlabel\tpath\n\tswim, far\ta.mp4\n\trun\tb.mp4"]
)
def test_headers_delimiters_and_encodings_may_vary(text: str, encoding: str, tmp_path: Path) -> None:
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    (tmp_path / "list.csv").write_bytes(mark + text.replace("\n", "\r\n").encode(encoding))
    assert [(v.path, *v.labels) for v in read_list(tmp_path, "list.csv")] == [("a.mp4", "swim, far"), ("b.mp4", "run")]


def test_kinetics_list_finds_its_files_and_names_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(
        "label,youtube_id,time_start,time_end,split\nrun,-abc,12,22,train\nskip,xyz,0,10,train\n"
    )
    for name in ("run/-abc_000012_000022.mp4", "other/xyz.webm"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    parsed = parse_list(tmp_path, "list.csv")
    assert parsed.reading == "kinetics"
    assert [(v.path, *v.labels) for v in parsed.videos] == [
        ("run/-abc_000012_000022.mp4", "run"),
        ("other/xyz.webm", "skip"),
    ]
    text, *_ = rewrite_list(tmp_path, Path("list.csv"), lambda path: Path(path).with_suffix(".mkv").as_posix())
    assert text == "path,label\nrun/-abc_000012_000022.mkv,run\nother/xyz.mkv,skip\n"
    (tmp_path / "other/xyz.webm").unlink()
    with pytest.raises(ValueError, match=r"line 3: .*none for 1; .*reskd prepare import kinetics400"):
        read_list(tmp_path, "list.csv")


@pytest.mark.parametrize("name", ["list.csv", "list.txt"])
def test_line_ends_of_carriage_returns_alone_are_read(name: str, tmp_path: Path) -> None:
    text = "path,label\ra.mp4,run\rb.mp4,swim\r" if name.endswith("csv") else "a.mp4 run\rb.mp4 swim\r"
    (tmp_path / name).write_bytes(text.encode())
    assert [(v.path, *v.labels) for v in read_list(tmp_path, name)] == [("a.mp4", "run"), ("b.mp4", "swim")]


@pytest.mark.parametrize("name", ["list.csv", "list.txt"])
def test_an_endless_first_line_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text('"' + "x" * 140_000 + "\n")
    with pytest.raises(ValueError, match="line 1: expected a list with one video a line, found 140,002 characters"):
        read_list(tmp_path, name)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("path,label,groups", "columns that are not read: groups; is 'groups' the column group?"),
        ("id,path,label", "columns that are not read: id"),
        ("path,label,group", None),
    ],
)
def test_columns_that_are_not_read_are_named(header: str, said: str | None, tmp_path: Path) -> None:
    cells = {"path": "a.mp4", "label": "run"}
    row = ",".join(cells.get(name, "7") for name in header.split(","))
    (tmp_path / "list.csv").write_text(f"{header}\n{row}\n")
    remarks = parse_list(tmp_path, "list.csv").remarks
    assert [remark.partition(": ")[2] for remark in remarks] == ([said] if said else [])
