"""reskd analyze: the tables, the rows, and a sentence for what does not fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reskd.cli import run_tool
from reskd.commands import analyze
from reskd.profiling.flops import MacCount, PartCount
from reskd.profiling.measurement_rows import read_rows

MODEL = ["--model", "backbone=resnet18", "--frames", "2"]


def test_table_has_every_part_every_size_and_both_counts() -> None:
    parts = {"backbone": PartCount(3_000_000_000, 2_000_000), "head": PartCount(1_000_000_000, 500_000)}
    large = MacCount(4_000_000_000, 1_000_000_000, 400_000_000, 100_000_000, 2_500_000, parts)
    small = MacCount(
        2_000_000_000,
        0,
        0,
        0,
        2_500_000,
        {name: PartCount(part.macs // 2, part.parameters) for name, part in parts.items()},
    )
    table = analyze.flops_table({(4, 224, 224): large, (4, 112, 56): small}, 2)
    rows = {tuple(line.split()) for line in table.splitlines()}
    assert {
        ("part", "parameters,", "M", "224x224", "112x56"),
        ("backbone", "2.000", "3.000", "1.500"),
        ("head", "0.500", "1.000", "0.500"),
        ("total,", "GMACs", "2.500", "4.000", "2.000"),
        ("one", "frame", "by", "itself", "0.250", "0.188"),
        ("between", "frames", "1.000", "0.000"),
        ("=", "as", "the", "paper", "counts", "3.700", "2.000"),
        ("times", "less", "than", "first", "1.000", "2.000"),
    } <= rows


def test_many_sizes_in_one_call_square_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tool(analyze.main, ["flops", *MODEL, "--sizes", "64x96", "48", "--views", "3"]) == 0
    printed = capsys.readouterr().out
    assert "tsn resnet18, 2 frames, 3 view(s) a video" in printed
    assert "64x96  48x48" in printed


def test_a_config_gives_its_student_and_its_teacher(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["flops", "configs/demo/student.yaml", "data.views.student.size=40"]
    assert run_tool(analyze.main, arguments) == 0
    printed = capsys.readouterr().out
    assert "student: tsn resnet18, 4 frames, 1 view(s) a video" in printed
    assert "40x40" in printed
    assert "teacher: tsn resnet18" in printed


def test_settings_and_options_come_in_any_order(capsys: pytest.CaptureFixture[str]) -> None:
    config = "configs/ucf10/both_r18-8x96_r18-4x48.yaml"
    for arguments in (
        ["--stage", "baseline", config, "data.views.student.size=40"],
        [config, "--stage", "baseline", "data.views.student.size=40", "--views", "3"],
    ):
        assert run_tool(analyze.main, ["flops", *arguments]) == 1  # found, and told: the teacher's stage has its own
        assert "data.views.student.size in stage teacher" in capsys.readouterr().err
    arguments = [config, "--stage", "baseline", "data.views.student.num_frames=2", "--views", "3", "seed=2"]
    assert run_tool(analyze.main, ["flops", *arguments]) == 0
    assert "student: aggregated resnet18 and nextvlad, 2 frames, 3 view(s)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "required"), (["flop"], "choose from"), (["flops", "x.yaml", "--stag"], "--stag")],
)
def test_a_command_line_that_is_none_is_told_by_its_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        analyze.main(arguments)
    told = capsys.readouterr().err
    assert "usage:" in told and message in told


def test_numbers_of_frames_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["family=features", "groups={a: 6}", "aggregator.kind=netvlad", "classifier.kind=logistic"]
    sizes = ["aggregator.num_clusters=4", "aggregator.hidden_dim=8"]
    command = ["flops", "--frames", "30", "3", "--num-classes", "4716", "--model", *settings, *sizes]
    assert run_tool(analyze.main, command) == 0
    printed = capsys.readouterr().out
    assert "features netvlad on a, 30 and 3 frames, 1 view(s) a video" in printed
    assert "30x6    3x6" in printed
    assert "aggregator.groups.a_vlad" in printed
    assert run_tool(analyze.main, ["flops", *MODEL, "4", "--sizes", "32"]) == 0
    assert "2x32x32  4x32x32" in capsys.readouterr().out


def test_throughput_appends_a_row_a_size_and_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.csv"
    command = ["throughput", *MODEL, "--sizes", "32", "40x48", "--batch", "2", "--rounds", "2", "--device", "cpu"]
    assert run_tool(analyze.main, [*command, "--dry-run", "--csv", str(path)]) == 0
    assert not path.exists()
    assert run_tool(analyze.main, [*command, "--csv", str(path)]) == 0
    rows = read_rows(path)
    assert [(row["height"], row["width"], row["batch"]) for row in rows] == [
        ("40", "48", "2"),
        ("32", "32", "2"),
        ("40", "48", "1"),
        ("32", "32", "1"),
    ]
    assert {(row["backbone"], row["mode"], row["num_frames"]) for row in rows} == {("resnet18", "eager", "2")}
    assert float(rows[1]["times_largest"]) > 0
    assert "rows appended to" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected either a config or --model, found both or neither"),
        (["--model", "resnet50"], "--model: expected a setting of the form key.sub=value, found 'resnet50'"),
        (["--model", "backbone=resnet17"], "--model: backbone: should be 'resnet18'"),
        (["--model", "family=tsl", "backbone=resnet50"], "--model: family: expected one of tsn, tsm, slow_only"),
        (["--model", "family=swin"], "--model: backbone: expected a value, found none"),
        (["--model", "backbone=resnet18", "stage_strides=[2,2,2,2]"], "--model: stage_strides: expected 1 for the"),
        (
            ["--model", "aggregator=mean", "aggregator.kind=mean"],
            "--model: 'aggregator.kind=mean': aggregator is a value, not",
        ),
        ([*MODEL, "--sizes", "16"], "expected 32 x 32 pixels or more, found 16 x 16"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_tool(analyze.main, ["flops", *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("size", ["2x2x2", "big", "0"])
def test_a_size_that_is_none_is_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        analyze.main(["flops", *MODEL, "--sizes", size])
    assert f"found '{size.split('x')[0] if size == '0' else size}'" in capsys.readouterr().err


def test_scaling_gives_a_line_for_each_number_of_processes(capsys: pytest.CaptureFixture[str]) -> None:
    rates = "docs/results/scaling/h200_predicted.yaml"
    assert run_tool(analyze.main, ["scaling", rates, "--processes", "1", "8", "--clips", "1e9", "--steps", "5"]) == 0
    about, titles, *lines = capsys.readouterr().out.splitlines()
    assert "predictions, not measurements" in about
    assert titles.split()[-1] == "days" and "simulated clips/s" in titles
    assert [line.split()[:2] for line in lines] == [["1", "8"], ["8", "8"]]
    assert run_tool(analyze.main, ["scaling", rates, "--processes", "64", "--steps", "0"]) == 0
    assert "simulated" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such.yaml"], "no_such.yaml"),
        (["configs/demo/student.yaml"], "unknown key"),
        (["docs/results/scaling/h200_predicted.yaml", "--clips-per-step", "4"], "at least a clip for each of 8"),
    ],
)
def test_rates_that_are_none_are_one_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_tool(analyze.main, ["scaling", *arguments, "--processes", "1", "8", "--steps", "0"]) == 1
    assert message in capsys.readouterr().err


def test_documented_rates_of_many_gpus_are_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/scaling.md repeats the formulas' clips/s."""
    text = Path("docs/scaling.md").read_text()
    command = re.search(r"reskd analyze (scaling \S+h200_predicted.yaml[^\n]*)", text)
    assert command is not None
    assert run_tool(analyze.main, [*command[1].split(), "--steps", "0"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    for row in rows:
        found = re.search(rf"^\| {row[0]} \| (\d+) \|", text.replace(",", ""), re.MULTILINE)
        assert found is not None and float(found[1]) == pytest.approx(float(row[3]), rel=1e-3)
