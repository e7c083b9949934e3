"""Writes reports for people: the curves of one run, or a table and the curves of several runs."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dali_pipes.atomic_files import atomic_open, atomic_write_text
from dali_pipes.json_files import read_json
from dali_pipes.regular_files import file_is_there
from reskd.pages.odd_names import in_markdown, in_picture
from reskd.pages.style import matplotlib_style
from reskd.training import loss_balance
from reskd.training.metrics_log import parse_line
from reskd.training.run_changes import read_changes
from reskd.training.run_directory import RunDirectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

Lines = Sequence[Mapping[str, float]]  # of a metrics.jsonl

# The panels of the picture: title, and the metrics drawn in it with their line styles.
_PANELS: tuple[tuple[str, dict[str, str]], ...] = (
    ("task loss", {"loss/task": "-"}),
    ("pixel term, unweighted", {"loss/pixel": "-"}),
    ("logit map term, unweighted", {"loss/logit_map": "-"}),
    ("frame term, unweighted", {"loss/frame": "-"}),
    ("clip term, unweighted", {"loss/clip": "-"}),
    ("embedding term, unweighted", {"loss/embedding": "-"}),
    ("prediction term, unweighted", {"loss/prediction": "-"}),
    ("joint teacher's task loss", {"loss/teacher_task": "-"}),
    ("top-1: training solid, validation dashed", {"train/top1": "-", "val/top1": "--"}),
    ("log loss of the validation list", {"val/log_loss": "-"}),
    (
        "gradient norms: task solid",
        {"grad_norm/task": "-"}
        | dict.fromkeys(("grad_norm/pixel", "grad_norm/embedding"), "--")
        | dict.fromkeys(("grad_norm/logit_map", "grad_norm/prediction"), ":")
        | dict.fromkeys(("grad_norm/frame", "grad_norm/clip"), "-."),
    ),
    ("share of the time spent waiting for data", {"speed/data_wait_share": "-"}),
)
# Metrics of an evaluation, in the order of a table.
METRIC_TITLES = {
    "top1": "top-1",
    "top5": "top-5",
    "mean_class_accuracy": "mean class accuracy",
    "gap": "GAP@20",
    "map": "mAP",
    "map_top20": "mAP of top-20 lists",
    "hit1": "Hit@1",
    "perr": "PERR",
    "log_loss": "log loss (nats)",
}
_NO_SHARE = "log_loss"  # the metric that is not in [0, 1], and so not shown in per cent

_COST_TITLES = ("GMACs a video", "videos/s, model alone")

# What the table needs of an evaluation.
_RESULT_KINDS: Mapping[str, Any] = {
    "name": str,
    "protocol": str,
    "metrics": dict,
    "coverage": dict,
    "gmacs_per_video": int | float,
    "videos_per_second": int | float,
}
_COUNTS = ("scored", "listed")
_EVALUATE_AGAIN = "run reskd evaluate again"


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Read the lines of metrics.jsonl. Damaged ones are left out, and their number is logged.

    Raises:
        ValueError: something else has its name.
    """
    if not file_is_there(path, "the metrics of a run", advice="remove it"):
        log.warning("%s: expected the metrics of a run, found no file; its curves are left out", path)
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    whole = [values for line in lines if (values := parse_line(line)) is not None]
    if len(whole) < len(lines):
        log.warning("%s: %d of %d lines are damaged and left out", path, len(lines) - len(whole), len(lines))
    elif not lines:
        log.warning("%s: expected the metrics of a run, found an empty file; its curves are left out", path)
    return whole


def write_run_report(run: RunDirectory) -> Path:
    """Write ``curves.png`` and ``report.md`` into a finished run's folder; returns the report's path."""
    lines = read_metrics(run.metrics)
    draw_curves({run.path.name: lines}, run.path / "curves.png")
    last = {name: value for line in lines for name, value in line.items()}
    rows = "\n".join(f"| {in_markdown(name)} | {value:.5g} |" for name, value in sorted(last.items()))
    terms = ""
    if file_is_there(run.loss_balance, "the size of each loss term", advice="remove it"):
        terms = f"\n## The loss in the first step\n\n{loss_balance.table(loss_balance.read(run.loss_balance))}\n"
    changes = read_changes(run.changes)
    if changes:
        made = "\n".join(
            f"| {one.step} | {' | '.join(map(in_markdown, (one.key, one.old, one.new)))} |" for one in changes
        )
        terms += f"\n## Settings changed by --set\n\n| after step | setting | old | new |\n|---|---|---|---|\n{made}\n"
    report = run.path / "report.md"
    atomic_write_text(
        report,
        f"# {in_markdown(run.path.name)}\n\nThe last value of each metric; settings are in `config.yaml`, the machine "
        f"and versions in `environment.json`.\n\n![curves](curves.png)\n\n"
        f"| metric | last value |\n|---|---|\n{rows}\n{terms}",
    )
    return report


