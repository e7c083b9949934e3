"""The frame of the project: what is promised in one place holds in the others."""

from __future__ import annotations

import csv
import os
import re
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import setuptools

import reskd
from reskd.environment import (
    DALIS,
    TESTED,
    TESTED_BY_CUDA,
    TESTED_FOR_DOCS,
    TESTED_FOR_EXPORT,
    TESTED_FOR_TIMM,
    TESTED_FOR_TRAINING,
    constraints,
    in_tested_range,
    installed_versions,
    requirements,
)

ROOT = Path(__file__).parents[1]
MAX_LINES = 320
# One letter of each pattern stands in brackets, so that this file does not match itself.
MACHINE_PATH = re.compile(r"(?<![\w.])/(hom[e]|roo[t]|wor[k]|User[s])/\w")
INDEX_ADDRESS = re.compile(
    r"index-ur[l]|--registr[y][ =]|^deb http[s]?:|py[p]i\.org|python[h]osted|npmj[s]\.", re.MULTILINE
)


def _tracked_texts() -> dict[str, str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: there is no list of tracked files")
    names = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    return {name: (ROOT / name).read_text(encoding="utf-8", errors="ignore") for name in names}


@pytest.mark.parametrize("pattern", [MACHINE_PATH, INDEX_ADDRESS], ids=["machine path", "index address"])
def test_tracked_files_name_no_machine_and_no_package_index(pattern: re.Pattern[str]) -> None:
    found = [f"{name}: {hit.group()}" for name, text in _tracked_texts().items() for hit in pattern.finditer(text)]
    assert not found


def _setup_arguments(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    captured: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: captured.update(arguments))
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    return captured


def test_setup_asks_for_exactly_the_tested_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = _setup_arguments(monkeypatch)
    assert arguments["install_requires"] == requirements()
    assert arguments["extras_require"]["train"] == requirements(TESTED_FOR_TRAINING)
    assert arguments["extras_require"]["export"] == requirements(TESTED_FOR_EXPORT)
    assert arguments["extras_require"]["timm"] == requirements(TESTED_FOR_TIMM)
    assert arguments["extras_require"]["docs"] == requirements(TESTED_FOR_DOCS)
    # make install takes them where it can, and goes on without them.
    assert not [name for name in arguments["extras_require"]["dev"] if name.startswith("efficientnet")]
    assert arguments["version"] == reskd.__version__
    assert {"reskd", "reskd.ops", "dali_pipes"} <= set(arguments["packages"])


def test_apex_is_never_a_requirement(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = _setup_arguments(monkeypatch)
    names = [*arguments["install_requires"], *arguments["extras_require"]["dev"]]
    names += (ROOT / "requirements/min.txt").read_text().split()
    assert not [name for name in names if name.startswith("apex")]
    assert not re.search(r"pip install[^\n]*\bapex\b", (ROOT / "Dockerfile").read_text())


def test_the_build_does_not_fetch_a_torch_of_its_own() -> None:
    requires = re.search(r"^requires = (.*)$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert requires is not None and "torch" not in requires.group(1)


def test_min_requirements_pin_the_oldest_tested_release_of_everything() -> None:
    pins = re.findall(r"^([\w-]+)==([\d.]+)", (ROOT / "requirements/min.txt").read_text(), re.MULTILINE)
    first_pins: dict[str, str] = {}
    for name, version in pins:
        first_pins.setdefault(name, version)
        assert in_tested_range(name, version)
    tested = TESTED | TESTED_FOR_TRAINING | TESTED_BY_CUDA["cuda12"] | TESTED_FOR_EXPORT | TESTED_FOR_TIMM
    assert list(first_pins) == list(tested)
    for name, version in first_pins.items():
        assert f"{version}.".startswith(f"{tested[name][0]}."), f"{name}: {version} is not of {tested[name][0]}"


def test_constraints_are_where_the_tested_ranges_end() -> None:
    lines = (ROOT / "requirements/constraints.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == constraints()


def test_this_environment_lies_in_the_tested_ranges() -> None:
    versions = {name: version for name, version in installed_versions().items() if name != "reskd"}
    assert sum(versions[name] is not None for name in DALIS) == 1
    assert [name for name, version in versions.items() if version is None and name not in DALIS] == []
    assert [name for name, version in versions.items() if version and not in_tested_range(name, version)] == []


def _make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _documents() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile", *sorted((ROOT / "docs").rglob("*.md"))]


def test_make_has_the_targets_that_the_documents_name() -> None:
    targets = _make_targets()
    assert {"help", "install", "demo", "test", "test-min", "lint", "doctor", "clean"} <= targets
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        commands = re.findall(r"^\s*(?:\$ )?make ((?:[a-z-]+ ?)+)", document.read_text(), re.MULTILINE)
        named = {word for command in commands for word in command.split()}
        assert named and named <= targets, f"{document.name}: {named - targets}"


@pytest.mark.parametrize("document", _documents(), ids=lambda path: path.name)
def test_tools_and_configs_that_a_document_names_exist(document: Path) -> None:
    named = set(re.findall(r"(?<![\w/])((?:tools|configs)/[\w./-]+\.(?:py|yaml))\b", document.read_text()))
    assert not [name for name in sorted(named) if not (ROOT / name).is_file()]


def test_the_site_installs_its_extra_and_what_settings_import() -> None:
    lines = (ROOT / "requirements/docs.txt").read_text().splitlines()
    of_settings = {name: TESTED[name] for name in ("pydantic", "pyyaml")}
    assert [line for line in lines if not line.startswith("#")] == requirements(TESTED_FOR_DOCS | of_settings)


def test_the_readme_shows_the_recorded_results_of_the_demo() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    with (ROOT / "docs/results/demo.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for model in ("teacher", "baseline", "student"):
        of_model = [row for row in rows if row["model"] == model]
        cells = [f"{100 * float(row['top1']):.1f}" for row in of_model] + [of_model[0]["gmacs_per_video"]]
        numbers = re.escape(" | ".join(cells))
        assert re.search(rf"^\| {model},.*\| {numbers} \|$", readme, re.MULTILINE), cells


def test_documents_show_the_recorded_results_of_the_main_study() -> None:
    """Every row with a spread repeats the arm's row in the report, and every interval is one of the report's."""
    report, arms = _report_of("ucf10_main")
    for document, num_rows in (("README.md", 3), ("docs/results/ucf10.md", len(arms))):
        text = (ROOT / document).read_text(encoding="utf-8")
        rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.count(" +- ") == 3]
        assert len(rows) == num_rows
        for row in rows:
            assert row[-5:] == arms[re.split(r"[, ]", row[0])[0]], document
        for interval in re.findall(r"-?\d+\.\d to -?\d+\.\d\b", text.partition("ten classes")[2]):
            assert f"| {interval} |" in report, interval


def test_the_papers_other_tables_show_the_recorded_results_of_their_studies() -> None:
    """As above, for each section of the document, which names its report."""
    text = (ROOT / "docs/results/ucf10_tables.md").read_text(encoding="utf-8")
    sections = text.split("\n## ")[1:]
    assert sections
    for section in sections:
        [name] = set(re.findall(r"\]\((\w+)/report\.md\)", section))
        report, arms = _report_of(name)
        rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.count(" | ") == 6]
        rows = [row for row in rows if row[1] != "arm"]
        assert rows and all(row[-5:] == arms[row[1]] for row in rows), name
        for difference, interval in re.findall(r"([+-][\d.]+)\*{0,2} \((-?[\d.]+ to -?[\d.]+)\)", section):
            assert re.search(rf"\| {re.escape(difference)} \w+ \| {re.escape(interval)} \|", report), difference


def _report_of(study: str) -> tuple[str, dict[str, list[str]]]:
    """The report as text; arm -> its top-1, mAP, log loss, GFLOPs, and milliseconds from file."""
    report = (ROOT / f"docs/results/{study}/report.md").read_text(encoding="utf-8")
    table = report.partition("\n## Arms\n")[2].partition("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines() if line.startswith("| ")
    ]
    return report, {row[0]: [row[column] for column in (1, 2, 4, 5, 7)] for row in cells[1:]}


def test_modules_stay_short_enough_to_read_at_once() -> None:
    paths = [path for folder in ("reskd", "dali_pipes", "tools") for path in (ROOT / folder).rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_ci_can_be_run_and_the_license_is_apache_2() -> None:
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert "make lint test" in (ROOT / ".ci/run").read_text()
    license = (ROOT / "LICENSE").read_text()
    assert "Apache License" in license and "Version 2.0, January 2004" in license
