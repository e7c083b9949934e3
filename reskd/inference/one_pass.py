"""Classifies files that are decoded once: scanned, and read for their test views, by the same decode.

A video passes the network alone, so its logits depend neither on other videos nor on where a run went on.

Shape letters: V views (clips x crops) of a video, T frames, H W heights and widths, C = 3 colors, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from dali_pipes.jobs.cores import usable_cores
from dali_pipes.jobs.map_files import map_isolated
from dali_pipes.loader.cpu_render import render_plan
from dali_pipes.sampling.spec import rules_for_views
from dali_pipes.single_pass.test_views import VideoViews, ViewsRule, read_numbered
from reskd.evaluation.multi_view import average_views
from reskd.experiment.data import data_of
from reskd.inference.answers import NoAnswer, OnProgress, VideoAnswer, VideoSettings, answering_precision
from reskd.inference.student import TrainedStudent

_MOST_VIEW_BYTES = 256 << 20  # of one video, which a worker holds and sends
_BLOCK = 1024  # files of one call of map_isolated, whose search for a ready item is linear
_AHEAD = 8  # answers per worker that may wait for a long video before them


def views_rule(student: TrainedStudent, settings: VideoSettings) -> ViewsRule | None:
    """How files become the student's views in one decode; None if the loader of evaluation must read them."""
    config = student.config.clips
    render = render_plan(config.views, ("student",))
    if render is None or settings.scan != "decode":
        return None
    test_views = settings.test_views or data_of(student.config).test_views("test")
    rule = ViewsRule(rules_for_views(config, ("student",), mode="eval", test_views=test_views), render)
    return rule if rule.num_bytes <= _MOST_VIEW_BYTES else None


def answer_in_one_pass(
    student: TrainedStudent,
    files: Sequence[str],
    rule: ViewsRule,
    *,
    batch_size: int,
    on_message: Callable[[str], None] = lambda message: None,
    on_progress: OnProgress = lambda noun, done, total: None,
) -> Iterator[VideoAnswer | NoAnswer]:
    """Answer each file once, in order.

    Args:
        batch_size: most clips per forward pass.
        on_message: called with a sentence for each damaged video.
        on_progress: gets ("videos", done, total).
    """
    on_progress("videos", 0, len(files))
    for number, (file, found) in enumerate(read_in_order(files, rule), start=1):
        yield _answer(student, file, found, batch_size, on_message)
        on_progress("videos", number, len(files))


def read_in_order(files: Sequence[str], rule: ViewsRule) -> Iterator[tuple[str, VideoViews | None]]:
    """(file, its views) in the order of the files; None if the process of the decoder died."""
    num_workers = usable_cores()
    for start in range(0, len(files), _BLOCK):
        block = list(enumerate(files[start : start + _BLOCK]))
        waiting: dict[int, VideoViews | None] = {}
        next_number = 0

        def is_near(item: tuple[int, str]) -> bool:
            return item[0] < next_number + _AHEAD * num_workers  # noqa: B023 -- asked in this round of the loop alone

        engine = map_isolated(partial(read_numbered, rule), block, num_workers=num_workers, ready=is_near)
        for (number, _), found in engine:
            waiting[number] = found
            while next_number in waiting:
                yield block[next_number][1], waiting.pop(next_number)
                next_number += 1


def _answer(
    student: TrainedStudent, file: str, found: VideoViews | None, batch_size: int, on_message: Callable[[str], None]
) -> VideoAnswer | NoAnswer:
    if found is None:
        return NoAnswer(file, "the decoder's process died")
    if not found.video_info.usable:
        return NoAnswer(file, found.video_info.health.removeprefix("bad: "))
    if found.video_info.health != "ok":
        on_message(f"{file}: {found.video_info.health}")
    if found.frames_VTHWC is None or found.valid_VT is None:
        return NoAnswer(file, found.error)
    frames_VTHWC, valid_VT = torch.from_numpy(found.frames_VTHWC), torch.from_numpy(found.valid_VT)
    logits_VK = clip_logits(student, frames_VTHWC, valid_VT, batch_size=batch_size)
    averaging = data_of(student.config).averaging
    logits_K = average_views(logits_VK[None], averaging, student.scores)[0]
    return VideoAnswer(file, logits_K, student.score(logits_K), frames_VTHWC[len(frames_VTHWC) // 2])


@torch.no_grad()
def clip_logits(
    student: TrainedStudent, frames_NTHWC: torch.Tensor, valid_NT: torch.Tensor, *, batch_size: int
) -> torch.Tensor:
    """fp32 logits (N, K) of clips, on the CPU; at most ``batch_size`` at once."""
    parts = []
    for start in range(0, len(frames_NTHWC), batch_size):
        frames = frames_NTHWC[start : start + batch_size].to(student.device)
        valid = valid_NT[start : start + batch_size].to(student.device)
        with answering_precision(student).autocast():
            parts.append(student.model(frames, valid).logits_NK.float().cpu())
    return torch.cat(parts)
