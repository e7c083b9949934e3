"""DALI's own file readers, without our workers and byte ranges, as a careful user of stock DALI would use them.

Only the decode benchmark uses them. The clips are given, so all candidates of the benchmark read the same frames.

Shape letters: P clips, N clips of a batch, T frames, H W pixels, C colors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor

from dali_pipes.jobs.process_folder import process_folder
from dali_pipes.sampling.clip_plan import Crop

StockReader = Literal["experimental.readers.video", "decoders.video"]


class StockClip(NamedTuple):
    """One clip: file, int32 frame numbers (T,), crop in the stored picture, left-right flip."""

    path: Path
    frame_index_T: np.ndarray
    crop: Crop
    flip: bool


class StockBatch(NamedTuple):
    """uint8 views (N, T, H, W, C) and the frame numbers (N, T) that DALI reports, int64 on the CPU."""

    teacher_NTHWC: Tensor
    student_NTHWC: Tensor
    frame_index_NT: Tensor


def stock_batches(
    clips: Sequence[StockClip],
    *,
    reader: StockReader,
    batch_size: int,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    num_threads: int,
    device_id: int | None,
) -> Iterator[StockBatch]:
    """Batches of the clips in the given order, without end.

    Args:
        reader: "decoders.video" decodes each whole file up to the last wanted frame; "experimental.readers.video"
            seeks, and gets each wanted frame as a sequence of one, its only way to take arbitrary frames.
        sizes: (height, width) of the teacher's and of the student's view.
        device_id: of the GPU that decodes and renders; None: the CPU.

    Raises:
        RuntimeError: DALI cannot read a file.
    """
    from nvidia.dali.plugin.pytorch import DALIGenericIterator

    num_frames = len(clips[0].frame_index_T)
    whole_files = reader == "decoders.video"
    with TemporaryDirectory(prefix="stock_", dir=process_folder()) as list_folder:  # for the reader's list of files
        pipeline = _pipeline_of(whole_files)(
            clips,
            sizes,
            Path(list_folder),
            batch_size=batch_size if whole_files else batch_size * num_frames,
            num_threads=num_threads,
            device_id=device_id,
        )
        for (tensors,) in DALIGenericIterator(pipeline, ["teacher", "student", "frames"], size=-1):
            teacher, student = (tensors[name] for name in ("teacher", "student"))
            yield StockBatch(
                teacher.reshape(batch_size, num_frames, *teacher.shape[-3:]),
                student.reshape(batch_size, num_frames, *student.shape[-3:]),
                tensors["frames"].reshape(batch_size, num_frames).long().cpu(),
            )


def _pipeline_of(whole_files: bool) -> Any:
    """The function that makes the pipeline; it is defined here because DALI is imported here."""
    from nvidia.dali import fn, pipeline_def, types

    def whole_file_clips(clips: Sequence[StockClip], on_gpu: bool) -> tuple[Any, Any, Any]:
        # Read instead of mapped, so that the benchmark can count the bytes.
        encoded, number = fn.readers.file(
            files=[str(clip.path) for clip in clips], labels=list(range(len(clips))), dont_use_mmap=True
        )
        frames = _table([clip.frame_index_T for clip in clips], np.int32)[number[0]]
        video = fn.decoders.video(encoded, device="mixed" if on_gpu else "cpu", frames=frames, pad_mode="none")
        return video, number, frames

    def single_frames(clips: Sequence[StockClip], on_gpu: bool, list_folder: Path) -> tuple[Any, Any, Any]:
        path = list_folder / "frames.txt"
        path.write_text(frame_list(clips), encoding="utf-8")
        outputs: Any = fn.experimental.readers.video(
            device="gpu" if on_gpu else "cpu",
            file_list=str(path),
            file_list_format="frames",
            file_list_include_end=False,
            sequence_length=1,
            enable_frame_num="scalar",
        )
        video, number, frame = outputs
        return video, number.cpu() if on_gpu else number, frame

    def _table(rows: Sequence[Any], dtype: Any) -> Any:
        return types.Constant(np.array(rows, dtype), device="cpu")

    @pipeline_def
    def pipeline(clips: Sequence[StockClip], sizes: Sequence[tuple[int, int]], list_folder: Path) -> tuple[Any, ...]:
        on_gpu = pipeline_device() is not None
        found = whole_file_clips(clips, on_gpu) if whole_files else single_frames(clips, on_gpu, list_folder)
        video, number, frames = found
        start = _table([clip.crop[:2] for clip in clips], np.int32)[number[0]]
        shape = _table([clip.crop[2:] for clip in clips], np.int32)[number[0]]
        flip = _table([clip.flip for clip in clips], np.int32)[number[0]]
        cropped = fn.slice(video, start=start, shape=shape, axes=(1, 2))
        plain = {"interp_type": types.INTERP_LINEAR, "antialias": False}
        teacher = fn.flip(fn.resize(cropped, size=sizes[0], **plain), horizontal=flip)
        return teacher, fn.resize(teacher, size=sizes[1], **plain), frames

    def pipeline_device() -> int | None:
        from nvidia.dali import Pipeline

        return Pipeline.current().device_id

    return pipeline


def frame_list(clips: Sequence[StockClip]) -> str:
    """Lines ``path clip first last+1`` for DALI's reader, one per wanted frame.

    Raises:
        ValueError: a path with white space, which the list cannot hold.
    """
    lines = []
    for number, clip in enumerate(clips):
        if len(str(clip.path).split()) != 1:
            raise ValueError(f"DALI's list of files: expected a path without white space, found {str(clip.path)!r}.")
        lines += [f"{clip.path} {number} {frame} {frame + 1}" for frame in clip.frame_index_T.tolist()]
    return "\n".join(lines) + "\n"
