"""Mini-Kinetics: 200 classes of Kinetics-400, in three forms.

- AR-Net's and AdaFuse's lists, which ResKD follows (121,215 training and 9,867 validation videos): mini_train.txt and
  mini_val.txt or their _videofolder.txt, lines "images/val/air drumming/7LSJ2Ryv1a8_000000_000010;60;0" (path, frames,
  class; semicolons or spaces), and minik_classInd.txt, one name per line. Source: github.com/mengyuest/AdaFuse,
  data/kinetics; the validation list was read, the training list was not available.
- Xie et al. (arXiv:1712.04851): train_ytid_list.txt (80,000) and val_ytid_list.txt (5,000), one YouTube id per line,
  together with the CSVs of Kinetics-400. Source: github.com/s9xie/Mini-Kinetics-200.
- A list of class names with the CSVs of Kinetics-400: all of their videos. Not an official form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dali_pipes.annotations.published.base import AnnotatedVideo, Annotations, read_lines, refusal, split_in_name
from dali_pipes.annotations.published.kinetics import read_kinetics_csvs

_FOLDER_LINE = re.compile(r"(\S.*?)([ ;])(\d+)\2(\d+)")
_ID = re.compile(r"[\w-]{11}")
_CLIP = re.compile(r"([\w-]{11})_\d{6}_\d{6}")
_EXPECTED = (
    "Mini-Kinetics: lists of lines 'path frames class' (AdaFuse), or train_ytid_list.txt and val_ytid_list.txt or a "
    "list of class names, both with the CSVs of Kinetics-400"
)


def read_mini_kinetics(paths: Sequence[Path]) -> Annotations:
    """Read the videos of any of the three forms.

    Raises:
        ValueError: the files make up none of the forms, or a class number has no name.
    """
    lines = {path: read_lines(path) for path in paths}
    csvs = [path for path in paths if "youtube_id" in lines[path][0]]
    rest = [path for path in paths if path not in csvs]
    folders = [path for path in rest if _FOLDER_LINE.fullmatch(lines[path][0])]
    ids = [path for path in rest if path not in folders and all(map(_ID.fullmatch, lines[path]))]
    names = [path for path in rest if path not in folders and path not in ids]
    if len(names) > 1 or bool(folders) == bool(csvs) or (csvs and bool(ids) == bool(names)) or (folders and ids):
        raise refusal(rest[0] if rest else paths[0], _EXPECTED)
    if any("," in line for path in names for line in lines[path]):
        raise refusal(names[0], _EXPECTED)
    class_names = tuple(lines[names[0]]) if names else ()
    if folders:
        return _from_folders(folders, class_names)
    return _from_ids(csvs, ids) if ids else _from_classes(csvs, class_names)


def _from_folders(paths: Sequence[Path], class_names: tuple[str, ...]) -> Annotations:
    name_of = dict(enumerate(class_names))
    videos = []
    for path in paths:
        split = split_in_name(path)
        for number, line in enumerate(read_lines(path), start=1):
            match = _FOLDER_LINE.fullmatch(line)
            if not match:
                raise ValueError(f"{path}, line {number}: expected 'path frames class', found {line!r}.")
            folder, label = PurePosixPath(match[1]), int(match[4])
            known = name_of.get(label) if class_names else name_of.setdefault(label, folder.parent.name)
            if known != folder.parent.name:
                raise ValueError(
                    f"{path}, line {number}: expected class {label} to be {known!r} as before, found "
                    f"{folder.parent.name!r}; check that the lists and class names have one source."
                )
            clip = _CLIP.fullmatch(folder.name)
            video_names = (folder.name, clip[1]) if clip else (folder.name,)
            videos.append(AnnotatedVideo(video_names, split, (folder.parent.name,), clip[1] if clip else None))
    if sorted(name_of) != list(range(len(name_of))):
        raise ValueError(f"{paths[0]}: expected classes numbered from 0 without gaps, found {sorted(name_of)[:5]}...")
    return Annotations(tuple(name_of[number] for number in range(len(name_of))), tuple(videos))


def _from_ids(csvs: Sequence[Path], id_lists: Sequence[Path]) -> Annotations:
    split_of = {video_id: split_in_name(path) for path in id_lists for video_id in read_lines(path)}
    videos = [v for v in read_kinetics_csvs(csvs) if v.labels and split_of.get(v.names[1]) == v.split]
    unknown = len(split_of.keys() - {video.names[1] for video in videos})
    remarks = (f"{unknown} ids of the lists are in none of the CSVs, or in another split",) if unknown else ()
    return Annotations(tuple(sorted({label for v in videos for label in v.labels})), tuple(videos), remarks)


def _from_classes(csvs: Sequence[Path], class_names: tuple[str, ...]) -> Annotations:
    videos = tuple(video for video in read_kinetics_csvs(csvs) if set(video.labels) & set(class_names))
    unknown = sorted(set(class_names) - {label for video in videos for label in video.labels})
    remarks = (f"{len(unknown)} classes are in none of the CSVs: {', '.join(unknown[:5])}",) if unknown else ()
    return Annotations(class_names, videos, remarks)
