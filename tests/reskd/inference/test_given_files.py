"""Lists of videos to answer: any that training reads, or a path on each line."""

from __future__ import annotations

from pathlib import Path

import pytest

from reskd.inference.given_files import listed_videos


@pytest.mark.parametrize(
    "text",
    [
        "0.mp4\n5.mp4\n",
        "# chosen by hand\n0.mp4\n\n  5.mp4\n0.mp4\n",
        "path,label\n0.mp4,left\n5.mp4,up\n",
        "0.mp4 0\n5.mp4 1\n",
    ],
)
def test_a_list_of_any_form_names_its_videos(text: str, tmp_path: Path) -> None:
    for name in ("0.mp4", "5.mp4"):
        (tmp_path / name).touch()
    path = tmp_path / "lists" / "some.txt"
    path.parent.mkdir()
    path.write_text(text)
    assert listed_videos(path, tmp_path) == [str(tmp_path / "0.mp4"), str(tmp_path / "5.mp4")]
