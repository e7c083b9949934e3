"""Rows are appended, and never under the names of other columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from reskd.profiling.measurement_rows import aligned, append_rows, quantiles, read_rows


def test_rows_with_other_columns_are_refused_and_the_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "rows.csv"
    append_rows(path, [{"a": 1, "b": None}])
    append_rows(path, [{"a": 2, "b": "x,y"}])
    before = path.read_text()
    with pytest.raises(ValueError, match=r"rows.csv: expected the columns \['a', 'c'\], found \['a', 'b'\]"):
        append_rows(path, [{"a": 3, "c": 4}])
    assert path.read_text() == before
    assert read_rows(path) == [{"a": "1", "b": ""}, {"a": "2", "b": "x,y"}]


def test_quantiles_of_one_value_are_that_value() -> None:
    assert quantiles([3.0]) == (3.0, 3.0, 3.0)
    assert quantiles([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == (2.0, 3.5, 5.0)


def test_columns_are_aligned() -> None:
    assert aligned([["a", "bb"], ["ccc", "d"]]) == "  a  bb\nccc   d"
