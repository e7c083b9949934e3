"""Tables and sentences from rows: hand-worked means, spreads and gaps; orders that do not come out are said."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fewer_frames.pictures import draw, macs_of, times_of
from benchmarks.fewer_frames.pixels_report import draw_pixels, pixels_markdown
from benchmarks.fewer_frames.report import (
    Gap,
    Results,
    Summary,
    describe_orders,
    gap_table,
    markdown,
    metrics_of_rows,
    table,
)


def row(mode: str, selection: str, k: str, seed: int, gap: float) -> dict[str, str]:
    about = {"data": "d", "family": "f", "mode": mode, "selection": selection, "k": k, "seed": str(seed)}
    return {**about, "config_hash": str(about), "gap": str(gap), "map": "0.5", "mmacs": "3"}


ROWS = [
    row("teacher", "uniform", "all", 1, 0.9),
    *(row("baseline", "uniform", "6", seed, gap) for seed, gap in ((1, 0.5), (2, 0.7))),
    *(row("baseline", "random", "6", seed, gap) for seed, gap in ((1, 0.5), (2, 0.5))),
    *(row("baseline", "first", "6", seed, gap) for seed, gap in ((1, 0.4), (2, 0.7))),
    *(row("serial", "uniform", "6", seed, gap) for seed, gap in ((1, 0.6), (2, 0.72), (3, 0.99))),
]


def test_a_summary_is_the_mean_and_the_spread_over_seeds() -> None:
    assert str(Summary.of([0.5, 0.7])) == "60.0 +- 14.1"
    assert str(Summary.of([0.5])) == "50.0"


def test_a_gap_is_taken_seed_by_seed() -> None:
    gap = Results(ROWS, "gap").gap("serial", 6)  # +0.10 and +0.02; seed 3 has no baseline
    assert gap is not None
    assert gap.of_seeds == pytest.approx((0.1, 0.02))
    # The standard error is 0.04, and t of one degree of freedom is 12.706.
    assert gap.interval == pytest.approx((0.06 - 0.50824, 0.06 + 0.50824))
    assert "| serial, GAP@20 | +6.0 (-44.8 to +56.8) | 2 of 2 |" in gap_table([Results(ROWS, "gap")])


def test_every_metric_of_the_rows_is_judged_and_a_lower_loss_is_better() -> None:
    rows = [one | {"loss": "2.0" if one["mode"] == "serial" else "2.5", "hit1": "0.5", "perr": ""} for one in ROWS]
    assert metrics_of_rows(rows) == ["gap", "map", "hit1", "loss"]
    assert metrics_of_rows([one | {"top1": "0.5"} for one in rows]) == ["gap", "map", "top1", "loss"]
    text = markdown(rows)
    assert "| serial, mAP | +0.0 (+0.0 to +0.0) | 0 of 2 |" in text
    assert "| serial, training loss | -0.50 (-0.50 to -0.50) | 2 of 2 |" in text


def test_one_seed_has_no_interval() -> None:
    assert Gap((0.021,)).shown("map") == "+2.1"
    assert Gap((0.021,)).interval is None


def test_the_table_has_a_line_for_each_kind_of_run() -> None:
    lines = table(Results(ROWS, "gap")).splitlines()
    assert lines[0] == "|  | k=6 |"
    assert lines[2:] == [
        "| teacher, all frames | 90.0 |",
        "| uniform, no teacher | 60.0 +- 14.1 |",
        "| random, no teacher | 50.0 +- 0.0 |",
        "| first, no teacher | 55.0 +- 21.2 |",
        "| serial, uniform | 77.0 +- 20.0 |",
    ]


def test_orders_that_do_not_come_out_are_said() -> None:
    lines = describe_orders(Results(ROWS, "gap")).splitlines()
    assert lines == [
        "- uniform > random: holds at every k (6)",
        "- random > first: **does not come out** at k=6 (-5.0); it holds at 0 of 1",
        "- serial >= uniform without a teacher: holds at every k (6)",
    ]


def test_a_run_made_again_counts_once() -> None:
    again = [*ROWS, row("baseline", "uniform", "6", 2, 0.9)]
    assert str(Results(again, "gap").of("baseline", "uniform", 6)) == "70.0 +- 28.3"


def test_rows_of_other_settings_are_not_taken_for_the_same_run() -> None:
    other = [*ROWS, row("baseline", "uniform", "6", 2, 0.9) | {"config_hash": "b"}]
    with pytest.raises(ValueError, match="found config_hash .* and b for data d, .* selection uniform, k 6, seed 2; "):
        markdown(other)


def test_pixel_runs_of_other_epochs_are_not_one_table() -> None:
    about = {"mode": "baseline", "k": "2", "side": "48", "seed": "1", "top1": "0.5", "mmacs": "1"}
    rows = [about | {"config_hash": name, "epochs": epochs} for name, epochs in (("a", "10.0"), ("b", "1.0"))]
    with pytest.raises(ValueError, match="found config_hash a of 10.0 epochs and b of 1.0 epochs for mode baseline"):
        pixels_markdown(rows, [])


def test_rows_become_sections_and_pictures(tmp_path: Path) -> None:
    text = markdown(ROWS)
    assert "### d, f: GAP@20" in text
    assert "### d, f: mAP" in text
    times = [{"data": "d", "family": "f", "candidate": "k=6", "part": "end_to_end", "cpu_ms": "2"}]
    assert times_of(times) == {("d", "f", "6"): 2.0}
    draw(ROWS, macs_of(ROWS), tmp_path / "a.png", metric="gap", label="MACs")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_the_grid_of_pixels_has_costs_and_gaps(tmp_path: Path) -> None:
    def pixels(mode: str, k: int, side: int, top1: float) -> dict[str, str]:
        about = {"mode": mode, "k": str(k), "side": str(side), "seed": "1", "videos": "108"}
        return {**about, "config_hash": str(about), "top1": str(top1), "map": str(1 - top1), "mmacs": str(k * side)}

    rows = [pixels("teacher", 8, 96, 0.6), pixels("baseline", 2, 48, 0.3), pixels("distilled", 2, 48, 0.35)]
    times = [{"k": "2", "side": "48", "cpu_ms": "12.34"}]
    text = pixels_markdown(rows, times)
    assert "| 2 x 48 | 0.096 | 12.3 | 30.0 | 35.0 | +5.0 |" in text
    assert "| teacher, 8 x 96 | 0.768 |  | 60.0 |  |  |" in text
    assert "| frames x side | mAP | top-1 |\n|---|---|---|\n| 2 x 48 | -5.0 | +5.0 |" in text
    assert text.endswith("| mean; runs better | -5.0; 0 of 1 | +5.0; 1 of 1 |\n")
    draw_pixels(rows, times, tmp_path / "a.png")
    assert (tmp_path / "a.png").exists()
