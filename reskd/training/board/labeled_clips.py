"""Clips of a step as the networks saw them, with their labels and what the student answered.

Shape letters: N clips, T frames, H W of a view, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dali_pipes.batch import ClipBatch, View
from dali_pipes.file_names import on_one_line
from reskd.pages.style import LIGHT

if TYPE_CHECKING:
    from PIL import Image, ImageFont

NUM_CLIPS = 4
_MOST_FRAMES = 4  # of a view; evenly spaced
_MOST_ANSWERS = 3
_FRAME_PIXELS = (96, 224)  # least and most height of a frame in the picture
_FONT_PIXELS, _LINE_PIXELS, _GAP, _MARK_PIXELS = 14, 19, 12, 14
_COLORS = {"right": LIGHT["c0"], "wrong": LIGHT["c1"]}


class Answered(NamedTuple):
    """The student's answers to the first clips of a pass.

    Attributes:
        logits_NK: of up to ``NUM_CLIPS`` clips, any dtype and device.
        targets: those that the pass was trained with: int64 (N,), bool (N, K), or fp32 (N, K), shares of mixed clips.
    """

    logits_NK: Tensor
    targets: Tensor

    @classmethod
    def first_of(cls, logits_NK: Tensor, targets: Tensor) -> Answered:
        """Copies on the same device; nothing waits for it. Copies, as a CUDA graph writes its output anew."""
        return cls(logits_NK[:NUM_CLIPS].detach().clone(), targets[:NUM_CLIPS].clone())


class Caption(NamedTuple):
    """``mark``: right, wrong, or another word where neither fits."""

    mark: str
    text: str


def captions_of(answered: Answered, class_names: Sequence[str], scores: Literal["softmax", "sigmoid"]) -> list[Caption]:
    """What to write at each clip: its labels, the student's answers with their scores, and whether they agree."""
    logits_NK, targets = answered.logits_NK.float().cpu(), answered.targets.cpu()
    scores_NK = logits_NK.sigmoid() if scores == "sigmoid" else logits_NK.softmax(1)
    named = [on_one_line(name) for name in class_names]
    named += [f"class {k}" for k in range(len(named), scores_NK.shape[1])]  # of a network with more than the list has
    return [_caption(scores_K, targets[clip], named) for clip, scores_K in enumerate(scores_NK)]


