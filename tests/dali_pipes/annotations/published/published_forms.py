"""Tiny files in the forms in which the data sets publish their annotations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HEADER = "label,youtube_id,time_start,time_end,split,is_cc\n"
YOGA, DRUM, GOAL = "yoga0123456", "-drum_45678", "goal_123456"


def write(folder: Path, files: Mapping[str, Any]) -> list[Path]:
    """Text as it is, anything else as JSON."""
    paths = []
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        paths.append(path)
    return paths


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


KINETICS = {
    "train.csv": HEADER + f'yoga,{YOGA},7,17,train,0\n"shooting goal (soccer)",{GOAL},100,110,train,1\n',
    "val.csv": HEADER + f"air drumming,{DRUM},0.0,10.0,validate,0\n",
}
KINETICS_TEST = {"test.csv": "youtube_id,time_start,time_end,split\n--6bJUbfpnQ,17,27,test\n"}

MINI_FOLDERS = {
    "mini_train.txt": f"images/train/yoga/{YOGA}_000007_000017;300;1\n",
    "mini_val_videofolder.txt": f"images/val/air drumming/{DRUM}_000000_000010 60 0\n",
    "minik_classInd.txt": "air drumming\nyoga\n",
}
MINI_IDS = {"train_ytid_list.txt": f"{YOGA}\nno-such-id1\n", "val_ytid_list.txt": f"{DRUM}\n"}

ACTIVITYNET = {
    "activity_net.v1-3.min.json": {
        "version": "VERSION 1.3",
        "taxonomy": [],
        "database": {
            "aaaaaaaaaaa": {
                "subset": "training",
                "annotations": [
                    {"segment": [0, 1], "label": "Yoga"},
                    {"segment": [2, 3], "label": "Archery"},
                    {"segment": [4, 5], "label": "Yoga"},
                ],
            },
            "bbbbbbbbbbb": {"subset": "validation", "annotations": [{"segment": [0, 9], "label": "Archery"}]},
            "ccccccccccc": {"subset": "testing", "annotations": []},
        },
    }
}

FCVID = {
    "FCVID_VideoName_TrainTestSplit.txt": "making_cake/one.mp4\ttrain\nbeach/two.x.mp4\ttest\nthree\ttest\n",
    "FCVID_Label.txt": "1\t0\t1\n0\t1\t0\n0\t0\t0\n",
    "classes.txt": "making cake\nbeach\ndog\n",
}
FCVID_AR_NET = {"fcvid_train_split.txt": "one,300,2,0\n", "fcvid_val_split.txt": "two,200,1\n"}

SOMETHING = {
    "labels.json": {"Throwing something": "1", "Holding something next to something": "0"},
    "train.json": [
        {
            "id": "7",
            "label": "holding a pen next to a cup",
            "template": "Holding [something] next to [something]",
            "placeholders": ["a pen", "a cup"],
        }
    ],
    "something-something-v2-validation.json": [{"id": "8", "template": "Throwing [something]"}],
}
SOMETHING_TEST = {"test.json": [{"id": "9"}, {"id": "10"}], "test-answers.csv": "9;Throwing something\n"}
