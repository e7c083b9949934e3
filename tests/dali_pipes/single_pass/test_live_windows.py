"""Streams: windows while they come, dropped frames, stops and new connections."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from dali_pipes.single_pass import live_windows
from dali_pipes.single_pass.live_windows import LiveWindow, LiveWindows, without_password
from dali_pipes.single_pass.windows import WindowClip
from tests.conftest import numbered_clip, read_number
from tests.dali_pipes.single_pass.test_windows import rule

NUM_FRAMES = 60  # 2.4 s


@pytest.fixture(scope="module")
def transport_stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return numbered_clip(tmp_path_factory.mktemp("stream") / "a.ts", "libx264", NUM_FRAMES).read_bytes()


@contextmanager
def fed_pipe(path: Path, content: bytes, *, stays_open: threading.Event | None = None) -> Iterator[str]:
    """A named pipe into which a thread writes ``content``; it closes it then, or when the event is set."""
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb", buffering=0) as pipe:
            try:
                pipe.write(content)
            except BrokenPipeError:
                return
            if stays_open is not None:
                stays_open.wait(30)

    threading.Thread(target=write, daemon=True).start()
    yield str(path)


@contextmanager
def served(content: bytes, times: int) -> Iterator[str]:
    """A TCP server that sends ``content`` to so many clients, hangs up each time, and is gone then."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(times):
                client, _ = server.accept()
                with client:
                    client.sendall(content)
            server.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def take_all(stream: LiveWindows) -> list[LiveWindow]:
    found = []
    while (window := stream.take()) is not None:
        found.append(window)
    return found


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waits between connections, and short limits."""
    monkeypatch.setattr(live_windows, "_LONGEST_WAIT_S", 0.0)
    monkeypatch.setattr(live_windows, "_GRACE_S", 0.2)
    monkeypatch.setattr(live_windows, "OPENING_S", 0.0)


def test_a_pipe_gives_windows_until_it_ends(tmp_path: Path, transport_stream: bytes, at_once: None) -> None:
    with (
        fed_pipe(tmp_path / "pipe", transport_stream) as source,
        LiveWindows(source, rule(0.4), timeout_s=20, retries=5) as stream,
    ):
        found = take_all(stream)
    assert stream.reason == "the stream ended"
    assert stream.counts.num_frames == NUM_FRAMES and stream.counts.num_connections == 1
    taken = sum(window.clip.num_frames for window in found)
    assert stream.has_ended and taken + stream.counts.num_dropped == NUM_FRAMES  # five whole windows, and the rest
    assert found[-1].clip.start_s == pytest.approx(2.0) and found[-1].clip.num_frames == NUM_FRAMES - 50
    for window in (one for one in found if one.clip.num_frames == 10):
        first = round(window.clip.start_s * 25)
        assert [read_number(frame)[0] for frame in window.clip.frames_THWC] == [first + k for k in (1, 3, 6, 8)]
        assert abs(window.time - time.time()) < 60


def test_a_slow_student_gets_the_newest_window_and_the_others_are_counted(
    tmp_path: Path, transport_stream: bytes, at_once: None
) -> None:
    with (
        fed_pipe(tmp_path / "pipe", transport_stream) as source,
        LiveWindows(source, rule(0.4), timeout_s=20, retries=0) as stream,
    ):
        stream._thread.join(timeout=30)  # as if the first answer took that long
        (window,) = take_all(stream)
    assert window.clip.start_s == pytest.approx(2.0)
    assert stream.counts.num_dropped == 50


def test_a_stream_that_stops_is_opened_again(transport_stream: bytes, at_once: None) -> None:
    with (
        served(transport_stream, times=3) as source,
        LiveWindows(source, rule(0.4), timeout_s=20, retries=2) as stream,
    ):
        found = take_all(stream)
    assert stream.counts.num_connections == 3 and stream.counts.num_frames == 3 * NUM_FRAMES
    assert {window.connection for window in found} <= {1, 2, 3} and found[-1].connection == 3
    assert stream.reason == "Connection refused"


def test_without_retries_the_first_end_is_the_end(transport_stream: bytes, at_once: None) -> None:
    with (
        served(transport_stream, times=2) as source,
        LiveWindows(source, rule(0.4), timeout_s=20, retries=0) as stream,
    ):
        take_all(stream)
    assert (stream.counts.num_connections, stream.reason) == (1, "the stream ended")


def test_a_silent_stream_ends_after_the_limit(tmp_path: Path, transport_stream: bytes, at_once: None) -> None:
    closing = threading.Event()
    with (
        fed_pipe(tmp_path / "pipe", transport_stream[: len(transport_stream) // 2], stays_open=closing) as source,
        LiveWindows(source, rule(0.2), timeout_s=1, retries=0) as stream,
    ):
        take_all(stream)
        closing.set()
    assert stream.reason.startswith(("no frame for", "no data for"))


def test_a_stream_that_is_no_video_is_one_sentence(tmp_path: Path, at_once: None) -> None:
    with (
        fed_pipe(tmp_path / "pipe", b"no video" * 100) as source,
        LiveWindows(source, rule(0.4), timeout_s=5, retries=0) as stream,
    ):
        assert take_all(stream) == []
    assert stream.reason == "Invalid data found when processing input"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: str(folder / "none"), "No such file"),
        (lambda folder: str(numbered_clip(folder / "a.mp4", "libx264", 3)), "found the file .*; give it as VIDEO"),
        (lambda folder: str(folder), "found the file"),
        (lambda folder: f"file://{folder}/a.mp4", "expected a stream of the network, found file://"),
    ],
)
def test_a_source_that_is_no_stream_is_refused(make: Callable[[Path], str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        LiveWindows(make(tmp_path), rule(1.0), timeout_s=1, retries=0)


def test_a_playlist_from_the_network_reads_no_local_file(tmp_path: Path, at_once: None) -> None:
    secret = numbered_clip(tmp_path / "secret.ts", "libx264", 30)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile://{secret}\n#EXT-X-ENDLIST\n".encode()
    head = b"HTTP/1.0 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n"
    with (
        served(head + playlist, times=1) as source,
        LiveWindows(source.replace("tcp:", "http:") + "/a.m3u8", rule(0.4), timeout_s=5, retries=0) as stream,
    ):
        assert take_all(stream) == []
    assert stream.counts.num_frames == 0


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://user:secret@camera:554/1", "rtsp://***@camera:554/1"),
        ("rtsp://camera/1@2", "rtsp://camera/1@2"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_passwords_are_not_shown(source: str, shown: str) -> None:
    assert without_password(source) == shown


def test_standard_input_is_a_stream(tmp_path: Path, transport_stream: bytes) -> None:
    code = (
        "from dali_pipes.single_pass.live_windows import LiveWindows\n"
        "from tests.dali_pipes.single_pass.test_windows import rule\n"
        "with LiveWindows('-', rule(0.4), timeout_s=20, retries=3) as stream:\n"
        "    while stream.take() is not None: pass\n"
        "print(stream.counts.num_frames, stream.reason)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=transport_stream, capture_output=True, check=True)
    assert done.stdout.decode() == f"{NUM_FRAMES} the stream ended\n"


@pytest.mark.parametrize(
    ("outcomes", "retries", "num_opened"),
    [
        ("fffff.", 1, 6),  # frames each time: the count begins again
        ("f.f.f..", 2, 7),
        ("...", 2, 3),
        ("f!", 5, 2),
    ],
)
def test_only_failures_in_a_row_end_a_stream(
    outcomes: str, retries: int, num_opened: int, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """f: frames, and then an end; .: no frame; !: an unforeseen error, which ends it."""
    opened: list[str] = []

    def read_once(self: LiveWindows) -> None:
        outcome = outcomes[len(opened)] if len(opened) < len(outcomes) else "."
        opened.append(outcome)
        if outcome == "!":
            raise KeyError("unforeseen")
        self.counts.num_frames += 10 * (outcome == "f")

    monkeypatch.setattr(LiveWindows, "_read_once", read_once)
    with LiveWindows("tcp://127.0.0.1:1", rule(0.4), timeout_s=20, retries=retries) as stream:
        assert take_all(stream) == []
    assert len(opened) == num_opened


def test_frames_of_overlapping_windows_are_dropped_once_or_not_at_all(at_once: None) -> None:
    """25 frames/s, windows of 4 s that begin each second."""

    def window(start_s: float, connection: int = 1) -> LiveWindow:
        clip = WindowClip(start_s, start_s + 4, np.zeros((2, 4, 4, 3), np.uint8), np.ones(2, bool), 100, 0)
        return LiveWindow(clip, 0.0, connection)

    stream = LiveWindows("tcp://127.0.0.1:1", rule(4.0), timeout_s=20, retries=0)
    for start_s in range(17):
        stream._offer(window(start_s))
        if start_s % 4 == 0:
            assert stream.take() is not None
    assert stream.counts.num_dropped == 0
    for start_s in range(17, 27):  # seconds 20 to 26 are in none that is taken
        stream._offer(window(start_s))
    assert stream.take() is not None
    assert stream.counts.num_dropped == 6 * 25
    stream._offer(window(0, connection=2))
    stream._offer(window(1, connection=2))
    assert stream.take() is not None
    assert stream.counts.num_dropped == 7 * 25
