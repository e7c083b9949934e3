"""The shape of the code: short functions, small folders, no circles, a test where one looks for it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.structure import (
    PACKAGES,
    ROOT,
    circles,
    files_per_folder,
    folder_graph,
    functions,
    import_graph,
    module_name,
    source_files,
)
from tests.tested_elsewhere import TESTED_ELSEWHERE, TESTS_OF_SEVERAL_FILES

MAX_FILES = 16
MAX_LINES = 60
MAX_PARAMETERS = 6
MAX_FUNCTIONS_WITH_MORE = 8
MAX_ARROWS_IN_PIPELINE = 53


def test_no_folder_holds_more_files_than_one_can_survey() -> None:
    assert {folder: count for folder, count in files_per_folder().items() if count > MAX_FILES} == {}


def test_functions_fit_a_screen() -> None:
    assert [function for function in functions() if function.num_lines > MAX_LINES] == []


def test_few_functions_take_many_parameters() -> None:
    many = [function for function in functions() if function.num_parameters > MAX_PARAMETERS]
    assert len(many) <= MAX_FUNCTIONS_WITH_MORE, many


def test_neither_files_nor_folders_import_in_a_circle() -> None:
    assert circles(import_graph()) == []
    assert circles(folder_graph()) == []


def test_the_folders_of_the_pipeline_know_few_others() -> None:
    assert sum(map(len, folder_graph("dali_pipes").values())) <= MAX_ARROWS_IN_PIPELINE


@cache
def _imported_names() -> list[tuple[Path, str, str]]:
    """(importing file, module, name) of each import from one of the project's own modules."""
    own = {module_name(path) for path in source_files()}
    return [
        (path, str(node.module), alias.name)
        for path in source_files()
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in own
        for alias in node.names
        if f"{node.module}.{alias.name}" not in own
    ]


@pytest.mark.parametrize("folder", sorted(files_per_folder()))
def test_a_folder_says_what_it_holds_and_which_names_others_use(folder: str) -> None:
    if folder == "tools":
        return
    text = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text(encoding="utf-8")))
    assert text is not None
    sentence, _, listed = text.partition("For other folders:")
    assert sentence.strip().endswith((".", ":"))
    words = set(listed.replace(",", " ").replace(":", " ").split())
    files = {module_name(path): path.parent.as_posix() for path in source_files()}
    used = {name for path, module, name in _imported_names() if files[module] == folder != path.parent.as_posix()}
    missing = {name for name in used if not name.startswith("__")} - words
    assert not missing, f"name these in {folder}/__init__.py: {sorted(missing)}"


def _test_stems(folder: Path) -> set[str]:
    return {path.stem.removeprefix("test_") for path in (ROOT / "tests" / folder).glob("test_*.py")}


def _is_tested(path: Path) -> bool:
    """Whether tests/<folder>/ has test_<file>.py or test_<file>_<aspect>.py."""
    return any(stem == path.stem or stem.startswith(f"{path.stem}_") for stem in _test_stems(path.parent))


def test_a_source_file_has_its_test_at_the_same_path_or_names_another() -> None:
    sources = source_files("dali_pipes", "reskd", "benchmarks", "docs_site")  # tools only call the commands
    untested = {path.as_posix() for path in sources if path.name != "__init__.py" and not _is_tested(path)}
    assert untested == set(TESTED_ELSEWHERE)
    assert [test for test in TESTED_ELSEWHERE.values() if not (ROOT / "tests" / test).is_file()] == []


def test_a_test_lies_at_the_path_of_what_it_tests() -> None:
    lost = set()
    for package in PACKAGES:
        for path in sorted((ROOT / "tests" / package).rglob("test_*.py")):
            folder = path.parent.relative_to(ROOT / "tests")
            stem = path.stem.removeprefix("test_")
            sources = [source.stem for source in (ROOT / folder).glob("*.py")]
            if not any(stem == source or stem.startswith(f"{source}_") for source in sources):
                lost.add(path.relative_to(ROOT / "tests").as_posix())
    assert lost == set(TESTS_OF_SEVERAL_FILES)
