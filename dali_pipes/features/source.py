"""Read the features of the video at a position, or of its first readable substitute.

This file imports neither torch nor pydantic; it is safe to use from several threads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dali_pipes.choices import FrameSelection
from dali_pipes.fault_log import UnreadableDataError
from dali_pipes.features.manifest import FeatureManifest
from dali_pipes.features.sequence_example import BadFeaturesError, frames_of, parse_lists
from dali_pipes.features.tfrecord import FOOTER_BYTES, HEADER_BYTES, read_record
from dali_pipes.sampling.class_order import labels_to_balance
from dali_pipes.sampling.order import EpochOrders, ReadingOrder, substitute_row
from dali_pipes.sampling.student_frames import select_frames

_MOST_NAMED = 8  # videos in an error
# Numbers of these uses of the hash, different from all other uses.
_SELECTION_IN_TRAINING, _SELECTION_IN_EVALUATION = 202, 203


@dataclass(frozen=True)
class VideoFeatures:
    """The features of the video at a position.

    Args:
        row: row of the manifest.
        attempt: 0 for the planned video, k for its k-th substitute.
        groups: uint8 (T, d) of each group, views of the record's bytes.
        num_beyond: number of frames beyond ``max_frames``, which are not read.
        faults: the reason of each failed attempt.
    """

    row: int
    attempt: int
    groups: tuple[np.ndarray, ...]
    num_beyond: int
    faults: tuple[str, ...]

    @property
    def num_frames(self) -> int:
        return len(self.groups[0])


class RowChooser:
    """Maps a position to its planned row; for one thread."""

    def __init__(self, order: ReadingOrder, manifest: FeatureManifest) -> None:
        self._order = order
        self._num_videos = len(manifest)
        several = manifest.has_several_labels
        labels = labels_to_balance(order.class_sampling, manifest.first_labels, has_several_labels=several)
        self._epochs = EpochOrders(order.seed, self._num_videos, labels=labels)

    def row(self, position: int) -> int:
        epoch, index = divmod(position, self._num_videos)
        return index if self._order.mode == "eval" else self._epochs.row(epoch, index)


@dataclass(frozen=True)
class FeatureSource:
    """Reads videos of a manifest.

    Args:
        groups: the feature lists to read and the length of a frame's vector in each.
        max_frames: T, largest number of frames read per video.
        max_attempts: number of videos tried for one position.
    """

    manifest: FeatureManifest
    groups: Mapping[str, int]
    max_frames: int
    order: ReadingOrder
    max_attempts: int

    def read(self, position: int, planned_row: int) -> VideoFeatures:
        """Read the video of a position, or its first readable substitute.

        Raises:
            UnreadableDataError: none of ``max_attempts`` videos could be read; names them.
        """
        rows: list[int] = []
        faults: list[str] = []
        for attempt in range(self.max_attempts):
            rows.append(self.row(position, attempt, planned_row))
            try:
                return self.read_row(rows[-1], attempt, faults)
            except (ValueError, OSError) as error:
                faults.append(str(error))
        first = list(zip(rows, faults, strict=True))[:_MOST_NAMED]
        named = "; ".join(f"{self.manifest.name(row)}: {fault}" for row, fault in first)
        raise UnreadableDataError(
            f"position {position}: expected a readable video, found none among {self.max_attempts} of the list: {named}"
        )

    def read_row(self, row: int, attempt: int = 0, faults: Sequence[str] = ()) -> VideoFeatures:
        """Read the video of a row.

        Args:
            attempt, faults: passed on to the result.

        Raises:
            ValueError: the record is damaged or has other features.
            OSError: the file cannot be read.
        """
        groups = self._read(row)
        num_beyond = max(0, len(groups[0]) - self.max_frames)
        kept = tuple(frames[: self.max_frames] for frames in groups)
        return VideoFeatures(row, attempt, kept, num_beyond, tuple(faults))

    def row(self, position: int, attempt: int, planned_row: int) -> int:
        """The row to try at an attempt."""
        if attempt == 0:
            return planned_row
        num_videos = len(self.manifest)
        return substitute_row(self.order.seed, position, attempt, num_videos, planned_row=planned_row)

    def select(self, selection: FrameSelection, k: int, video: VideoFeatures, position: int) -> np.ndarray:
        """Select the student's frames (int64). Random ones differ at each position in training; in evaluation they
        depend only on the row."""
        in_training = (_SELECTION_IN_TRAINING, position, video.attempt)
        key = in_training if self.order.mode == "train" else (_SELECTION_IN_EVALUATION, video.row)
        return select_frames(selection, k, video.num_frames, key=(self.order.seed, *key))

    def describe_cut(self, video: VideoFeatures) -> str:
        """Make the message about the first video with more than ``max_frames``."""
        return (
            f"{self.manifest.name(video.row)} has {self.max_frames + video.num_beyond} frames; frames beyond "
            f"data.max_frames = {self.max_frames} are not read, in this and other videos"
        )

    def _read(self, row: int) -> list[np.ndarray]:
        """Read all frames of each group of a row; raises as ``read_row``."""
        location = self.manifest.location(row)
        file = os.open(self.manifest.file(row), os.O_RDONLY)
        try:
            framed = read_record(file, location)
        finally:
            os.close(file)
        lists = parse_lists(framed, HEADER_BYTES, len(framed) - FOOTER_BYTES)
        missing = [name for name in self.groups if name not in lists]
        if missing:
            raise BadFeaturesError(f"expected a feature list {missing[0]}, found {sorted(lists) or 'none'}")
        groups = [frames_of(lists[name], name, dim) for name, dim in self.groups.items()]
        lengths = dict(zip(self.groups, map(len, groups), strict=True))
        if len(set(lengths.values())) > 1:
            raise BadFeaturesError(f"expected the same number of frames in each feature list, found {lengths}")
        if len(groups[0]) == 0:
            raise BadFeaturesError("expected at least one frame, found none")
        return groups
