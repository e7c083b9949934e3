"""Closed choices that a config offers and workers act on: without pydantic, which no worker imports."""

from __future__ import annotations

from typing import Literal

WayChoice = Literal["auto", "prefer_dali", "dali", "host"]
# Of a clip's T frames, the student's k.
ClipFrameSelection = Literal["uniform", "random", "first", "middle", "last", "first_middle_last"]
# Of a video's frames that came as features.
FrameSelection = Literal[ClipFrameSelection, "every_jth_of_300"]
