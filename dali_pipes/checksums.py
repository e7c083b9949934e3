"""CRC-32 checksums of what caches keep, so that damage is noticed and the cache is made again."""

from __future__ import annotations

import json
from typing import Any
from zlib import crc32

import numpy as np


def checksum_of_array(array: np.ndarray, start: int = 0) -> int:
    """Checksum of an array's dtype, shape and bytes, continued from the checksum ``start``."""
    of_type = crc32(f"{array.dtype.descr}{array.shape}".encode(), start)
    return crc32(np.ascontiguousarray(array).view(np.uint8).data, of_type)


def checksum_of_json(value: Any) -> int:
    """Checksum of a value as JSON, whatever the order of its keys; the same before writing and after reading."""
    return crc32(json.dumps(value, sort_keys=True).encode())
