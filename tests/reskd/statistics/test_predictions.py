from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reskd.statistics.predictions import Predictions, check_same_videos, join_predictions


def predictions(*videos: str, num_classes: int = 2, **changed: Any) -> Predictions:
    fields = {
        "videos": videos,
        "groups": tuple(f"group of {video}" for video in videos),
        "labels_N": np.arange(len(videos), dtype=np.int64) % num_classes,
        "logits_NK": np.arange(len(videos) * num_classes, dtype=np.float32).reshape(len(videos), num_classes),
    }
    return Predictions(**(fields | changed))


def test_lists_are_joined_in_the_order_of_their_videos_with_all_that_belongs_to_each() -> None:
    one, other = predictions("d", "a"), predictions("c", "b")
    joined = join_predictions([one, other])
    assert joined.videos == ("a", "b", "c", "d")
    assert joined.groups == ("group of a", "group of b", "group of c", "group of d")
    assert joined.labels_N.tolist() == [1, 1, 0, 0]
    assert joined.logits_NK.tolist() == [[2, 3], [2, 3], [0, 1], [0, 1]]


def test_label_sets_and_kind_of_scores_go_with_the_videos() -> None:
    sets_NK = np.array([[True, True], [False, True]])
    one, other = (predictions(*names, label_sets_NK=sets_NK, scores="sigmoid") for names in (("d", "a"), ("c", "b")))
    joined = join_predictions([one, other])
    assert joined.label_sets_NK is not None
    assert joined.label_sets_NK.tolist() == [[False, True], [False, True], [True, True], [True, True]]
    assert joined.scores == "sigmoid"
    assert joined.is_of_label_sets


def test_a_single_label_is_a_set_of_one_under_sigmoid_scores() -> None:
    one = predictions("a", "b", scores="sigmoid")
    assert one.is_of_label_sets
    assert one.as_label_sets().tolist() == [[True, False], [False, True]]
    assert not predictions("a").is_of_label_sets


@pytest.mark.parametrize(
    ("sets_NK", "message"),
    [
        (np.ones((2, 3), bool), "a label set of bool for each row of logits, found bool"),
        (np.ones((2, 2), np.int64), "found int64"),
        (np.zeros((2, 2), bool), "expected labels to score against, found none in 2 videos"),
    ],
)
def test_label_sets_that_do_not_fit_are_refused(sets_NK: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predictions("a", "b", label_sets_NK=sets_NK)


def test_lists_and_arms_with_other_metrics_are_not_put_together() -> None:
    one, other = predictions("a", "b", scores="sigmoid"), predictions("c", "d")
    with pytest.raises(ValueError, match="found one label with sigmoid scores and one label with softmax scores; join"):
        join_predictions([one, other])
    with pytest.raises(ValueError, match="one kind of labels and scores for x and y, found one label with sigmoid"):
        check_same_videos(one, predictions("a", "b"), names=("x", "y"))


def test_other_label_sets_of_a_video_are_named() -> None:
    one, other = (
        predictions("a", "b", label_sets_NK=np.array([[True, last], [False, True]])) for last in (True, False)
    )
    with pytest.raises(ValueError, match="^a: expected one label, found 0 1 for x and 0 for y"):
        check_same_videos(one, other, names=("x", "y"))


def test_a_video_in_two_lists_is_refused() -> None:
    with pytest.raises(ValueError, match="^b: expected each video in one test list, found it in 2 of 2"):
        join_predictions([predictions("a", "b"), predictions("b", "c")])


def test_lists_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="same classes, found 2 and 3 classes"):
        join_predictions([predictions("a"), predictions("b", num_classes=3)])


def test_no_list_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one test list, found none"):
        join_predictions([])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"groups": ("one",)}, "one group, one label and one row of logits for each of 2 videos, found 1 groups"),
        ({"labels_N": np.zeros(3, np.int64)}, r"found 2 groups, self.labels_N.shape = \(3,\)"),
        ({"labels_N": np.zeros(2, np.int32)}, "labels of int64 and logits of float32, found int32 and float32"),
        ({"labels_N": np.array([0, 2])}, "^b: expected a label from 0 to 1, found 2"),
        ({"labels_N": np.array([-1, 0])}, "^a: expected a label from 0 to 1, found -1"),
        ({"logits_NK": np.array([[0, 1], [np.nan, 0]], np.float32)}, "^b: expected finite logits"),
        ({"logits_NK": np.array([0, 1], np.float32)}, "one row of logits"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predictions("a", "b", **changed)


def test_no_video_and_a_video_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one video"):
        predictions()
    with pytest.raises(ValueError, match="^a: expected each video once, found it 2 times"):
        predictions("a", "a")


def test_predictions_of_the_same_videos_may_have_other_logits() -> None:
    one = predictions("a", "b")
    check_same_videos(one, predictions("a", "b", logits_NK=-one.logits_NK), names=("x", "y"))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (predictions("a", "c"), "found 2 that only one has: b is among those of x and not of y"),
        (predictions("a", "b", "c"), "found 1 that only one has: c is among those of y and not of x"),
        (predictions("a", "b", num_classes=3), "same classes for x and y, found 2 and 3"),
        (predictions("a", "b", labels_N=np.array([0, 0])), "^b: expected one label, found 1 for x and 0 for y"),
        (predictions("a", "b", groups=("q", "group of b")), "^a: expected one group, found group of a for x and q"),
    ],
)
def test_other_videos_are_refused_and_one_is_named(other: Predictions, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_same_videos(predictions("a", "b"), other, names=("x", "y"))
