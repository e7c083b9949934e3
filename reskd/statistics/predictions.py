"""The answers of one run on its test videos, and the joining of several test lists into one.

Shape letters: N videos, K classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reskd.choices import ScoreKind

_EVALUATE_AGAIN = "evaluate the run again"


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one model answers on N videos.

    Attributes:
        videos: a path or name a video, each once.
        groups: a name a video; videos of one group are not independent of each other (for UCF101, class and group).
        labels_N: int64, the true classes; of a video with several labels, one of them.
        logits_NK: float32; their softmax or sigmoid is the score of a class.
        label_sets_NK: bool, where videos may have several labels.
        scores: of the logits, as the network was trained.

    Raises:
        ValueError: no video, a video twice, arrays of other shapes or types, a label outside 0 to K - 1, a logit that
            is not finite, or label sets that are all empty.
    """

    videos: tuple[str, ...]
    groups: tuple[str, ...]
    labels_N: NDArray[np.int64]
    logits_NK: NDArray[np.float32]
    label_sets_NK: NDArray[np.bool_] | None = None
    scores: ScoreKind = "softmax"

    def __post_init__(self) -> None:
        num_videos = len(self.videos)
        if num_videos == 0:
            raise ValueError(f"expected the predictions of at least one video, found none; {_EVALUATE_AGAIN}.")
        shapes = (len(self.groups), self.labels_N.shape, self.logits_NK.shape[:1], self.logits_NK.ndim)
        if shapes != (num_videos, (num_videos,), (num_videos,), 2):
            raise ValueError(
                f"expected one group, one label and one row of logits for each of {num_videos} videos, found "
                f"{len(self.groups)} groups, {self.labels_N.shape = }, {self.logits_NK.shape = }; {_EVALUATE_AGAIN}."
            )
        if (self.labels_N.dtype, self.logits_NK.dtype) != (np.int64, np.float32):
            raise ValueError(
                f"expected labels of int64 and logits of float32, found {self.labels_N.dtype} and "
                f"{self.logits_NK.dtype}; convert them."
            )
        self._check_label_sets()
        self._check_values()

    def _check_label_sets(self) -> None:
        sets_NK = self.label_sets_NK
        if sets_NK is None:
            return
        if (sets_NK.shape, sets_NK.dtype) != (self.logits_NK.shape, np.bool_):
            raise ValueError(
                f"expected a label set of bool for each row of logits, found {sets_NK.dtype} of {sets_NK.shape = } for "
                f"{self.logits_NK.shape = }; {_EVALUATE_AGAIN}."
            )
        if not sets_NK.any():
            raise ValueError(f"expected labels to score against, found none in {len(sets_NK)} videos; see the list.")

    def _check_values(self) -> None:
        video, count = Counter(self.videos).most_common(1)[0]
        if count > 1:
            raise ValueError(f"{video}: expected each video once, found it {count} times; {_EVALUATE_AGAIN}.")
        outside_N = (self.labels_N < 0) | (self.labels_N >= self.num_classes)
        if outside_N.any():
            row = int(outside_N.argmax())
            raise ValueError(
                f"{self.videos[row]}: expected a label from 0 to {self.num_classes - 1}, found {self.labels_N[row]}; "
                f"{_EVALUATE_AGAIN} with the list that it was trained with."
            )
        broken = np.flatnonzero(~np.isfinite(self.logits_NK).all(axis=1))
        if len(broken) > 0:
            raise ValueError(
                f"{self.videos[broken[0]]}: expected finite logits, found NaN or infinity in those of {len(broken)} of "
                f"{len(self.videos)} videos; the run has diverged, so leave it out and say so."
            )

    @property
    def num_classes(self) -> int:
        return int(self.logits_NK.shape[1])

    @property
    def is_of_label_sets(self) -> bool:
        """Whether the metrics are those of label sets, as in an evaluation: several labels, or sigmoid scores."""
        return self.label_sets_NK is not None or self.scores == "sigmoid"

    def as_label_sets(self) -> NDArray[np.bool_]:
        """bool (N, K): the true classes of each video."""
        if self.label_sets_NK is not None:
            return self.label_sets_NK
        return self.labels_N[:, None] == np.arange(self.num_classes)

    def sorted_by_video(self) -> Predictions:
        order = sorted(range(len(self.videos)), key=self.videos.__getitem__)
        return Predictions(
            tuple(self.videos[row] for row in order),
            tuple(self.groups[row] for row in order),
            self.labels_N[order],
            self.logits_NK[order],
            None if self.label_sets_NK is None else self.label_sets_NK[order],
            self.scores,
        )