def _caption(scores_K: Tensor, target: Tensor, names: Sequence[str]) -> Caption:
    """``target``: a clip's row of ``Answered.targets``."""
    shares = {int(target): 1.0} if target.ndim == 0 else _shares(target)
    is_mixed = any(share != 1 for share in shares.values())
    takes_several = target.dtype == torch.bool
    most = min(max(len(shares), 1), _MOST_ANSWERS) if takes_several else 1
    best = scores_K.topk(min(most, len(scores_K)))
    answers = dict(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    labels = ", ".join(f"{names[k]} {share:.2f}" if is_mixed else names[k] for k, share in shares.items()) or "none"
    answer = ", ".join(f"{names[k]} ({score:.2f})" for k, score in answers.items())
    kind = "mixed" if is_mixed else "labels" if len(shares) != 1 else "label"
    text = f"{kind}: {labels}, answer{'s' if len(answers) > 1 else ''}: {answer}"
    num_right = len(answers.keys() & shares.keys())
    if is_mixed or not shares:
        return Caption("", text)
    if len(answers) > 1:
        return Caption("right" if num_right == len(answers) else f"{num_right} of {len(answers)} right", text)
    return Caption("right" if num_right else "wrong", text)


def _shares(target_K: Tensor) -> dict[int, float]:
    """Class -> share, the largest first."""
    shares = {int(k): float(target_K[k]) for k in target_K.nonzero()[:, 0]}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def picture_of(batch: ClipBatch, captions: Sequence[Caption]) -> np.ndarray | None:
    """The first clips of a batch, one a row: a caption, and below it the frames of each view side by side.

    The larger view is shown in its own pixels (if these are 96 to 224 high), and the smaller one enlarged to the same
    height without smoothing, so that its pixels are seen.

    Args:
        batch: on any device; waits for it.
        captions: of its first clips.

    Returns:
        uint8 (height, width, 3); None for views of features.
    """
    views = {name: batch.views[name] for name in ("teacher", "student") if name in batch.views}
    clips = {name: _frames(name, view, len(captions)) for name, view in views.items() if isinstance(view, View)}
    if not clips or not captions:
        return None
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_FONT_PIXELS)
    least, most = _FRAME_PIXELS
    height = min(max(least, *(frames.shape[2] for frames, _ in clips.values())), most)
    strips = {name: [_strip(frames_THWC, height) for frames_THWC in frames] for name, (frames, _) in clips.items()}
    lefts = dict(zip(strips, np.cumsum([0, *(one[0].width + _GAP for one in strips.values())]), strict=False))
    width = sum(one[0].width for one in strips.values()) + _GAP * (len(strips) - 1)
    texts = [_wrapped(": ".join(filter(None, one)), font, width - _MARK_PIXELS - 12) for one in captions]
    row_pixels = [len(lines) * _LINE_PIXELS + 6 + height + _GAP for lines in texts]
    canvas = Image.new("RGB", (width, _LINE_PIXELS + 4 + sum(row_pixels)), LIGHT["page"])
    draw = ImageDraw.Draw(canvas)
    for name, (_, title) in clips.items():
        fitting = _wrapped(title, font, strips[name][0].width)[0]
        draw.text((int(lefts[name]), 2), fitting, fill=LIGHT["soft"], font=font)
    top = _LINE_PIXELS + 4
    for row, (caption, lines) in enumerate(zip(captions, texts, strict=True)):
        mark = (0, top + 3, _MARK_PIXELS, top + 3 + _MARK_PIXELS)
        draw.rectangle(mark, fill=_COLORS.get(caption.mark), outline=_COLORS.get(caption.mark, LIGHT["soft"]))
        draw.multiline_text(
            (_MARK_PIXELS + 6, top), "\n".join(lines), fill=LIGHT["ink"], font=font, spacing=_LINE_PIXELS - _FONT_PIXELS
        )
        for name, one in strips.items():
            canvas.paste(one[row], (int(lefts[name]), top + len(lines) * _LINE_PIXELS + 6))
        top += row_pixels[row]
    return np.asarray(canvas)


def _frames(name: str, view: View, num_clips: int) -> tuple[np.ndarray, str]:
    """uint8 (N, T, H, W, 3) of some clips and frames, and a title."""
    num_frames = view.num_frames
    chosen = np.linspace(0, num_frames - 1, min(num_frames, _MOST_FRAMES)).round().astype(int).tolist()
    frames_NTHWC = view.data_NTHWC[:num_clips, chosen].cpu().numpy()
    height, width = frames_NTHWC.shape[2:4]
    return frames_NTHWC, f"{name}, {width} x {height}, {len(chosen)} of {num_frames} frames"


def _strip(frames_THWC: np.ndarray, height: int) -> Image.Image:
    """The frames in a row, each ``height`` pixels high."""
    from PIL import Image

    own = frames_THWC.shape[1]
    width = max(1, round(height * frames_THWC.shape[2] / own))
    how = Image.Resampling.NEAREST if height >= own else Image.Resampling.BOX
    strip = Image.new("RGB", (width * len(frames_THWC), height))
    for number, frame_HWC in enumerate(frames_THWC):
        strip.paste(Image.fromarray(frame_HWC).resize((width, height), how), (number * width, 0))
    return strip


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Lines that fit, cut between words; a word that is too long goes on in the next line."""
    lines = [""]
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if font.getlength(joined) <= width:
            lines[-1] = joined
            continue
        lines += [""] if lines[-1] else []
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines
