"""The data that a worker passes to DALI for each clip. ``FIELDS`` defines it for worker, graph and loader.

A worker imports this file, so it needs neither torch nor DALI nor pydantic.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np

from dali_pipes.loader.clip_reader import Clip
from dali_pipes.sampling.clip_plan import ClipPlan

# Bytes of the field ``faults``, and the largest number of reasons in it.
FAULT_BYTES = 1024
MOST_REASONS = 8

# int for one clip; tensor (N,) for a batch.
Number = TypeVar("Number")


class About(NamedTuple, Generic[Number]):
    """Numbers that describe a clip, in the order of the field ``about``.

    Args:
        position: position in the loader's order.
        padding: 1 for a clip that only pads an evaluation's last batch.
        row: row of the manifest.
        label: first label of the row.
        attempt: 0 for the planned clip, k for its k-th substitute.
        how: how it was read: WHOLE, SPARSE, ... of clip_reader.py.
    """

    position: Number
    padding: Number
    row: Number
    label: Number
    attempt: Number
    how: Number


class Sample(NamedTuple):
    """A clip that a worker has read.

    Args:
        faults: the reason of each failed attempt.
    """

    clip: Clip
    plan: ClipPlan
    about: About[int]
    faults: Sequence[str] = ()


# Users of a field: every clip; a clip that DALI decodes; one that PyAV decodes and DALI renders; one that the worker
# also renders, as the teacher's or the student's view; a pipeline with clips of both decoders.
User = Literal["every", "dali", "pyav", "worker_teacher", "worker_student", "both"]


class Field(NamedTuple):
    """An array of each clip.

    Args:
        name: its ending names the dimensions, if any of them vary.
        dtype: NumPy's name of the dtype.
        ndim: number of dimensions, the same for every clip.
        users: the field is passed only if one of these occurs.
        value: computes the array from a sample.
        is_output: whether the graph outputs it unchanged, beside the views.
    """

    name: str
    dtype: Literal["bool", "uint8", "int32", "int64"]
    ndim: int
    users: tuple[User, ...]
    value: Callable[[Sample], Any]
    is_output: bool = False

    def array(self, sample: Sample) -> np.ndarray:
        return np.asarray(self.value(sample), self.dtype)


# Clip (clip_reader.py) and ClipPlan (clip_plan.py) document the arrays.
_FIELDS = (
    Field("encoded", "uint8", 1, ("dali",), lambda sample: sample.clip.encoded),
    Field("raw_THWC", "uint8", 4, ("pyav",), lambda sample: sample.clip.raw_THWC),
    Field("teacher_THWC", "uint8", 4, ("worker_teacher",), lambda sample: sample.clip.teacher_THWC),
    Field("student_THWC", "uint8", 4, ("worker_student",), lambda sample: sample.clip.student_THWC),
    Field("is_encoded", "bool", 0, ("both",), lambda sample: sample.clip.is_encoded),
    Field("decode_index_T", "int32", 1, ("dali",), lambda sample: sample.clip.decode_index_T),
    Field("frame_index_T", "int32", 1, ("every",), lambda sample: sample.plan.frame_index_T, is_output=True),
    Field("valid_T", "bool", 1, ("every",), lambda sample: sample.plan.valid_T, is_output=True),
    Field("student_k", "int32", 1, ("every",), lambda sample: sample.plan.student_k, is_output=True),
    Field("student_valid_k", "bool", 1, ("every",), lambda sample: sample.plan.student_valid_k, is_output=True),
    Field("crop_start", "int32", 1, ("dali",), lambda sample: sample.plan.crop[:2]),  # y, x
    Field("crop_shape", "int32", 1, ("dali",), lambda sample: sample.plan.crop[2:]),  # height, width
    Field("flip", "int32", 0, ("dali", "pyav"), lambda sample: sample.plan.flip),
    Field("about", "int64", 1, ("every",), lambda sample: sample.about, is_output=True),
    Field("faults", "uint8", 1, ("every",), lambda sample: pack_faults(sample.faults), is_output=True),
)
FIELDS = {field.name: field for field in _FIELDS}
OUTPUTS = tuple(field.name for field in _FIELDS if field.is_output)


def fields_for(decoders: frozenset[str], rendered: Sequence[str]) -> tuple[str, ...]:
    """Names of the fields that the graph uses.

    Args:
        decoders: the decoders in use, "dali" and "pyav".
        rendered: the views that workers render from frames that PyAV decodes; none if DALI renders.
    """
    users: set[str] = {"every"}
    if "dali" in decoders:
        users.add("dali")
    if "pyav" in decoders:
        users |= {f"worker_{name}" for name in rendered} or {"pyav"}
    if len(decoders) == 2:
        users.add("both")
    return tuple(field.name for field in _FIELDS if users & set(field.users))


def pack_faults(faults: Sequence[str]) -> np.ndarray:
    """Pack as JSON into uint8 (FAULT_BYTES,), padded with spaces.

    The first ``MOST_REASONS`` are kept, truncated so that all fit.
    """
    faults = faults[:MOST_REASONS]
    longest = FAULT_BYTES // max(1, len(faults)) - 8
    text = json.dumps([_one_byte_each(fault)[:longest] for fault in faults])
    return np.frombuffer(text.ljust(FAULT_BYTES).encode(), np.uint8)


def _one_byte_each(text: str) -> str:
    """Replace all characters that JSON writes with more than one byte."""
    visible = "".join(character if character.isprintable() else " " for character in text)
    return visible.encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'")


def unpack_faults(packed: bytes) -> list[str]:
    """The reasons that ``pack_faults`` kept."""
    faults: list[str] = json.loads(packed)
    return faults
