from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reskd.evaluation.multi_view import average_views, rows_of_whole_videos


@given(
    num_videos=st.integers(0, 9),
    num_test_views=st.integers(1, 6),
    missing=st.sets(st.integers(0, 53)),
    shuffle=st.randoms(use_true_random=False),
)
@settings(max_examples=100, deadline=None)
def test_rows_are_those_of_videos_that_are_whole_in_the_order_of_the_list(
    num_videos: int, num_test_views: int, missing: set[int], shuffle: object
) -> None:
    positions = [position for position in range(num_videos * num_test_views) if position not in missing]
    shuffle.shuffle(positions)  # type: ignore[attr-defined]
    rows_NV = rows_of_whole_videos(torch.tensor(positions, dtype=torch.int64), num_test_views)
    found = [[positions[row] for row in rows] for rows in rows_NV.tolist()]
    wanted = [list(range(video * num_test_views, (video + 1) * num_test_views)) for video in range(num_videos)]
    assert found == [video for video in wanted if not missing & set(video)]


def test_one_view_is_left_as_it_is() -> None:
    logits_NVK = torch.randn(4, 1, 5) * 100
    for average in ("probabilities", "logits"):
        assert torch.equal(average_views(logits_NVK, average), logits_NVK[:, 0])


def test_probabilities_of_very_sure_views_are_averaged_without_overflow() -> None:
    logits_NVK = torch.tensor([[[1e4, 0.0, 0.0], [0.0, 1e4, 0.0]]])
    averaged = average_views(logits_NVK, "probabilities")
    torch.testing.assert_close(averaged.softmax(1), torch.tensor([[0.5, 0.5, 0.0]]))
    assert averaged.isfinite().all()


def test_a_sure_view_outweighs_others_as_logits_and_not_as_probabilities() -> None:
    logits_NVK = torch.tensor([[[9.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]])
    assert average_views(logits_NVK, "logits").argmax(1).item() == 0
    assert average_views(logits_NVK, "probabilities").argmax(1).item() == 1
