"""Stock DALI shows the frames it is asked for; only then is comparing its cost fair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dali_pipes.sampling.clip_plan import Crop
from reskd.profiling.decode.dali_readers import StockClip, StockReader, frame_list, stock_batches
from tests.conftest import ENCODERS, HEIGHT, WIDTH, numbered_clip, read_number

WHOLE = Crop(0, 0, HEIGHT, WIDTH)


@pytest.mark.parametrize("codec", ["libvpx-vp9", "mjpeg"])
@pytest.mark.parametrize("reader", ["experimental.readers.video", "decoders.video"])
def test_both_readers_show_the_planned_frames(reader: StockReader, codec: str, tmp_path: Path) -> None:
    path = numbered_clip(tmp_path / f"clip{ENCODERS[codec][0]}", codec, 40)
    numbers = [[0, 13, 39], [5, 6, 30], [7, 7, 8], [1, 20, 21]]
    clips = [StockClip(path, np.array(row, np.int32), WHOLE, number % 2 == 1) for number, row in enumerate(numbers)]
    batches = stock_batches(
        clips,
        reader=reader,
        batch_size=2,
        sizes=((HEIGHT, WIDTH), (HEIGHT // 2, WIDTH // 2)),
        num_threads=1,
        device_id=None,
    )
    for first in (0, 2):
        teacher, student, frames = next(batches)
        assert teacher.shape == (2, 3, HEIGHT, WIDTH, 3) and student.shape == (2, 3, HEIGHT // 2, WIDTH // 2, 3)
        assert frames.tolist() == numbers[first : first + 2]
        for view in (teacher, student):
            shown = [[read_number(frame) for frame in clip] for clip in view.numpy()]
            assert shown == [[(number, flip) for number in numbers[first + flip]] for flip in (False, True)]


def test_a_path_that_the_list_of_files_cannot_hold_is_refused() -> None:
    clip = StockClip(Path("a b.webm"), np.array([1], np.int32), WHOLE, False)
    with pytest.raises(ValueError, match="expected a path without white space, found 'a b.webm'"):
        frame_list([clip])
