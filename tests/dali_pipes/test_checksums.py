from __future__ import annotations

import json

import numpy as np

from dali_pipes.checksums import checksum_of_array, checksum_of_json


def test_a_checksum_depends_on_every_byte_the_type_and_the_shape() -> None:
    array = np.arange(6, dtype=np.int32)
    others = [array.reshape(2, 3), array.view(np.uint32), array + (np.arange(6) == 5).astype(np.int32)]
    assert len({checksum_of_array(one) for one in (array, *others)}) == 4
    assert checksum_of_array(array) == checksum_of_array(array.copy()) != checksum_of_array(array, 1)
    assert checksum_of_array(array[::2]) == checksum_of_array(array[::2].copy())
    assert checksum_of_array(np.zeros(3, [("a", "<i4"), ("b", "?")])) != checksum_of_array(np.zeros(15, np.uint8))


def test_json_has_one_checksum_before_writing_and_after_reading() -> None:
    value = {"b": (1, 2.5), "a": "\u00e9"}
    assert checksum_of_json(value) == checksum_of_json(json.loads(json.dumps(value)))
    assert checksum_of_json(value) == checksum_of_json({"a": value["a"], "b": [1, 2.5]}) != checksum_of_json({})
