"""Measures and draws the receptive fields of several runs' networks. reskd analyze has the command line."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dali_pipes.atomic_files import atomic_open, atomic_write_text
from reskd.analysis.receptive_field import MOST, Position, ReceptiveField, Widths, receptive_field, widths_of
from reskd.analysis.runs import AnalyzedClips, AnalyzedRun, RunsRequest, load_runs, read_clips
from reskd.analysis.tensorboard_pictures import add_picture, check_has_steps
from reskd.pages.odd_names import in_markdown

log = logging.getLogger(__name__)

_DEFINITION = (
    "gradient of the sum over channels of max(0, feature) at the position with respect to the pixels; absolute values, "
    "summed over colors, averaged over clips and frames, divided by their sum. side_50 and side_95: square root of the "
    "number of pixels of the smallest square around the center of mass that holds 50 % and 95.45 % of the sum; luo: "
    "square root of the number of pixels above 4.55 % of the largest (Luo et al., arXiv:1701.04128). share: divided by "
    "the square root of the number of pixels of the whole picture."
)
_PANEL_INCHES = 3.6


class FieldRequest(NamedTuple):
    """What to measure, and where results go.

    Attributes:
        position: None: the middle.
        tensorboard: folder of a run whose TensorBoard gets the picture.
    """

    runs: RunsRequest
    position: Position | None
    out: Path
    tensorboard: Path | None = None


class _Measured(NamedTuple):
    run: AnalyzedRun
    field: ReceptiveField
    widths: Widths

    def side(self) -> float:
        """The side of a square with as many pixels as the picture."""
        return self.field.field_HW.numel() ** 0.5


def draw_receptive_fields(request: FieldRequest) -> str:
    """Write receptive_field.png, .json and .md into ``request.out``. Returns the table.

    Raises:
        ValueError, OSError: as load_runs, read_clips and receptive_field; the folder cannot be written.
    """
    if request.tensorboard:
        check_has_steps(request.tensorboard)
    runs = load_runs(request.runs)
    clips = read_clips(runs, request.runs)
    request.out.mkdir(parents=True, exist_ok=True)
    measured = []
    for run, seen in zip(runs, clips.seen, strict=True):
        pairs = ((clip.frames_THWC, clip.valid_T) for clip in seen)
        try:
            field = receptive_field(run.model, pairs, request.position)
        except ValueError as error:
            raise ValueError(f"{run.folder}: {error}") from None
        measured.append(_Measured(run, field, widths_of(field.field_HW)))
        log.info("%s: %d clips", run.name, len(seen))
    picture = request.out / "receptive_field.png"
    _draw(measured, picture)
    atomic_write_text(picture.with_suffix(".json"), json.dumps(_result(measured, clips, request), indent=2) + "\n")
    table = render_table([(one.run.name, _row(one)) for one in measured])
    atomic_write_text(picture.with_suffix(".md"), f"{_heading(clips, request)}\n\n{table}\n\n{_DEFINITION}\n")
    if request.tensorboard:
        add_picture(request.tensorboard, "receptive_field", picture)
    return table


def _heading(clips: AnalyzedClips, request: FieldRequest) -> str:
    return f"Effective receptive fields on {len(clips.files)} clips of the {request.runs.split} list"


def _row(one: _Measured) -> Mapping[str, Any]:
    """A network's numbers, as plain values."""
    pixels = {"side_50": one.widths.side_50, "side_95": one.widths.side_95, "luo": one.widths.luo}
    return {
        "map": list(one.field.map_size),
        "position": list(one.field.position),
        "center_of_mass": list(one.widths.center_yx),
        "pixels": {name: round(value, 3) for name, value in pixels.items()},
        "share": {name: round(value / one.side(), 5) for name, value in pixels.items()},
    }


def _result(measured: Sequence[_Measured], clips: AnalyzedClips, request: FieldRequest) -> dict[str, Any]:
    return {
        "definition": _DEFINITION,
        "split": request.runs.split,
        "manifest_hash": clips.manifest_hash,
        "clips": clips.files,
        "networks": [{**one.run.describe(), **_row(one)} for one in measured],
    }


def render_table(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """A Markdown table: a row a network, widths in pixels and as a share of the picture's side."""
    lines = [
        "| run | map | position | 50 % side, pixels | of the picture | 95.45 % side, pixels | of the picture "
        "| Luo et al., pixels | of the picture |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows:
        cells = [in_markdown(name), "x".join(map(str, row["map"])), ",".join(map(str, row["position"]))]
        for width in ("side_50", "side_95", "luo"):
            cells += [f"{row['pixels'][width]:.1f}", f"{row['share'][width]:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _draw(measured: Sequence[_Measured], path: Path) -> None:
    """The fields side by side on one color scale, with the squares that hold 50 % and 95.45 %.

    Networks have different sizes, so a field is shown as a density: its value times its number of pixels, 1 if all
    pixels count the same. The scale is logarithmic and spans two decades below the highest density of all fields.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    densities = [one.field.field_HW.numpy() * one.field.field_HW.numel() for one in measured]
    highest = max(float(np.max(density)) for density in densities)
    norm = LogNorm(highest / 100, highest)
    figure = Figure(figsize=(_PANEL_INCHES * len(measured) + 1, _PANEL_INCHES + 1.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(measured), squeeze=False)[0]
    shown = None
    for axis, one, density in zip(axes, measured, densities, strict=True):
        height, width = density.shape
        # Its own pixels, all pictures equally large on the page.
        shown = axis.imshow(np.maximum(density, highest / 100), norm=norm, cmap="inferno", interpolation="nearest")
        center_y, center_x = one.widths.center_yx
        for reach, style in ((one.widths.reach_50, "-"), (one.widths.reach_95, "--")):
            corner, side = (center_x - reach - 0.5, center_y - reach - 0.5), 2 * reach + 1
            axis.add_patch(Rectangle(corner, side, side, fill=False, edgecolor="cyan", linewidth=1.2, linestyle=style))
        axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[0, width - 1], yticks=[0, height - 1])
        row, column = one.field.position
        text = (
            f"{one.run.name}\n{height}x{width}, position {row},{column} of {one.field.map_size[0]}x"
            f"{one.field.map_size[1]}\n50 %: {one.widths.side_50 / one.side():.0%} of the side, "
            f"{MOST:.2%}: {one.widths.side_95 / one.side():.0%}"
        )
        axis.set_title(text, fontsize=9, parse_math=False)
    assert shown is not None
    figure.colorbar(shown, ax=list(axes), label="density (1: all pixels count the same)", shrink=0.8)
    with atomic_open(path) as file:
        figure.savefig(file, format="png")
