"""The DALI pipeline: clips of both ways in become the asked views, from one decode with one crop and one flip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

from nvidia.dali import fn, pipeline_def, types

from dali_pipes.config import ViewConfig, ViewsConfig
from dali_pipes.loader.external_source import Sample, fields_for

# Outputs that follow the views.
ABOUT_OUTPUTS = ("frame_index_T", "valid_T", "student_k", "student_valid_k", "about", "faults")

_TYPES = {
    "encoded": (types.UINT8, 1),
    "raw_THWC": (types.UINT8, 4),
    "teacher_THWC": (types.UINT8, 4),
    "student_THWC": (types.UINT8, 4),
    "is_encoded": (types.BOOL, 0),
    "decode_index_T": (types.INT32, 1),
    "frame_index_T": (types.INT32, 1),
    "valid_T": (types.BOOL, 1),
    "student_k": (types.INT32, 1),
    "student_valid_k": (types.BOOL, 1),
    "crop_start": (types.INT32, 1),
    "crop_shape": (types.INT32, 1),
    "flip": (types.INT32, 0),
    "about": (types.INT64, 1),
    "faults": (types.UINT8, 1),
}
assert tuple(_TYPES) == Sample._fields


@dataclass(frozen=True)
class GraphSpec:
    """What the graph renders.

    Args:
        views: sizes and sources of the views.
        names: which views leave the graph, in this order.
        num_frames: T, or k where only the student's view leaves.
        ways: the ways in that occur, "dali" and "host".
        encoded: what the encoded clips are: videos, or JPEG files end to end.
        rendered: the host renders what it decodes.
        on_gpu: decode with NVDEC and render on the GPU.
        prefetch: batches made ahead.
    """

    views: ViewsConfig
    names: tuple[str, ...]
    num_frames: int
    ways: frozenset[str]
    encoded: Literal["video", "jpegs"]
    rendered: bool
    on_gpu: bool
    prefetch: int

    @property
    def fields(self) -> tuple[str, ...]:
        return fields_for(self.ways, self.names if self.rendered else ())


@pipeline_def(enable_conditionals=True)
def clip_pipeline(source: Callable[..., Any], spec: GraphSpec) -> tuple[Any, ...]:
    """Outputs the views in the order of ``spec.names`` as uint8 FHWC, then ``ABOUT_OUTPUTS`` on the CPU."""
    fields = spec.fields
    outputs = fn.external_source(
        source=source,
        num_outputs=len(fields),
        batch=False,
        parallel=True,
        prefetch_queue_depth=spec.prefetch,
        dtype=[_TYPES[name][0] for name in fields],
        ndim=[_TYPES[name][1] for name in fields],
        layout=["FHWC" if name.endswith("_THWC") else "" for name in fields],
    )
    sample = SimpleNamespace(**dict(zip(fields, outputs)))  # noqa: B905 -- DALI's autograph has no strict
    if spec.ways == {"dali"}:
        views = _decode_and_render(sample, spec)
    elif spec.ways == {"host"}:
        views = _take_rendered(sample, spec) if spec.rendered else _render(_take_raw(sample, spec), sample, spec)
    elif spec.rendered:
        if sample.is_encoded:  # noqa: SIM108 -- an if of the graph: one branch a clip
            views = _decode_and_render(sample, spec)
        else:
            views = _take_rendered(sample, spec)
    else:
        if sample.is_encoded:  # noqa: SIM108
            clip = _decode(sample, spec)
        else:
            clip = _take_raw(sample, spec)
        views = _render(clip, sample, spec)
    return (*views, *(getattr(sample, name) for name in ABOUT_OUTPUTS))


def _decode_and_render(sample: SimpleNamespace, spec: GraphSpec) -> tuple[Any, ...]:
    return _render(_decode(sample, spec), sample, spec)


def _take_rendered(sample: SimpleNamespace, spec: GraphSpec) -> tuple[Any, ...]:
    return tuple(getattr(sample, f"{name}_THWC") for name in spec.names)


def _decode(sample: SimpleNamespace, spec: GraphSpec) -> Any:
    """Frames that DALI decodes, cropped: cropping before resizing gives both ways in the same pixels at borders."""
    if spec.encoded == "jpegs":
        return _decode_jpegs(sample, spec)
    video = fn.decoders.video(
        sample.encoded,
        device="mixed" if spec.on_gpu else "cpu",
        frames=sample.decode_index_T,
        pad_mode="none",  # an error rather than black frames, where DALI notices
    )
    return fn.slice(video, start=sample.crop_start, shape=sample.crop_shape, axes=(1, 2))


def _decode_jpegs(sample: SimpleNamespace, spec: GraphSpec) -> Any:
    """T files that lie end to end, decoded one by one, and of each only the crop: the same pixels, in 5 instead of 8
    CPU ms a clip of 8 x 320 x 240 (2-core machine, DALI 2.4.0)."""
    frames = []
    for t in range(spec.num_frames):
        start = sample.decode_index_T[t - 1 : t] if t else [0]
        file = fn.slice(sample.encoded, start=start, end=sample.decode_index_T[t : t + 1], axes=[0])
        picture = fn.decoders.image_slice(
            file,
            device="mixed" if spec.on_gpu else "cpu",
            start=sample.crop_start,
            shape=sample.crop_shape,
            axes=[0, 1],
            adjust_orientation=False,
            jpeg_fancy_upsampling=True,  # of colours, as on the CPU
        )
        frames.append(picture)
    return fn.reshape(fn.stack(*frames, axis=0), layout="FHWC")


def _take_raw(sample: SimpleNamespace, spec: GraphSpec) -> Any:
    return sample.raw_THWC.gpu() if spec.on_gpu else sample.raw_THWC


def _render(clip: Any, sample: SimpleNamespace, spec: GraphSpec) -> tuple[Any, ...]:
    """The views, in the order of ``spec.names``."""
    teacher, student, flip = spec.views.teacher, spec.views.student, sample.flip
    rendered = {}
    if teacher is not None:
        rendered["teacher"] = fn.flip(_resize(clip, teacher), horizontal=flip)
    if student.source == "teacher_view":
        view = _subset(rendered["teacher"], sample, spec)
        view = _resize(view, student)
    else:
        view = _subset(clip, sample, spec)
        view = fn.flip(_resize(view, student), horizontal=flip)
    if student.upsample_to_teacher and teacher is not None:
        view = fn.resize(view, size=teacher.size, interp_type=types.INTERP_LINEAR, antialias=False)
    rendered["student"] = view
    return tuple(rendered[name] for name in spec.names)


def _resize(frames: Any, view: ViewConfig) -> Any:
    return fn.resize(frames, size=view.size, interp_type=types.INTERP_LINEAR, antialias=view.antialias)


def _subset(frames: Any, sample: SimpleNamespace, spec: GraphSpec) -> Any:
    if spec.views.student.num_frames in (None, spec.num_frames):
        return frames
    return fn.sequence_rearrange(frames, new_order=sample.student_k)