def join_predictions(parts: Sequence[Predictions]) -> Predictions:
    """The predictions of disjoint test lists, such as a data set's official splits, as one list sorted by video.

    Raises:
        ValueError: no list, a video in two lists, or lists of other numbers of classes or other kinds of labels.
    """
    if not parts:
        raise ValueError("expected the predictions of at least one test list, found none; evaluate a run first.")
    classes = [part.num_classes for part in parts]
    if len(set(classes)) > 1:
        raise ValueError(
            f"expected test lists of the same classes, found {' and '.join(map(str, classes))} classes; join only "
            "splits of one data set."
        )
    kinds = {(part.label_sets_NK is None, part.scores) for part in parts}
    if len(kinds) > 1:
        raise ValueError(
            f"expected test lists with one kind of labels and scores, found {_kinds(parts)}; join only splits of one "
            "data set, scored alike."
        )
    lists_of = Counter(video for part in parts for video in part.videos)
    video, count = lists_of.most_common(1)[0]
    if count > 1:
        raise ValueError(
            f"{video}: expected each video in one test list, found it in {count} of {len(parts)}; join only splits "
            "whose test lists are disjoint."
        )
    return Predictions(
        tuple(video for part in parts for video in part.videos),
        tuple(group for part in parts for group in part.groups),
        np.concatenate([part.labels_N for part in parts]),
        np.concatenate([part.logits_NK for part in parts]),
        np.concatenate(sets) if (sets := [p.label_sets_NK for p in parts if p.label_sets_NK is not None]) else None,
        parts[0].scores,
    ).sorted_by_video()


def check_same_videos(one: Predictions, other: Predictions, *, names: tuple[str, str]) -> None:
    """Check that two predictions, both sorted by video, are of the same videos, labels, groups and classes.

    Args:
        names: of the two, for the error.

    Raises:
        ValueError: names a video that only one has, or whose label or group differs; or only one is of label sets.
    """
    differing = sorted(set(one.videos) ^ set(other.videos))
    if differing:
        has_it, lacks_it = names if differing[0] in one.videos else reversed(names)
        raise ValueError(
            f"expected the same test videos for {names[0]} and {names[1]}, found {len(differing)} that only one has: "
            f"{differing[0]} is among those of {has_it} and not of {lacks_it}; evaluate both with the same test lists."
        )
    if one.num_classes != other.num_classes:
        raise ValueError(
            f"expected the same classes for {names[0]} and {names[1]}, found {one.num_classes} and "
            f"{other.num_classes}; evaluate both with the same test lists."
        )
    if one.is_of_label_sets != other.is_of_label_sets:
        raise ValueError(
            f"expected one kind of labels and scores for {names[0]} and {names[1]}, found {_kinds((one, other))}, "
            "which have other metrics; compare arms with the same loss.task."
        )
    labels = [_label_names(predictions) for predictions in (one, other)]
    for noun, first, second in (("label", *labels), ("group", one.groups, other.groups)):
        rows = [row for row, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
        if rows:
            raise ValueError(
                f"{one.videos[rows[0]]}: expected one {noun}, found {first[rows[0]]} for {names[0]} and "
                f"{second[rows[0]]} for {names[1]}; evaluate both with the same test lists."
            )


def _label_names(predictions: Predictions) -> Sequence[object]:
    """For each video its label, or its labels."""
    if predictions.is_of_label_sets:
        return [" ".join(map(str, np.flatnonzero(labels_K))) for labels_K in predictions.as_label_sets()]
    return list(predictions.labels_N)


def _kinds(parts: Sequence[Predictions]) -> str:
    return " and ".join(
        f"{'one label' if part.label_sets_NK is None else 'several labels'} with {part.scores} scores" for part in parts
    )