def draw_curves(runs: Mapping[str, Lines], path: Path) -> None:
    """Draw one picture with a color per run; panels without numbers are left out, unless all are."""
    import matplotlib

    present = {name for lines in runs.values() for line in lines for name in line}
    panels = [(title, styles) for title, styles in _PANELS if present & styles.keys()]
    if "train/top1" not in present:  # several labels a video
        found = next((name for name in ("gap", "map") if f"val/{name}" in present), None)
        panels[-1:-1] = [(f"{METRIC_TITLES[found]} of the validation list", {f"val/{found}": "-"})] if found else []
    panels = panels or [("no metrics", {})]
    with matplotlib.rc_context(matplotlib_style()):
        figure = _curves_figure(panels, runs)
        with atomic_open(path) as file:
            figure.savefig(file, format="png")


def _curves_figure(panels: Sequence[tuple[str, Mapping[str, str]]], runs: Mapping[str, Lines]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8 * len(panels), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, styles) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for color, (run_name, lines) in enumerate(runs.items()):
            for metric, style in styles.items():
                points = [
                    (line["train/epoch"], line[metric]) for line in lines if {metric, "train/epoch"} <= line.keys()
                ]
                label = in_picture(run_name) if style == "-" else None
                if points:
                    marker = "o" if len(points) == 1 else None  # a line through one point is invisible
                    axes.plot(*zip(*points, strict=True), style, color=f"C{color}", label=label, marker=marker)
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize=8)
    return figure


def standard_error(share: float, num_clips: int) -> float:
    """The standard error of a share of ``num_clips`` independent clips (binomial)."""
    return math.sqrt(share * (1 - share) / num_clips)


