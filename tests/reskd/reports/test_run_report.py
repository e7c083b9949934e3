from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reskd.reports.run_report import (
    check_comparable,
    comparison_table,
    describe_difference,
    draw_curves,
    read_metrics,
    read_result,
    standard_error,
    write_run_report,
)
from reskd.training.run_directory import RunDirectory


def result(name: str, top1: float, num_clips: int = 100) -> dict[str, Any]:
    return {
        "name": name,
        "metrics": {"top1": top1, "top5": 1.0, "mean_class_accuracy": top1, "map": 0.5},
        "coverage": {"scored": num_clips, "listed": num_clips + 2},
        "gmacs_per_video": 1.2345,
        "videos_per_second": 10.4,
    }


def test_standard_error_is_the_binomial_one() -> None:
    assert standard_error(0.5, 100) == pytest.approx(0.05)


def test_a_row_holds_accuracy_cost_and_coverage() -> None:
    row = comparison_table([result("student", 0.8)]).splitlines()[-1]
    assert row == "| student | 80.0 +- 4.0 | 100.0 | 80.0 | 50.0 | 1.234 | 10 | 100 of 102 |"


def test_the_log_loss_is_shown_in_nats_beside_shares_in_per_cent() -> None:
    one = result("student", 0.8)
    one["metrics"]["log_loss"] = 0.71234
    head, _, *rows = comparison_table([one, result("baseline", 0.8)]).splitlines()
    assert head.startswith("| run | top-1 | top-5 | mean class accuracy | mAP | log loss (nats) | GMACs")
    assert rows[0] == "| student | 80.0 +- 4.0 | 100.0 | 80.0 | 50.0 | 0.712 | 1.234 | 10 | 100 of 102 |"
    assert rows[1].startswith("| baseline | 80.0 +- 4.0 | 100.0 | 80.0 | 50.0 | - |")


@pytest.mark.parametrize(
    ("student", "verdict"), [(0.85, "no order can be claimed"), (0.95, "more than two standard errors")]
)
def test_no_order_is_claimed_within_two_standard_errors(student: float, verdict: str) -> None:
    sentence = describe_difference(result("student", student), result("baseline", 0.8))
    assert sentence.startswith(f"student minus baseline: {100 * (student - 0.8):+.1f} points")
    assert sentence.endswith(f"{verdict}.")


def test_a_run_reports_the_last_value_of_each_metric_and_draws_its_curves(tmp_path: Path) -> None:
    lines = [
        {"step": 1, "train/epoch": 0.5, "loss/task": 2.0, "train/top1": 0.1},
        {"step": 2, "train/epoch": 1.0, "loss/task": 1.0, "train/top1": 0.2, "val/top1": 0.3},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = write_run_report(RunDirectory(tmp_path)).read_text()
    assert "| loss/task | 1 |" in text
    assert "| val/top1 | 0.3 |" in text
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_gradient_norms_have_a_panel_of_their_own_where_there_are_any(tmp_path: Path) -> None:
    line = {"step": 1, "train/epoch": 0.5, "loss/task": 2.0}
    widths = []
    for values in ({}, {"grad_norm/task": 1.0, "grad_norm/pixel": 0.5, "grad_cosine/pixel": -0.1}):
        draw_curves({"run": [{**line, **values}]}, tmp_path / "curves.png")
        header = (tmp_path / "curves.png").read_bytes()[16:20]
        widths.append(int.from_bytes(header, "big"))
    assert widths == [960, 2 * 960]  # 4.8 inches a panel, 200 dots an inch


def test_a_list_of_several_labels_has_map_and_no_order_is_claimed() -> None:
    one, other = result("student", 0.8), result("baseline", 0.7)
    one["metrics"], other["metrics"] = {"map": 0.625}, {"map": 0.5}
    assert comparison_table([one]).splitlines()[-1] == "| student | 62.5 | 1.234 | 10 | 100 of 102 |"
    assert describe_difference(one, other) == "student minus baseline: +12.5 points of mAP (one seed, error not known)."
    one["metrics"] = {"gap": 0.75, "map": 0.5}
    assert comparison_table([one, other]).splitlines()[2:] == [
        "| student | 75.0 | 50.0 | 1.234 | 10 | 100 of 102 |",
        "| baseline | - | 50.0 | 1.234 | 10 | 100 of 102 |",
    ]


def test_results_of_different_lists_are_refused_and_the_two_are_named() -> None:
    listed = {"split": "test", "manifest_hash": "ab" * 32}
    same = [{**result(name, 0.5), **listed} for name in ("teacher", "baseline", "student")]
    check_comparable(same)
    check_comparable(same[:1])
    other = {**same[2], "manifest_hash": "cd" * 32, "coverage": {"scored": 8, "listed": 9}}
    with pytest.raises(
        ValueError, match=r"found teacher on a list of 102 videos \(hash abababab\) and student on a list"
    ):
        check_comparable([*same[:2], other])
    with pytest.raises(
        ValueError, match="expected results on the same split, found teacher on test and student on val"
    ):
        check_comparable([same[0], {**same[2], "split": "val"}])
    with pytest.raises(ValueError, match="expected results on the same list"):
        check_comparable([same[0], {**result("old", 0.5), "split": "test"}])


def test_damaged_lines_of_metrics_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "loss/task": 2.0}\n\xff\xfe{\n[1]\n{"step": 2, "loss/task": "x"}\n{"step": 3, "lo')
    assert read_metrics(path) == [{"step": 1, "loss/task": 2.0}]
    assert "metrics.jsonl: 4 of 5 lines are damaged and left out" in caplog.text


@pytest.mark.parametrize("text", [b"", b"\0\n", b'{"step": 1, "loss/task": 2.0}\n', None])
def test_a_run_without_whole_metrics_has_a_picture_without_curves(
    text: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.jsonl"
    if text is not None:
        path.write_bytes(text)
    draw_curves({"run": read_metrics(path)}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (str(path) in caplog.text) == (text is None or b"step" not in text)


@pytest.mark.parametrize(
    "change",
    [{"name": 1}, {"metrics": []}, {"metrics": {"top1": "x"}}, {"coverage": {"scored": 1}}, {"gmacs_per_video": None}],
)
def test_a_result_with_a_part_of_another_kind_is_a_sentence(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "evaluation_test_student_last.json"
    path.write_text(json.dumps({**result("a", 0.5), "protocol": "one clip"}))
    assert read_result(tmp_path, None)["name"] == "a"
    path.write_text(json.dumps({**result("a", 0.5), "protocol": "one clip", **change}))
    with pytest.raises(ValueError, match=r"last.json: expected the result of an evaluation, found another .*again"):
        read_result(tmp_path, None)


@pytest.mark.parametrize("content", [b'{"name": "half', b"[]", b"\xff", b"[" * 100_000])
def test_a_damaged_result_is_a_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "evaluation_test_student_last.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"last.json: expected the result of .*run reskd evaluate again"):
        read_result(tmp_path, None)
