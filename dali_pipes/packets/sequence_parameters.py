"""Read from an H.264 sequence parameter set whether pictures may be coded as fields.

Source: H.264 7.3.2.1.1 (ITU-T H.264), for profiles and syntax.
"""

from __future__ import annotations

from collections.abc import Iterable

_SEQUENCE_PARAMETERS = 7  # the type of such a unit
# Profiles whose parameter sets have chroma format, bit depths and scaling lists.
_HIGH_PROFILES = frozenset((44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244))
_444 = 3  # chroma_format_idc


class _Bits:
    """Reads bits; raises ValueError past the end."""

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        if count > self._left:
            raise ValueError("the parameter set ends early")
        self._left -= count
        return self._bits >> self._left & (1 << count) - 1

    def exp_golomb(self) -> int:
        """ue(v); H.264 9.1. A signed value's bits are as many."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def signed_exp_golomb(self) -> int:
        """se(v); H.264 9.1.1."""
        value = self.exp_golomb()
        return (value + 1) // 2 if value % 2 else -(value // 2)


def may_code_fields(units: Iterable[bytes]) -> bool:
    """Whether any of these H.264 units, its headers included, allows pictures that are coded as two fields.

    True also if there is no readable sequence parameter set.
    """
    found = [_frames_only(unit) for unit in units if unit and unit[0] & 31 == _SEQUENCE_PARAMETERS]
    return not found or not all(found)


def _frames_only(unit: bytes) -> bool:
    """frame_mbs_only_flag; False if the unit cannot be read."""
    bits = _Bits(unit[1:].replace(b"\0\0\3", b"\0\0"))
    try:
        profile = bits.read(8)
        bits.read(16)  # constraints, level
        bits.exp_golomb()  # seq_parameter_set_id
        if profile in _HIGH_PROFILES:
            _skip_high_profile(bits)
        bits.exp_golomb()  # log2_max_frame_num_minus4
        _skip_picture_order(bits)
        bits.exp_golomb()  # max_num_ref_frames
        bits.read(1)  # gaps_in_frame_num_value_allowed_flag
        bits.exp_golomb()  # pic_width_in_mbs_minus1
        bits.exp_golomb()  # pic_height_in_map_units_minus1
        return bool(bits.read(1))
    except ValueError:
        return False


def _skip_high_profile(bits: _Bits) -> None:
    chroma = bits.exp_golomb()
    if chroma == _444:
        bits.read(1)  # separate_colour_plane_flag
    bits.exp_golomb()  # bit_depth_luma_minus8
    bits.exp_golomb()  # bit_depth_chroma_minus8
    bits.read(1)  # qpprime_y_zero_transform_bypass_flag
    if bits.read(1):
        for number in range(12 if chroma == _444 else 8):
            if bits.read(1):
                _skip_scaling_list(bits, 16 if number < 6 else 64)


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    """H.264 7.3.2.1.1.1: once a next scale of 0 is read, no further values follow."""
    last = 8
    for _ in range(size):
        last = (last + bits.signed_exp_golomb()) % 256
        if not last:
            return


def _skip_picture_order(bits: _Bits) -> None:
    kind = bits.exp_golomb()
    if kind == 0:
        bits.exp_golomb()  # log2_max_pic_order_cnt_lsb_minus4
    elif kind == 1:
        bits.read(1)  # delta_pic_order_always_zero_flag
        bits.exp_golomb()  # offset_for_non_ref_pic
        bits.exp_golomb()  # offset_for_top_to_bottom_field
        for _ in range(bits.exp_golomb()):
            bits.exp_golomb()  # offset_for_ref_frame
