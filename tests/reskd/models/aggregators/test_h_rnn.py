"""The states that H-RNN gives of its blocks."""

from __future__ import annotations

import pytest
import torch

from tests.reskd.models.families.aggregated import make_aggregator, make_features


def test_the_state_after_a_block_is_the_embedding_of_the_video_up_to_it() -> None:
    aggregator, features_NTD = make_aggregator("h_rnn"), make_features(2, 8)  # blocks of 3, 3 and 2 frames
    states_NGE, valid_NG = aggregator.block_states(features_NTD)
    assert states_NGE.shape == (2, aggregator.num_blocks(8), aggregator.embedding_dim) == (2, 3, 20)
    assert valid_NG.all()
    for block, num_frames in enumerate((3, 6, 8)):
        torch.testing.assert_close(states_NGE[:, block], aggregator(features_NTD[:, :num_frames]))


def test_blocks_that_a_video_does_not_fill_come_first_and_are_zero() -> None:
    aggregator, features_NTD = make_aggregator("h_rnn"), make_features(3, 9)
    lengths_N = torch.tensor([9, 4, 0])
    valid_NT = torch.arange(9) < lengths_N[:, None]
    states_NGE, valid_NG = aggregator.block_states(features_NTD, valid_NT)
    assert valid_NG.tolist() == [[True] * 3, [False, True, True], [False] * 3]
    assert not states_NGE[~valid_NG].any()
    torch.testing.assert_close(states_NGE[:, -1], aggregator(features_NTD, valid_NT))
    torch.testing.assert_close(states_NGE[1, 1], aggregator(features_NTD[1:2, :3])[0])


def test_a_block_that_is_longer_than_the_video_is_one() -> None:
    aggregator = make_aggregator("h_rnn")
    assert [aggregator.num_blocks(frames) for frames in (1, 3, 4, 6, 7)] == [1, 1, 2, 2, 3]
    assert aggregator.block_states(make_features(1, 2))[0].shape[1] == 1


@pytest.mark.parametrize("kind", ["mean", "netvlad", "nextvlad"])
def test_the_other_aggregators_have_no_blocks(kind: str) -> None:
    aggregator = make_aggregator(kind)
    assert aggregator.num_blocks(9) == 0
    with pytest.raises(ValueError, match="use aggregator.kind = h_rnn"):
        aggregator.block_states(make_features(1, 9))
