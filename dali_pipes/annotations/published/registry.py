"""The data sets whose published annotations can be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from dali_pipes.annotations.published.activitynet import read_activitynet
from dali_pipes.annotations.published.base import Annotations
from dali_pipes.annotations.published.fcvid import read_fcvid
from dali_pipes.annotations.published.kinetics import read_kinetics400
from dali_pipes.annotations.published.mini_kinetics import read_mini_kinetics
from dali_pipes.annotations.published.something_something import read_something_something_v2


class DataSet(NamedTuple):
    """The reader, the files that it needs, and whether training may flip clips left-right."""

    read: Callable[[Sequence[Path]], Annotations]
    files: str
    flips: bool = True


DATA_SETS: dict[str, DataSet] = {
    "kinetics400": DataSet(read_kinetics400, "train.csv val.csv [test.csv]"),
    "mini_kinetics": DataSet(
        read_mini_kinetics,
        "mini_train.txt mini_val.txt minik_classInd.txt, or train_ytid_list.txt val_ytid_list.txt and Kinetics' CSVs",
    ),
    "activitynet": DataSet(read_activitynet, "activity_net.v1-3.min.json"),
    "fcvid": DataSet(read_fcvid, "FCVID_VideoName_TrainTestSplit.txt FCVID_Label.txt [class names]"),
    "something_something_v2": DataSet(
        read_something_something_v2, "labels.json train.json validation.json [test.json test-answers.csv]", flips=False
    ),
}
