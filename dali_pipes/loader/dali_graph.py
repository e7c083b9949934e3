"""The DALI pipeline: it renders the requested views of a clip, with one decode, one crop and one flip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import torch
from nvidia.dali import Pipeline, fn, pipeline_def, types
from torch import Tensor

from dali_pipes.config import ViewConfig, ViewsConfig
from dali_pipes.jobs.cores import Parallelism
from dali_pipes.jobs.process_folder import temporary_files_in_process_folder
from dali_pipes.loader.sample import FIELDS, OUTPUTS, fields_for

_DALI_TYPES = {"bool": types.BOOL, "uint8": types.UINT8, "int32": types.INT32, "int64": types.INT64}


@dataclass(frozen=True)
class GraphSpec:
    """Inputs and outputs of the graph.

    Args:
        views: sizes and sources of the views.
        names: views that the graph outputs, in this order.
        num_frames: T, or k if only the student's view is output.
        decoders: the decoders in use, "dali" and "pyav".
        encoded: form of the encoded clips: videos, or concatenated JPEG files.
        rendered: whether workers render the clips that PyAV decodes.
        on_gpu: whether to decode with NVDEC and render on the GPU.
        prefetch: number of batches that are made ahead.
    """

    views: ViewsConfig
    names: tuple[str, ...]
    num_frames: int
    decoders: frozenset[str]
    encoded: Literal["video", "jpegs"]
    rendered: bool
    on_gpu: bool
    prefetch: int

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the ``FIELDS`` that are the graph's inputs."""
        return fields_for(self.decoders, self.names if self.rendered else ())


def start_pipeline(
    source: Callable[..., Any], spec: GraphSpec, parallelism: Parallelism, *, batch_size: int, device: torch.device
) -> PipelineBatches:
    """Start the workers, which call ``source``."""
    device_id = None
    if spec.on_gpu:
        device_id = torch.cuda.current_device() if device.index is None else device.index
    with temporary_files_in_process_folder():  # DALI writes the source of the graph's conditionals
        pipeline = _clip_pipeline(
            source,
            spec,
            batch_size=batch_size,
            num_threads=parallelism.num_threads,
            device_id=device_id,
            py_num_workers=parallelism.num_workers,
            py_start_method="spawn",
            prefetch_queue_depth=spec.prefetch,
        )
        return PipelineBatches(pipeline, [*spec.names, *OUTPUTS], None if device_id is None else device)


class PipelineBatches:
    """The batches of a pipeline without end: dicts of the views as uint8 FHWC, and of ``OUTPUTS`` on the CPU.

    On a GPU torch's current stream waits for the outputs, and the host does not. DALI takes the memory of a dropped
    tensor back after a synchronization of the device in a thread of its own (2.4.0: DLTensorGraveyard), so no work that
    was queued before can still read it. DALI's own iterator makes the host wait, and its buffers may be overwritten
    while the GPU still reads them.

    Args:
        pipeline: not built yet.
        names: names of its outputs.
        device: of the views, if that is a GPU.
    """

    def __init__(self, pipeline: Pipeline, names: Sequence[str], device: torch.device | None) -> None:
        pipeline.build()
        self._pipeline, self._names, self._device = pipeline, names, device
        self._is_scheduled = False

    def __next__(self) -> dict[str, Tensor]:
        if not self._is_scheduled:
            self._pipeline.schedule_run()  # the first call also prefetches
            self._is_scheduled = True
        # DALI takes the default stream's device to be the current one.
        with nullcontext() if self._device is None else torch.cuda.device(self._device):
            stream = None if self._device is None else torch.cuda.current_stream()
            outputs = self._pipeline.share_outputs(cuda_stream=stream)
            # No copy: each tensor keeps its memory.
            tensors = [torch.from_dlpack(output.as_tensor()) for output in outputs]
        self._pipeline.release_outputs()
        self._pipeline.schedule_run()
        return dict(zip(self._names, tensors, strict=True))


@pipeline_def(enable_conditionals=True)
def _clip_pipeline(source: Callable[..., Any], spec: GraphSpec) -> tuple[Any, ...]:
    """Output the views in the order of ``spec.names`` as uint8 FHWC, then ``OUTPUTS`` on the CPU."""
    fields = spec.fields
    outputs = fn.external_source(
        source=source,
        num_outputs=len(fields),
        batch=False,
        parallel=True,
        prefetch_queue_depth=spec.prefetch,
        dtype=[_DALI_TYPES[FIELDS[name].dtype] for name in fields],
        ndim=[FIELDS[name].ndim for name in fields],
        layout=["FHWC" if name.endswith("_THWC") else "" for name in fields],
    )
    sample = SimpleNamespace(**dict(zip(fields, outputs)))  # noqa: B905 -- DALI's autograph has no strict
    if spec.decoders == {"dali"}:
        views = _decode_and_render(sample, spec)
    elif spec.decoders == {"pyav"}:
        views = _take_rendered(sample, spec) if spec.rendered else _render(_take_raw(sample, spec), sample, spec)
    elif spec.rendered:
        if sample.is_encoded:  # noqa: SIM108 -- an if of the graph: one branch per clip
            views = _decode_and_render(sample, spec)
        else:
            views = _take_rendered(sample, spec)
    else:
        if sample.is_encoded:  # noqa: SIM108
            clip = _decode(sample, spec)
        else:
            clip = _take_raw(sample, spec)
        views = _render(clip, sample, spec)
    return (*views, *(getattr(sample, name) for name in OUTPUTS))


def _decode_and_render(sample: SimpleNamespace, spec: GraphSpec) -> tuple[Any, ...]:
    return _render(_decode(sample, spec), sample, spec)


def _take_rendered(sample: SimpleNamespace, spec: GraphSpec) -> tuple[Any, ...]:
    return tuple(getattr(sample, f"{name}_THWC") for name in spec.names)


def _decode(sample: SimpleNamespace, spec: GraphSpec) -> Any:
    """Decode and crop with DALI. Cropping before resizing gives both decoders the same border pixels."""
    if spec.encoded == "jpegs":
        return _decode_jpegs(sample, spec)
    video = fn.decoders.video(
        sample.encoded,
        device="mixed" if spec.on_gpu else "cpu",
        frames=sample.decode_index_T,
        pad_mode="none",  # where DALI notices missing frames: an error instead of black frames
    )
    return fn.slice(video, start=sample.crop_start, shape=sample.crop_shape, axes=(1, 2))


def _decode_jpegs(sample: SimpleNamespace, spec: GraphSpec) -> Any:
    """Decode only the crop of each of T concatenated files.

    The pixels are the same as with a later crop, in 5 instead of 8 CPU ms for a clip of 8 x 320 x 240 (2-core machine,
    DALI 2.4.0).
    """
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
            jpeg_fancy_upsampling=True,  # of chroma, as on the CPU
        )
        frames.append(picture)
    return fn.reshape(fn.stack(*frames, axis=0), layout="FHWC")


def _take_raw(sample: SimpleNamespace, spec: GraphSpec) -> Any:
    return sample.raw_THWC.gpu() if spec.on_gpu else sample.raw_THWC


def _render(clip: Any, sample: SimpleNamespace, spec: GraphSpec) -> tuple[Any, ...]:
    """Render the views in the order of ``spec.names``."""
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
