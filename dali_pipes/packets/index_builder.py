"""Build the packet index of a file while its packets are read, or give the reason why it would not be exact."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np
from av.video.stream import VideoStream

from dali_pipes.packets.nal_units import header_settings
from dali_pipes.packets.packet_index import CODEC_TAG, HIDDEN, PACKET, PacketIndex, checksum
from dali_pipes.packets.picture_types import (
    DISPOSABLE,
    LEADING,
    OPEN_START,
    REORDERED,
    START,
    PictureKind,
    picture_reader,
)
from dali_pipes.packets.sequence_parameters import may_code_fields

# A Matroska block has a header, mostly of 4 bytes, between the position that FFmpeg reports and the data.
_LARGEST_BLOCK_HEADER = 16
# Containers (FFmpeg's names) that store presentation times, not only decoding times.
_WITH_PRESENTATION_TIMES = ("mov", "matroska", "flv", "mpegts", "nut")
_LOOKED_AT_UNDECODED = 8  # packets


class NotIndexableError(ValueError):
    """The file must be decoded as a whole; the message gives the reason."""


class PacketIndexer:
    """Records every non-empty packet; ``finish`` makes the index.

    Args:
        stream: stream as opened by FFmpeg.
        codec: FFmpeg's canonical name of the codec.
    """

    def __init__(self, stream: VideoStream, codec: str) -> None:
        self._stream = stream
        extradata = bytes(stream.codec_context.extradata or b"")
        self._codec = codec
        self._header_settings = header_settings(codec, extradata)
        self._read_kind = picture_reader(codec, extradata)
        self._problem = "" if self._read_kind else f"no index is made for codec {codec}"
        self._rows: list[tuple[int, int, int, int, int]] = []  # position, size, time stamp, checksum, hidden
        self._kinds: list[PictureKind] = []
        self._largest = b""
        self._largest_position = 0
        self.num_packets = 0
        self.num_hidden = 0

    def add(self, packet: av.Packet) -> None:
        self.num_packets += 1
        self.num_hidden += packet.is_discard
        if self._problem or self._read_kind is None:
            return
        position, pts = packet.pos, packet.pts
        if pts is None or position is None:
            self._problem = f"packet {self.num_packets - 1} has no {'time stamp' if pts is None else 'position'}"
        elif packet.is_corrupt:
            self._problem = f"packet {self.num_packets - 1} is corrupt"
        else:
            data = bytes(packet)
            self._rows.append((position, len(data), pts, checksum(data), HIDDEN if packet.is_discard else 0))
            self._kinds.append(kind := self._read_kind(data))
            if kind.problem:
                self._problem = f"{kind.problem} (packet {self.num_packets - 1})"
            # PyAV's has_sidedata takes as long as the rest of this method.
            if any(side.data_type == "new_extradata" for side in packet.iter_sidedata()):
                self._problem = f"the decoder's settings change at packet {self.num_packets - 1}"
            if len(data) > len(self._largest):
                self._largest, self._largest_position = data, position

    def is_interlaced(self) -> bool:
        """Whether pictures may be coded as fields, by the settings of header and packets before a problem."""
        of_packets = (unit for kind in self._kinds for unit in kind.settings)
        return self._codec == "h264" and may_code_fields([*self._header_settings, *of_packets])

    def time_stamps(self) -> list[int]:
        """Timestamps of the packets up to the first problem, in presentation order."""
        return sorted(row[2] for row in self._rows)

    def finish(
        self, file: BinaryIO, frame_pts: Sequence[int | None] | None, *, interlaced: bool = False
    ) -> PacketIndex:
        """Make the index.

        Args:
            file: the video's bytes, to find where a packet's data begins.
            frame_pts: timestamps of all frames of a full decode, in output order; then the bytes of all packets are
                checked again. None: the file was not decoded, and the bytes of only a few packets are checked.
            interlaced: whether the decoder flags the first frame as interlaced.

        Raises:
            NotIndexableError: packets and frames do not map one to one in the order of their timestamps, decoding
                cannot start at the first packet, settings change within the stream, or a packet is not contiguous.
        """
        if self._problem or not self._rows:
            raise NotIndexableError(self._problem or "there is no packet")
        if interlaced and self._codec == "mpeg4":
            # With packets left out, FFmpeg's decoder gives B-frames other pixels, and no error.
            raise NotIndexableError("its MPEG-4 pictures are interlaced")
        position_P, size_P, pts_P, checksum_P, hidden_P = np.array(self._rows, np.int64).T
        coded_of_number = np.argsort(pts_P, kind="stable")
        if (np.diff(pts_P[coded_of_number]) == 0).any():
            raise NotIndexableError("two packets have the same time stamp")
        shown_pts = pts_P[coded_of_number][hidden_P[coded_of_number] == 0]
        if frame_pts is not None and list(frame_pts) != shown_pts.tolist():
            raise NotIndexableError("the frames that come out are not the packets in the order of their time stamps")
        number_P = np.empty_like(coded_of_number)
        number_P[coded_of_number] = np.arange(len(number_P))
        if frame_pts is None:
            self._check_times(number_P)
        flags_P = _mark_leading(self._flags() | hidden_P, number_P)
        if not flags_P[0] & (START | OPEN_START):
            raise NotIndexableError("decoding cannot start at the first packet")
        position_P += self._data_offset(file)
        every = 1 if frame_pts is not None else -(-len(position_P) // _LOOKED_AT_UNDECODED)
        _check_bytes(file, position_P[::every], size_P[::every], checksum_P[::every])
        packets_P = _pack(
            gap=position_P - np.concatenate(([0], (position_P + size_P)[:-1])),
            size=size_P,
            shift=number_P - np.arange(len(number_P)),
            flags=flags_P,
            checksum=checksum_P,
        )
        return PacketIndex(packets_P, make_codec_header(self._stream))

    def _check_times(self, number_P: np.ndarray) -> None:
        """Check, without a decode, that the timestamps can be the presentation order."""
        in_order = bool((number_P == np.arange(len(number_P))).all())
        reordered = any(kind.flags & REORDERED for kind in self._kinds)
        stored = self._stream.container.format.name.startswith(_WITH_PRESENTATION_TIMES)
        starts = [number for number, kind in enumerate(self._kinds) if kind.flags & (START | OPEN_START)]
        latest_P = np.maximum.accumulate(number_P)
        if reordered == in_order or (reordered and not stored) or (latest_P[starts] != number_P[starts]).any():
            raise NotIndexableError("the presentation order is unknown without a scan that decodes")

    def _flags(self) -> np.ndarray:
        """Flags of all packets; raises NotIndexableError if the decoder's settings change between starts."""
        top_layer = max(kind.layer for kind in self._kinds)
        changed = any(set(kind.settings) - self._header_settings for kind in self._kinds)
        first = self._kinds[0].settings
        for number, kind in enumerate(self._kinds if changed else ()):
            if kind.settings != (first if kind.flags & (START | OPEN_START) else ()):
                raise NotIndexableError(f"the decoder's settings change at packet {number}")
        kept = ~REORDERED
        return np.array([kind.flags & (kept & ~DISPOSABLE if kind.layer < top_layer else kept) for kind in self._kinds])

    def _data_offset(self, file: BinaryIO) -> int:
        """Number of bytes from the position that FFmpeg reports to the data."""
        file.seek(self._largest_position)
        offset = file.read(len(self._largest) + _LARGEST_BLOCK_HEADER).find(self._largest)
        if offset < 0:
            raise NotIndexableError("the bytes of a packet do not lie in one piece")
        return offset


