from __future__ import annotations

from reskd.statistics.metrics import LABEL_SET_METRICS, ArmSummary, MeanAndDeviation
from reskd.study.page.data import ReportArm
from reskd.study.page.tables import report_tables
from tests.reskd.study.example import ODD, study


def texts(heading: str) -> list[list[str]]:
    return [[cell.text for cell in row] for row in report_tables(study())[heading].rows]


def test_an_arm_has_its_metrics_costs_and_runs() -> None:
    rows = texts("Arms")
    numbers = ["80.0 +- 1.2", "50.0 +- 1.2", "50.0 +- 1.2", "1.250 +- 0.013"]
    assert rows[0] == ["student", *numbers, "4.40", "8.04", "31.5", "6 of 6"]
    assert rows[2] == ["teacher", "90.0", "50.0", "50.0", "1.250", "123", "41.0", "-", "3 of 3"]
    assert rows[4] == ["not run", *["-"] * 7, "0 of 6"]


def test_a_comparison_has_a_row_for_each_metric() -> None:
    rows = texts("Comparisons")
    assert [(row[1], row[2]) for row in rows[:4]] == [
        ("top-1", "better"),
        ("mAP", "undecided"),
        ("mean class accuracy", "worse"),
        ("log loss", "better"),
    ]
    assert rows[0][3:] == ["+3.1 points", "0.8 to 5.2", "1.1", "2 of 2"]
    assert rows[3][3:] == ["-0.123 nats", "-0.200 to -0.050", "0.040", "2 of 2"]
    assert rows[1][-1] == "1 of 2"
    assert rows[-1][:3] == ["not run minus baseline", "all", "none: its runs have not started"]
    assert len(rows) == 9


def test_gaps_and_failures_have_their_tables() -> None:
    assert texts("Share of the gap")[0][1:] == ["top-1", "62 %", "20 % to 104 %"]
    assert texts("Share of the gap")[1][1:] == ["mAP", "not defined", "the gap may be nothing"]
    assert texts("Runs that failed") == [[ODD, "seed 1, split 2", "diverged", f"loss is NaN in {ODD}"]]


def test_tables_without_rows_are_left_out() -> None:
    assert list(report_tables(study(comparisons=(), gaps=(), failures=()))) == ["Arms"]


def test_the_metrics_are_those_of_the_arms() -> None:
    values = {metric.name: MeanAndDeviation(0.5, None) for metric in LABEL_SET_METRICS}
    arm = ReportArm("student", ArmSummary(values, 1, 10, LABEL_SET_METRICS), 1, 1)
    table = report_tables(study(arms=(arm, ReportArm("not run", None, 0, 1))))["Arms"]
    assert table.titles[1:6] == ("GAP@20", "mAP", "Hit@1", "PERR", "log loss")
    assert [cell.text for cell in table.rows[0][1:6]] == ["50.0", "50.0", "50.0", "50.0", "0.500"]
    assert [cell.text for cell in table.rows[1][1:6]] == ["-"] * 5
