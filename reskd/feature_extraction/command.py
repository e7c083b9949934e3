"""The command line of an extraction: tools/prepare_data.py extract-features."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from dali_pipes.config import DataConfig, StudentViewConfig, ViewsConfig
from dali_pipes.jobs.progress import ProgressLine
from reskd.cli import add_engine_arguments, engine_of, positive
from reskd.experiment.config import load_config, recognizer_from
from reskd.experiment.config_files import read_settings
from reskd.feature_extraction.job import Sampling, VideoLists, plan, run
from reskd.feature_extraction.network import FrameNetwork, network_of_run, network_of_settings
from reskd.feature_extraction.summary import finish
from reskd.models.config import RecognizerConfig

log = logging.getLogger(__name__)


def add_extract_features(subparsers: Any) -> None:
    """The subcommand and its arguments."""
    parser = subparsers.add_parser(
        "extract-features",
        help="a vector a frame from any 2-D network, in files of YouTube-8M's form",
        description="Which videos: those of --config, of ROOT with --train, or the ones that --run was trained on. "
        "Which network: --run, or --model as in analyze.py, whose weights must be named. A run that was stopped goes "
        "on with the files that are not written yet.",
    )
    parser.set_defaults(run=_run)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the records, which is made")
    videos = parser.add_argument_group("videos")
    videos.add_argument("--config", type=Path, help="an experiment, whose lists are taken")
    videos.add_argument("--root", type=Path, help="folder that the lists' paths start from")
    videos.add_argument("--train", help="list under ROOT, or folders: one a class")
    videos.add_argument("--test", type=Path, help="list under ROOT")
    videos.add_argument("--classes", type=Path, help="file of class names under ROOT; default: sorted names")
    videos.add_argument("--group-pattern", help="as data.group_pattern in a config")
    videos.add_argument("--val-fraction", type=float, default=0.1, help="held out of --train (default %(default)s)")
    network = parser.add_argument_group("network")
    network.add_argument(
        "--run", dest="checkpoint", type=Path, metavar="CHECKPOINT", help="last.pt of a run of train.py"
    )
    network.add_argument("--which", choices=("student", "teacher"), default="student", help="of the run's two networks")
    network.add_argument("--model", nargs="+", metavar="KEY=VALUE", help="backbone=resnet50 weights=IMAGENET1K_V2")
    network.add_argument("--size", type=positive, default=224, help="side of --model's view (default %(default)s)")
    _add_sampling(parser)
    add_engine_arguments(parser)


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fps", type=float, default=1.0, help="frames a second (default %(default)g)")
    parser.add_argument("--folder-fps", type=float, help="of folders of JPEG files, which do not say it")
    parser.add_argument("--max-frames", type=positive, default=300, help="of a video (default %(default)s)")
    parser.add_argument("--videos-per-file", type=positive, default=100, help="default %(default)s")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="of the network; default: the GPU where there is one")
    parser.add_argument("--index-only", action="store_true", help="do not decode files twice: count packets, then read")


def _run(chosen: argparse.Namespace) -> None:
    device = torch.device(chosen.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    network, data, seed = _network_and_data(chosen, device)
    sampling = Sampling(chosen.fps, chosen.max_frames, chosen.videos_per_file, chosen.folder_fps)
    lists = VideoLists.read(data, seed=seed, on_message=log.info)
    job = plan(lists, chosen.out, network, sampling, shard=chosen.shard)
    log.info("%d files of records, %d of them for this run, %d to do", len(job.files), len(job.own), len(job.todo))
    lines: dict[str, ProgressLine] = {}
    run(
        job,
        engine=engine_of(chosen),
        decode=not chosen.index_only and data.scan == "decode",
        on_progress=lambda noun, done, total: lines.setdefault(noun, ProgressLine(noun))(done, total),
    )
    for line in finish(job):
        print(line)


def _network_and_data(chosen: argparse.Namespace, device: torch.device) -> tuple[FrameNetwork, DataConfig, int]:
    if (chosen.checkpoint is None) == (chosen.model is None):
        raise ValueError("expected exactly one of --run and --model, found both or neither.")
    data, seed = _data_of(chosen)
    if chosen.checkpoint is None:
        if data is None:
            raise ValueError("which videos? Expected --config, or --root with --train, found neither.")
        size = (chosen.size, chosen.size)
        return network_of_settings(_model_config(chosen.model), size=size, seed=seed, device=device), data, seed
    network, data_of_run, seed_of_run = network_of_run(chosen.checkpoint, which=chosen.which, device=device)
    return (network, data_of_run, seed_of_run) if data is None else (network, data, seed)


def _data_of(chosen: argparse.Namespace) -> tuple[DataConfig | None, int]:
    """The videos that are named, and the seed of what is held out."""
    if chosen.config is not None and chosen.root is not None:
        raise ValueError("expected at most one of --config and --root, found both.")
    if chosen.config is not None:
        config = load_config(chosen.config)
        return config.clips, config.seed
    if chosen.root is None:
        return None, 1
    if chosen.train is None:
        raise ValueError("--root: expected --train too, a list under it, or folders.")
    try:
        return DataConfig(
            root=chosen.root,
            train=chosen.train,
            test=chosen.test,
            classes=chosen.classes,
            group_pattern=chosen.group_pattern,
            val_fraction=chosen.val_fraction,
            views=ViewsConfig(student=StudentViewConfig(size=(chosen.size, chosen.size), source="decoded")),
        ), 1
    except ValidationError as error:
        raise ValueError("; ".join(fault["msg"] for fault in error.errors())) from None


def _model_config(settings: Sequence[str]) -> RecognizerConfig:
    found = read_settings(settings, where="--model")
    if "weights" not in found:
        raise ValueError(
            "--model: expected weights=... too, a torchvision name or the path of a checkpoint; weights=none takes "
            "random ones."
        )
    return recognizer_from(found, where="--model")
