"""Render the clips of the demo data: slatted tiles that change pose in front of clutter.

A class is an unordered pair of poses of the slats, such as "level-slanted", which alternate during the clip. One frame
shows one pose, which three of the six classes share, so a model needs frames from the whole clip; the slats are two or
three pixels wide, so it needs resolution. Nothing else (scene, path, outline, size, colors) depends on the class. A
scene is a background with one clip of every class.

Pixels are equal for equal seeds on every machine: see Note [Same pixels everywhere].

Shape letters: T frames, H W pixels, P side of the patch around a tile, C = 3 colors.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

GENERATOR_VERSION = 1  # increase it with any change of a rendered pixel
SPLITS = ("train", "test")
HEIGHT, WIDTH, NUM_FRAMES, FRAMES_PER_SECOND = 96, 112, 24, 12
MARGIN = 16  # margin of a scene around the frame, in which the camera pans
PATCH = 52  # side of the square in which a tile is drawn
SUPPORT = 84  # side of the center square that always contains the whole tile: the center crop of 0.875

# Degrees from the vertical to a tile's slats; "lattice" has both kinds.
POSES = {"upright": 0, "slanted": 45, "level": 90, "lattice": 0}
CLASSES = tuple("-".join(sorted(pair)) for pair in itertools.combinations(POSES, 2))
DWELL_FRAMES = (4, 8)  # duration of a pose; with 4 or more frames spread over 24, nearly every clip shows both
TILE_RADIUS = 19.0
SLAT_PITCH = (4.2, 7.8)  # pixels from slat to slat
LATTICE_SHARE = 0.293  # 1 - (1 - share)^2 = 0.5
MIN_CONTRAST = 60  # levels of brightness between a slat and its ground
CLUTTER_SHAPES = 40

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Point = tuple[np.float32, np.float32]

# Note [Same pixels everywhere]
# The hash of the pixels is fixed in docs/decisions.md, so they must not depend on the processor or on libraries:
# - only ``random`` and ``integers`` of numpy's generator are used;
# - sines are rounded to six decimals, because their last bit differs between libraries;
# - all else is + - * / sqrt min max floor in float32, which IEEE 754 rounds the same everywhere; no matrix products.


class Clip(NamedTuple):
    """One rendered clip: class name, name of its scene, the pose in each frame, uint8 RGB frames."""

    label: str
    scene: str
    poses: tuple[str, ...]
    frames_THWC: Pixels


def render_scene_clips(seed: int, *, split: str, scene: int) -> Iterator[Clip]:
    """Render one clip of each class, in the order of ``CLASSES``, on the same background."""
    background = render_background(random_stream(seed, split=split, scene=scene, part=0))
    for number, label in enumerate(CLASSES):
        rng = random_stream(seed, split=split, scene=scene, part=1 + number)
        poses = pose_sequence(rng, label)
        yield Clip(label, f"{split}_{scene:04d}", poses, render_clip(rng, background, poses))


def random_stream(seed: int, *, split: str, scene: int, part: int) -> np.random.Generator:
    """Make the random generator of one part of a scene: part 0 is the background, 1 + k the clip of class k.

    Streams of other splits, scenes and parts are independent (SeedSequence's spawn keys), so no background, path or
    color of the test clips can come from the training clips. Only ``random`` and ``integers`` are used.
    """
    key = (SPLITS.index(split), scene, part)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(rng.random())


def luma(color_C: Floats) -> float:
    return 0.299 * float(color_C[0]) + 0.587 * float(color_C[1]) + 0.114 * float(color_C[2])


def random_color(rng: np.random.Generator, *, low: int = 0, high: int = 256) -> Floats:
    return rng.integers(low, high, 3).astype(np.float32)


def unit_vector(degrees: float) -> tuple[float, float]:
    """Cosine and sine, rounded: the last bit of a sine differs between machines, and the pixels must not."""
    return round(math.cos(math.radians(degrees)), 6), round(math.sin(math.radians(degrees)), 6)


# Signed distances in pixels to the edge of a shape, negative inside. The arithmetic is + - * / sqrt min max in
# float32, which IEEE 754 rounds the same everywhere.


def capsule(x: Floats, y: Floats, start: Point, end: Point, radius: float) -> Floats:
    """Distance to a stroke with round ends."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    px, py = x - start[0], y - start[1]
    along = np.clip((px * dx + py * dy) / (dx * dx + dy * dy), 0, 1)
    ox, oy = px - along * dx, py - along * dy
    return np.sqrt(ox * ox + oy * oy) - np.float32(radius)


def ellipse(x: Floats, y: Floats, center: tuple[float, float], half_axes: tuple[float, float]) -> Floats:
    """Distance to an ellipse, roughly; exact for a disc."""
    u, v = (
        (x - np.float32(center[0])) / np.float32(half_axes[0]),
        (y - np.float32(center[1])) / np.float32(half_axes[1]),
    )
    return (np.sqrt(u * u + v * v) - 1) * np.float32(min(half_axes))


def paint(canvas: Floats, distance: Floats, color: Floats) -> None:
    """Paint ``color`` on ``canvas`` (..., C) where ``distance`` is negative, with a soft edge of one pixel."""
    cover = np.clip(np.float32(0.5) - distance, 0, 1)[..., None]
    canvas += cover * (color - canvas)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell: int) -> Floats:
    """Random colors on a grid of ``cell`` pixels, linearly interpolated: (H, W, C), 0 to 255."""
    grid = rng.integers(0, 256, (shape[0] // cell + 2, shape[1] // cell + 2, 3)).astype(np.float32)
    for axis, length in enumerate(shape):
        index = np.arange(length, dtype=np.float32) / np.float32(cell)
        lower = index.astype(np.int64)
        weight = (index - lower).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        grid = grid.take(lower, axis) * (1 - weight) + grid.take(lower + 1, axis) * weight
    return grid


def render_background(rng: np.random.Generator) -> Pixels:
    """Render a cluttered background with a margin for panning: uint8, (H + 2 MARGIN, W + 2 MARGIN, C)."""
    shape = (HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN)
    canvas = np.float32(0.75) * smooth_noise(rng, shape, 40) + np.float32(0.25) * smooth_noise(rng, shape, 10)
    for _ in range(CLUTTER_SHAPES):
        _draw_clutter(rng, canvas)
    return np.rint(canvas).astype(np.uint8)


def _draw_clutter(rng: np.random.Generator, canvas: Floats) -> None:
    """Draw a box, a disc or a stroke as thick as a slat, at a random position in a random color."""
    x0, y0 = uniform(rng, 0, canvas.shape[1]), uniform(rng, 0, canvas.shape[0])
    color, kind, size = random_color(rng, low=30, high=226), int(rng.integers(4)), uniform(rng, 3, 10)
    cosine, sine = unit_vector(uniform(rng, 0, 360))
    top, left = max(0, int(y0) - 24), max(0, int(x0) - 24)
    window = canvas[top : int(y0) + 25, left : int(x0) + 25]
    y, x = np.mgrid[top : top + window.shape[0], left : left + window.shape[1]].astype(np.float32)
    if kind == 0:
        u, v = (x - x0) * cosine + (y - y0) * sine, (y - y0) * cosine - (x - x0) * sine
        distance = np.maximum(np.abs(u) - np.float32(size), np.abs(v) - np.float32(size * 0.6))
    elif kind == 1:
        distance = ellipse(x, y, (x0, y0), (size, size * 0.8))
    else:
        end = np.float32(x0 + 2 * size * cosine), np.float32(y0 + 2 * size * sine)
        distance = capsule(x, y, (np.float32(x0), np.float32(y0)), end, uniform(rng, 0.8, 2.0))
    paint(window, distance.astype(np.float32), color)


def arc(rng: np.random.Generator, low: Sequence[float], high: Sequence[float]) -> Floats:
    """A smooth path through a box: T points (x, y) on a random quadratic Bezier curve, (T, 2)."""
    start, bend, end = (np.asarray([uniform(rng, a, b) for a, b in zip(low, high, strict=True)]) for _ in range(3))
    t = (np.arange(NUM_FRAMES) / (NUM_FRAMES - 1))[:, None]
    return ((1 - t) * (1 - t) * start + 2 * t * (1 - t) * bend + t * t * end).astype(np.float32)


def pose_sequence(rng: np.random.Generator, label: str) -> tuple[str, ...]:
    """The pose in each of the T frames: the label's two alternate, each for a random number of frames."""
    poses = label.split("-")
    if rng.random() < 0.5:
        poses.reverse()
    sequence: list[str] = []
    first_dwell = int(rng.integers(2, DWELL_FRAMES[1] + 1))
    for turn in itertools.count():
        dwell = int(rng.integers(DWELL_FRAMES[0], DWELL_FRAMES[1] + 1)) if turn else first_dwell
        sequence += [poses[turn % 2]] * dwell
        if len(sequence) >= NUM_FRAMES:
            break
    return tuple(sequence[:NUM_FRAMES])


def render_clip(rng: np.random.Generator, background: Pixels, poses: Sequence[str]) -> Pixels:
    """Render a tile in these poses, while it and the camera move over the background: uint8 frames_THWC."""
    pan_T2 = arc(rng, (0, 0), (2 * MARGIN, 2 * MARGIN)).astype(np.int64)
    frames = np.stack([background[y : y + HEIGHT, x : x + WIDTH] for x, y in pan_T2])
    reach = PATCH // 2 - 1
    low, high = [[side / 2 + sign * (SUPPORT / 2 - reach) for side in (WIDTH, HEIGHT)] for sign in (-1, 1)]
    center_T2 = arc(rng, low, high)
    corner_T2 = center_T2.astype(np.int64) - PATCH // 2
    patches = np.stack(
        [frame[y : y + PATCH, x : x + PATCH] for frame, (x, y) in zip(frames, corner_T2, strict=True)]
    ).astype(np.float32)
    draw_tile(rng, patches, center_T2 - corner_T2.astype(np.float32), poses)
    for frame, (x, y), patch in zip(frames, corner_T2, np.rint(patches).astype(np.uint8), strict=True):
        frame[y : y + PATCH, x : x + PATCH] = patch
    return frames


def draw_tile(rng: np.random.Generator, patches_TPPC: Floats, center_T2: Floats, poses: Sequence[str]) -> None:
    """Draw one slatted tile of random outline, colors, size and lean into the patches, in place."""
    zoom = arc(rng, (0.9,), (1.1,)).reshape(-1, 1, 1)
    y, x = np.mgrid[:PATCH, :PATCH].astype(np.float32)
    x, y = (x - center_T2[:, 0].reshape(-1, 1, 1)) / zoom, (y - center_T2[:, 1].reshape(-1, 1, 1)) / zoom
    ground, slats = contrasting_colors(rng)
    outline = _outline(rng, x, y)
    paint(patches_TPPC, outline - np.float32(2), random_color(rng))
    paint(patches_TPPC, outline, ground)
    pattern = _slats(rng, x, y, poses)
    paint(patches_TPPC, np.maximum(pattern, outline), slats)


def contrasting_colors(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Two random colors of clearly different brightness, in random order."""
    while True:
        one, other = random_color(rng), random_color(rng)
        if abs(luma(one) - luma(other)) >= MIN_CONTRAST:
            return one, other


def _outline(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    """Distance to a disc, a box or an octagon."""
    across, down, kind = np.abs(x), np.abs(y), int(rng.integers(3))
    if kind == 0:
        return ellipse(x, y, (0, 0), (TILE_RADIUS, TILE_RADIUS))
    box = np.maximum(across, down) - np.float32(0.92 * TILE_RADIUS)
    return box if kind == 1 else np.maximum(box, (across + down) * np.float32(0.7071) - np.float32(0.92 * TILE_RADIUS))


def _slats(rng: np.random.Generator, x: Floats, y: Floats, poses: Sequence[str]) -> Floats:
    """Distance to the nearest slat; half of the tile is covered in every pose."""
    lean, hand = uniform(rng, -8, 8), 1 if rng.random() < 0.5 else -1
    pitch, phase = np.float32(uniform(rng, *SLAT_PITCH)), np.float32(uniform(rng, 0, 8))

    def slats(degrees: float, share: float) -> Floats:
        cosine, sine = unit_vector(degrees + lean)
        along = (x[chosen] * np.float32(cosine) + y[chosen] * np.float32(sine) + phase) / pitch
        return np.abs(along - np.floor(along) - np.float32(0.5)) * pitch - np.float32(share / 2) * pitch

    distance = np.empty_like(x)
    for pose in set(poses):
        chosen = [number for number, held in enumerate(poses) if held == pose]
        if pose == "lattice":
            distance[chosen] = np.minimum(slats(0, LATTICE_SHARE), slats(90, LATTICE_SHARE))
        else:
            distance[chosen] = slats(hand * POSES[pose], 0.5)
    return distance
