"""The runs of the fewer-frames study, each a config: its network, frames, teacher and seed.

Note [What is equal]
All runs of a data set and family have the same epochs, batches, learning rate, classifier and sizes; those of a seed
start from the same weights and see the videos in the same order (both follow from the seed alone). A baseline and the
distilled students of the same k differ in the teacher and its two terms. Every run reports its last checkpoint, and
nothing is chosen on any list. Each run reads the test list once, at its end.

Note [Sizes]
Small enough for two processor cores: hidden layers of 32 in H-RNN, 16 clusters and a hidden layer of 128 in the
others. The papers have 1024 and up to 256 clusters. The teacher's H-RNN has blocks of 10 frames; a student of k frames
has blocks of k / 5, as the paper has 5 blocks of 6 at k = 30.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from dali_pipes.choices import FrameSelection

if TYPE_CHECKING:
    from reskd.experiment.config import ExperimentConfig

Family = Literal["h_rnn", "netvlad", "nextvlad"]
Mode = Literal["teacher", "baseline", "serial", "parallel"]
FAMILIES: tuple[Family, ...] = get_args(Family)
SELECTIONS: tuple[FrameSelection, ...] = ("uniform", "random", "first", "middle", "last", "first_middle_last")
MODES: tuple[Mode, ...] = ("baseline", "serial", "parallel")
KS = (6, 10, 15, 20, 30)
SEEDS = (1, 2, 3)
# Of the synthetic videos; settings were tried on those of seed 0.
VIDEOS_SEED = 1
_TEACHER_BLOCK = 10

_AGGREGATORS: dict[Family, dict[str, Any]] = {
    "h_rnn": {"kind": "h_rnn", "hidden_dim": 32},
    "netvlad": {"kind": "netvlad", "num_clusters": 16, "hidden_dim": 128},
    "nextvlad": {"kind": "nextvlad", "num_clusters": 16, "num_splits": 4, "hidden_dim": 128},
}
_CLASSIFIERS: dict[Family, dict[str, Any]] = {
    "h_rnn": {"kind": "mixture_of_experts"},
    "netvlad": {"kind": "mixture_of_experts"},
    "nextvlad": {"kind": "logistic"},
}
# (L_rep, L_pred); in the configs 1 and 1, for NeXtVLAD 0.001 and 0.01. NetVLAD's parallel students lost 12 points at 1.
_WEIGHTS: dict[Family, tuple[float, float]] = {"h_rnn": (0.1, 1.0), "netvlad": (0.1, 1.0), "nextvlad": (0.001, 0.01)}
# Tuned on synthetic videos of another seed than the study's: docs/fewer_frames.md.
_LR: dict[Family, float] = {"h_rnn": 5e-3, "netvlad": 2e-3, "nextvlad": 5e-3}


@dataclass(frozen=True)
class DataSet:
    """A data set of features.

    Args:
        settings: ``data`` of a config, without views; with a test list.
        epochs: of every run on it.
    """

    name: str
    settings: Mapping[str, Any]
    epochs: float
    batch_size: int = 32


@dataclass(frozen=True)
class Case:
    """One run.

    Args:
        k: number of frames that the student sees; None: all, in the teacher's run.
        weights: of L_rep and L_pred; None: the study's.
    """

    data: DataSet
    family: Family
    mode: Mode
    selection: FrameSelection
    k: int | None
    seed: int
    weights: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """The name of its folder."""
        frames = "all" if self.k is None else f"{self.selection}-{self.k}"
        return f"{self.data.name}-{self.family}-{self.mode}-{frames}-s{self.seed}"

    def config(self, runs: Path) -> ExperimentConfig:
        """The experiment; a frozen teacher is the run of ``teacher_case`` under ``runs``."""
        from reskd.experiment.config import parse_config

        tree: dict[str, Any] = {
            "name": self.name,
            "runs": str(runs),
            "seed": self.seed,
            "device": "cpu",
            "data": {**self.data.settings, "views": self._views()},
            "student": self._network(self.k),
            "loss": {"task": "sigmoid_bce"},
            "optimizer": {"name": "adamw", "lr": _LR[self.family], "weight_decay": 0.0, "bias_lr_factor": 1.0},
            "schedule": {"kind": "cosine"},
            "training": {
                "epochs": self.data.epochs,
                "global_batch_size": self.data.batch_size,
                "clip_norm": 1.0,
                "selection_metric": "gap",
            },
        }
        if self.mode in ("serial", "parallel"):
            tree |= self._distillation(runs)
        return parse_config(tree, where=self.name)

    @property
    def columns(self) -> dict[str, object]:
        """The columns of a row that identify it."""
        k = "all" if self.k is None else self.k
        about = {"data": self.data.name, "family": self.family, "mode": self.mode}
        return {**about, "selection": self.selection, "k": k, "seed": self.seed}

    def _distillation(self, runs: Path) -> dict[str, Any]:
        code, prediction = self.weights or _WEIGHTS[self.family]
        model = self._network(None)
        if self.mode == "serial":
            weights = str(runs / teacher_case(self).name / "last.pt")
            teacher = {"model": model | {"weights": weights, "weights_head": "keep"}, "batch_norm": "running_stats"}
        else:
            teacher = {"model": model, "update": "joint", "batch_norm": "batch_stats"}
        terms = {"embedding": {"alpha": code}, "prediction": {"alpha": prediction}}
        return {"teacher": teacher, "loss": {"task": "sigmoid_bce", **terms}}

    def _views(self) -> dict[str, Any]:
        student = {} if self.k is None else {"num_frames": self.k, "selection": self.selection}
        return {"student": student} | ({"teacher": {}} if self.mode in ("serial", "parallel") else {})

    def _network(self, k: int | None) -> dict[str, Any]:
        aggregator = dict(_AGGREGATORS[self.family])
        if self.family == "h_rnn":
            aggregator["block_length"] = _TEACHER_BLOCK if k is None else max(1, round(k / 5))
        return {
            "family": "features",
            "groups": dict(self.data.settings["groups"]),
            "aggregator": aggregator,
            "classifier": _CLASSIFIERS[self.family],
        }


def teacher_case(case: Case) -> Case:
    """The run that trains the teacher of a case."""
    return Case(case.data, case.family, "teacher", "uniform", None, case.seed)


class Sweep(NamedTuple):
    """The runs to make on each data set.

    Args:
        modes: besides the teachers.
        weights: of L_rep and L_pred, instead of the study's.
    """

    families: Sequence[Family] = FAMILIES
    ks: Sequence[int] = KS
    seeds: Sequence[int] = SEEDS
    selections: Sequence[FrameSelection] = SELECTIONS
    modes: Sequence[Mode] = MODES
    weights: tuple[float, float] | None = None


WHOLE_STUDY = Sweep()


def cases_of(data_sets: Sequence[DataSet], sweep: Sweep = WHOLE_STUDY) -> list[Case]:
    """Every run once, teachers before their students. 41 for each data set, family and seed."""
    found = []
    for seed in sweep.seeds:
        for data in data_sets:
            for family in sweep.families:
                found.append(Case(data, family, "teacher", "uniform", None, seed))
                for k in sweep.ks:
                    if "baseline" in sweep.modes:
                        found += [Case(data, family, "baseline", selection, k, seed) for selection in sweep.selections]
                    distilled = [mode for mode in sweep.modes if mode in ("serial", "parallel")]
                    found += [Case(data, family, mode, "uniform", k, seed, sweep.weights) for mode in distilled]
    return found


def part_of(cases: Sequence[Case], part: tuple[int, int]) -> list[Case]:
    """The cases of process i of n; those of one teacher stay together.

    Raises:
        ValueError: no teacher is left for process i.
    """
    groups = list(dict.fromkeys((case.data.name, case.family, case.seed) for case in cases))
    if part[0] > len(groups):
        raise ValueError(
            f"--part: runs of one teacher stay together, and there are {len(groups)} teachers; expected a part from 1 "
            f"to {len(groups)}, found {part[0]}/{part[1]}, which has no runs."
        )
    own = set(groups[part[0] - 1 :: part[1]])
    return [case for case in cases if (case.data.name, case.family, case.seed) in own]
