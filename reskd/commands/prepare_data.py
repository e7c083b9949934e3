"""Get a data set ready for training; COMMAND --help describes each step.

reskd prepare scan ROOT --list train.csv val.csv
reskd prepare import kinetics400 --annotations train.csv val.csv --videos VIDEOS --out LISTS
reskd prepare transcode SRC_ROOT DST_ROOT --list train.csv val.csv --classes classes.txt
reskd prepare describe ROOT --list train.csv --out report
reskd prepare extract-features FEATURES --run runs/my_teacher/last.pt
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from dali_pipes.annotations.published.registry import DATA_SETS
from dali_pipes.choices import DEFAULT_QUALITY, ListFormat, PixelAspect, TranscodeCodec
from dali_pipes.jobs.cores import usable_cores
from dali_pipes.jobs.progress import ProgressDisplay
from reskd.cli import add_engine_arguments, command_parser, engine_of, positive
from reskd.feature_extraction.arguments import add_arguments

if TYPE_CHECKING:
    from dali_pipes.annotations.lists import ListedVideo
    from dali_pipes.scan.scan import Location
    from dali_pipes.transcode.job import Job
    from dali_pipes.video_info import VideoInfo

log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_args(arguments)
    chosen.run(chosen)


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("prepare", __doc__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_scan(subparsers)
    _add_import(subparsers)
    _add_transcode(subparsers)
    _add_describe(subparsers)
    _add_extract_features(subparsers)
    return parser


def _add_scan(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "scan",
        help="record each video's frames, size, codec, damage and packet index",
        description="Decodes each video once and stores the result. Training uses it and does not scan again. The same "
        "command resumes a scan that was stopped. Machines that share a disk may share a scan.",
    )
    parser.set_defaults(run=_run_scan)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("root", type=Path, nargs="?", metavar="ROOT", help="folder of the videos")
    source.add_argument("--config", type=Path, help="scan the lists of this experiment, also of shards and frames")
    _add_lists(parser)
    parser.add_argument(
        "--index-only",
        action="store_true",
        help="quick and unverified: count packets, and decode only the first frame of each video",
    )
    add_engine_arguments(parser)


def _run_scan(chosen: argparse.Namespace) -> None:
    from dali_pipes.annotations.lists import videos_under
    from dali_pipes.jobs.map_files import shard_of
    from dali_pipes.manifest.sources import cost_of, locations_of, store_of
    from dali_pipes.manifest.splits import videos_of_splits
    from dali_pipes.scan.reading_cost import describe_cost
    from dali_pipes.scan.scan import default_store
    from dali_pipes.scan.summary import describe_scan
    from reskd.experiment.config import load_config

    config = load_config(chosen.config).clips if chosen.config else None
    root = config.root if config else chosen.root
    if config:
        splits = ("train", "val", *(("test",) if config.test or config.test_fraction else ()))
        _, videos = videos_of_splits(config, 0, splits, print)
        names = [video.path for split in videos.values() for video in split]
    else:
        listed = [video.path for videos in _listed(root, chosen).values() for video in videos]
        names = listed or videos_under(root, print)
    names = shard_of(list(dict.fromkeys(names)), chosen.shard)
    if not names:
        raise ValueError(f"expected videos under {root}, found none.")
    store = chosen.scan_cache or (store_of(config) if config else default_store(root))
    videos_to_scan = locations_of(config.model_copy(update={"scan_cache": store}), names) if config else names
    video_info = _scan(videos_to_scan, root=root, store=store, engine=engine_of(chosen), decode=not chosen.index_only)
    cost = cost_of(config, video_info) if config else describe_cost(video_info.values(), root, chosen.list)
    print(*describe_scan(video_info), *cost, f"kept in {store}", sep="\n")


def _scan(videos: Sequence[str] | Mapping[str, Location], **options: Any) -> dict[str, VideoInfo]:
    from dali_pipes.scan.scan import scan

    with ProgressDisplay() as display:
        show = display.counter("files")
        return scan(videos, on_progress=lambda done, total, num_bytes: show(done, total), **options)


def _add_import(subparsers: Any) -> None:
    files = "\n".join(f"  {name}: {data_set.files}" for name, data_set in DATA_SETS.items())
    parser = subparsers.add_parser(
        "import",
        help="make lists from the published annotations of a data set",
        description="Writes train.csv, val.csv, test.csv, classes.txt and missing.csv into OUT. Prints which videos\n"
        f"are missing, and the lines that a config needs. Annotation files:\n{files}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data_set", choices=sorted(DATA_SETS), help="which data set")
    parser.add_argument("--annotations", type=Path, nargs="+", required=True, metavar="FILE", help="files as above")
    parser.add_argument("--videos", type=Path, required=True, help="folder that is searched for the videos")
    parser.add_argument("--out", type=Path, required=True, help="folder of the lists; made if it is not there")
    parser.add_argument(
        "--min-coverage",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="fail if a smaller share of a split's videos was found, such as 0.9; the lists are still written",
    )
    parser.set_defaults(run=_run_import)


def _run_import(chosen: argparse.Namespace) -> None:
    from dali_pipes.annotations.published import coverage as coverages
    from dali_pipes.annotations.published.video_files import VideoFiles
    from dali_pipes.annotations.published.write_lists import config_lines, write_lists

    if not 0 <= chosen.min_coverage <= 1:
        raise ValueError(f"--min-coverage: expected a share from 0 to 1, e.g. 0.9, found {chosen.min_coverage:g}.")
    data_set = DATA_SETS[chosen.data_set]
    annotations = data_set.read(chosen.annotations)
    files = VideoFiles(chosen.videos)
    coverage = coverages.match(annotations, files)
    for line in (*annotations.remarks, *coverages.describe_coverage(coverage)):
        print(line)
    coverages.refuse_nothing_found(coverage, files, chosen.videos)
    written = write_lists(annotations, coverage, chosen.out)
    print(f"written to {chosen.out}: {', '.join(path.name for path in written)}")
    print(f"\nfor a config:\n{config_lines(coverage, chosen.videos, chosen.out, flips=data_set.flips)}")
    coverages.refuse_low_coverage(coverage, chosen.min_coverage)


def _add_transcode(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "transcode",
        help="encode all videos again for fast reading: small, upright, many keyframes",
        description="Encodes each video again, small and upright with many keyframes, so that clips are fast to read. "
        "Frame i of a new file is frame i of the old one. The same command resumes a run that was stopped. "
        "DST_ROOT/transcode.csv lists the outcome of each file.",
    )
    parser.set_defaults(run=_run_transcode)
    parser.add_argument("source_root", type=Path, metavar="SRC_ROOT", help="folder that the lists' paths start from")
    parser.add_argument("target_root", type=Path, metavar="DST_ROOT", help="folder to make; not inside SRC_ROOT")
    parser.add_argument(
        "--list", type=Path, nargs="+", default=[], metavar="LIST",
        help="lists of the videos to write; they are rewritten for DST_ROOT; default: all videos under SRC_ROOT",
    )  # fmt: skip
    _add_list_format(parser)
    parser.add_argument("--classes", type=Path, nargs="+", default=[], metavar="FILE", help="files to copy to DST_ROOT")
    parser.add_argument("--codec", choices=get_args(TranscodeCodec), default="h264", help="default %(default)s")
    parser.add_argument("--short-side", type=int, default=256, help="pixels (default %(default)s); never enlarged")
    parser.add_argument(
        "--multiple-of", type=int, default=16, metavar="PIXELS", help="both sides are cut to multiples of this, for "
        "the decoders of GPUs (default %(default)s); 2 keeps all but an odd line",
    )  # fmt: skip
    parser.add_argument(
        "--pixel-aspect", choices=get_args(PixelAspect), default="display", help="as data.pixel_aspect of the runs: "
        "pictures as players show them, or as stored (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--gop", type=int, default=4, help="frames from keyframe to keyframe (default %(default)s)")
    qualities = ", ".join(f"{name} {quality}" for name, quality in DEFAULT_QUALITY.items())
    parser.add_argument(
        "--quality", type=int, help=f"CRF of H.264, quantizer of MJPEG; lower is better (default: {qualities})"
    )
    add_engine_arguments(parser)
    parser.add_argument(
        "--frames", type=positive, default=8, help="frames of a clip, to predict decoding times (default %(default)s)"
    )
    parser.add_argument("--predict-only", action="store_true", help="print the predicted size and time, and stop")


def _run_transcode(chosen: argparse.Namespace) -> None:
    from dali_pipes.transcode import job as transcode
    from dali_pipes.transcode.encode import OutputSettings

    quality = DEFAULT_QUALITY[chosen.codec] if chosen.quality is None else chosen.quality
    of_pictures = {"pixel_aspect": chosen.pixel_aspect, "block": chosen.multiple_of}
    settings = OutputSettings(chosen.codec, chosen.short_side, chosen.gop, quality, **of_pictures)
    given = transcode.GivenLists(tuple(chosen.list), tuple(chosen.classes), chosen.list_format)
    job = transcode.plan(chosen.source_root, chosen.target_root, settings, given=given, shard=chosen.shard)
    done = transcode.done_records(job)
    todo = [path for path in job.own_paths if path not in done]
    print(*transcode.describe_job(job, todo), sep="\n")
    if todo:
        _print_prediction(job, todo, chosen)
        if chosen.predict_only:
            return
        with ProgressDisplay() as display:
            records = transcode.run(job, todo, engine=engine_of(chosen), on_progress=display.counter("files"))
        done |= {record.path: record for record in records}
    for line in transcode.finish(job, done):
        print(line)


def _print_prediction(job: Job, todo: Sequence[str], chosen: argparse.Namespace) -> None:
    from dali_pipes.transcode.cost_estimate import check_room, describe_prediction, predict

    prediction = predict(job, todo, num_wanted=chosen.frames, num_workers=chosen.workers)
    if prediction is None:
        print("no prediction: none of the sampled files gave a frame")
        return
    print(describe_prediction(prediction, num_workers=chosen.workers))
    if not chosen.predict_only:
        check_room(prediction, job.target_root)


def _add_describe(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "describe",
        help="write a page about a folder of videos: sizes, codecs, damage, classes, advice, cost of decoding",
        description="Scans the videos as the command scan does, and writes OUT/data.html: pictures of them, advice, "
        "charts and tables. OUT/data.md has the same words and tables.",
    )
    parser.set_defaults(run=_run_describe)
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder that the lists' paths start from")
    parser.add_argument("--out", type=Path, required=True, help="folder of the page; made if it is not there")
    _add_lists(parser)
    parser.add_argument("--frames", type=positive, default=8, help="frames of a clip (default %(default)s)")
    parser.add_argument("--workers", type=positive, default=usable_cores(), help="processes (default: one per core)")


def _run_describe(chosen: argparse.Namespace) -> None:
    from dali_pipes.annotations.lists import videos_under
    from dali_pipes.jobs.map_files import make_engine
    from reskd.reports.dataset.page import write_data_page
    from reskd.reports.dataset.videos import VideoSet, class_folders, folder_of

    listed = _listed(chosen.root, chosen)
    paths = dict.fromkeys(video.path for videos in listed.values() for video in videos)
    names = paths or videos_under(chosen.root, print)
    if not names:
        raise ValueError(f"expected videos under {chosen.root}, found none.")
    engine = make_engine("local", num_workers=chosen.workers)
    video_info = _scan(list(names), root=chosen.root, store=chosen.scan_cache, engine=engine)
    labels = {name: [label for video in videos for label in video.labels] for name, videos in listed.items()}
    by_path = {chosen.root / name: found for name, found in video_info.items()}
    classes = {chosen.root / video.path: video.labels for videos in listed.values() for video in videos}
    classes = classes or {chosen.root / name: folder_of(name) for name in names}
    page = write_data_page(
        chosen.out,
        VideoSet(chosen.root, by_path, labels or class_folders(names), chosen.list, classes),
        num_frames=chosen.frames,
        num_cores=usable_cores(),
    )
    print(f"written to {page}")


def _add_lists(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--list", type=Path, nargs="+", default=[], metavar="LIST", help="lists of videos; default: all under ROOT"
    )
    _add_list_format(parser)
    parser.add_argument("--scan-cache", type=Path, help="folder of the scan's results; default: beside the data")


def _add_list_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--list-format", choices=get_args(ListFormat), default="auto", help="as data.list_format")


def _listed(root: Path, chosen: argparse.Namespace) -> dict[str, list[ListedVideo]]:
    """The videos of each list; prints how the lists are read."""
    from dali_pipes.annotations.lists import parse_list

    found = {str(name): parse_list(root, name, chosen.list_format) for name in chosen.list}
    print(*(f"{remark}\n" for parsed in found.values() for remark in parsed.remarks), sep="", end="")
    return {name: parsed.videos for name, parsed in found.items()}


def _add_extract_features(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "extract-features",
        help="write a feature vector per frame, in the record format of YouTube-8M",
        description="Videos: give --config, or ROOT with --train; with neither, those that --run was trained on. "
        "Network: give --run, or --model with its settings, including weights=NAME. The same command resumes a run "
        "that was stopped.",
    )
    parser.set_defaults(run=_run_extract_features)
    add_arguments(parser)


def _run_extract_features(chosen: argparse.Namespace) -> None:
    import torch

    from reskd.feature_extraction.command import NetworkAsked, VideosAsked, network_and_data
    from reskd.feature_extraction.job import Sampling, VideoLists, plan, run
    from reskd.feature_extraction.summary import finish

    device = torch.device(chosen.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    videos = VideosAsked(**{field.name: getattr(chosen, field.name) for field in dataclasses.fields(VideosAsked)})
    asked = NetworkAsked(chosen.checkpoint, chosen.which, chosen.model, chosen.size, chosen.trust_code)
    network, data, seed = network_and_data(asked, videos, device)
    sampling = Sampling(chosen.fps, chosen.max_frames, chosen.videos_per_file, chosen.folder_fps)
    lists = VideoLists.read(data, seed=seed, on_message=log.info)
    job = plan(lists, chosen.out, network, sampling, shard=chosen.shard)
    log.info("%d files of records, %d of them for this run, %d to do", len(job.files), len(job.own), len(job.todo))
    decode = not chosen.index_only and data.scan == "decode"
    with ProgressDisplay() as display:
        run(job, engine=engine_of(chosen), decode=decode, on_progress=display.count)
    for line in finish(job):
        print(line)
