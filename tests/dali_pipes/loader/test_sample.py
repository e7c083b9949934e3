from __future__ import annotations

import pytest

from dali_pipes.loader.sample import FAULT_BYTES, FIELDS, MOST_REASONS, OUTPUTS, fields_for, pack_faults, unpack_faults

VIEWS = {"teacher_THWC", "student_THWC"}


@pytest.mark.parametrize(
    ("decoders", "rendered", "absent"),
    [
        ({"dali"}, (), {"raw_THWC", "is_encoded", *VIEWS}),
        ({"pyav"}, (), {"encoded", "is_encoded", "decode_index_T", "crop_start", "crop_shape", *VIEWS}),
        ({"pyav"}, ("student",), set(FIELDS) - {"student_THWC", *OUTPUTS}),
        ({"dali", "pyav"}, (), VIEWS),
        ({"dali", "pyav"}, ("teacher", "student"), {"raw_THWC"}),
    ],
)
def test_only_fields_that_the_graph_uses_are_shipped(
    decoders: set[str], rendered: tuple[str, ...], absent: set[str]
) -> None:
    assert set(FIELDS) - set(fields_for(frozenset(decoders), rendered)) == absent


def test_what_leaves_the_graph_is_shipped_for_every_clip() -> None:
    assert {name for name, field in FIELDS.items() if field.users == ("every",)} == set(OUTPUTS)


@pytest.mark.parametrize(
    "faults", [[], ["gone"], ["a" * 2 * FAULT_BYTES, 'a "b" \\ \u00e9', "c"], ["\n" * FAULT_BYTES] * 900]
)
def test_faults_have_one_size_and_keep_their_beginnings(faults: list[str]) -> None:
    packed = pack_faults(faults)
    assert packed.shape == (FAULT_BYTES,)
    found = unpack_faults(packed.tobytes())
    assert len(found) == min(len(faults), MOST_REASONS)
    assert all(one[0] == other[0].replace("\n", " ") for one, other in zip(found, faults, strict=False))
