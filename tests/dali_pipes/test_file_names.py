from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from dali_pipes.file_names import print_any_name, printable

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