def _check_bytes(file: BinaryIO, position_P: np.ndarray, size_P: np.ndarray, checksum_P: np.ndarray) -> None:
    for position, size, expected in zip(position_P.tolist(), size_P.tolist(), checksum_P.tolist(), strict=True):
        file.seek(position)
        if checksum(file.read(size)) != expected:
            raise NotIndexableError("the bytes of a packet do not lie in one piece")


def _mark_leading(flags_P: np.ndarray, number_P: np.ndarray) -> np.ndarray:
    """Mark as LEADING only pictures that follow an OPEN_START in the stream and precede it in presentation order."""
    coded_P = np.arange(len(flags_P))
    last_start_P = np.maximum.accumulate(np.where(flags_P & (START | OPEN_START), coded_P, 0))
    leads_P = (flags_P[last_start_P] & OPEN_START != 0) & (number_P < number_P[last_start_P])
    if (leads_P & (flags_P & LEADING == 0)).any():
        raise NotIndexableError("timestamps put a picture before one that it refers to")
    return np.where(leads_P, flags_P, flags_P & ~LEADING)


def _pack(**columns: np.ndarray) -> np.ndarray:
    packets_P = np.empty(len(columns["size"]), PACKET)
    for name, values in columns.items():
        packets_P[name] = values
        if (packets_P[name] != values).any():
            raise NotIndexableError(f"the {name} of a packet is too large for the index")
    return packets_P


def make_codec_header(stream: VideoStream) -> bytes:
    """Make a Matroska file with the stream's header and one empty packet; equal streams give equal bytes.

    Raises:
        NotIndexableError: Matroska cannot store the stream.
    """
    file = io.BytesIO()
    try:
        with av.open(file, "w", format="matroska", container_options={"fflags": "bitexact"}) as container:
            copy = container.add_stream_from_template(stream, opaque=True)
            copy.metadata.clear()
            # FFmpeg's MPEG-4 and MJPEG decoders depend on it, and Matroska does not store it.
            copy.metadata[CODEC_TAG] = stream.codec_context.codec_tag.encode("ascii").hex()
            packet = av.Packet(b"\0")  # FFmpeg does not open a file without packets
            packet.pts = packet.dts = 0
            packet.time_base = Fraction(1, 1000)
            packet.stream = copy
            container.mux(packet)
    except (av.error.FFmpegError, ValueError) as error:
        raise NotIndexableError(f"Matroska cannot store its header: {error}") from error
    return file.getvalue()
