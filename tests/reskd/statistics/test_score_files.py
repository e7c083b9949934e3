from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reskd.statistics.score_files import ScoredVideos, read_score_file, write_score_file
from tests.reskd.statistics.test_pairs import run

ODD = ("a b.mp4", "caf\udce9.mp4", "<b>\n.mp4", "\u4e2d.mp4")


@pytest.mark.parametrize("several", [False, True])
def test_what_is_written_is_read(several: bool, tmp_path: Path) -> None:
    one = replace(run(1.0, 0, num_videos=4), videos=ODD, groups=ODD[::-1])
    if several:
        one = replace(one, label_sets_NK=np.eye(8, dtype=bool)[:4] | np.eye(8, dtype=bool)[1:5], scores="sigmoid")
    names = tuple(f"\udcff{number}" for number in range(8))
    write_score_file(ScoredVideos(one, names, {"gone\udce9": "no frame"}), tmp_path / "x.scores.npz")
    found = read_score_file(tmp_path / "x.scores.npz")
    assert (found.class_names, found.unscored) == (names, {"gone\udce9": "no frame"})
    assert (found.predictions.videos, found.predictions.groups) == (ODD, ODD[::-1])
    np.testing.assert_array_equal(found.predictions.logits_NK, one.logits_NK)
    np.testing.assert_array_equal(found.predictions.as_label_sets(), one.as_label_sets())
    assert found.predictions.scores == one.scores and found.predictions.is_of_label_sets == several


def test_equal_scores_give_equal_bytes_and_nothing_may_be_unscored(tmp_path: Path) -> None:
    scored = ScoredVideos(run(1.0, 0), ("a",) * 8, {})
    for name in ("a", "b"):
        write_score_file(scored, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_score_file(tmp_path / "a").unscored == {}


def test_a_file_that_is_missing_or_damaged_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.scores.npz"
    with pytest.raises(FileNotFoundError, match="found no file; run reskd evaluate again"):
        read_score_file(path)
    write_score_file(ScoredVideos(run(1.0, 0), ("a",) * 8, {}), path)
    data = path.read_bytes()
    for damaged in (b"", b"nonsense", data[: len(data) // 2], data[:-1000]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="expected the scores of each video, found a damaged file"):
            read_score_file(path)
    np.savez(path.open("wb"), videos=np.array([b"a"]))
    with pytest.raises(ValueError, match="damaged file"):
        read_score_file(path)
