from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from dali_pipes.batch import PADDING_POSITION, ClipBatch, View
from reskd.distributed import World
from reskd.evaluation.evaluator import Evaluation, evaluate
from reskd.evaluation.metrics import Scores, classification_metrics, metrics_of, multi_label_metrics
from reskd.outputs import RecognizerOutput
from reskd.training.precision import Precision

NUM_CLIPS, NUM_CLASSES = 7, 3


class PixelReader(nn.Module):
    """Answers with the class that the clip's first pixel names; in training mode it answers nonsense."""

    def forward(self, frames_NTHWC: Tensor) -> RecognizerOutput:
        named_N = frames_NTHWC[:, 0, 0, 0, 0].long()
        logits_NK = nn.functional.one_hot(named_N, NUM_CLASSES).float() * (0 if self.training else 1)
        return RecognizerOutput(logits_NK, torch.zeros(len(named_N), 1, 1, 1, 1))


class ListLoader:
    """7 clips in batches of 2 a rank; the last are padding. Clip 5's file is bad, and another stands in."""

    num_clips = NUM_CLIPS

    def __init__(self, world: World, *, several_labels: bool = False) -> None:
        self.world, self.several_labels = world, several_labels

    def __iter__(self) -> Iterator[ClipBatch]:
        per_round = 2 * self.world.size
        for start in range(0, NUM_CLIPS, per_round):
            places = torch.arange(2) + start + 2 * self.world.rank
            rows_N = places % NUM_CLIPS
            said_N = torch.where(rows_N == 6, 1, rows_N % NUM_CLASSES)  # clip 6 (class 0) is answered wrongly
            frames = said_N.to(torch.uint8)[:, None, None, None, None].expand(-1, 1, 8, 8, 3).contiguous()
            index_NT = torch.zeros(2, 1, dtype=torch.int64)
            yield ClipBatch(
                {"student": View(frames, index_NT, torch.ones_like(index_NT, dtype=torch.bool))},
                rows_N % NUM_CLASSES,
                rows_N,
                torch.where(places < NUM_CLIPS, places, PADDING_POSITION),
                rows_N == 5,
                self.label_sets(rows_N) if self.several_labels else None,
            )

    @staticmethod
    def label_sets(rows_N: Tensor) -> Tensor:
        """Each clip's class, and class 0 for all."""
        sets_NK = nn.functional.one_hot(rows_N % NUM_CLASSES, NUM_CLASSES).bool()
        sets_NK[:, 0] = True
        return sets_NK

    def close(self) -> None: ...


def run(world: World, *, several_labels: bool = False) -> Evaluation:
    precision = Precision("fp32", torch.device("cpu"))
    loader = ListLoader(world, several_labels=several_labels)
    return evaluate(PixelReader().train(), loader, view="student", world=world, precision=precision)


