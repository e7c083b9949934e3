"""The output of the input pipeline: a batch of clips, each rendered as one or more views.

A clip is pixels (``View``) or precomputed features, one vector per frame (``FeatureView``).

Shape letters: N clips, T frames, H height, W width, C = 3 color channels, B = N * T, D features of a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dali_pipes.fault_log import FaultLog

PADDING_POSITION = -1
"""The entry of ``ClipBatch.positions_N`` of a clip that only pads the last batch of an evaluation."""


@dataclass(frozen=True, repr=False)
class View:
    """One rendering of every clip in a batch.

    Args:
        data_NTHWC: uint8 RGB frames, contiguous. ``frames_BCHW`` is channels-last without a copy.
        frame_index_NT: int64, the index of each frame in the output order of a full decode.
        valid_NT: bool, False for a repeat: the same frame as before, or past the end of a short video.

    Raises:
        TypeError, ValueError: a tensor has another dtype or shape than stated here.
    """

    data_NTHWC: Tensor
    frame_index_NT: Tensor
    valid_NT: Tensor

    def __post_init__(self) -> None:
        _expect("data_NTHWC", self.data_NTHWC, torch.uint8, 5)
        _expect("frame_index_NT", self.frame_index_NT, torch.int64, 2)
        _expect("valid_NT", self.valid_NT, torch.bool, 2)
        clips_frames = tuple(self.data_NTHWC.shape[:2])
        if self.data_NTHWC.shape[-1] != 3:
            raise ValueError(f"data_NTHWC: expected 3 color channels last, found shape {tuple(self.data_NTHWC.shape)}.")
        for name, tensor in (("frame_index_NT", self.frame_index_NT), ("valid_NT", self.valid_NT)):
            if tuple(tensor.shape) != clips_frames:
                raise ValueError(
                    f"{name}: expected (N, T) = {clips_frames} as in data_NTHWC, found {tuple(tensor.shape)}."
                )
        if not self.data_NTHWC.is_contiguous():
            raise ValueError(
                "data_NTHWC: expected contiguous frames, so that frames_BCHW is channels-last without a copy; "
                f"found strides {self.data_NTHWC.stride()}."
            )

    @property
    def data(self) -> Tensor:
        """The input of a network."""
        return self.data_NTHWC

    @property
    def num_frames(self) -> int:
        return self.data_NTHWC.shape[1]

    @property
    def frames_BCHW(self) -> Tensor:
        """The frames as input of a 2-D network: shape (N*T, C, H, W), channels-last, sharing memory."""
        return self.data_NTHWC.flatten(0, 1).permute(0, 3, 1, 2)

    def __repr__(self) -> str:
        """Shapes, dtypes and the device, without contents."""
        return f"View({_described(self)}, on {self.data.device})"

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> View:
        return View(
            self.data_NTHWC.to(device, non_blocking=non_blocking),
            self.frame_index_NT.to(device, non_blocking=non_blocking),
            self.valid_NT.to(device, non_blocking=non_blocking),
        )


@dataclass(frozen=True, repr=False)
class FeatureView:
    """Some or all frames of every video in a batch, as features.

    Args:
        data_NTD: uint8, quantized as in YouTube-8M: value * 4 / 255 + 4 / 512 - 2. Groups of features (rgb, audio) are
            concatenated. 0 where there is no frame.
        frame_index_NT: int64, the index of each frame in the video; 0 where there is none.
        valid_NT: bool, False where there is no frame, as in a video shorter than the view. May be all False.

    Raises:
        TypeError, ValueError: a tensor has another dtype or shape than stated here.
    """

    data_NTD: Tensor
    frame_index_NT: Tensor
    valid_NT: Tensor

    def __post_init__(self) -> None:
        _expect("data_NTD", self.data_NTD, torch.uint8, 3)
        _expect("frame_index_NT", self.frame_index_NT, torch.int64, 2)
        _expect("valid_NT", self.valid_NT, torch.bool, 2)
        videos_frames = tuple(self.data_NTD.shape[:2])
        for name, tensor in (("frame_index_NT", self.frame_index_NT), ("valid_NT", self.valid_NT)):
            if tuple(tensor.shape) != videos_frames:
                raise ValueError(
                    f"{name}: expected (N, T) = {videos_frames} as in data_NTD, found {tuple(tensor.shape)}."
                )

    @property
    def data(self) -> Tensor:
        """The input of a network."""
        return self.data_NTD

    @property
    def num_frames(self) -> int:
        return self.data_NTD.shape[1]

    def __repr__(self) -> str:
        """Shapes, dtypes and the device, without contents."""
        return f"FeatureView({_described(self)}, on {self.data.device})"

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> FeatureView:
        return FeatureView(
            self.data_NTD.to(device, non_blocking=non_blocking),
            self.frame_index_NT.to(device, non_blocking=non_blocking),
            self.valid_NT.to(device, non_blocking=non_blocking),
        )


@dataclass(frozen=True, repr=False)
class ClipBatch:
    """N clips with their labels and sources.

    Args:
        views: name ("teacher", "student") -> View or FeatureView. All hold the same clips, with the same crop, flip and
            augmentation.
        labels_N: int64 class numbers; the first one of a clip with several labels.
        ids_N: int64 row of each clip in the manifest (of the substitute, where there is one).
        positions_N: int64 position in the endless order of training; in evaluation the video's index in the list times
            ``Loader.num_test_views``, plus the index of the view; ``PADDING_POSITION`` marks a clip that only pads the
            last batch of an evaluation.
        substituted_N: bool, True where a substitute replaces a planned clip that could not be read.
        label_sets_NK: bool, True at each of a clip's labels; None where every video of the list has one label.
    """

    views: Mapping[str, View | FeatureView]
    labels_N: Tensor
    ids_N: Tensor
    positions_N: Tensor
    substituted_N: Tensor
    label_sets_NK: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.views:
            raise ValueError("views: expected at least one view, found none.")
        _expect("labels_N", self.labels_N, torch.int64, 1)
        _expect("ids_N", self.ids_N, torch.int64, 1)
        _expect("positions_N", self.positions_N, torch.int64, 1)
        _expect("substituted_N", self.substituted_N, torch.bool, 1)
        sizes = {
            "labels_N": len(self.labels_N),
            "ids_N": len(self.ids_N),
            "positions_N": len(self.positions_N),
            "substituted_N": len(self.substituted_N),
            **{f"views[{name!r}]": view.data.shape[0] for name, view in self.views.items()},
        }
        if self.label_sets_NK is not None:
            _expect("label_sets_NK", self.label_sets_NK, torch.bool, 2)
            sizes["label_sets_NK"] = len(self.label_sets_NK)
        if len(set(sizes.values())) != 1:
            raise ValueError(f"expected the same number of clips everywhere, found {sizes}.")

    @property
    def num_clips(self) -> int:
        return len(self.labels_N)

    @property
    def targets(self) -> Tensor:
        """Training targets: ``label_sets_NK`` if the list has several labels per video, else ``labels_N``."""
        return self.labels_N if self.label_sets_NK is None else self.label_sets_NK

    @property
    def padding_N(self) -> Tensor:
        """bool, True where the clip only pads the batch and must not be counted."""
        return self.positions_N == PADDING_POSITION

    def __repr__(self) -> str:
        """Shapes, dtypes and the device, without contents."""
        views = "".join(f"    views[{name!r}]: {view!r}\n" for name, view in self.views.items())
        return f"ClipBatch({self.num_clips} clips\n{views}    {_described(self)}, on {self.labels_N.device})"

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> ClipBatch:
        """The batch on ``device``; tensors already there are not copied."""
        return ClipBatch(
            {name: view.to(device, non_blocking=non_blocking) for name, view in self.views.items()},
            self.labels_N.to(device, non_blocking=non_blocking),
            self.ids_N.to(device, non_blocking=non_blocking),
            self.positions_N.to(device, non_blocking=non_blocking),
            self.substituted_N.to(device, non_blocking=non_blocking),
            None if self.label_sets_NK is None else self.label_sets_NK.to(device, non_blocking=non_blocking),
        )


class LabeledVideos(Protocol):
    """The labels of a manifest's videos."""

    @property
    def has_several_labels(self) -> bool: ...

    @property
    def class_names(self) -> tuple[str, ...]: ...

    def labels(self, number: int) -> np.ndarray:
        """All labels of a row, as integers."""
        ...


