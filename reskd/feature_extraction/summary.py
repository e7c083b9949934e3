"""Summarizes an extraction: the videos written, the videos left out, and a config that trains on the features."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

from dali_pipes.atomic_files import atomic_write_text
from dali_pipes.features.config import EXTRACTION_FILE, read_settings
from reskd.feature_extraction.job import GROUP, Job
from reskd.feature_extraction.record_files import SPLITS, Outcome, read_outcomes, write_outcomes
from reskd.yaml_reading import write_yaml

CLASSES, LEFT_OUT = "classes.txt", "left_out.csv"


def finish(job: Job) -> list[str]:
    """Lines for a person. Once all files of all shards are done, also writes the class names and the errors."""
    waiting = [file for file in job.files if not file.is_done(job.folder)]
    if waiting:
        return [f"{len(waiting)} of {len(job.files)} files are left to other shards; the last one prints the summary."]
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    for file in job.files:
        outcomes[file.split] += read_outcomes(file.outcomes(job.folder))
    left_out = [outcome for split in SPLITS for outcome in outcomes[split] if not outcome.num_frames]
    cut = [outcome for split in SPLITS for outcome in outcomes[split] if outcome.num_frames and outcome.reason]
    write_outcomes(job.folder / LEFT_OUT, left_out)
    atomic_write_text(job.folder / CLASSES, "".join(f"{name}\n" for name in job.class_names))
    settings = read_settings(job.folder / EXTRACTION_FILE)
    measured = {split: _measure(outcomes[split]) for split in SPLITS if outcomes[split]}
    atomic_write_text(
        job.folder / EXTRACTION_FILE, json.dumps({"settings": settings, "measured": measured}, indent=2) + "\n"
    )
    return [
        *(_describe(split, found) for split, found in measured.items()),
        *(f"left out: {outcome.path}: {outcome.reason}" for outcome in left_out),
        *(f"{outcome.path}: {outcome.reason}" for outcome in cut),
        f"written to {job.folder}; their settings are in {EXTRACTION_FILE}",
        f"\nfor a config:\n{config_lines(job, [split for split, found in measured.items() if found['videos']])}",
    ]


def _measure(outcomes: Sequence[Outcome]) -> dict[str, float]:
    num_frames = sum(outcome.num_frames for outcome in outcomes)
    of_frames = sum(outcome.mean_error * outcome.num_frames for outcome in outcomes)
    return {
        "videos": sum(outcome.num_frames > 0 for outcome in outcomes),
        "left_out": sum(outcome.num_frames == 0 for outcome in outcomes),
        "cut": sum(outcome.num_frames > 0 and bool(outcome.reason) for outcome in outcomes),
        "frames": num_frames,
        "mean_quantisation_error": round(of_frames / max(1, num_frames), 6),
        "max_quantisation_error": max(outcome.max_error for outcome in outcomes),
    }


def _describe(split: str, found: Mapping[str, float]) -> str:
    mean, most = found["mean_quantisation_error"], found["max_quantisation_error"]
    return (
        f"{split}: {found['videos']} videos, {found['frames']} frames, {found['left_out']} videos left out, "
        f"{found['cut']} cut; "
        f"quantization error {mean:.2%} of a vector's length on average, {most:.2%} at most"
    )


def config_lines(job: Job, splits: Sequence[str]) -> str:
    """The ``data`` section of a config on these features, as YAML."""
    data = {
        "kind": "features",
        "root": str(job.folder),
        **{split: f"{split}-*.tfrecord" for split in splits},
        "classes": CLASSES,
        "groups": {GROUP: job.network.model.feature_dim},
        "max_frames": job.sampling.max_frames,
    }
    return write_yaml({"data": data}, width=10**6).rstrip()
