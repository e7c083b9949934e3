"""A contact sheet shows the student's pixels, whatever videos and classes are called."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from reskd.reports.contact_sheet import MAX_FRAMES_A_LINE, MAX_ROWS, SheetRow, _text, draw_contact_sheet, film_strip


def row(name: str = "a.mp4", *, num_frames: int = 3, color: tuple[int, int, int] = (200, 30, 60)) -> SheetRow:
    frames_THWC = np.full((num_frames, 20, 30, 3), color, np.uint8)
    return SheetRow(name, [("left", 0.7), ("right", 0.3)], frames_THWC)


def test_a_film_strip_holds_every_frame_in_order() -> None:
    frames_THWC = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 6, 3), np.uint8)
    strip = film_strip(frames_THWC)
    assert strip.shape == (2 * 4 + 1, MAX_FRAMES_A_LINE * 7 - 1, 3)
    for number in range(20):
        line, column = divmod(number, MAX_FRAMES_A_LINE)
        assert (strip[line * 5 : line * 5 + 4, column * 7 : column * 7 + 6] == number).all()


def test_the_pixels_that_were_seen_are_on_the_sheet(tmp_path: Path) -> None:
    draw_contact_sheet([row(), row(color=(10, 240, 90))], tmp_path / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))[..., ::-1]
    for color in ((200, 30, 60), (10, 240, 90)):
        assert (sheet == color).all(-1).sum() > 1000


@pytest.mark.parametrize("name", ["$\\frac{", "a" * 300, "", "line\nbreak.mp4", "\\udcff.mp4"])
def test_any_name_can_be_drawn(name: str, tmp_path: Path) -> None:
    draw_contact_sheet([row(name, num_frames=40)], tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000


@pytest.mark.parametrize("count", [0, MAX_ROWS + 1])
def test_a_sheet_of_no_or_too_many_rows_is_refused(count: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"expected 1 to {MAX_ROWS} videos, found {count}"):
        draw_contact_sheet([row()] * count, tmp_path / "sheet.png")


def test_a_long_class_is_cut_and_not_left_out() -> None:
    label = "Pretending_to_put_something_underneath"
    assert label[:29] in _text(row()._replace(answers=[(label, 0.7)]))
