"""Where the labels of a chart's marks stand, so that they can be read. Lengths are in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from reskd.pages.svg import TEXT_WIDTH, line_between, shortened, text_at

_LONGEST_LABEL = 30  # letters
_LINE_HEIGHT = 13
# Where a label may stand: its middle above or below its mark's.
_LABEL_HEIGHTS = {
    "start": range(-104, 105, _LINE_HEIGHT),
    "end": range(-104, 105, _LINE_HEIGHT),
    "middle": (-14, 16),
}
_LEADS_FROM = 13

Place = tuple[float, float, str]  # x and y of a mark, and its label


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0) * max(height, 0)


def labels_near(places: Sequence[Place], within: Box) -> list[str]:
    """A label near each place, where it hides the least of other marks and labels; a line leads to one further off."""
    taken = [Box(x - 6, y - 6, x + 6, y + 6) for x, y, _ in places]
    labels = []
    for x, y, name in places:
        text = shortened(name, _LONGEST_LABEL)
        width = TEXT_WIDTH * len(text)
        lefts = {"start": x + 9, "end": x - 9 - width, "middle": x - width / 2}
        anchor, dy, box = min(
            (
                (anchor, dy, Box(lefts[anchor], y + dy - 7, lefts[anchor] + width, y + dy + 7))
                for anchor, heights in _LABEL_HEIGHTS.items()
                for dy in heights
            ),
            key=lambda one: 10 * _hidden(one[2], taken, within) + abs(one[1]),
        )
        taken.append(box)
        edge = {"start": box.left, "end": box.right, "middle": x}[anchor]
        if abs(dy) > _LEADS_FROM and anchor != "middle":
            labels.append(line_between((x, y), (edge, y + dy), css="leader"))
        labels.append(text_at(edge, y + dy + 4, text, css="label", anchor=anchor))
    return labels


def labels_beside(places: Sequence[Place], within: Box) -> list[str]:
    """A column of labels right of ``within``, each as high as its mark or next to it, with lines that lead there."""
    ordered = sorted(places, key=lambda place: place[1])
    heights: list[float] = []
    for _, y, _ in ordered:
        heights.append(max(y, heights[-1] + _LINE_HEIGHT) if heights else y)
    for number in reversed(range(len(heights))):  # what was pushed out at the bottom goes up, and pushes others
        lowest = heights[number + 1] - _LINE_HEIGHT if number + 1 < len(heights) else within.bottom
        heights[number] = min(heights[number], lowest)
    labels = []
    for (x, y, name), height in zip(ordered, heights, strict=True):
        labels.append(line_between((x, y), (within.right + 8, height), css="leader"))
        labels.append(text_at(within.right + 11, height + 4, shortened(name, _LONGEST_LABEL), css="label"))
    return labels


def width_beside(names: Sequence[str]) -> float:
    """What ``labels_beside`` takes."""
    return 14 + TEXT_WIDTH * max(min(len(name), _LONGEST_LABEL) for name in names)


def _hidden(box: Box, taken: Sequence[Box], within: Box) -> float:
    """The area that a label hides, and a large one for what stands outside."""
    outside = max(within.left - box.left, 0) + max(box.right - within.right, 0)
    outside += max(within.top - box.top, 0) + max(box.bottom - within.bottom, 0)
    return sum(box.overlap(other) for other in taken) + 1000 * outside
