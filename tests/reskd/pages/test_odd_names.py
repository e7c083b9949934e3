"""Names of any characters are text in every report: no markup, no new lines, no formulas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reskd.pages.odd_names import in_markdown, in_picture
from reskd.reports.run_report import draw_curves, render_comparison, write_run_report
from reskd.training.metrics_log import MetricsWriter
from reskd.training.run_directory import RunDirectory
from tests.reskd.reports.test_run_report import result

ODD = [
    ("apply_make_up 2", "apply_make_up 2"),
    ("<script>alert(1)</script>", r"\<script>alert(1)\</script>"),
    ("a|b", r"a\|b"),
    ("[x](http://y)", r"\[x\](http://y)"),
    ("**bold** `code` &lt;", r"\*\*bold\*\* \`code\` \&lt;"),
    ("two\nlines\x1b[0m", r"two\nlines\x1b\[0m"),
    ("back\\*slash\\n", r"back\\\*slash\n"),
    (b"caf\xe9".decode("utf-8", "surrogateescape"), r"caf\udce9"),
]


@pytest.mark.parametrize(("name", "shown"), ODD, ids=range(len(ODD)))
def test_a_name_is_text_in_a_report_of_runs(name: str, shown: str, tmp_path: Path) -> None:
    assert in_markdown(name) == shown
    one, other = ({**result(name, share), "protocol": "one clip"} for share in (0.5, 0.9))
    lines = render_comparison(name, [one, other]).splitlines()
    assert lines[0] == f"# {shown}" and lines[4].startswith(f"| {shown} | 50.0")
    assert f"- {shown} minus {shown}: " in "\n".join(lines) and f"- {shown}: one clip." in lines


FOLDERS = [*(name.replace("/", "%") for name, _ in ODD), "$\\\\frac{", "_hidden"]


@pytest.mark.parametrize("name", FOLDERS, ids=range(len(FOLDERS)))
def test_a_folder_of_any_name_has_a_report_and_curves(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = RunDirectory(tmp_path / name)
    with MetricsWriter(run.metrics, run.tensorboard, first_step=0) as writer:
        writer.scalars(1, {"train/epoch": 1.0, "loss/task": 2.0, "train/top1": 0.5})
    is_utf8 = name.encode("utf-8", "replace").decode() == name
    assert (
        any("tfevents" in path.name for path in run.path.iterdir()) == is_utf8
        and ("TensorBoard's events stop" in caplog.text) != is_utf8
    )
    page = write_run_report(run).read_text(encoding="utf-8").splitlines()
    assert page[0] == f"# {in_markdown(name)}" and "| loss/task | 2 |" in page
    draw_curves({name: [json.loads(run.metrics.read_text())]}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_dollars_are_no_formulas_and_an_underscore_does_not_hide_a_run() -> None:
    assert [in_picture(name) for name in ("a$x$", "_a", "b")] == [r"a\$x\$", " _a", "b"]
