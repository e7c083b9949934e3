"""splits.csv read back: each video's group, also where its path is not UTF-8 or has a comma."""

from __future__ import annotations

import os

from dali_pipes.annotations.lists import LabeledVideo
from dali_pipes.manifest.split_lists import SplitLists
from dali_pipes.manifest.split_table import groups_of_videos, split_table


def test_the_groups_of_a_table_are_those_of_its_videos() -> None:
    latin1 = os.fsdecode(b"b/caf\xe9.mp4")
    train = [LabeledVideo("a/x,1.mp4", (0,), "scene 1"), LabeledVideo(latin1, (1,), "scene 1")]
    test = [LabeledVideo("a/y.mp4", (0,), "a/y.mp4")]
    table = split_table(SplitLists(("a", "b"), train, test, []), {"train": train, "test": test})
    assert groups_of_videos(table) == {"a/x,1.mp4": "scene 1", latin1: "scene 1", "a/y.mp4": "a/y.mp4"}
