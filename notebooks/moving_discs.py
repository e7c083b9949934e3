"""The videos of the notebooks: a colored disc drifts over noise, and its color is the class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

# BGR, as OpenCV has it.
COLORS = {"blue": (240, 40, 40), "green": (40, 240, 40), "red": (40, 40, 240)}
SIDE, NUM_FRAMES = 96, 16


def frames(color: tuple[int, int, int], random: np.random.Generator) -> Iterator[np.ndarray]:
    """Frames of one video, uint8 (96, 96, 3)."""
    gray = random.integers(60, 160)
    start, step = random.uniform(24, 72, 2), random.uniform(-1.5, 1.5, 2)
    for number in range(NUM_FRAMES):
        frame = random.normal(gray, 20, (SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)
        center = (start + number * step).astype(int).tolist()
        yield cv2.circle(frame, center, 16, color, -1)


def write_clips(root: str, num_train: int, num_test: int, colors: Mapping[str, tuple[int, int, int]] = COLORS) -> None:
    """Write ``num_train`` and ``num_test`` videos of each class, and the lists train.csv and test.csv."""
    random = np.random.default_rng(1)
    for split, count in (("train", num_train), ("test", num_test)):
        lines = ["path,label"]
        for label, color in colors.items():
            Path(root, split, label).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                path = f"{split}/{label}/{number:02d}.mp4"
                video = cv2.VideoWriter(f"{root}/{path}", cv2.VideoWriter_fourcc(*"mp4v"), 12, (SIDE, SIDE))
                for frame in frames(color, random):
                    video.write(frame)
                video.release()
                lines.append(f"{path},{label}")
        Path(root, f"{split}.csv").write_text("\n".join(lines) + "\n")
