"""Keep the decoded frames of videos, so that a video is decoded once for many epochs and runs.

Note [What a cache holds]
A video is one NumPy file of uint8 numbers, which workers map into memory. It holds the planes of each frame as they
were decoded, (F, 3 * height / 2, width), where all frames have the size, 4:2:0 format and colors of the scan; or else
RGB, (F, height, width, 3), as stored. Conversion to RGB, rotation and crop are done at each reading, by the code that
serves a decoded frame, so the pixels are the same.

The file's name is a hash of the video's path, size, time of change and scanned properties. A changed video has another
name, and its old file stays until someone deletes the folder. A worker writes a file whole before it takes its name, so
two workers, ranks or runs may use a folder at once; and a file that is truncated is written anew.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from dali_pipes.atomic_files import DiskFullError, atomic_open
from dali_pipes.decode.pyav import MATRIX_NAMES, RANGE_NAMES, Window, color_names, to_rgb
from dali_pipes.manifest.manifest import Manifest, ManifestRow
from dali_pipes.video_info import JPEG_FILES, VideoInfo

_VERSION = 2  # of the files
_PLANAR = ("yuv420p", "yuvj420p")
_MATRIX_NUMBERS = {name: number for number, name in MATRIX_NAMES.items()}
_RANGE_NUMBERS = {name: number for number, name in RANGE_NAMES.items()}
_UNTAGGED_MATRIX, _UNTAGGED_RANGE = 2, 0  # H.273; FFmpeg's AVCOL_RANGE_UNSPECIFIED


@dataclass
class FrameCache:
    """Decoded frames in files of a folder. See Note [What a cache holds].

    Args:
        folder: made when the first video is written.
    """

    folder: Path
    _left_out: set[Path] = field(default_factory=set, repr=False)  # files that this process could not write
    _is_full: bool = field(default=False, repr=False)

    def read(
        self, row: ManifestRow, frame_index_T: np.ndarray, window: Window, decode: Callable[[], Iterator[VideoFrame]]
    ) -> list[np.ndarray] | None:
        """Read pictures as ``decode_frames`` returns them; a new video is decoded whole and written first.

        Args:
            decode: yields the frames of the video from the first one on.

        Returns:
            T arrays of uint8 RGB (crop height, crop width, 3); None if the video is not kept, because it does not
            decode to its end or there is no room for it.

        Raises:
            OSError: the folder cannot be written.
        """
        path = self.path_of(row)
        frames = _open(path, row.video_info)
        if frames is None and not self._is_full and path not in self._left_out:
            self._write(path, row.video_info, decode)
            frames = _open(path, row.video_info)
        if frames is None:
            return None
        pictures = {number: _picture(frames[number], row.video_info, window) for number in set(frame_index_T.tolist())}
        return [pictures[number] for number in frame_index_T.tolist()]

    def _write(self, path: Path, found: VideoInfo, decode: Callable[[], Iterator[VideoFrame]]) -> None:
        try:
            _write(path, found, decode)
        except DiskFullError:
            self._is_full = True
        except (ValueError, av.error.FFmpegError):  # a reader of single frames may get the wanted ones, or says more
            self._left_out.add(path)

    def path_of(self, row: ManifestRow) -> Path:
        found = row.video_info
        properties = (found.num_frames, found.width, found.height, found.pix_fmt, found.matrix, found.color_range)
        place = (str(row.path.absolute()), row.shard, row.template, found.start, found.stream)
        key = repr((_VERSION, place, found.file_size, found.mtime_ns, properties))
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"

    def missing(self, manifest: Manifest) -> tuple[int, int]:
        """(bytes, number) of the videos without a file, if they are as the scan found them."""
        present = {entry.name for entry in self.folder.iterdir()} if self.folder.is_dir() else set()
        rows = (manifest.row(number) for number in range(len(manifest)))
        sizes = [math.prod(_expected_shape(row.video_info)) for row in rows if self.path_of(row).name not in present]
        return sum(sizes), len(sizes)


def _may_be_planar(found: VideoInfo) -> bool:
    if found.codec == JPEG_FILES:  # the scan reads headers alone, without colors
        return False
    return found.pix_fmt in _PLANAR and found.width % 2 == 0 and found.height % 2 == 0


def _open(path: Path, found: VideoInfo) -> np.ndarray | None:
    """The mapped file; None if it is absent or not whole."""
    try:
        frames = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    shapes = (_planes_shape(found), _rgb_shape(found))
    return frames if frames.dtype == np.uint8 and frames.shape in shapes else None


def _expected_shape(found: VideoInfo) -> tuple[int, ...]:
    return _planes_shape(found) if _may_be_planar(found) else _rgb_shape(found)


def _planes_shape(found: VideoInfo) -> tuple[int, ...]:
    return found.num_frames, found.height * 3 // 2, found.width


def _rgb_shape(found: VideoInfo) -> tuple[int, ...]:
    return found.num_frames, found.height, found.width, 3


class _OtherPictureError(Exception):
    """A frame is not as the scan found the first one."""


def _write(path: Path, found: VideoInfo, decode: Callable[[], Iterator[VideoFrame]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if _may_be_planar(found):
        with suppress(_OtherPictureError):
            _write_pictures(path, _planes_shape(found), (_planes_of(frame, found) for frame in decode()))
            return
    pictures = (to_rgb(frame, width=found.width, height=found.height) for frame in decode())
    _write_pictures(path, _rgb_shape(found), pictures)


def _write_pictures(path: Path, shape: tuple[int, ...], pictures: Iterable[np.ndarray]) -> None:
    with atomic_open(path, needed_bytes=math.prod(shape)) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for picture in pictures:
            file.write(np.ascontiguousarray(picture).data)


def _planes_of(frame: VideoFrame, found: VideoInfo) -> np.ndarray:
    expected = (found.pix_fmt, found.width, found.height, found.matrix, found.color_range)
    if (frame.format.name, frame.width, frame.height, *color_names(frame)) != expected:
        raise _OtherPictureError
    return frame.to_ndarray()


def _picture(kept: np.ndarray, found: VideoInfo, window: Window) -> np.ndarray:
    if kept.ndim == 3:
        return np.array(window.crop_stored(kept))
    frame = VideoFrame.from_ndarray(np.asarray(kept), format=found.pix_fmt)
    frame.colorspace = _MATRIX_NUMBERS.get(found.matrix, _UNTAGGED_MATRIX)
    frame.color_range = _RANGE_NUMBERS.get(found.color_range, _UNTAGGED_RANGE)
    return window.cut(frame)