def run_rank(rank: int, size: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/join", rank=rank, world_size=size)
    result = run(World(rank, size, torch.device("cpu")))
    several = run(World(rank, size, torch.device("cpu")), several_labels=True).metrics
    torch.save([result.metrics, result.num_scored, result.logits_NK, result.ids_N, several], folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_each_clip_is_counted_once_and_a_substitute_never() -> None:
    result = run(World(0, 1, torch.device("cpu")))
    assert result.ids_N.tolist() == [0, 1, 2, 3, 4, 6]
    assert (result.num_scored, result.num_clips) == (6, 7)
    assert result.metrics["top1"] == pytest.approx(5 / 6)


@pytest.mark.slow
def test_two_and_three_processes_give_the_result_of_one(tmp_path: Path) -> None:
    alone = run(World(0, 1, torch.device("cpu")))
    for size in (2, 3):
        folder = tmp_path / str(size)
        folder.mkdir()
        mp.spawn(run_rank, args=(size, folder), nprocs=size)
        for rank in range(size):
            metrics, num_scored, logits_NK, ids_N, several = torch.load(folder / f"{rank}.pt")
            assert several == run(World(0, 1, torch.device("cpu")), several_labels=True).metrics
            assert metrics == alone.metrics
            assert num_scored == alone.num_scored
            assert torch.equal(logits_NK, alone.logits_NK)
            assert torch.equal(ids_N, alone.ids_N)


def test_the_models_mode_is_restored() -> None:
    model = PixelReader().train()
    world = World(0, 1, torch.device("cpu"))
    evaluate(model, ListLoader(world), view="student", world=world, precision=Precision("fp32", torch.device("cpu")))
    assert model.training


def test_metrics_of_a_small_table() -> None:
    #        right, right, wrong (class 1 for 0), right; class 3 has no clip
    logits_NK = torch.tensor([[9.0, 0, 0, 0], [0, 9, 0, 0], [0, 9, 0, 0], [0, 0, 9, 0]])
    metrics = classification_metrics(logits_NK, torch.tensor([0, 1, 0, 2]))
    assert metrics["top1"] == 0.75
    assert metrics["top5"] == 1.0  # with 4 classes, top 4
    assert metrics["mean_class_accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    # class 0: scores .99 (hit), then two ties at about 0 of which one is the other hit: precision 1 and 1/2 or 2/4.
    assert metrics["map"] == pytest.approx((0.75 + 0.5 + 1) / 3, abs=0.01)


def test_no_clip_scored_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected at least one scored clip, found none"):
        classification_metrics(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))


def test_several_labels_a_clip_give_map_alone_without_padding_and_substitutes() -> None:
    result = run(World(0, 1, torch.device("cpu")), several_labels=True)
    # Scored: clips 0 1 2 3 4 6, answers 0 1 2 0 1 1. Each has label 0, and clips 1 4 and 2 theirs; clip 6 is no 1.
    assert list(result.metrics) == ["map"]
    assert result.metrics["map"] == pytest.approx((1 + 2 / 3 + 1) / 3)


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_map_is_the_mean_of_average_precisions_by_hand_over_classes_that_occur(scores: Scores) -> None:
    generator = torch.Generator().manual_seed(1)
    logits_NK = torch.randn(40, 7, generator=generator) * 3
    sets_NK = torch.rand(40, 7, generator=generator) < 0.3
    sets_NK[:, 4] = False
    scores_NK = logits_NK.double().softmax(1) if scores == "softmax" else logits_NK.double().sigmoid()
    by_hand = []
    for k in (0, 1, 2, 3, 5, 6):
        hits_N = sets_NK[scores_NK[:, k].argsort(descending=True), k].double()
        precision_N = hits_N.cumsum(0) / torch.arange(1, 41)
        by_hand.append((precision_N[hits_N.bool()].sum() / hits_N.sum()).item())
    found = multi_label_metrics(logits_NK, sets_NK, scores=scores)["map"]
    assert found == pytest.approx(sum(by_hand) / 6, abs=1e-6)


def test_sigmoid_scores_of_large_logits_keep_their_order() -> None:
    logits_NK = torch.tensor([[20.0], [22.0], [24.0], [-1.0]])  # and one class alone is no special case
    sets_NK = torch.tensor([[False], [True], [True], [False]])
    assert multi_label_metrics(logits_NK, sets_NK, scores="sigmoid")["map"] == pytest.approx(1.0)


def test_sets_of_one_label_give_the_map_of_single_labels() -> None:
    generator = torch.Generator().manual_seed(2)
    logits_NK, labels_N = torch.randn(30, 5, generator=generator), torch.arange(30) % 5
    several = multi_label_metrics(logits_NK, torch.eye(5)[labels_N].bool(), scores="softmax")
    assert several["map"] == pytest.approx(classification_metrics(logits_NK, labels_N)["map"], abs=1e-6)


def test_a_list_without_several_labels_keeps_top1_and_has_the_map_of_the_scores_in_use() -> None:
    generator = torch.Generator().manual_seed(3)
    logits_NK, labels_N = torch.randn(30, 5, generator=generator), torch.arange(30) % 5
    softmax = metrics_of(logits_NK, labels_N, None, scores="softmax")
    sigmoid = metrics_of(logits_NK, labels_N, None, scores="sigmoid")
    sets_NK = torch.eye(5)[labels_N].bool()
    assert softmax == classification_metrics(logits_NK, labels_N)
    assert sigmoid == {**softmax, **multi_label_metrics(logits_NK, sets_NK, scores="sigmoid")}
    assert sigmoid["map"] != softmax["map"]


def test_no_clip_scored_is_an_error_for_several_labels_too() -> None:
    with pytest.raises(ValueError, match="expected at least one scored clip, found none"):
        multi_label_metrics(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.bool), scores="softmax")
