"""Measure the cost of reading a clip with this project's loader, DALI's own readers, torchcodec, PyAV and decord.

    reskd profile decode --make data/bench                    # write the standard files of nine kinds
    reskd profile decode --make data/bench --content VIDEOS   # the same from real videos, which is better
    reskd profile decode --root data/bench                    # measure every kind in turn
    reskd profile decode --root data/ucf101 --list trainlist01.txt --frames 8 16 --candidates reskd pyav
    reskd profile decode --manifest FOLDER                    # measure a saved manifest
    reskd profile decode --picture                            # draw the picture again; measure nothing

All candidates read the same clips: random TSN segments, the same crops and flips, both views (224 and 112) as uint8.
First, two clips of each candidate are compared with a full decode by PyAV. Then the candidates take turns, in another
order in each round. Cpu time includes all children of a candidate's process. `amplif.` is the number of frames
decoded for each frame used.

Rows are appended to OUT/profile_decode.csv and, with all versions and the command, to OUT/profile_decode.jsonl;
OUT/profile_decode.png shows the cpu time. A package that is not installed is listed as absent. To install them:
pip install -e '.[bench]', and FFmpeg's shared libraries.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dali_pipes.annotations.lists import VIDEO_SUFFIXES
from reskd.cli import command_parser, positive
from reskd.environment import describe_environment
from reskd.profiling.measurement_rows import aligned, append_rows, describe_run, read_rows

if TYPE_CHECKING:
    from reskd.profiling.decode.benchmark import Row

NAME = "profile_decode"


def main(arguments: Sequence[str]) -> None:
    chosen = build_parser().parse_args(arguments)
    if chosen.make:
        make(chosen)
    elif chosen.picture:
        _draw(chosen.out)
    else:
        measure(chosen, command_line(arguments))


def command_line(arguments: Sequence[str]) -> str:
    """The command, for the rows; an absolute path, which is private, is cut to ``.../`` and its last part."""
    shown = [f".../{Path(argument).name}" if Path(argument).is_absolute() else argument for argument in arguments]
    return shlex.join(["reskd", "profile", "decode", *shown])


def make(chosen: argparse.Namespace) -> None:
    """Write the standard files and print their bitrates."""
    from reskd.profiling.decode.standard_clips import FRAMES_PER_SECOND, available_kinds, make_kind

    kinds = available_kinds()
    names = chosen.kinds or list(kinds)
    unknown = [name for name in names if name not in kinds]
    if unknown:
        raise ValueError(f"--kinds: expected some of {', '.join(kinds)} (as PyAV encodes), found {', '.join(unknown)}.")
    contents = contents_of(chosen.content, chosen.videos)
    for name in names:
        kilobits = make_kind(chosen.make, name, contents)
        print(f"{name}: {len(contents)} clips, {kilobits:.0f} kbit/s at {FRAMES_PER_SECOND} frames/s", flush=True)


def contents_of(folder: Path | None, num_videos: int) -> list[Path | int]:
    """``num_videos`` seeds, or as many videos of a folder, spread evenly.

    Raises:
        ValueError: the folder holds fewer.
    """
    if folder is None:
        return list(range(num_videos))
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if len(found) < num_videos:
        raise ValueError(f"--content: expected at least {num_videos} videos in {folder}, found {len(found)}.")
    return [found[number * len(found) // num_videos] for number in range(num_videos)]


def measure(chosen: argparse.Namespace, command: str) -> None:
    """Measure, print and append, kind by kind."""
    if chosen.clips % chosen.batch:
        raise ValueError(f"--clips: expected a multiple of --batch {chosen.batch}, found {chosen.clips}.")
    import torch

    from dali_pipes.jobs.process_folder import process_folder
    from reskd.profiling.decode.benchmark import measure_files
    from reskd.profiling.decode.candidates import CANDIDATES, check_names
    from reskd.profiling.decode.workload import Workload

    candidates = chosen.candidates or list(CANDIDATES)
    check_names(candidates)
    if chosen.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: expected a GPU that torch can use, found none; run reskd doctor for why.")
    about = {**describe_run(torch.device(chosen.device)), **_peer_versions()}
    with tempfile.TemporaryDirectory(prefix="profile_", dir=process_folder()) as scratch:
        for files, folder in manifests(chosen, Path(scratch)):
            for num_frames in chosen.frames:
                found = measure_files(
                    files,
                    Workload(
                        folder, num_frames, chosen.batch, chosen.workers, 0, seed=chosen.seed, device=chosen.device
                    ),
                    candidates,
                    rounds=chosen.rounds,
                    batches_a_turn=chosen.clips // chosen.batch,
                    on_message=lambda message: print(message, file=sys.stderr, flush=True),
                )
                print(f"\n{files} ({found[0].codec}), {num_frames} frames\n{table(found)}", flush=True)
                _append(chosen.out, found, about, command)
    _draw(chosen.out)


def manifests(chosen: argparse.Namespace, scratch: Path) -> Iterator[tuple[str, Path]]:
    """(name of the files, folder of a saved manifest), one pair for each kind of file under --root.

    Raises:
        ValueError: there is nothing to measure.
    """
    if (chosen.manifest is None) == (chosen.root is None):
        raise ValueError("expected either --manifest FOLDER or --root FOLDER, or --make FOLDER to make files first.")
    from dali_pipes.config import DataConfig
    from dali_pipes.manifest.build import build_manifests
    from dali_pipes.manifest.manifest import Manifest
    from reskd.profiling.decode.standard_clips import LIST_NAME

    if chosen.manifest is not None:
        Manifest.open(chosen.manifest)  # to fail now if it is bad
        yield chosen.manifest.name, chosen.manifest
        return
    kinds = sorted(path.parent for path in chosen.root.glob(f"*/{LIST_NAME}"))
    for root in kinds if chosen.list is None and kinds else [chosen.root]:
        lists = {"train": chosen.list or (LIST_NAME if kinds else "folders")}
        views = {"student": {"size": 1, "source": "decoded"}}  # not used here, but a config needs views
        cache = None if chosen.scan_cache is None else chosen.scan_cache / root.name
        config = DataConfig.model_validate({"root": root, **lists, "views": views, "val_fraction": 0} | (
            {"scan_cache": cache} if cache else {}))  # fmt: skip
        built = build_manifests(config, seed=0, splits=("train",), num_workers=chosen.workers)["train"]
        folder = scratch / root.name
        built.save(folder)
        yield root.resolve().name, folder


def table(rows: Sequence[Row]) -> str:
    """The numbers, then a line for each candidate that has none or returned wrong frames."""
    from reskd.profiling.decode.benchmark import STAGES

    head = ["candidate", "clips/s", "20 %", "80 %", "cpu ms", "20 %", "80 %", "amplif.", "read KiB", "peak MiB"]
    head += ["wrong", "diff.", *(f"{stage} ms" for stage in (*STAGES, "rest"))]
    lines, remarks = [head], []
    for row in rows:
        if row.status != "ok":
            remarks.append(f"{row.candidate}: {row.status}")
            continue
        speeds = (row.clips_per_s, row.clips_per_s_p20, row.clips_per_s_p80, row.cpu_ms, row.cpu_ms_p20, row.cpu_ms_p80)
        cells = [_cell(number, 1) for number in (*speeds, row.amplification)]
        cells += [_cell(row.read_kib, 0), _cell(row.peak_mib, 0), f"{row.wrong_frames}/{row.checked_frames}"]
        cells += [_cell(row.mean_difference, 2), *(_cell(row.stages_ms.get(stage), 1) for stage in (*STAGES, "rest"))]
        lines.append([row.candidate, *cells])
        if row.wrong_frames or row.misreported_frames:
            remarks.append(
                f"{row.candidate}: WRONG FRAMES: {row.wrong_frames} of {row.checked_frames} show another frame, "
                f"{row.misreported_frames} have another number"
            )
    return "\n".join([aligned(lines), *remarks])


def _cell(number: float | None, digits: int) -> str:
    return "" if number is None else f"{number:.{digits}f}"


def _peer_versions() -> dict[str, str]:
    versions = {}
    for name in ("av", "nvidia-dali-cuda120", "torchcodec", "decord"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = ""
    return versions


def _append(out: Path, rows: Sequence[Row], about: dict[str, object], command: str) -> None:
    lines = [{**about, **row.as_columns()} for row in rows]
    append_rows(out / f"{NAME}.csv", lines)
    environment = describe_environment()
    with (out / f"{NAME}.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({**line, "command": command, "environment": environment}) + "\n" for line in lines)


def _draw(out: Path) -> None:
    rows, picture = out / f"{NAME}.csv", out / f"{NAME}.png"
    if not rows.is_file():
        raise ValueError(f"--out: expected rows in {rows}, found none; measure first.")
    from reskd.profiling.decode.benchmark import draw_rows

    draw_rows(read_rows(rows), picture)
    print(f"\nrows in {rows}, drawn in {picture}")


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("profile decode", __doc__)
    parser.add_argument("--manifest", type=Path, metavar="FOLDER", help="folder of a saved manifest")
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="folder of videos, or one that --make wrote")
    parser.add_argument("--list", type=Path, help="list of videos in --root; default: one folder per class")
    parser.add_argument("--scan-cache", type=Path, help="folder of the scan's results; default: beside the data")
    parser.add_argument(
        "--frames", type=positive, nargs="+", default=[8, 16], help="frames T of a clip (default: 8 16)"
    )
    parser.add_argument("--candidates", nargs="+", metavar="NAME", help="which readers; default: all of them")
    parser.add_argument("--rounds", type=positive, default=5, help="timed turns per candidate (default %(default)s)")
    parser.add_argument("--clips", type=positive, default=16, help="clips per turn (default %(default)s)")
    parser.add_argument("--batch", type=positive, default=4, help="clips per batch (default %(default)s)")
    parser.add_argument(
        "--workers", type=positive, default=2, help="reading processes, and threads of DALI (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the plans (default %(default)s)")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="device of the views (default %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("docs/results"), help="folder of the results (default %(default)s)"
    )
    parser.add_argument("--picture", action="store_true", help="draw the rows of --out; measure nothing")
    parser.add_argument("--make", type=Path, metavar="FOLDER", help="write the standard files here; measure nothing")
    parser.add_argument("--kinds", nargs="+", metavar="KIND", help="which standard files; default: all")
    parser.add_argument("--videos", type=positive, default=2, help="clips of each standard kind (default %(default)s)")
    parser.add_argument(
        "--content", type=Path, metavar="VIDEOS", help="folder of real videos to make the standard files from"
    )
    return parser