def comparison_table(results: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table of evaluation results, one row each; metrics in per cent, top-1 with its standard error.

    It has the metrics of any of the results: lists with several labels per video have no top-1. Log loss is in nats.
    """
    names = [name for name in METRIC_TITLES if any(name in result["metrics"] for result in results)]
    titles = [
        "run",
        *(METRIC_TITLES[name] for name in names),
        "GMACs a video",
        "videos/s, model alone",
        "scored of listed",
    ]
    rows = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for result in results:
        metrics, coverage, gmacs = result["metrics"], result["coverage"], result["gmacs_per_video"]
        shown = {name: show_metric(name, metrics[name]) if name in metrics else "-" for name in names}
        if "top1" in metrics:
            shown["top1"] += f" +- {100 * standard_error(metrics['top1'], coverage['scored']):.1f}"
        size = f"{gmacs:.3f}" if gmacs >= 0.1 else f"{gmacs:.2g}"
        cells = [in_markdown(result["name"]), *shown.values(), size, f"{result['videos_per_second']:.0f}"]
        rows.append(f"| {' | '.join(cells)} | {coverage['scored']} of {coverage['listed']} |")
    return "\n".join(rows)


def show_metric(name: str, value: float) -> str:
    return f"{value:.3f}" if name == _NO_SHARE else f"{100 * value:.1f}"


def describe_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """One sentence on the difference in top-1 of two results on the same list, with its standard error.

    Lists with several labels per video have GAP or else mAP instead, whose standard errors are not known.
    """
    names = f"{in_markdown(one['name'])} minus {in_markdown(other['name'])}"
    if not all("top1" in result["metrics"] for result in (one, other)):
        name = "gap" if all("gap" in result["metrics"] for result in (one, other)) else "map"
        difference = 100 * (one["metrics"][name] - other["metrics"][name])
        points = f"{difference:+.1f} points of {METRIC_TITLES[name]}"
        return f"{names}: {points} (one seed, error not known)."
    shares = [result["metrics"]["top1"] for result in (one, other)]
    errors = [standard_error(r["metrics"]["top1"], r["coverage"]["scored"]) for r in (one, other)]
    difference, error = shares[0] - shares[1], math.hypot(*errors)
    verdict = "more than two standard errors" if abs(difference) > 2 * error else "no order can be claimed"
    return (
        f"{names}: {100 * difference:+.1f} points of top-1, standard error "
        f"{100 * error:.1f} (binomial, one seed): {verdict}."
    )


def find_result(folder: Path, views: str | None) -> Path:
    """The file of the evaluation of a run's own model on the test list, after its last step.

    Args:
        views: ``10x3``, for example; None: one clip and one crop, or the only evaluation.

    Raises:
        FileNotFoundError: there is none, or there are several and ``views`` names none of them.
    """
    plain = folder / "evaluation_test_student_last.json"
    path = plain.with_stem(f"{plain.stem}_{views}") if views else plain
    others = sorted(folder.glob(f"{plain.stem}_*.json"))
    if not views and not plain.is_file() and len(others) == 1:
        path = others[0]
    if not path.is_file():
        names = ", ".join(other.name for other in others) or "none"
        raise FileNotFoundError(
            f"expected {path}, found {names}; choose one by --views, or run reskd evaluate with the run's config "
            f"and {folder}/last.pt first."
        )
    return path


def read_result(folder: Path, views: str | None) -> dict[str, Any]:
    """``load_result`` of the file that ``find_result`` finds; raises as these two."""
    return load_result(find_result(folder, views))


def with_own_names(results: Sequence[Mapping[str, Any]], folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The same results, named by their runs' folders where two have one name."""
    names = [result["name"] for result in results]
    return [
        {**result, "name": str(folder) if names.count(result["name"]) > 1 else result["name"]}
        for result, folder in zip(results, folders, strict=True)
    ]


def load_result(path: Path) -> dict[str, Any]:
    """What reskd evaluate wrote.

    Raises:
        ValueError: it is something else.
        OSError: it cannot be read.
    """
    result = read_json(path, "the result of an evaluation", keys=_RESULT_KINDS, advice=_EVALUATE_AGAIN)
    wrong = [key for key, kind in _RESULT_KINDS.items() if not isinstance(result[key], kind)]
    if not wrong:
        numbers = {**result["metrics"], **{key: result["coverage"].get(key) for key in _COUNTS}}
        wrong = [key for key, value in numbers.items() if not isinstance(value, int | float)]
        wrong += ["metrics"] * (not {"top1", "gap", "map"} & set(result["metrics"]))
    if wrong:
        raise ValueError(f"{path}: expected the result of an evaluation, found another {wrong[0]}; {_EVALUATE_AGAIN}.")
    return result


def check_comparable(results: Sequence[Mapping[str, Any]]) -> None:
    """Check that all results are of the same list: the same videos, labels and classes, seen in as many test views.

    Networks may see other frames and sizes: that is what is compared.

    Raises:
        ValueError: two results are of different splits, lists or numbers of test views; names them.
    """
    first, *others = results
    for other in others:
        for key, noun in (("split", "split"), ("manifest_hash", "list")):
            if first.get(key) != other.get(key):
                found = " and ".join(f"{one['name']} on {_describe_list(one, key)}" for one in (first, other))
                raise ValueError(
                    f"expected results on the same {noun}, found {found}: their numbers cannot be compared; evaluate "
                    "both runs with the same list, classes and scan by reskd evaluate."
                )
        views = [describe_views(one) for one in (first, other)]
        if views[0] != views[1]:
            found = " and ".join(
                f"{one['name']} with {shown}" for one, shown in zip((first, other), views, strict=True)
            )
            raise ValueError(
                f"expected results with the same test views, found {found}: more views of each video make any network "
                "better; evaluate both alike by reskd evaluate, or choose one kind by --views."
            )


def describe_views(result: Mapping[str, Any]) -> str:
    """How many test views an evaluation has of each video; how they are averaged matters from two on."""
    views = result.get("views", {})
    clips, crops = views.get("clips", 1), views.get("crops", 1)
    averaged = f", {views.get('average', 'probabilities')} averaged" if clips * crops > 1 else ""
    return f"{clips} clips x {crops} crops{averaged}"


def _describe_list(result: Mapping[str, Any], key: str) -> str:
    if key == "split":
        return f"{result.get('split', 'an unnamed split')}"
    listed = result["coverage"]["listed"]
    return f"a list of {listed} videos (hash {str(result.get('manifest_hash', 'unknown'))[:8]})"


def render_comparison(title: str, results: Sequence[dict[str, Any]]) -> str:
    """The report of several runs, as Markdown; the last one is compared with each of the others."""
    differences = "\n".join(f"- {describe_difference(results[-1], other)}" for other in results[:-1])
    protocols = "\n".join(f"- {in_markdown(result['name'])}: {in_markdown(result['protocol'])}." for result in results)
    return (
        f"# {in_markdown(title)}\n\n{comparison_table(results)}\n\n{differences}\n\nHow each was shown the test list "
        f"(last checkpoint, never chosen on it):\n\n{protocols}\n\n![curves](curves.png)\n"
    )
