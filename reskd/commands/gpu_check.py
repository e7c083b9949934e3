"""Check whether this machine's GPU decodes and trains as it should, and how fast: one command, about 8 minutes.

    reskd gpu-check gpu_check                          # all parts
    reskd gpu-check gpu_check --parts frames_h264 step # some
    reskd gpu-check gpu_check --videos VIDEOS          # real files in place of made-up ones
    reskd gpu-check rehearsal --device cpu             # the same with tiny networks on a CPU

The answers are OUT/gpu_check.md and OUT/gpu_check.json, written after each part, with a log for each. Called again, it
goes on: parts that are answered are not repeated (--again repeats them). Which codecs' frames were right is kept for
later trainings on this machine. Each part runs in a process of its own: one that crashes, hangs or lacks a package is
reported, and the others still run. A skipped test counts as failed. The exit status is 1 if a part failed. Without a
GPU only the part "facts" is answered.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reskd.cli import command_parser


def main(arguments: Sequence[str]) -> int:
    chosen = build_parser().parse_args(arguments)
    from reskd.gpu_checks.parts import PARTS, Site
    from reskd.gpu_checks.runner import answer_part, run_parts

    if chosen.videos is not None and not chosen.videos.is_dir():
        raise ValueError(f"--videos: expected a folder with a folder of videos for each class, found {chosen.videos}.")
    site = Site(chosen.out, chosen.device, chosen.videos)
    if chosen.part:
        answer_part(site, chosen.part)
        return 0
    answers = run_parts(site, chosen.parts or list(PARTS), again=chosen.again, on_answer=_tell)
    print(f"written to {site.folder / 'gpu_check.md'}")
    return 0 if all(answer["status"].startswith(("ok", "skipped")) for answer in answers.values()) else 1


def _tell(name: str, answer: dict[str, Any]) -> None:
    print(f"{name}: {answer['status']} ({answer.get('seconds', 0):.0f} s)", flush=True)


def build_parser() -> argparse.ArgumentParser:
    from reskd.gpu_checks.parts import PARTS

    parser = command_parser("gpu-check", __doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the answers")
    parser.add_argument(
        "--parts", nargs="+", default=[], choices=PARTS, metavar="PART", help=f"some of {', '.join(PARTS)}"
    )
    parser.add_argument("--again", action="store_true", help="repeat parts that are answered")
    parser.add_argument("--videos", type=Path, help="folder of real videos, one folder for each class")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cuda", help="cpu: a rehearsal (default %(default)s)"
    )
    parser.add_argument(
        "--part", choices=PARTS, metavar="PART", help="answer this part in this process (the tool's own use)"
    )
    return parser
