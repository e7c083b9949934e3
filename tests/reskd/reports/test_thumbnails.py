from __future__ import annotations

import base64
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dali_pipes.manifest.manifest import ManifestRow
from dali_pipes.scan.scan import scan
from reskd.reports.thumbnails import as_data_uri, thumbnail_of
from tests.conftest import numbered_clip, read_number
from tests.dali_pipes.shown_pictures import Storing, write_shown


def pixels(uri: str, tmp_path: Path) -> np.ndarray:
    path = tmp_path / "x.jpg"
    path.write_bytes(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,")))
    return np.asarray(Image.open(path))


def row_of(path: Path, tmp_path: Path) -> ManifestRow:
    found = scan([path.name], root=path.parent, store=tmp_path / "store")
    return ManifestRow(path, 0, found[path.name])


def test_a_thumbnail_is_the_middle_frame(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "a.mp4", "libx264", 21, height=384, width=512)
    picture = pixels(thumbnail_of(row_of(path, tmp_path)), tmp_path)
    assert picture.shape == (150, 200, 3)
    assert read_number(picture)[0] in (10, 11)


def test_small_videos_are_not_enlarged_and_pixels_that_are_not_square_are_shown_as_they_look(tmp_path: Path) -> None:
    assert pixels(as_data_uri(np.zeros((30, 40, 3), np.uint8)), tmp_path).shape == (30, 40, 3)
    write_shown(tmp_path / "b.mp4", Storing(rotation=90, pixel_aspect=Fraction(4, 3)))
    height, width, _ = pixels(thumbnail_of(row_of(tmp_path / "b.mp4", tmp_path)), tmp_path).shape
    assert height / width == pytest.approx(3 / 4, abs=0.02)


def test_noise_of_the_largest_size_takes_few_kilobytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1080, 1440, 3), dtype=np.uint8)
    assert len(as_data_uri(noise)) < 40_000


def test_a_video_that_is_gone_is_an_error(tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / "a.mp4", "libx264", 5)
    row = row_of(path, tmp_path)
    path.unlink()
    with pytest.raises(OSError):
        thumbnail_of(row)
