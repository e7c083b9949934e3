"""Which of a clip's frames the student sees: k of n."""

from __future__ import annotations

from typing import Literal

FrameSelection = Literal["uniform", "random", "first", "middle", "last", "first_middle_last", "every_jth_of_300"]
