from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from dali_pipes.batch import PADDING_POSITION, ClipBatch, View
from reskd.choices import METRIC_NAMES, ScoreKind
from reskd.distributed import World
from reskd.evaluation.evaluator import Evaluation, EvaluationSettings, evaluate
from reskd.evaluation.metrics import (
    ScoredList,
    check_selection_metric,
    classification_metrics,
    metrics_of,
    multi_label_metrics,
)
from reskd.evaluation.multi_view import average_views
from reskd.outputs import RecognizerOutput
from reskd.training.plan import SelectionMetric
from reskd.training.precision import Precision

NUM_CLIPS, NUM_CLASSES = 7, 3


class PixelReader(nn.Module):
    """Answers with the class that the clip's first pixel names; in training mode it answers nonsense."""

    def forward(self, frames_NTHWC: Tensor, valid_NT: Tensor) -> RecognizerOutput:
        assert valid_NT.shape == frames_NTHWC.shape[:2]
        named_N = frames_NTHWC[:, 0, 0, 0, 0].long()
        logits_NK = nn.functional.one_hot(named_N, NUM_CLASSES).float() * (0 if self.training else 1)
        return RecognizerOutput(logits_NK, torch.zeros(len(named_N), 1, 1, 1, 1))


class Overflowing(PixelReader):
    def forward(self, frames_NTHWC: Tensor, valid_NT: Tensor) -> RecognizerOutput:
        output = super().forward(frames_NTHWC, valid_NT)
        return output._replace(logits_NK=output.logits_NK / (output.logits_NK.argmax(1, keepdim=True) - 1))


class ListLoader:
    """7 videos of V views, in batches on every rank; the last are padding. The file of video 5 is bad: at its last view
    another stands in. Video 6 (class 0) is answered wrongly in all views, video 2 in the first of several."""

    num_samples = NUM_CLIPS

    def __init__(
        self, world: World, num_test_views: int = 1, batch_size: int = 2, *, several_labels: bool = False
    ) -> None:
        self.world, self.num_test_views, self.batch_size = world, num_test_views, batch_size
        self.several_labels = several_labels

    def __iter__(self) -> Iterator[ClipBatch]:
        num_positions = NUM_CLIPS * self.num_test_views
        for start in range(0, num_positions, self.batch_size * self.world.size):
            indices = torch.arange(self.batch_size) + start + self.batch_size * self.world.rank
            rows_N, views_N = indices // self.num_test_views % NUM_CLIPS, indices % self.num_test_views
            wrong_N = (rows_N == 6) | ((rows_N == 2) & (views_N == 0) & (self.num_test_views > 1))
            said_N = (rows_N + wrong_N) % NUM_CLASSES
            frames = said_N.to(torch.uint8)[:, None, None, None, None].expand(-1, 1, 8, 8, 3).contiguous()
            index_NT = torch.zeros(self.batch_size, 1, dtype=torch.int64)
            yield ClipBatch(
                {"student": View(frames, index_NT, torch.ones_like(index_NT, dtype=torch.bool))},
                rows_N % NUM_CLASSES,
                rows_N,
                torch.where(indices < num_positions, indices, PADDING_POSITION),
                (rows_N == 5) & (views_N == self.num_test_views - 1),
                self.label_sets(rows_N) if self.several_labels else None,
            )

    @staticmethod
    def label_sets(rows_N: Tensor) -> Tensor:
        """Each clip's class, and class 0 for all."""
        sets_NK = nn.functional.one_hot(rows_N % NUM_CLASSES, NUM_CLASSES).bool()
        sets_NK[:, 0] = True
        return sets_NK

    def close(self) -> None: ...


ALONE = World(0, 1, torch.device("cpu"))
FP32 = Precision("fp32", torch.device("cpu"))


def run(
    world: World, num_test_views: int = 1, batch_size: int = 2, *, several_labels: bool = False, **options: Any
) -> Evaluation:
    loader = ListLoader(world, num_test_views, batch_size, several_labels=several_labels)
    return evaluate(PixelReader().train(), loader, EvaluationSettings("student", FP32, **options), world=world)


def run_with_lists(world: World, batch_size: int = 2, **options: Any) -> dict[str, float]:
    with mock.patch("reskd.evaluation.metrics.MOST_SCORES", 0):
        result = run(world, batch_size=batch_size, scores="sigmoid", **options)
    assert result.logits_NK is None and (result.num_scored, result.ids_N.tolist()) == (6, [0, 1, 2, 3, 4, 6])
    return result.metrics


