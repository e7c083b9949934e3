from __future__ import annotations

import itertools
import random

import pytest

from dali_pipes.transcode.output_names import describe_renamed, plain_name, renamed_outputs


def names(*paths: str, recorded: dict[str, str] | None = None) -> list[str]:
    renamed = renamed_outputs(paths, recorded or {})
    return [renamed.get(path) or plain_name(path) for path in paths]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a.avi", "b.mov"], ["a.mp4", "b.mp4"]),
        (["a.avi", "a.mov"], ["a.avi.mp4", "a.mov.mp4"]),
        (["a.avi", "a.mp4"], ["a.avi.mp4", "a.mp4"]),
        (["a.MP4", "a.mp4"], ["a.MP4.mp4", "a.mp4"]),
        (["A.avi", "a.mov"], ["A.avi.mp4", "a.mov.mp4"]),
        (["x/a.avi", "y/a.mov"], ["x/a.mp4", "y/a.mp4"]),
        (["caf\u00e9.avi", "cafe\u0301.mov"], ["caf\u00e9.avi.mp4", "cafe\u0301.mov.mp4"]),
        (["a.avi", "a.mp4/b.avi"], ["a.avi.mp4", "a.mp4/b.mp4"]),
        (["a.1.avi", "a.1.mov", "a.2.avi"], ["a.1.avi.mp4", "a.1.mov.mp4", "a.2.mp4"]),
    ],
)
def test_names_that_would_be_the_same_become_longer(paths: list[str], expected: list[str]) -> None:
    for order in itertools.permutations(range(len(paths))):
        assert names(*(paths[n] for n in order)) == [expected[n] for n in order]


@pytest.mark.parametrize(
    "paths",
    [
        ["a.avi", "a.mov", "a.avi.mkv"],
        ["Run/a.avi", "run/a.avi"],
        ["a.mp4", "A.mp4"],
        ["a.avi", "a.mov", "a.avi.mp4", "a.mov.mp4"],
        ["./a.avi", "a.avi"],
    ],
)
def test_names_are_all_different_whatever_the_order(paths: list[str]) -> None:
    found = dict(zip(paths, names(*paths), strict=True))
    assert len({name.casefold() for name in found.values()}) == len(paths)
    for order in itertools.permutations(paths):
        assert dict(zip(order, names(*order), strict=True)) == found


def test_many_random_names_are_all_different() -> None:
    rng = random.Random(7)
    for _ in range(300):
        parts = ["a", "A", "a.mp4", "a.avi"]
        paths = {
            "/".join([rng.choice(parts) for _ in range(rng.randint(0, 2))] + [rng.choice("aAb") + rng.choice(
                [".avi", ".mp4", ".MP4", ".avi.mp4", ".mov", ".mp4.mp4"])])
            for _ in range(rng.randint(2, 12))
        }  # fmt: skip
        found = names(*paths)
        assert len({name.casefold() for name in found}) == len(paths)
        folders = {"/".join(name.split("/")[:n]).casefold() for name in found for n in range(1, name.count("/") + 1)}
        assert not folders & {name.casefold() for name in found}


def test_recorded_names_stay_and_are_not_given_again() -> None:
    assert names("a.avi", "a.mp4", recorded={"a.avi": "a.mp4"}) == ["a.mp4", "a.mp4.mp4"]
    assert names("a.mov", recorded={"a.avi": "a.mp4"}) == ["a.mov.mp4"]
    assert names("a.avi", "a.mov", recorded={"a.avi": "a.avi.mp4"}) == ["a.avi.mp4", "a.mov.mp4"]


def test_the_line_names_the_first_ones() -> None:
    assert describe_renamed({}) == []
    (line,) = describe_renamed({f"{n}.avi": f"{n}.avi.mp4" for n in range(5)})
    assert line.startswith("5 outputs get longer names") and "0.avi -> 0.avi.mp4" in line and "and 2 more" in line
