"""Find out from the numbers in H.264 slices whether pictures are missing that others refer to.

A decoder makes up a missing reference from what it decoded last, without an error. Source: ITU-T H.264 7.3.2.1.1, 7.3.3
and 7.4.3 (frame_num).
"""

from __future__ import annotations

from dali_pipes.packets.nal_units import header_settings, splitter

_WITH_CHROMA_FORMAT = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 134, 135, 138, 139))  # profiles
_SLICE_BYTES = 16  # more than the fields up to the number take


class _Bits:
    """Reads the bits of a NAL unit, without the bytes that prevent start codes."""

    def __init__(self, unit: bytes) -> None:
        data = unit.replace(b"\0\0\3", b"\0\0")
        self._text = f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}" if data else ""
        self._at = 0

    def fixed(self, num_bits: int) -> int:
        self._at += num_bits
        if self._at > len(self._text):
            raise ValueError("the unit ends")
        return int(self._text[self._at - num_bits : self._at] or "0", 2)

    def golomb(self) -> int:
        one = self._text.find("1", self._at)
        if one < 0:
            raise ValueError("the unit ends")
        num_zeros, self._at = one - self._at, one
        return self.fixed(num_zeros + 1) - 1

    def signed(self) -> int:
        value = self.golomb()
        return (value + 1) // 2 if value % 2 else -(value // 2)


class FrameNumbers:
    """Follows the numbers of a stream's pictures.

    Args:
        extradata: of the stream; it has the settings, unless the packets have them.
    """

    def __init__(self, extradata: bytes) -> None:
        self._split = splitter("h264", extradata)
        self._num_bits = 0  # of a number; 0: not known, or gaps are allowed
        self._has_planes = False
        self._previous: int | None = None
        for unit in header_settings("h264", extradata):
            if unit and unit[0] & 31 == 7:
                self._read_settings(unit)

    def are_missing_before(self, packet: bytes) -> bool:
        """Whether pictures that others refer to are missing between the last packet and this one."""
        for start, end in self._split(packet):
            header = packet[start]
            if header & 31 == 7:
                self._read_settings(packet[start:end])
            elif header & 31 in (1, 5) and self._num_bits:
                return self._follow(header, packet[start + 1 : min(end, start + _SLICE_BYTES)])
        return False

    def _follow(self, header: int, slice_header: bytes) -> bool:
        bits = _Bits(slice_header)
        try:
            for _ in range(3):  # first macroblock, type, parameters
                bits.golomb()
            bits.fixed(2 if self._has_planes else 0)
            number = bits.fixed(self._num_bits)
        except ValueError:
            return False
        previous = self._previous
        if header & 0x60:  # others refer to it
            self._previous = number
        if header & 31 == 5 or previous is None:
            return False
        return number not in (previous, (previous + 1) % (1 << self._num_bits))

    def _read_settings(self, unit: bytes) -> None:
        try:
            self._num_bits, self._has_planes = _read_sps(unit)
        except (ValueError, IndexError):
            self._num_bits = 0


def _read_sps(unit: bytes) -> tuple[int, bool]:
    """Number of bits of a picture's number (0 if gaps are allowed), and whether slices name a color plane."""
    bits, has_planes = _Bits(unit[4:]), False
    bits.golomb()
    if unit[1] in _WITH_CHROMA_FORMAT:
        chroma = bits.golomb()
        has_planes = bool(chroma == 3 and bits.fixed(1))
        bits.golomb(), bits.golomb(), bits.fixed(1)
        if bits.fixed(1):
            for number in range(12 if chroma == 3 else 8):
                _skip_scaling_list(bits, 16 if number < 6 else 64)
    num_bits = bits.golomb() + 4
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.fixed(1), bits.golomb(), bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb()
    gaps_allowed = bits.fixed(1)
    return 0 if gaps_allowed or num_bits > 16 else num_bits, has_planes


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    if not bits.fixed(1):
        return
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last
