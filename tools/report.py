"""Put finished runs beside each other: python tools/report.py OUT RUN RUN ... [--title TEXT]

Writes OUT/report.md with a table of the runs' evaluations on the test list and OUT/curves.png. The last run is
compared with each of the others. A run that was evaluated by several protocols shows that of one clip and one crop,
unless --views says which.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reskd.cli import run_tool
from reskd.reports.run_report import comparison_table, describe_difference, draw_curves, read_metrics
from reskd.training.run_directory import RunDirectory


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the report; made when absent")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of trained and evaluated runs")
    parser.add_argument("--title", help="default: the folder's name")
    parser.add_argument("--views", help="protocol, by the end of its file's name, such as 10x3 or 10x3_logits")
    chosen = parser.parse_args(arguments)
    results = [read_result(folder, chosen.views) for folder in chosen.runs]
    chosen.out.mkdir(parents=True, exist_ok=True)
    draw_curves(
        {folder.name: read_metrics(RunDirectory(folder).metrics) for folder in chosen.runs}, chosen.out / "curves.png"
    )
    path = chosen.out / "report.md"
    path.write_text(render(chosen.title or chosen.out.name, results))
    print(path.read_text())
    print(f"written to {path}")


def read_result(folder: Path, views: str | None) -> dict[str, Any]:
    """The evaluation of the run's own model on the test list, after its last step.

    Args:
        views: such as ``10x3``; None: of one clip and one crop, or the only one there is.

    Raises:
        FileNotFoundError: there is none, or there are several and it is not clear which is meant.
    """
    plain = folder / "evaluation_test_student_last.json"
    path = plain.with_stem(f"{plain.stem}_{views}") if views else plain
    others = sorted(folder.glob(f"{plain.stem}_*.json"))
    if not views and not plain.is_file() and len(others) == 1:
        path = others[0]
    if not path.is_file():
        names = ", ".join(other.name for other in others) or "none"
        raise FileNotFoundError(
            f"expected {path}, found {names}; choose one by --views, or run tools/evaluate.py with the run's config "
            f"and {folder}/last.pt first."
        )
    return dict(json.loads(path.read_text()))


def render(title: str, results: Sequence[dict[str, Any]]) -> str:
    differences = "\n".join(f"- {describe_difference(results[-1], other)}" for other in results[:-1])
    protocols = "\n".join(f"- {result['name']}: {result['protocol']}." for result in results)
    return (
        f"# {title}\n\n{comparison_table(results)}\n\n{differences}\n\nHow each was shown the test list (last "
        f"checkpoint, never chosen on it):\n\n{protocols}\n\n![curves](curves.png)\n"
    )


if __name__ == "__main__":
    sys.exit(run_tool(main))