def run_rank(rank: int, size: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/join", rank=rank, world_size=size)
    world = World(rank, size, torch.device("cpu"))
    results = [run(world, num_test_views) for num_test_views in (1, 3)]
    several = run(world, several_labels=True).metrics, run_with_lists(world, several_labels=True)
    torch.save(([(r.metrics, r.num_scored, r.logits_NK, r.ids_N) for r in results], several), folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_each_clip_is_counted_once_and_a_substitute_never() -> None:
    result = run(ALONE)
    assert result.ids_N.tolist() == [0, 1, 2, 3, 4, 6]
    assert (result.num_scored, result.num_clips) == (6, 7)
    assert result.metrics["top1"] == pytest.approx(5 / 6)


def test_the_names_of_metrics_are_all_known() -> None:
    """An own metric of such a name would take its place."""
    logits_NK, labels_N = torch.randn(6, NUM_CLASSES), torch.arange(6) % NUM_CLASSES
    sets_NK = nn.functional.one_hot(labels_N % 2, NUM_CLASSES).bool()  # one class without a video
    given = metrics_of(logits_NK, labels_N, None, scores="softmax") | metrics_of(
        logits_NK, labels_N, sets_NK, scores="sigmoid"
    )
    given |= run_with_lists(ALONE, several_labels=True)
    assert given.keys() <= set(METRIC_NAMES) and set(get_args(SelectionMetric)) <= set(METRIC_NAMES)


def test_outputs_may_lie_in_memory_that_the_next_batch_fills() -> None:
    """As those of a CUDA graph do."""

    class InOneBuffer(PixelReader):
        buffer_NK = torch.empty(2, NUM_CLASSES)

        def forward(self, frames_NTHWC: Tensor, valid_NT: Tensor) -> RecognizerOutput:
            output = super().forward(frames_NTHWC, valid_NT)
            return output._replace(logits_NK=self.buffer_NK.copy_(output.logits_NK))

    result = evaluate(InOneBuffer(), ListLoader(ALONE), EvaluationSettings("student", FP32), world=ALONE)
    assert torch.equal(result.logits_NK, run(ALONE).logits_NK)


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_views_of_a_video_are_averaged_and_one_bad_view_leaves_it_out(average: str) -> None:
    result = run(ALONE, num_test_views=3, average=average)
    assert result.ids_N.tolist() == [0, 1, 2, 3, 4, 6]
    assert (result.num_scored, result.num_clips) == (6, 7)
    assert result.metrics["top1"] == pytest.approx(5 / 6)
    sure = torch.tensor([1.0, 0.0, 0.0])
    views = torch.stack([sure, sure.roll(2), sure.roll(2)])  # video 2: class 2, and once class 0
    mean = views.softmax(1).mean(0) if average == "probabilities" else views.mean(0).softmax(0)
    torch.testing.assert_close(result.logits_NK[2].softmax(0), mean)


@pytest.mark.parametrize("batch_size", [1, 3, 5, 40])
def test_the_batch_size_changes_nothing(batch_size: int) -> None:
    expected, result = run(ALONE, num_test_views=3), run(ALONE, num_test_views=3, batch_size=batch_size)
    assert torch.equal(result.logits_NK, expected.logits_NK)
    assert torch.equal(result.labels_N, expected.labels_N) and torch.equal(result.ids_N, expected.ids_N)


@pytest.mark.slow
def test_two_and_three_processes_give_the_result_of_one(tmp_path: Path) -> None:
    alone = [run(ALONE, num_test_views) for num_test_views in (1, 3)]
    for size in (2, 3):
        folder = tmp_path / str(size)
        folder.mkdir()
        mp.spawn(run_rank, args=(size, folder), nprocs=size)
        for rank in range(size):
            results, several = torch.load(folder / f"{rank}.pt")
            assert several == (run(ALONE, several_labels=True).metrics, run_with_lists(ALONE, several_labels=True))
            for result, expected in zip(results, alone, strict=True):
                metrics, num_scored, logits_NK, ids_N = result
                assert metrics == expected.metrics
                assert num_scored == expected.num_scored
                assert torch.equal(logits_NK, expected.logits_NK)
                assert torch.equal(ids_N, expected.ids_N)


def test_the_models_mode_is_restored() -> None:
    model = PixelReader().train()
    evaluate(model, ListLoader(ALONE), EvaluationSettings("student", FP32), world=ALONE)
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


def test_log_loss_is_the_mean_negative_logarithm_of_the_right_class_s_score() -> None:
    # The right classes have scores 1/2, 1/4 and 1/8.
    logits_NK = torch.tensor([[2.0, 1.0, 1.0], [2.0, 1.0, 1.0], [1.0, 1.0, 6.0]]).log()
    assert classification_metrics(logits_NK, torch.tensor([0, 1, 0]))["log_loss"] == pytest.approx(2 * math.log(2))


def test_log_loss_is_finite_where_a_score_rounds_to_zero_and_is_that_of_the_averaged_views() -> None:
    sure = torch.tensor([[-300.0, 0.0]])
    assert classification_metrics(sure, torch.tensor([0]))["log_loss"] == pytest.approx(300)
    logits_N2K = torch.tensor([[0.75, 0.25], [0.25, 0.75]]).log()[None]
    mean_NK = average_views(logits_N2K, "probabilities")
    assert classification_metrics(mean_NK, torch.tensor([1]))["log_loss"] == pytest.approx(math.log(2))


def test_no_clip_scored_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected at least one scored clip, found none"):
        classification_metrics(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))


def test_several_labels_a_clip_are_scored_without_padding_and_substitutes() -> None:
    result = run(ALONE, several_labels=True)
    # Scored: clips 0 1 2 3 4 6, answers 0 1 2 0 1 1. Each has label 0, and clips 1 4 and 2 theirs; clip 6 is no 1.
    assert list(result.metrics) == ["map", "gap", "map_top20", "map_top20_present", "hit1", "perr"]
    assert result.metrics["map"] == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert result.metrics["hit1"] == pytest.approx(5 / 6)
    # Two labels of clips 1 2 4; beside the answer the other scores are equal, and class 0 comes first.
    assert result.metrics["perr"] == pytest.approx(5 / 6)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("several_labels", [True, False])
def test_a_long_list_is_scored_from_the_videos_top_lists_alone(batch_size: int, several_labels: bool) -> None:
    short = run(ALONE, scores="sigmoid", several_labels=several_labels)
    found = run_with_lists(ALONE, batch_size, several_labels=several_labels)
    assert list(found) == ["gap", "map_top20", "map_top20_present", "hit1", "perr"]
    assert found == {name: short.metrics[name] for name in found}
    assert several_labels or found["hit1"] == pytest.approx(short.metrics["top1"])


def test_several_views_of_a_video_are_averaged_however_long_the_list_is() -> None:
    with mock.patch("reskd.evaluation.metrics.MOST_SCORES", 0):
        result = run(ALONE, num_test_views=3, several_labels=True)
    assert result.logits_NK is not None and "map" in result.metrics


@pytest.mark.parametrize(
    ("num_videos", "several_labels", "scores", "given"),
    [
        (100, False, "softmax", "top1 mean_class_accuracy map log_loss"),
        (100, False, "sigmoid", "top1 mean_class_accuracy map gap hit1"),
        (100, True, "softmax", "map gap hit1"),
        (10**6, True, "sigmoid", "gap hit1"),
        (10**6, False, "softmax", "top1 mean_class_accuracy map log_loss"),
    ],
)
def test_only_metrics_that_the_list_gives_may_choose_best_pt(
    num_videos: int, several_labels: bool, scores: ScoreKind, given: str
) -> None:
    scored_list = ScoredList(num_videos, 4716, 1, several_labels, scores)
    for metric in get_args(SelectionMetric):
        if metric in given.split():
            check_selection_metric(metric, scored_list)
            continue
        with pytest.raises(ValueError, match=f"gives no {metric}; set training.selection_metric to"):
            check_selection_metric(metric, scored_list)


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_map_is_the_mean_of_average_precisions_by_hand_over_classes_that_occur(scores: ScoreKind) -> None:
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
    del softmax["log_loss"]
    assert sigmoid == {**softmax, **multi_label_metrics(logits_NK, sets_NK, scores="sigmoid")}
    assert sigmoid["map"] != softmax["map"]


def test_no_clip_scored_is_an_error_for_several_labels_too() -> None:
    with pytest.raises(ValueError, match="expected at least one scored clip, found none"):
        multi_label_metrics(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.bool), scores="softmax")


def test_scores_that_are_not_finite_are_no_result() -> None:
    world = World(0, 1, torch.device("cpu"))
    settings = EvaluationSettings("student", Precision("fp32", world.device))
    with pytest.raises(FloatingPointError, match="the student's scores of 3 clips are not finite"):
        evaluate(Overflowing(), ListLoader(world), settings, world=world)
