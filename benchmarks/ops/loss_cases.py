"""The shapes and memory layouts on which the interpolate-plus-MSE loss is timed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Layout = Literal["channels_last", "contiguous"]


@dataclass(frozen=True)
class Case:
    """Square features of B images: ``small`` is the student's side, ``large`` the teacher's."""

    name: str
    num_images: int
    num_channels: int
    small: int
    large: int

    @property
    def columns(self) -> dict[str, object]:
        """The columns of a row that identify the case."""
        return {"case": self.name} | {name: value for name, value in asdict(self).items() if name != "name"}

    def describe(self) -> str:
        return f"{self.num_images} x {self.num_channels}, {self.small}x{self.small} -> {self.large}x{self.large}"


# The side of ResNet-50's last map is ceil(side / 32): 2, 3, 3, 4, 5 at 56, 72, 96, 112, 144 and 7 at 224. Swin-S and
# -B have the same sides with 768 and 1024 channels and half the frames in time.
CASES = [
    Case(f"R50 {side} of 224, {frames} frames x {clips}", frames * clips, 2048, small, 7)
    for frames, clips in ((16, 8), (8, 8), (8, 64), (16, 64))
    for side, small in ((56, 2), (72, 3), (96, 3), (112, 4), (144, 5))
    if side != 72  # the same maps as 96
] + [
    Case(f"Swin-{size} 112 of 224, 32 frames x 8", 128, channels, 4, 7) for size, channels in (("S", 768), ("B", 1024))
]
