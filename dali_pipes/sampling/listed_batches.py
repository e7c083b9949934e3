"""What a loader knows from its list and its order alone: names, lengths, and the place where it resumes.

ClipLoader and FeatureLoader are built on it.

Note [The state of a loader]
Batches are pure functions of the order and their number, so a number is all that a checkpoint needs. The other entries
say what the number counts: under another list, seed or number of clips a step, it would name other clips. The number
of ranks and their batch sizes may change as long as their product is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, SupportsInt, TypedDict

from dali_pipes.sampling.order import ReadingOrder


class LoaderState(TypedDict):
    """The place of a training loader, the same on all ranks; see Note [The state of a loader]."""

    next_batch: int  # number of each rank's next batch
    batches_per_step: int  # of each rank
    batch_size: int
    clips_per_step: int  # over all ranks
    seed: int
    class_sampling: str
    videos: str  # hash of the list


class VideoList(Protocol):
    """The list behind a loader: a manifest."""

    @property
    def class_names(self) -> tuple[str, ...]: ...

    @property
    def content_hash(self) -> str: ...

    def __len__(self) -> int: ...


class ListedBatches:
    """The part of a loader that reads nothing.

    Args:
        videos: the list.
        order: mode, seed and batches.
        views: names of the views.
    """

    def __init__(self, videos: VideoList, order: ReadingOrder, views: tuple[str, ...]) -> None:
        self._videos, self._order, self._views = videos, order, views

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        return self._videos.class_names

    @property
    def num_samples(self) -> int:
        """Number of clips in an epoch, over all ranks; in evaluation, of videos in the list."""
        return len(self._videos)

    @property
    def num_test_views(self) -> int:
        """V, number of positions of each video in an evaluation pass; 1 in training."""
        return 1 if self._order.mode == "train" else self._order.test_views.num_test_views

    @property
    def num_batches(self) -> int:
        """Number of batches on each rank: of an evaluation pass; in training, of an epoch, rounded up.

        Training leaves no clip out and cuts no batch: the batch with the last clips of an epoch is filled with the
        first ones of the next. So the epoch of a clip is its position divided by ``num_samples``.
        """
        return self._order.num_batches(len(self._videos) * self.num_test_views)

    def __len__(self) -> int:
        """``num_batches``. A training loader goes on after them."""
        return self.num_batches

    def __repr__(self) -> str:
        order = self._order
        videos = f"{self.num_samples} videos of {len(self.class_names)} classes"
        batches = f"{self.num_batches} batches of {order.batch_size} clips {_PER[order.mode]}"
        views = " and ".join(self._views)
        return f"{type(self).__name__}({videos}, {batches}, views {views}, rank {order.rank} of {order.world_size})"

    def state_dict(self) -> LoaderState:
        """Where this training loader stands: what ``load_state_dict`` needs to go on with the batch after the last one
        that was yielded. Plain values, the same on all ranks; prefetched batches do not count.

        Raises:
            ValueError: of an evaluation, whose passes always begin with the first video.
        """
        self._check_trains()
        order = self._order
        return LoaderState(
            next_batch=order.first_batch + self._num_yielded,
            batches_per_step=self._batches_per_step,
            batch_size=order.batch_size,
            clips_per_step=order.clips_per_step,
            seed=order.seed,
            class_sampling=order.class_sampling,
            videos=self._videos.content_hash,
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the loader that gave ``state`` stood; the next batch is the one after its last.

        Another number of ranks is fine if their number times ``batch_size`` is the same: each step then holds the same
        clips. Batches already yielded stay valid.

        Raises:
            ValueError: ``state`` is of another list, seed or number of clips a step, or of an evaluation.
        """
        self._check_trains()
        next_batch = self._batch_of(state)
        self._go_to(next_batch - self._order.first_batch)

    @property
    def _num_yielded(self) -> int:
        """Number of batches since ``first_batch`` that were yielded, or skipped by ``load_state_dict``."""
        raise NotImplementedError

    def _go_to(self, num_yielded: int) -> None:
        """Forget prefetched batches, and continue as if so many had been yielded; below 0 before ``first_batch``."""
        raise NotImplementedError

    def _check_row(self, video_id: SupportsInt) -> int:
        """``video_id`` as a row of the list; raises IndexError if there is no such row."""
        row = int(video_id)
        if not 0 <= row < len(self._videos):
            raise IndexError(f"video_id: expected 0 to {len(self._videos) - 1}, as in ids_N of a batch, found {row}.")
        return row

    @property
    def _batches_per_step(self) -> int:
        return self._order.clips_per_step // (self._order.world_size * self._order.batch_size)

    def _check_trains(self) -> None:
        if self._order.mode != "train":
            raise ValueError("expected a training loader, found an evaluation, whose passes begin anew.")

    def _batch_of(self, state: Mapping[str, Any]) -> int:
        """The number of this rank's batch at the place of ``state``."""
        if missing := [key for key in LoaderState.__annotations__ if key not in state and key not in _ADDED_LATER]:
            raise ValueError(f"state: expected what state_dict() of a loader gives, found no {missing[0]}.")
        mine = self.state_dict()
        for key, advice in _MUST_AGREE.items():
            found, own = state[key], mine[key]  # type: ignore[literal-required]
            if found != own:
                raise ValueError(f"state: expected {key} = {own!r} of this loader, found {found!r}; {advice}.")
        step, rest = divmod(int(state["next_batch"]), int(state["batches_per_step"]))
        same_batches = all(state.get(key, mine[key]) == mine[key] for key in ("batches_per_step", "batch_size"))
        if rest and not same_batches:
            raise ValueError(
                f"state: expected the end of a step, found {rest} of its {state['batches_per_step']} batches done; go "
                "on with the same number of ranks and batch size."
            )
        return step * mine["batches_per_step"] + rest


_ADDED_LATER = ("batch_size",)  # states of earlier versions go on without it
_PER = {"train": "an epoch", "eval": "a pass"}
_MUST_AGREE = {
    "seed": "make the loader with that seed",
    "class_sampling": "set data.class_sampling as it was",
    "videos": "the list, its labels or its files have changed, so the order of the clips would be another",
    "clips_per_step": "keep batch_size times the number of ranks as it was",
}
