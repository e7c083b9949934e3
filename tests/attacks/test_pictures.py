"""A bounded number of the attack with pictures; ``python -m tests.attacks.pictures`` tries more."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import pytest

from dali_pipes.decode.picture_shape import upright
from tests.attacks.pictures import attack, draw
from tests.dali_pipes.shown_pictures import ORIENTATIONS, Storing, what_is_wrong


def test_pictures_come_out_right_whatever_their_storing_and_name(tmp_path: Path) -> None:
    assert attack(draw(6, seed=4), tmp_path, slow_tools=False) == []


@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(3, 4), None])
def test_a_wrong_orientation_or_shape_would_be_noticed(aspect: Fraction | None) -> None:
    shape = Storing(pixel_aspect=aspect)
    for stored, shown in itertools.product(ORIENTATIONS, repeat=2):
        picture = upright(Storing(112, 112, *stored).stored(), shown[0], mirrored=shown[1])
        assert (what_is_wrong(picture) == "") == (stored == shown)
    assert (what_is_wrong(shape.stored()) == "") == (aspect is None)


def test_many_cases_cover_all_orientations_decoys_and_names() -> None:
    cases = draw(300, seed=0)
    assert {(case.storing.rotation, case.storing.mirrored) for case in cases} == set(ORIENTATIONS)
    assert {case.decoy for case in cases} == {"", "before", "after"}
    assert len({case.name for case in cases}) == 300 and draw(300, seed=0) == cases
