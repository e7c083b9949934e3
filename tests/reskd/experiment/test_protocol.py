from __future__ import annotations

from pathlib import Path

from reskd.experiment.config import parse_config
from reskd.experiment.protocol import describe_protocol
from tests.reskd.experiment.test_config import tree
from tests.reskd.feature_files import experiment


def test_the_protocol_says_which_frames_the_student_sees() -> None:
    for view, said in (({"num_frames": 4}, "4 of 8 frames at"), ({"num_frames": 2, "selection": "first_middle_last"},
                       "2 of 8 frames (first middle last) at")):  # fmt: skip
        changed_tree = tree(loss={"pixel": {"alpha": 100}, "time": "nearest"})
        changed_tree["data"]["views"]["student"] |= view
        assert said in describe_protocol(parse_config(changed_tree), "student")


def test_the_protocol_is_one_sentence_that_ends_with_the_precision() -> None:
    assert describe_protocol(parse_config(tree()), "student") == (
        "1 clip(s) a video, 8 frames at equal distances, 1 center crop of 0.875 of the short side, shown at 32x32, "
        "shrunk from the teacher's 64x64, fp32"
    )
    of_features = parse_config(experiment(Path("nowhere"), Path("nowhere")))
    assert describe_protocol(of_features, "student") == "4 of at most 8 frames (uniform) of the features rgb (6), fp32"
    assert describe_protocol(of_features, "teacher") == "all frames, at most 8, of the features rgb (6), fp32"
