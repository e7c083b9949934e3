"""The one rule that says whether a file is whole; scan, transcode, describe and predict use it.

Damage means that frames are missing or that the decoder made them up: the file is "cut". Note [Sound peculiarities]:

Fewer frames than packets, or than the header says, are no damage if the packets explain them:
- a packet stands for a dropped frame, or holds a hidden picture (``picture_types.count_pictures``), or an edit list
  leaves it out;
- a recording starts between keyframes, or its first keyframe has leading pictures: the pictures shown before the first
  one that decodes refer to pictures that the file lacks;
- two fields have a packet each;
- the header's count is wrong, and the container's own sizes show that the file is whole.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

import av
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from dali_pipes.decode.pyav import open_video
from dali_pipes.packets.frame_numbers import FrameNumbers
from dali_pipes.packets.picture_types import COUNTED_CODECS, PACKED, count_pictures
from dali_pipes.scan.container_size import read_container_size

# While opening a file, FFmpeg decodes some frames to learn what the first one tells: half of an index-only scan's time.
NO_PROBING = {"probesize": "32", "analyzeduration": "0"}
_EDITED = "mov,"  # FFmpeg's name of mp4 and related formats begins with this; only these have an edit list
_LONGEST_PADDING, _LARGEST_HEAD = 1 << 20, 64  # bytes
# Complaints of decoders about what is not part of the picture, or about pictures that the file lacks.
_NOT_ABOUT_PICTURES = re.compile(
    r"\bSEI\b|APP|user.?data|ICC|[Tt]imecode|mmco|co located|[Rr]ef|keyframe|\bPPS\b|\bVPS\b|unsupported tag"
)

_LONGER_THAN_FILE = "Truncating packet"  # FFmpeg on a packet whose size points behind the end of the file

Complaints = Sequence[tuple[int, str, str]]  # FFmpeg's log of errors: level, source, message


class FirstError(NamedTuple):
    """What a decoder that takes any damage for an error reports; ``num_frames`` came out before it."""

    num_frames: int
    message: str


class Verdict(NamedTuple):
    """What a reading found.

    Args:
        num_frames: usable frames.
        damage: what is damaged, a clause each; empty for a whole file.
        peculiarity: why a sound file's frames are not its packets one by one; or "".
    """

    num_frames: int
    damage: tuple[str, ...]
    peculiarity: str


class DamageCheck:
    """Takes every packet and frame of a file, in order, and judges it at the end.

    Args:
        stream: the stream that is read.
        decoded: whether all packets are decoded.
    """

    def __init__(self, container: av.container.InputContainer, stream: VideoStream, *, decoded: bool) -> None:
        self._format = container.format.name
        self._is_edited = self._format.startswith(_EDITED)
        self._stream = stream
        self._codec = stream.codec_context.codec.canonical_name
        self._decoded = decoded
        self._pts: list[int | None] = []  # of packets that show something
        self._num_packets = self._num_hidden = self._num_empty = self._num_second = 0
        self._incomplete: list[int] = []
        extradata = bytes(stream.codec_context.extradata or b"")
        self._numbers = FrameNumbers(extradata) if decoded and self._codec == "h264" else None
        self._first_gap: int | None = None  # the packet before which pictures are missing
        self._starts_with_key = True
        self._end = 0  # of the last packet, in the file
        self._positions: set[int | None] = set()  # of complete packets of an edited file, which may play them twice
        self._concealed: list[int] = []
        self._are_interlaced = True
        self._frame_pts: set[int | None] = set()
        self._first_pts: int | None = None
        self.num_frames = 0
        self.error = ""

    def add_packet(self, packet: av.Packet) -> None:
        """Take the next packet, which is not empty."""
        if not self._num_packets:
            self._starts_with_key = packet.is_keyframe
        if packet.is_corrupt:
            self._incomplete.append(self._num_packets)
        elif self._is_edited:
            self._positions.add(packet.pos)
        if self._first_gap is None and self._numbers and self._numbers.are_missing_before(bytes(packet)):
            self._first_gap = self._num_packets
        self._num_packets += 1
        self._end = (packet.pos or 0) + packet.size
        if packet.is_discard:
            self._num_hidden += 1
            return
        num_pictures = count_pictures(self._codec, bytes(packet)) if self._codec in COUNTED_CODECS else 1
        if num_pictures:
            self._pts.append(packet.pts)
            self._num_second += num_pictures > 1
        else:
            self._num_empty += 1

    def add_frame(self, frame: VideoFrame) -> None:
        """Take the next frame that came out."""
        if not self.num_frames:
            self._first_pts = frame.pts
        if frame.is_corrupt:
            self._concealed.append(self.num_frames)
        if self._are_interlaced:
            self._are_interlaced = frame.interlaced_frame
            self._frame_pts.add(frame.pts)
        self.num_frames += 1

    @property
    def _jumps(self) -> bool:
        """Whether an edit list leaves out packets, or plays them twice."""
        return self._num_hidden > 0 or (self._is_edited and len(self._positions) < self._num_packets)

    def judge(self, content: BinaryIO, complaints: Complaints, first_error: FirstError | None = None) -> Verdict:
        """Judge the file after its last packet.

        Args:
            content: the file's bytes.
            complaints: FFmpeg's errors while reading.
            first_error: of an earlier reading by a strict decoder.
        """
        num_early = self._count_early()
        # A second picture of a packet comes out with the next packet, a placeholder.
        num_silent = self._num_hidden + max(0, self._num_empty - self._num_second) + num_early
        num_shown = self._num_packets - num_silent
        num_second_fields = self._count_second_fields(num_shown) if not complaints else 0
        num_shown -= num_second_fields
        num_frames = self.num_frames if self._decoded else max(num_shown, min(1, self.num_frames))
        damage = [f"{self.error} after {num_frames} frames" if self._decoded else self.error] if self.error else []
        if self._decoded and num_frames < num_shown:
            damage.append(f"{num_frames} frames out of {self._num_packets} packets")
        if self._first_gap is not None and not self._jumps and not damage:
            damage.append(f"pictures that others refer to are missing before packet {self._first_gap}")
        damage += self._missing(content, num_frames, num_early, num_silent, is_damaged=bool(damage))
        damage += self._complained(content, complaints)
        # FFmpeg's MPEG-4 decoder marks the last frame of packed streams as concealed, but it is correct if all of its
        # packet is there.
        if self._concealed and self._concealed[0] < num_frames - (not self._incomplete):
            damage.append(f"the decoder concealed errors in {len(self._concealed)} frames from {self._concealed[0]}")
            num_frames = self._concealed[0]
        elif first_error and not damage and self._is_about_pictures(first_error):
            damage.append(f"the decoder finds errors after {first_error.num_frames} frames: {first_error.message}")
            num_frames = first_error.num_frames or num_frames
        return Verdict(num_frames, tuple(damage), self._peculiarity(num_early, num_second_fields))

    def _count_early(self) -> int:
        """Packets shown before the first frame that came out, in a file that may start between keyframes."""
        first = self._first_pts
        if first is None or None in self._pts:
            return 0
        return sum(pts < first for pts in self._pts if pts is not None)

    def _count_second_fields(self, num_shown: int) -> int:
        """Packets that can be the second field of the packet before them; without a decode, those without a time."""
        if not self._are_interlaced or not self.num_frames:
            return 0
        if not self._decoded:
            return min(self._pts.count(None), num_shown // 2)
        has_frame = [pts in self._frame_pts for pts in self._pts]
        all_follow = all(one or other for one, other in itertools.pairwise([False, *has_frame]))
        return max(0, num_shown - self.num_frames) if all_follow else 0

    def _missing(
        self, content: BinaryIO, num_frames: int, num_early: int, num_silent: int, *, is_damaged: bool
    ) -> list[str]:
        """Damage that header and container tell."""
        found = []
        promised = self._stream.frames
        counts = self._num_packets < promised
        size = read_container_size(content, self._format, self._stream.index, counts_packets=counts)
        if size.num_missing and not (self._is_edited and promised):  # then its packets tell
            found.append(f"the file ends {size.num_missing} bytes too early")
        elif self._incomplete and not self._is_edited:
            found.append(f"packet {self._incomplete[0]} is incomplete")
        if size.broken_at is not None:
            found.append(f"the container is damaged at byte {size.broken_at}")
        if size.num_packets is not None:
            if self._num_packets < size.num_packets:
                found.append(f"{self._num_packets} of {size.num_packets} packets can be read")
            return found
        num_seen = num_frames + num_silent
        if self._is_edited:
            num_seen = min(num_seen, len(self._positions)) if num_early == 0 else len(self._positions)
        if num_seen < promised and (
            is_damaged or found or not self._is_edited or _count_whole_samples(content, self._stream) < promised
        ):
            found.append(f"{num_frames} frames, but the header says {promised}")
        return found

    def _complained(self, content: BinaryIO, complaints: Complaints) -> list[str]:
        """The first error of the container's reader: it passes over what it cannot read."""
        readers = (self._format, *self._format.split(","))
        found = (
            message for _, source, message in complaints if source in readers or message.startswith(_LONGER_THAN_FILE)
        )
        if self._format == "flv" and self._ends_with_zeros(content):
            return []
        return [f"the container is damaged: {' '.join(message.split())}" for message in found][:1]

    def _ends_with_zeros(self, content: BinaryIO) -> bool:
        """Whether only zeros follow the last packet, its head, its trailer and a mark of the end."""
        content.seek(self._end + _LARGEST_HEAD)
        tail = content.read(_LONGEST_PADDING)
        return len(tail) < _LONGEST_PADDING and not tail.strip(b"\0")

    def _is_about_pictures(self, error: FirstError) -> bool:
        return self._starts_with_key and not self._jumps and not _NOT_ABOUT_PICTURES.search(error.message)

    def _peculiarity(self, num_early: int, num_second_fields: int) -> str:
        if self._num_second:
            return PACKED
        if num_second_fields:
            return "the two fields of a frame have a packet each"
        if num_early or not self._starts_with_key:
            return "it starts with pictures that refer to ones before the file"
        return "it has packets without a picture, for dropped or hidden frames" if self._num_empty else ""


def _count_whole_samples(content: BinaryIO, stream: VideoStream) -> int:
    """Count the packets of an mp4's stream in the file, including those that its edit list omits.

    FFmpeg hides packets that no edit needs; this count distinguishes them from packets missing in a truncated file.
    """
    content.seek(0)
    try:
        with open_video(content, options={**NO_PROBING, "ignore_editlist": "1"}) as container:
            packets = container.demux(container.streams[stream.index])
            return sum(packet.size > 0 and not packet.is_corrupt for packet in packets)
    except av.error.FFmpegError:
        return 0