def label_sets_of(manifest: LabeledVideos, ids_N: Tensor) -> Tensor | None:
    """Make ``ClipBatch.label_sets_NK`` of these rows, on the CPU; None if each video has one label."""
    if not manifest.has_several_labels:
        return None
    sets_NK = np.zeros((len(ids_N), len(manifest.class_names)), bool)
    for index, number in enumerate(ids_N.tolist()):
        sets_NK[index, manifest.labels(number)] = True
    return torch.from_numpy(sets_NK)


class Loader(Protocol):
    """The interface of ClipLoader, FeatureLoader and SyntheticLoader to the trainer and the evaluator.

    A training loader iterates without end, from the batch it was built for. Each iteration of an evaluation loader
    is one pass over its list, with all views of each video and the same number of batches on every rank.

    Attributes:
        faults: counts of the clips in this rank's batches, and of their faults.
    """

    faults: FaultLog

    @property
    def num_samples(self) -> int:
        """Number of clips in an epoch, over all ranks; in evaluation, of videos in the list."""
        ...

    @property
    def num_test_views(self) -> int:
        """V, number of test views of each video in an evaluation pass; 1 in training."""
        ...

    def __iter__(self) -> Iterator[ClipBatch]: ...

    def close(self) -> None:
        """End worker processes and free memory. May be called twice."""
        ...


def _described(holder: View | FeatureView | ClipBatch) -> str:
    """Each tensor among the fields as "name dtype shape"; None as "name None"."""
    values = {field.name: getattr(holder, field.name) for field in fields(holder)}
    tensors = {name: value for name, value in values.items() if value is None or isinstance(value, Tensor)}
    return ", ".join(
        f"{name} None" if value is None else f"{name} {str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
        for name, value in tensors.items()
    )


def _expect(name: str, tensor: Tensor, dtype: torch.dtype, num_dims: int) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, found {type(tensor).__name__}.")
    if tensor.dtype != dtype:
        raise TypeError(f"{name}: expected {dtype}, found {tensor.dtype}.")
    if tensor.ndim != num_dims:
        raise ValueError(f"{name}: expected {num_dims} dimensions, found shape {tuple(tensor.shape)}.")
