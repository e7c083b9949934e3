"""The way from a file to scores in one process: the frames are the loader's, and what is timed how often."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dali_pipes.config import DataConfig
from dali_pipes.manifest.build import build_manifests
from dali_pipes.manifest.manifest import Manifest
from dali_pipes.sampling.spec import TestViews
from reskd.outputs import RecognizerOutput
from reskd.profiling import answer_time
from reskd.profiling.answer_time import FileToScores, measure_answer_time
from tests.dali_pipes.loaders import clip_loader

VIEWS = TestViews(2, 3)


class Watched(nn.Module):
    """Keeps the frames that it sees; the logits are the mean colors."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, frames_NTHWC: Tensor, valid_NT: Tensor) -> RecognizerOutput:
        assert valid_NT.shape == frames_NTHWC.shape[:2] and valid_NT.dtype == torch.bool
        assert not self.training and not torch.is_grad_enabled()
        self.seen.append(frames_NTHWC)
        return RecognizerOutput(frames_NTHWC.float().mean((1, 2, 3)) / 50, None)


def config(folder: Path, **student: object) -> DataConfig:
    return DataConfig.model_validate(
        {
            "root": folder,
            "train": "folders",
            "val_fraction": 0.0,
            "sampling": {"num_frames": 4},
            "views": {"teacher": {"size": 48}, "student": {"size": 24, "num_frames": 2, **student}},
            "loader": {"num_workers": 1, "num_threads": 1},
        }
    )


@pytest.fixture(scope="module")
def folder(make_folder: Callable[..., Path]) -> Path:
    return make_folder({"h264": ["libx264"] * 2, "mjpeg": ["mjpeg"] * 2}, num_frames=24)


def manifest_of(data: DataConfig) -> Manifest:
    return build_manifests(data, seed=0, splits=("train",))["train"]


def test_the_frames_are_those_of_the_loader_and_the_scores_the_mean_of_all_views(folder: Path) -> None:
    pytest.importorskip("nvidia.dali")
    data, model = config(folder), Watched()
    manifest = manifest_of(data)
    answers = FileToScores(model, data, manifest, VIEWS)
    scores = [answers.scores_of(row) for row in range(4)]
    loader = clip_loader(manifest, data, views=("student",), mode="eval", batch_size=6, test_views=VIEWS)
    with closing(loader):
        batches = [batch.views["student"].data for batch in loader]
    assert torch.equal(torch.cat(model.seen), torch.cat(batches)[:24])
    for score_K, clips_VTHWC in zip(scores, batches, strict=True):
        logits_VK = clips_VTHWC.float().mean((1, 2, 3)) / 50
        assert torch.allclose(score_K, logits_VK.softmax(1).mean(0))


def test_each_video_is_answered_once_before_it_is_timed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that says 5, 9, 4 and 1 ms of the four videos, and so on: fastest of each, then the median."""
    monkeypatch.setattr(answer_time, "_REPEATS", 3)
    data = config(folder)
    answers = FileToScores(Watched(), data, manifest_of(data), TestViews(1, 1))
    asked: list[int] = []
    monkeypatch.setattr(answers, "scores_of", asked.append)
    durations = iter([5, 9, 4, 1, 2, 8, 4, 6, 3, 7, 4, 9])
    now = [0.0]
    calls = iter(range(1000))

    def clock() -> float:
        now[0] += next(durations) / 1e3 if next(calls) % 2 else 0.0
        return now[0]

    monkeypatch.setattr(answer_time.time, "perf_counter", clock)
    found = measure_answer_time(answers, 4)
    assert asked == [0, 1, 2, 3] * 4
    assert found.ms == pytest.approx(3.0)  # of 2, 7, 4, 1
    assert (found.num_videos, found.num_repeats) == (4, 3)


def test_videos_of_a_long_list_are_spread_over_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = config(folder)
    answers = FileToScores(Watched(), data, manifest_of(data), TestViews(1, 1))
    asked: list[int] = []
    monkeypatch.setattr(answers, "scores_of", asked.append)
    assert measure_answer_time(answers, 701).num_videos == 8
    assert sorted(set(asked)) == [0, 100, 200, 300, 400, 500, 600, 700]


def test_an_antialiased_view_is_refused(folder: Path) -> None:
    data = config(folder, antialias=True)
    with pytest.raises(ValueError, match="expected views without antialias, found one with it"):
        FileToScores(Watched(), data, manifest_of(data), VIEWS)
