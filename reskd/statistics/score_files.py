"""The scores of one model's videos in a file of arrays alone, which any machine can read: ``NAME.scores.npz``.

Shape letters: N videos, K classes, B bytes of a bit a class.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dali_pipes.atomic_files import atomic_open
from reskd.statistics.predictions import Predictions

_LABEL_BITS = "label_bits_NB"  # of a list with several labels a video: a bit a class
_AGAIN = "run reskd evaluate again"


class ScoredVideos(NamedTuple):
    """What a model answers, and what it was not asked.

    Args:
        unscored: names of listed videos without a score -> the reason.
    """

    predictions: Predictions
    class_names: tuple[str, ...]
    unscored: Mapping[str, str]


def write_score_file(scored: ScoredVideos, path: Path) -> None:
    """Write float32 logits, labels, and names as bytes of any encoding; equal scores give equal bytes."""
    predictions = scored.predictions
    arrays = score_arrays(predictions) | {
        "class_names": as_bytes(scored.class_names),
        "unscored": as_bytes(tuple(scored.unscored)),
        "reasons": as_bytes(tuple(scored.unscored.values())),
        "is_sigmoid": np.array(predictions.scores == "sigmoid"),
    }
    with atomic_open(path) as file:
        np.savez(file, **arrays)


def read_score_file(path: Path) -> ScoredVideos:
    """Read what ``write_score_file`` wrote.

    Raises:
        FileNotFoundError, ValueError: there is none, or another file has its name.
    """
    try:
        with np.load(path) as arrays:
            sets_NK = label_sets(arrays)
            predictions = Predictions(
                as_names(arrays["videos"]),
                as_names(arrays["groups"]),
                arrays["labels_N"],
                arrays["logits_NK"],
                sets_NK,
                "sigmoid" if arrays["is_sigmoid"] else "softmax",
            )
            unscored = dict(zip(as_names(arrays["unscored"]), as_names(arrays["reasons"]), strict=True))
            return ScoredVideos(predictions, as_names(arrays["class_names"]), unscored)
    except FileNotFoundError:
        raise FileNotFoundError(f"expected the scores of each video in {path}, found no file; {_AGAIN}.") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: expected the scores of each video, found a damaged file ({error}); {_AGAIN}."
        ) from None


def score_arrays(predictions: Predictions) -> dict[str, Any]:
    """The arrays of a score file that hold videos, groups, labels and logits."""
    arrays: dict[str, Any] = {
        "videos": as_bytes(predictions.videos),
        "groups": as_bytes(predictions.groups),
        "labels_N": predictions.labels_N,
        "logits_NK": predictions.logits_NK,
    }
    if predictions.label_sets_NK is not None:
        arrays[_LABEL_BITS] = np.packbits(predictions.label_sets_NK, axis=1)
    return arrays


def label_sets(arrays: Mapping[str, Any]) -> np.ndarray | None:
    """bool (N, K) of the arrays of a score file; None if each video has one label."""
    if _LABEL_BITS not in arrays:
        return None
    return np.unpackbits(arrays[_LABEL_BITS], axis=1, count=arrays["logits_NK"].shape[1]).astype(bool)


def as_bytes(names: Sequence[str]) -> np.ndarray:
    """Names of any encoding as an array of their bytes."""
    return np.array([os.fsencode(name) for name in names], dtype=None if names else "S1")


def as_names(array: np.ndarray) -> tuple[str, ...]:
    return tuple(os.fsdecode(name) for name in array.tolist())
