"""Fewer frames and fewer pixels at once on ten classes of UCF101: a grid of students, each with and without a teacher.

All students see k of the teacher's T frames, no larger than the teacher's and rendered from the teacher's view: one
decode, one crop, one flip. A distilled student has three terms: the pixel term matches its maps with the teacher's of
the same frames; the embedding and the prediction terms use the teacher's whole clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from reskd.experiment.config import ExperimentConfig

PixelMode = Literal["teacher", "baseline", "distilled"]
NUM_FRAMES, SIDE = 8, 96
KS, SIDES = (2, 4, 8), (48, 72, 96)
_CODE, _PREDICTION, _PIXEL = 0.01, 1.0, 100.0


@dataclass(frozen=True)
class PixelCase:
    """One run. The teacher sees ``NUM_FRAMES`` frames of ``SIDE``."""

    mode: PixelMode
    k: int
    side: int
    seed: int
    epochs: float

    @property
    def name(self) -> str:
        return f"pixels-{self.mode}-k{self.k}-{self.side}px-s{self.seed}"

    def config(self, base: Path, runs: Path) -> ExperimentConfig:
        """The experiment: lists, crops and learning rate of ``base``, networks and views of this case."""
        from reskd.experiment.config import load_config, parse_config

        common = load_config(base).resolved()
        network = {
            "family": "aggregated",
            "backbone": "resnet18",
            "aggregator": {"kind": "mean"},
            "classifier": {"kind": "linear", "dropout": 0.2, "init_std": 0.04},
        }
        tree: dict[str, Any] = common | {
            "name": self.name,
            "runs": str(runs),
            "seed": self.seed,
            "data": self._data(common["data"]),
            "student": network,
            "teacher": None,
            "loss": {"task": "softmax_ce"},
            "training": common["training"] | {"epochs": self.epochs, "evaluate_every_epochs": 1000},
        }
        if self.mode == "distilled":
            taught = network | {"weights": str(runs / self.teacher.name / "last.pt"), "weights_head": "keep"}
            tree["teacher"] = {"model": taught, "batch_norm": "batch_stats"}
            terms = {"pixel": {"alpha": _PIXEL}, "embedding": {"alpha": _CODE}, "prediction": {"alpha": _PREDICTION}}
            tree["loss"] |= {**terms, "time": "equal" if self.k == NUM_FRAMES else "nearest"}
        return parse_config(tree, where=self.name)

    @property
    def columns(self) -> dict[str, object]:
        """The columns of a row that identify it."""
        return {"mode": self.mode, "k": self.k, "side": self.side, "seed": self.seed, "epochs": self.epochs}

    @property
    def teacher(self) -> PixelCase:
        """The run that trains its teacher."""
        return PixelCase("teacher", NUM_FRAMES, SIDE, self.seed, self.epochs)

    def _data(self, common: dict[str, Any]) -> dict[str, Any]:
        size = [self.side, self.side]
        student = {"size": size, "num_frames": self.k, "source": "teacher_view"}
        views: dict[str, Any] = {"teacher": {"size": [SIDE, SIDE]}, "student": student}
        if self.mode == "teacher":
            views = {"student": {"size": size, "source": "decoded"}}
        return common | {"views": views, "sampling": common["sampling"] | {"num_frames": NUM_FRAMES}}


def pixel_cases(ks: Sequence[int], sides: Sequence[int], seeds: Sequence[int], *, epochs: float) -> list[PixelCase]:
    """The teachers, then every student with and without them."""
    found = []
    for seed in seeds:
        found.append(PixelCase("teacher", NUM_FRAMES, SIDE, seed, epochs))
        for k in ks:
            for side in sides:
                found += [PixelCase(mode, k, side, seed, epochs) for mode in ("baseline", "distilled")]
    return found
