from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from dali_pipes.file_names import on_one_line, print_any_name, printable, short_enough

ODD = os.fsdecode(b"caf\xe9.mp4")


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a b.mp4", "a b.mp4"), ("caf\u00e9", "caf\u00e9"), (ODD, "caf\\udce9.mp4"), (Path("x", ODD), "x/caf\\udce9.mp4")],
)
def test_only_what_is_no_text_is_changed(name: str | Path, shown: str) -> None:
    assert printable(name) == shown
    assert printable(name).encode()


def test_a_stream_writes_any_name() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    with pytest.raises(UnicodeEncodeError):
        stream.write(ODD)
    print_any_name(stream)
    stream.write(f"{ODD}\n")
    stream.flush()
    assert stream.buffer.getvalue() == b"caf\\udce9.mp4\n"  # type: ignore[attr-defined]
    print_any_name(io.StringIO())  # takes any text as it is


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a b\u00e9|\U0001f3a5.mp4", "a b\u00e9|\U0001f3a5.mp4"),
        ("a\nb\r\nc\t.mp4", "a\\nb\\r\\nc\\t.mp4"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\u2028b\u202e4pm", "a\\u2028b\\u202e4pm"),
        (Path("x", ODD), "x/caf\\udce9.mp4"),
    ],
)
def test_a_name_stays_on_its_line(name: str | Path, shown: str) -> None:
    assert on_one_line(name) == shown


def test_a_name_is_shortened_only_if_no_file_system_allows_it() -> None:
    longest = "x" * 251 + ".mp4"
    assert short_enough(longest) == longest
    shorter = [short_enough(f"{stem}.mp4") for stem in ("x" * 252, "y" * 300, "\u00e9" * 200, ODD * 100, "." * 252)]
    assert all(len(os.fsencode(name)) <= 255 and name.endswith(".mp4") for name in shorter)
    assert len(set(shorter)) == len(shorter) and short_enough("x" * 253 + ".mp4") not in shorter
    assert shorter[2].encode()
    assert len(os.fsencode(short_enough("a." + "b" * 300))) <= 255
