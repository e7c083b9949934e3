"""Get a data set ready: python tools/prepare_data.py COMMAND ...

python tools/prepare_data.py scan ROOT --list train.csv val.csv
python tools/prepare_data.py import kinetics400 --annotations train.csv val.csv --videos VIDEOS --out LISTS
python tools/prepare_data.py transcode SRC_ROOT DST_ROOT --list train.csv val.csv --classes classes.txt
python tools/prepare_data.py describe ROOT --list train.csv --out report
python tools/prepare_data.py extract-features FEATURES --run runs/my_teacher/last.pt
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dali_pipes.annotations.lists import read_list, videos_under
from dali_pipes.annotations.published.coverage import Coverage, describe_coverage, match
from dali_pipes.annotations.published.registry import DATA_SETS
from dali_pipes.annotations.published.video_files import VideoFiles
from dali_pipes.annotations.published.write_lists import config_lines, write_lists
from dali_pipes.jobs.map_files import make_engine, shard_of
from dali_pipes.jobs.progress import ProgressLine, gib
from dali_pipes.manifest.sources import places_of, store_of
from dali_pipes.manifest.splits import videos_of_splits
from dali_pipes.scan.scan import default_store, describe_scan, scan
from dali_pipes.transcode import job as transcode
from dali_pipes.transcode.cost_estimate import describe_prediction, predict
from dali_pipes.transcode.encode import DEFAULT_QUALITY, OutputSettings
from dali_pipes.transcode.journal import Record, journal_path
from reskd.cli import add_engine_arguments, engine_of, positive, run_tool
from reskd.experiment.config import load_config
from reskd.feature_extraction.command import add_extract_features
from reskd.reports.dataset_report import VideoSet, write_data_page


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_scan(subparsers)
    _add_import(subparsers)
    _add_transcode(subparsers)
    _add_describe(subparsers)
    add_extract_features(subparsers)
    chosen = parser.parse_args(arguments)
    chosen.run(chosen)


def _add_scan(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "scan",
        help="look into every video: frames, size, codec, health, packet index",
        description="Decodes each video once and keeps what it finds, file by file: a scan that was stopped goes on "
        "where it was, and training finds all of it done. Machines that share a disk may share a scan.",
    )
    parser.set_defaults(run=_run_scan)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("root", type=Path, nargs="?", metavar="ROOT", help="folder of the videos")
    source.add_argument("--config", type=Path, help="scan what the lists of an experiment name, shards and frames too")
    parser.add_argument("--list", type=Path, nargs="+", default=[], metavar="LIST", help="default: all under ROOT")
    parser.add_argument("--scan-cache", type=Path, help="as data.scan_cache in a config; default: beside the data")
    parser.add_argument(
        "--index-only", action="store_true", help="count packets and decode the first frame alone: quick, unverified"
    )
    add_engine_arguments(parser)


def _run_scan(chosen: argparse.Namespace) -> None:
    config = load_config(chosen.config).clips if chosen.config else None
    root = config.root if config else chosen.root
    if config:
        splits = ("train", "val", *(("test",) if config.test or config.test_fraction else ()))
        _, videos = videos_of_splits(config, 0, splits, print)
        names = [video.path for split in videos.values() for video in split]
    else:
        names = [video.path for name in chosen.list for video in read_list(root, name)] or videos_under(root)
    names = shard_of(list(dict.fromkeys(names)), chosen.shard)
    if not names:
        raise ValueError(f"expected videos under {root}, found none.")
    store = chosen.scan_cache or (store_of(config) if config else default_store(root))
    progress = ProgressLine("files")
    facts = scan(
        places_of(config.model_copy(update={"scan_cache": store}), names) if config else names,
        root=root,
        store=store,
        engine=engine_of(chosen),
        decode=not chosen.index_only,
        on_progress=lambda done, total, num_bytes: progress(done, total),
    )
    for line in describe_scan(facts):
        print(line)
    print(f"kept in {store}")


def _add_import(subparsers: Any) -> None:
    files = "\n".join(f"  {name}: {data_set.files}" for name, data_set in DATA_SETS.items())
    parser = subparsers.add_parser(
        "import",
        help="lists from the published annotations of a data set, with coverage",
        description="Writes train.csv, val.csv, test.csv, classes.txt and missing.csv into OUT, and says what is\n"
        f"missing and which lines a config needs. Annotation files:\n{files}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data_set", choices=sorted(DATA_SETS))
    parser.add_argument("--annotations", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument(
        "--videos", type=Path, required=True, help="folder of the videos, searched with all folders in it"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the lists, which is made")
    parser.add_argument(
        "--min-coverage",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="fail where a smaller share of a split's videos was found, e.g. 0.9; the lists are written all the same",
    )
    parser.set_defaults(run=_run_import)


def _run_import(chosen: argparse.Namespace) -> None:
    if not 0 <= chosen.min_coverage <= 1:
        raise ValueError(f"--min-coverage: expected a share from 0 to 1, e.g. 0.9, found {chosen.min_coverage:g}.")
    data_set = DATA_SETS[chosen.data_set]
    annotations = data_set.read(chosen.annotations)
    files = VideoFiles(chosen.videos)
    coverage = match(annotations, files)
    for line in (*annotations.remarks, *describe_coverage(coverage)):
        print(line)
    _refuse_nothing_found(coverage, files, chosen.videos)
    written = write_lists(annotations, coverage, chosen.out)
    print(f"written to {chosen.out}: {', '.join(path.name for path in written)}")
    print(f"\nfor a config:\n{config_lines(coverage, chosen.videos, chosen.out, flips=data_set.flips)}")
    _refuse_low_coverage(coverage, chosen.min_coverage)


def _refuse_nothing_found(coverage: Coverage, files: VideoFiles, root: Path) -> None:
    if any(coverage.found.values()):
        return
    wanted = [missing.video.names[0] for videos in coverage.missing.values() for missing in videos]
    if not wanted:
        raise ValueError("expected videos with labels, found none in the annotations; give the training list too.")
    raise ValueError(
        f"expected files such as {wanted[0]} with any suffix under {root}, found {files.num_files} videos but not one "
        f"that the annotations name; there are for example {', '.join(files.some_paths(3))}."
    )


def _refuse_low_coverage(coverage: Coverage, least: float) -> None:
    low = [f"{split} {coverage.share(split):.1%}" for split in coverage.splits() if coverage.share(split) < least]
    if low:
        raise ValueError(
            f"expected at least {least:.1%} of each split's videos (--min-coverage), found {', '.join(low)}; "
            "missing.csv names the others."
        )


def _add_transcode(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "transcode",
        help="write all videos anew: small, upright, a keyframe every few frames",
        description="Frame i of a new file is frame i of the old one. A run that was stopped goes on where it was. "
        "DST_ROOT/transcode.csv tells what became of each file.",
    )
    parser.set_defaults(run=_run_transcode)
    parser.add_argument("source_root", type=Path, metavar="SRC_ROOT", help="folder that the lists' paths start from")
    parser.add_argument("target_root", type=Path, metavar="DST_ROOT", help="folder to make; not inside SRC_ROOT")
    parser.add_argument(
        "--list", type=Path, nargs="+", default=[], metavar="LIST",
        help="lists of the videos to write, rewritten for DST_ROOT; default: all videos under SRC_ROOT",
    )  # fmt: skip
    parser.add_argument("--classes", type=Path, nargs="+", default=[], metavar="FILE", help="copied to DST_ROOT")
    parser.add_argument("--codec", choices=("h264", "mjpeg"), default="h264", help="default %(default)s")
    parser.add_argument("--short-side", type=int, default=256, help="pixels (default %(default)s); never enlarged")
    parser.add_argument("--gop", type=int, default=4, help="frames from keyframe to keyframe (default %(default)s)")
    parser.add_argument(
        "--quality", type=int, help=f"CRF of H.264, quantiser of MJPEG; lower is better (default {DEFAULT_QUALITY})"
    )
    add_engine_arguments(parser)
    parser.add_argument(
        "--frames", type=positive, default=8, help="of a clip, for the prediction of decoding (default %(default)s)"
    )
    parser.add_argument("--predict-only", action="store_true", help="print the prediction and stop")


def _run_transcode(chosen: argparse.Namespace) -> None:
    quality = DEFAULT_QUALITY[chosen.codec] if chosen.quality is None else chosen.quality
    settings = OutputSettings(chosen.codec, chosen.short_side, chosen.gop, quality)
    job = transcode.plan(
        chosen.source_root, chosen.target_root, settings, lists=chosen.list, shard=chosen.shard, classes=chosen.classes
    )
    done = transcode.done_records(job)
    todo = [path for path in job.own_paths if path not in done]
    print(f"{len(job.paths)} videos, {len(job.own_paths)} of them for this run, {len(todo)} still to do")
    if todo:
        _print_prediction(job, todo, chosen)
        if chosen.predict_only:
            return
        records = transcode.run(job, todo, engine=engine_of(chosen), on_progress=ProgressLine("files"))
        done |= {record.path: record for record in records}
    _finish(job, done)


def _print_prediction(job: transcode.Job, todo: Sequence[str], chosen: argparse.Namespace) -> None:
    prediction = predict(job, todo, num_wanted=chosen.frames, num_workers=chosen.workers)
    if prediction is None:
        print("no prediction: none of the sampled files gave a frame")
        return
    print(describe_prediction(prediction, num_workers=chosen.workers))
    free = shutil.disk_usage(job.target_root).free
    if prediction.bytes_then > free and not chosen.predict_only:
        raise ValueError(
            f"{job.target_root}: expected room for about {gib(prediction.bytes_then)}, found {gib(free)} free; make "
            "room, choose another folder, or a higher --quality number."
        )


def _add_describe(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "describe", help="a page about a folder of videos: sizes, codecs, health, classes, cost of decoding"
    )
    parser.set_defaults(run=_run_describe)
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder that the lists' paths start from")
    parser.add_argument("--out", type=Path, required=True, help="folder of the page; made when absent")
    parser.add_argument(
        "--list", type=Path, nargs="+", default=[], metavar="LIST", help="default: all videos under ROOT, no classes"
    )
    parser.add_argument("--frames", type=positive, default=8, help="of a clip (default %(default)s)")
    parser.add_argument("--scan-cache", type=Path, help="as data.scan_cache in a config; default: beside the data")
    parser.add_argument("--workers", type=positive, default=os.cpu_count() or 1, help="processes (default: one a core)")


def _run_describe(chosen: argparse.Namespace) -> None:
    listed = {str(name): read_list(chosen.root, name) for name in chosen.list}
    names = dict.fromkeys(video.path for videos in listed.values() for video in videos) or videos_under(chosen.root)
    if not names:
        raise ValueError(f"expected videos under {chosen.root}, found none.")
    progress = ProgressLine("files")
    facts = scan(
        list(names),
        root=chosen.root,
        store=chosen.scan_cache,
        engine=make_engine("local", num_workers=chosen.workers),
        on_progress=lambda done, total, num_bytes: progress(done, total),
    )
    labels = {name: [label for video in videos for label in video.labels] for name, videos in listed.items()}
    page = write_data_page(
        chosen.out,
        VideoSet(chosen.root, {chosen.root / name: found for name, found in facts.items()}, labels),
        num_frames=chosen.frames,
        num_cores=os.cpu_count() or 1,
    )
    print(f"written to {page}")


def _finish(job: transcode.Job, done: dict[str, Record]) -> None:
    own = [done[path] for path in job.own_paths]
    journal = journal_path(job.target_root, job.shard)
    print(f"{transcode.describe_records(own)}\n{journal}: every file with what became of it")
    failed = [record for record in own if record.status.startswith("failed")]
    if failed:
        raise ValueError(
            f"expected to read back every file written, found {len(failed)} that failed, the first {failed[0].path} "
            f"({failed[0].status}); run the same command again, and report it if it stays."
        )
    num_left = sum(path not in done for path in job.paths)
    if num_left:
        print(f"{num_left} videos of other shards are not finished; the last shard to finish writes the lists.")
        return
    for sentence in transcode.write_lists(job, done):
        print(sentence)


if __name__ == "__main__":
    sys.exit(run_tool(main))
