"""How long each arm of a study takes from a file to scores: measured once for each kind of run, on one thread.

The time does not depend on the weights, whose checkpoint may be deleted, so a network with random ones is timed. It is
stored as ``ms_from_file`` in the row of the first run of an arm, and a study that is started again measures nothing
that stands there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from dali_pipes.jobs.map_files import Engine
from dali_pipes.manifest.manifest import Manifest
from reskd.faults import sentence_of
from reskd.study.plan import PlannedRun, StudyPlan
from reskd.study.work import DONE, write_row

log = logging.getLogger(__name__)
KEY = "ms_from_file"
# Settings of data that decide which files are read, and what is read of them.
_OF_DATA = ("root", "storage", "train", "test", "val_fraction", "val_pattern", "pixel_aspect", "sampling", "views")
_WITHOUT_COST = ("weights", "weights_head")


def add_answer_times(plan: StudyPlan, rows: Mapping[str, dict[str, Any]], *, engine: Engine) -> None:
    """Measure what has no time yet, one run after another, and write it into the rows, of ``rows`` and of the runs.

    A kind that cannot be measured is logged with its reason, and the next start tries again. Arms on features have no
    time.
    """
    known: dict[str, float] = {}
    missing: dict[str, list[PlannedRun]] = {}
    for runs in _groups(plan, rows):
        times = [rows[run.name][KEY] for run in runs if KEY in rows[run.name]]
        if times:
            known[_kind(runs[0])] = times[0]
        else:
            missing.setdefault(_kind(runs[0]), []).append(runs[0])
    for kind, runs in missing.items():
        if kind not in known:
            log.info("measuring the time from file to scores of %s", runs[0].arm)
            for _, found in engine(measure_run, runs[:1]):  # alone: nothing of this study runs beside it
                if isinstance(found, float):
                    known[kind] = found
                else:
                    log.warning("%s: no time from file to scores: %s", runs[0].name, found or "its process died")
        for run in runs if kind in known else ():
            rows[run.name][KEY] = known[kind]
            write_row(run, rows[run.name])


def measure_run(run: PlannedRun) -> float | str:
    """Milliseconds from a file to its scores, on one thread; or a sentence on why there are none."""
    import torch

    from reskd.distributed import World
    from reskd.experiment.data import data_of
    from reskd.experiment.lists import build_manifests
    from reskd.models.families.registry import build_recognizer
    from reskd.profiling.answer_time import FileToScores, measure_answer_time

    torch.set_num_threads(1)
    try:
        world = World(0, 1, torch.device("cpu"))
        manifest = build_manifests(run.config, world=world, splits=(run.split,))[run.split]
        assert isinstance(manifest, Manifest)
        student = run.config.student.model_copy(update={"weights": "none"})
        model = build_recognizer(student, len(manifest.class_names))
        answers = FileToScores(model, run.config.clips, manifest, data_of(run.config).test_views("test"))
        return round(measure_answer_time(answers, len(manifest)).ms, 3)
    except Exception as error:  # a number less in a report is no reason to stop a study
        return sentence_of(error) or f"{type(error).__name__}: {error}"


def _groups(plan: StudyPlan, rows: Mapping[str, dict[str, Any]]) -> Iterator[list[PlannedRun]]:
    """The finished runs on videos of each arm at each condition."""
    found: dict[tuple[str, tuple[str, ...]], dict[str, PlannedRun]] = {}
    for (arm, cell), name in plan.cells.items():
        run = plan.runs[name]
        if run.config.data.kind == "clips" and name in rows and rows[name]["status"] == DONE:
            found.setdefault((arm, plan.condition(cell)), {})[name] = run
    return (list(runs.values()) for runs in found.values())


def _kind(run: PlannedRun) -> str:
    """Equal for runs that take equally long."""
    resolved = run.config.resolved()
    data = {key: resolved["data"].get(key) for key in _OF_DATA}
    student = {key: value for key, value in resolved["student"].items() if key not in _WITHOUT_COST}
    return json.dumps([data, student, resolved["data"]["loader"]["sparse_decode"]], sort_keys=True)
