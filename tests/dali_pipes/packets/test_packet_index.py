"""Selection against a brute-force model of what refers to what, and reading of the selected bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dali_pipes.packets.packet_index import (
    HIDDEN,
    PACKET,
    ChangedFileError,
    checksum,
    read_packets,
    select,
    start_distances,
)
from dali_pipes.packets.picture_types import DISPOSABLE, LEADING, OPEN_START, START


@dataclass
class Stream:
    """Pictures in decoding order: flags, place on the screen, and the pictures that each refers to."""

    flags: list[int] = field(default_factory=list)
    number: list[int] = field(default_factory=list)
    refers: list[set[int]] = field(default_factory=list)

    def add(self, flags: int, number: int, refers: set[int]) -> int:
        self.flags.append(flags)
        self.number.append(number)
        self.refers.append(refers)
        return len(self.flags) - 1

    def packets(self, *, hidden: set[int] = frozenset()) -> np.ndarray:
        packets_P = np.zeros(len(self.flags), PACKET)
        packets_P["flags"] = [flag | HIDDEN * (index in hidden) for index, flag in enumerate(self.flags)]
        packets_P["shift"] = np.array(self.number) - np.arange(len(self.number))
        packets_P["size"] = 10
        return packets_P

    def needed(self, coded: int) -> set[int]:
        found, todo = set(), [coded]
        while todo:
            one = todo.pop()
            if one not in found:
                found.add(one)
                todo += self.refers[one]
        return found


@st.composite
def streams(draw: st.DrawFn, max_groups: int = 5) -> Stream:
    """Groups that begin closed or open; an open one has leading pictures, which may refer to the group before."""
    stream, shown = Stream(), 0
    before: list[int] = []  # references of the group before
    for group in range(draw(st.integers(1, max_groups))):
        is_open = draw(st.booleans()) if group else draw(st.sampled_from([False, False, True]))
        num_leading = draw(st.integers(0, 3)) if is_open and group else 0
        start = stream.add(OPEN_START if is_open else START, shown + num_leading, set())
        leading_references: list[int] = []
        for index in draw(st.permutations(range(num_leading))):
            disposable = draw(st.booleans())
            refers = {start, *leading_references, *before}
            one = stream.add(LEADING | (DISPOSABLE if disposable else 0), shown + index, refers)
            if not disposable:
                leading_references.append(one)
        shown += num_leading + 1
        references = [start]
        for _ in range(draw(st.integers(0, 4))):  # a reference and disposable pictures that are shown before it
            num_b = draw(st.integers(0, 3))
            references.append(stream.add(0, shown + num_b, set(references)))
            for index in range(num_b):
                stream.add(DISPOSABLE, shown + index, set(references))
            shown += num_b + 1
        before = references
    return stream


def decode(stream: Stream, kept: list[int], flush: list[bool], *, may_flush: bool) -> None:
    """A decoder that knows what it got since the last flush or closed start, and fails where that is not enough."""
    available: set[int] = set()
    for index, (coded, empties) in enumerate(zip(kept, flush, strict=True)):
        assert not (empties and (index == 0 or not may_flush))
        if empties or stream.flags[coded] & START:
            available = set()
        assert stream.refers[coded] <= available, f"picture {coded} of {kept} refers to {stream.refers[coded]}"
        available.add(coded)


@settings(max_examples=300, deadline=None)
@given(stream=streams(), data=st.data(), may_flush=st.booleans())
def test_what_is_kept_is_enough_and_nothing_idle(stream: Stream, data: st.DataObject, may_flush: bool) -> None:
    num_packets = len(stream.flags)
    hidden = set(data.draw(st.lists(st.integers(0, num_packets - 1), max_size=3)))
    shown = [coded for coded in np.argsort(stream.number).tolist() if coded not in hidden]
    if not shown:
        return
    wanted_T = data.draw(st.lists(st.integers(0, len(shown) - 1), min_size=1, max_size=5))  # unsorted, some twice
    selection = select(stream.packets(hidden=hidden), np.array(wanted_T), may_flush=may_flush)
    coded_of_number = np.argsort(stream.number)
    kept = coded_of_number[selection.number_K].tolist()
    wanted = [shown[frame] for frame in wanted_T]
    assert kept == sorted(set(kept))
    assert coded_of_number[selection.wanted_T].tolist() == wanted
    assert set().union(*(stream.needed(coded) for coded in wanted)) <= set(kept)
    assert not [coded for coded in kept if stream.flags[coded] & DISPOSABLE and coded not in wanted]
    decode(stream, kept, selection.flush_K.tolist(), may_flush=may_flush)
    assert np.sort(selection.number_K)[selection.rank_T].tolist() == selection.wanted_T.tolist()
    assert selection.rank_T.dtype == np.int32


def closed_groups(num_groups: int, size: int) -> np.ndarray:
    packets_P = np.zeros(num_groups * size, PACKET)
    packets_P["flags"][::size] = START
    packets_P["size"] = 10
    return packets_P


def test_groups_without_a_wanted_frame_are_left_out() -> None:
    selection = select(closed_groups(10, 12), np.array([5, 100]), may_flush=True)
    assert selection.number_K.tolist() == [0, 1, 2, 3, 4, 5, 96, 97, 98, 99, 100]
    assert not selection.flush_K.any()  # a closed start needs none


def test_an_open_start_is_used_only_where_the_decoder_can_be_emptied() -> None:
    packets_P = closed_groups(2, 4)
    packets_P["flags"][4] = OPEN_START
    assert select(packets_P, np.array([5]), may_flush=True).number_K.tolist() == [4, 5]
    assert select(packets_P, np.array([5]), may_flush=False).number_K.tolist() == [0, 1, 2, 3, 4, 5]
    selection = select(packets_P, np.array([1, 5]), may_flush=True)
    assert selection.number_K[selection.flush_K].tolist() == [4]


def test_a_file_that_begins_with_no_start_is_read_from_its_beginning() -> None:
    packets_P = closed_groups(1, 4)
    packets_P["flags"] = 0
    assert select(packets_P, np.array([2]), may_flush=True).number_K.tolist() == [0, 1, 2]


@pytest.mark.parametrize("frame", [-1, 24])
def test_a_frame_that_is_not_there_is_refused(frame: int) -> None:
    with pytest.raises(IndexError):
        select(closed_groups(2, 12), np.array([3, frame]), may_flush=True)


def test_hidden_frames_do_not_count() -> None:
    packets_P = closed_groups(1, 6)
    packets_P["flags"][:2] |= HIDDEN
    assert select(packets_P, np.array([0]), may_flush=True).number_K.tolist() == [0, 1, 2]


def test_distances_between_starts() -> None:
    assert list(start_distances(closed_groups(3, 5))) == [5, 5, 5]


class CountingFile(io.BytesIO):
    num_reads = 0
    num_bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        self.num_reads += 1
        data = super().read(size)
        self.num_bytes += len(data)
        return data


def make_file(sizes: list[int], gaps: list[int], seed: int = 0) -> tuple[bytes, np.ndarray]:
    """Random packets with other bytes (sound) in between."""
    rng = np.random.default_rng(seed)
    content, packets_P = b"", np.zeros(len(sizes), PACKET)
    packets_P["flags"] = START
    for index, (size, gap) in enumerate(zip(sizes, gaps, strict=True)):
        data = rng.bytes(size)
        content += rng.bytes(gap) + data
        packets_P[index] = (gap, size, 0, START, checksum(data))
    return content + rng.bytes(50), packets_P


def test_neighbors_are_read_together_and_far_ones_are_not() -> None:
    content, packets_P = make_file([100, 200, 50, 80, 70], [10, 300, 100_000, 0, 16_384])
    file = CountingFile(content)
    selection = select(packets_P, np.arange(5), may_flush=True)
    payloads = read_packets(file, selection)
    for data, position, size in zip(payloads, selection.position_K, selection.size_K, strict=True):
        assert data == content[position : position + size]
    assert file.num_reads == 2 and file.num_bytes < 20_000


def test_packets_that_lie_in_another_order_than_they_are_decoded_are_read() -> None:
    content, packets_P = make_file([100, 200], [0, 0])
    packets_P = packets_P[::-1].copy()
    packets_P["gap"] = [100, -300]  # the second lies before the first
    selection = select(packets_P, np.arange(2), may_flush=True)
    assert read_packets(io.BytesIO(content), selection) == [content[100:300], content[:100]]


@given(index=st.integers(0, 2), offset=st.integers(0, 99), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_a_changed_bit_of_a_read_packet_is_noticed(index: int, offset: int, bit: int) -> None:
    content, packets_P = make_file([100, 100, 100], [7, 7, 7])
    selection = select(packets_P, np.arange(3), may_flush=True)
    changed = bytearray(content)
    changed[int(selection.position_K[index]) + offset] ^= 1 << bit
    with pytest.raises(ChangedFileError, match=f"packet {index} of 3 is not the one that was scanned; scan again"):
        read_packets(io.BytesIO(changed), selection)


def test_a_file_that_ends_early_is_noticed_and_what_is_not_read_may_change() -> None:
    content, packets_P = make_file([100, 100, 100], [7, 7, 7])
    with pytest.raises(ChangedFileError, match="packet 2 of 3"):
        read_packets(io.BytesIO(content[:300]), select(packets_P, np.arange(3), may_flush=True))
    with pytest.raises(ChangedFileError, match="packet 0 of 1"):
        read_packets(io.BytesIO(b""), select(packets_P, np.array([2]), may_flush=True))
    assert len(read_packets(io.BytesIO(content[:120]), select(packets_P, np.array([0]), may_flush=True))) == 1


def test_the_index_has_13_bytes_a_packet() -> None:
    assert PACKET.itemsize == 13
