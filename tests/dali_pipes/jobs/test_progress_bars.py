from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from dali_pipes.jobs.progress_bars import Widths, share_out, table_of

PACE = "0:12:04 left  123.4 clips/s"
MORE = "total 1.234  task 0.123  pixel 0.012  top1 0.500  waiting 3%"


def rendered(width: int, *names: str, pace: str = PACE, more: str = MORE) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    bars = Progress(console=console, auto_refresh=False)
    for name in names:
        bars.add_task(name, total=18000, completed=5234, pace=pace, more=more)
    with console.capture() as capture:
        console.print(table_of(bars.tasks, console))
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("name", ["demo_student", "ucf10_student_r18-96_r18-48", "x"])
def test_count_time_and_rate_are_whole_and_the_metrics_are_cut(width: int, name: str) -> None:
    (line,) = rendered(width, name)
    assert len(line) <= width and f"5234/18000 {PACE}" in line
    assert line.startswith(name[:10])
    assert (MORE in line) if width == 200 else width > 80 or MORE not in line
    if width == 80:
        assert "total 1" in line


def test_tasks_stand_below_each_other() -> None:
    lines = rendered(80, "teacher", "ucf10_student_r18-96_r18-48")
    assert len(lines) == 2 and lines[0].index("5234/") == lines[1].index("5234/")


def test_wide_letters_and_markup_in_a_name_are_text() -> None:
    (line,) = rendered(100, "[red]\u4e2d\u6587[/red]")
    assert "[red]\u4e2d\u6587[/red]" in line


@pytest.mark.parametrize("width", [1, 5, 11, 20, 30, 39, 40])
def test_a_very_narrow_terminal_keeps_one_line_for_each_task(width: int) -> None:
    assert len(rendered(width, "demo_student")) == 1


def test_widths_fill_the_line_and_never_more() -> None:
    for width in range(1, 250):
        for wanted in (Widths(12, 40, 10, 27, 60), Widths(50, 40, 3, 25, 0), Widths(1, 40, 1, 1, 5)):
            found = share_out(width, wanted)
            shown = [part for part in found if part]
            if width > wanted.done:
                assert sum(shown) + len(shown) - 1 <= width, (width, found)
            assert all(got <= most for got, most in zip(found, wanted, strict=True))
