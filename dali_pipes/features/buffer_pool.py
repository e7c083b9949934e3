"""Memory for batches that comes back when nobody holds the batch any more."""

from __future__ import annotations

import weakref
from collections import deque

import numpy as np
import torch
from torch import Tensor


class RecycledMemory:
    """Hands out uint8 tensors of one shape on the CPU.

    A batch of 128 videos is 44 MB, and the pages of new memory cost more than filling them: 280 us a video for
    ``torch.empty``, 120 for ``numpy.empty`` with its huge pages, 60 for memory that was used before (Xeon at 2.5 GHz).

    Args:
        most: of how many tensors the memory is kept for the next one.
    """

    def __init__(self, shape: tuple[int, ...], *, most: int) -> None:
        self._shape = shape
        self._free: deque[np.ndarray] = deque(maxlen=most)

    def take(self) -> Tensor:
        """A tensor whose content is not set. Its memory comes back when the last tensor that shares it is gone."""
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(self._shape, np.uint8)
        # The tensor's storage holds ``lent`` as long as anything shares it; NumPy's own views would hold ``memory``.
        lent = memory.view()
        weakref.finalize(lent, self._free.append, memory).atexit = False
        return torch.from_numpy(lent)
