"""Classify videos with an exported student. Needs onnxruntime, PyAV (av) and numpy, and nothing else.

    python run_onnx.py student.onnx clip.mp4 another.avi

prints a line of JSON for each video, with the keys of reskd predict --json, and a sentence on standard error: which
frames were used and, of a damaged file, where the damage begins. The exit code is 0 if any video was answered.

It reads one test view, as reskd predict --clips 1 --crops 1 does on a CPU: same frames, same pixels, and the frames
before a damage. docs/deploy.md says where the two differ. Your own program can call ``read_clip``.

Shape letters: T frames, H W height and width, C = 3 colors, K classes.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

COVERS = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
# By the number that H.273 gives a color matrix; all others count as BT.601.
MATRICES = {1: "ITU709", 4: "FCC", 7: "SMPTE240M", 9: "BT2020"}
# A playlist would make FFmpeg open other files, or the network.
PLAYLISTS = {"concat", "dash", "dvdvideo", "hls", "imf", "rtp", "rtsp", "sap", "sdp", "webm_dash_manifest"}
FORMATS = ",".join(sorted(av.formats_available - PLAYLISTS - {"avisynth", "vapoursynth"}))
ONE_FILE = {"format_whitelist": FORMATS, "protocol_whitelist": "file", "pattern_type": "none"}


class Clip(NamedTuple):
    """The frames of one view."""

    frames: np.ndarray  # uint8 RGB (T, H, W, C)
    valid: np.ndarray  # bool (T,), False for a frame that repeats an earlier one; a student with an aggregator takes it
    note: str  # what was read, as a sentence without its full stop


def main() -> None:
    import onnxruntime  # not by programs that only read clips

    if len(sys.argv) < 3:
        sys.exit("usage: run_onnx.py student.onnx VIDEO ...")
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["reskd"])
    names = [given.name for given in session.get_inputs()]
    num_answers = 0
    for video in sys.argv[2:]:
        try:
            clip = read_clip(video, about)
        except (ValueError, OSError, av.error.FFmpegError) as error:
            reason = getattr(error, "strerror", None) or str(error)  # FFmpeg's and the system's repeat the file's name
            print(json.dumps({"file": video, "error": " ".join(reason.split())}), flush=True)
            continue
        print(f"{video}: {clip.note}.", file=sys.stderr)
        given = dict(zip(names, (clip.frames[None], clip.valid[None]), strict=False))
        logits = session.run(["logits"], given)[0][0]
        print(json.dumps({"file": video, "answers": best_answers(logits, about)}), flush=True)
        num_answers += 1
    sys.exit(num_answers == 0)


def best_answers(logits: np.ndarray, about: Mapping[str, Any], count: int = 5) -> list[dict[str, Any]]:
    """The best classes, best first: class, score and logit, as reskd predict --json has them."""
    values = logits.astype(np.float64)
    divided = values / about.get("temperature", 1.0)
    powers = np.exp(divided - divided.max())
    scores = powers / powers.sum() if about["scores"] == "softmax" else 1 / (1 + np.exp(-divided))
    order = np.argsort(-values, kind="stable")[:count]
    return [{"class": about["class_names"][k], "score": float(scores[k]), "logit": float(values[k])} for k in order]


def read_clip(video: str, about: Mapping[str, Any], *, whole: bool = False) -> Clip:
    """Read the student's view of a video. The memory holds T frames, however long the video is.

    Args:
        about: the contents of config.json.
        whole: whole upright frames, for a server that crops and resizes.

    Raises:
        ValueError: the student takes other input, or the video has no usable frame.
        OSError, av.error.FFmpegError: the file does not open.
    """
    if "crop" not in about:
        raise ValueError("expected a student of videos, found one of features; give it to onnxruntime yourself.")
    if about["resize"]["antialias"]:
        raise ValueError("expected a student without antialias: true, which this script does not render; use reskd.")
    num_frames, damage = count_usable_frames(video)
    numbers, valid = choose_frames(about["frames"], num_frames)
    views: dict[int, np.ndarray] = {}
    opened = Video(video)
    with opened.container:
        reformatter, aspect = VideoReformatter(), 1.0
        for number, frame in enumerate(itertools.islice(opened.frames(), max(numbers) + 1)):
            if number == 0:
                size, turn = (frame.width, frame.height), orientation_of(frame)
                if about.get("pixel_aspect") == "display":
                    aspect = opened.pixel_aspect() ** (-1 if turn.transposed else 1)
            if number in numbers:
                picture = turn.upright(to_rgb(frame, size, reformatter))
                views[number] = picture if whole else resize(crop(picture, about["crop"], aspect), about["resize"])
    note = f"took the frames {', '.join(map(str, numbers))} of {num_frames}"
    if damage:
        note += f", those before its damage ({damage})"
    if whole and aspect != 1:
        note += "; its pixels are not square, but the server takes them for square"
    if about["test"]["test_clips"] * about["test"]["test_crops"] > 1:
        note += "; one view, where reskd predict averages several (give it --clips 1 --crops 1)"
    return Clip(np.stack([views[number] for number in numbers]), valid, note)


class Video:
    """A file whose best video stream is decoded from its first packet on, in one thread, and counted.

    Args:
        strict: damage raises an error; otherwise the decoder conceals much of it.
    """

    def __init__(self, path: str, *, strict: bool = False) -> None:
        if not Path(path).is_file():
            raise ValueError("no such file")
        self.container = av.open(str(Path(path).absolute()), "r", options=ONE_FILE, metadata_errors="ignore")
        streams = [stream for stream in self.container.streams.video if stream.codec_context is not None]
        if not streams:
            self.container.close()
            raise ValueError("no video stream that can be decoded")
        self.stream = min(streams, key=_rank)
        codec = self.stream.codec_context
        codec.options = {"err_detect": "explode"} if strict else {}
        codec.thread_type, codec.thread_count = "NONE", 1  # with threads, the frames before an error would vary
        aspect = self.stream.sample_aspect_ratio
        self._of_container = None if aspect == codec.sample_aspect_ratio else aspect
        self.num_promised = self.stream.frames  # as the file's header says; 0 if it does not
        self.num_packets = 0  # that should show a frame each
        self.num_frames = 0
        self.concealed: list[int] = []  # numbers of frames that the decoder partly made up
        self.is_cut = False  # a packet is incomplete
        self.error = ""  # FFmpeg's, which ended the decode

    def packets(self) -> Iterator[Any]:
        with contextlib.suppress(IndexError):  # PyAV's, at the end of a file in which damage looks like a new stream
            yield from self.container.demux(self.stream)

    def frames(self) -> Iterator[Any]:
        """The frames in order. Packets before the first keyframe may fail: a recording may begin between keyframes."""
        started, problem = False, None
        for packet in self.packets():
            started = started or packet.is_keyframe
            self.is_cut = self.is_cut or packet.is_corrupt
            self.num_packets += bool(packet.size) and not packet.is_discard
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                if started:
                    raise
                problem = error
                continue
            started = started or bool(frames)
            for frame in frames:
                self.concealed += [self.num_frames] * frame.is_corrupt
                self.num_frames += 1
                yield frame
        if problem is not None and not started:
            raise problem

    def pixel_aspect(self) -> float:
        """Width over height of a stored pixel, once the first frame is decoded; beyond 1:4 or 4:1 it is damage."""
        aspect = self._of_container or self.stream.codec_context.sample_aspect_ratio or self.stream.sample_aspect_ratio
        return float(aspect) if aspect and Fraction(1, 4) <= aspect <= 4 else 1.0


def _rank(stream: Any) -> tuple[bool, bool, int, int]:
    """Films before covers, the default stream first, then the largest picture."""
    kind = stream.disposition
    return bool(kind & COVERS), not kind & Disposition.default, -stream.width * stream.height, stream.index


def read_all(path: str, *, strict: bool) -> Video:
    """Decode all frames, and return what was counted."""
    video = Video(path, strict=strict)
    with video.container:
        try:
            for _ in video.frames():
                pass
        except av.error.FFmpegError as error:
            video.error = str(error.strerror)
    return video


def count_usable_frames(video: str) -> tuple[int, str]:
    """The number of frames before any damage, and what the damage is, or "".

    A decoder that takes each flaw for an error reads first. If it finds one, a lenient decoder reads: its frames count
    up to its own error, or up to the first one that it had to conceal.

    Raises:
        ValueError: there is none.
        OSError, av.error.FFmpegError: the file does not open.
    """
    found = strict = read_all(video, strict=True)
    if strict.error:
        found = read_all(video, strict=False)
    num_frames = found.num_frames
    damage = f"{found.error} after {num_frames} frames" if found.error else ""
    # FFmpeg's MPEG-4 decoder marks the last frame of some whole files as concealed.
    if found.concealed and found.concealed[0] < num_frames - (not found.is_cut):
        num_frames = found.concealed[0]
        damage = f"the decoder made up parts of pictures from frame {num_frames} on"
    elif strict.error and not damage and num_frames >= max(found.num_packets, found.num_promised):
        if strict.num_packets < found.num_packets:  # an error in the last packet is that of a cut file
            num_frames = strict.num_frames or num_frames
        damage = f"{strict.error} after {strict.num_frames} frames"
    if not damage and found.is_cut:
        damage = "its last packet is incomplete"
    elif not damage and num_frames < found.num_promised:
        damage = f"its header says {found.num_promised} frames, so it is probably cut"
    if num_frames == 0:
        raise ValueError(f"no whole frame: {damage or 'the stream is empty'}")
    return num_frames, damage


def to_rgb(frame: Any, size: tuple[int, int], reformatter: VideoReformatter) -> np.ndarray:
    """uint8 (H, W, C) as stored. Frames without tags count as BT.601 in limited range."""
    matrix = getattr(Colorspace, MATRICES.get(int(frame.colorspace), "ITU601"))
    is_full = int(frame.color_range) == 2 or frame.format.name.startswith("yuvj")
    colors = {"src_colorspace": matrix, "src_color_range": ColorRange.JPEG if is_full else ColorRange.MPEG}
    colors |= {"dst_colorspace": matrix, "dst_color_range": ColorRange.JPEG}
    if frame.interlaced_frame:  # PyAV 18 would convert its chroma field by field
        graph = Graph()
        graph.threads = 1
        source = graph.add_buffer(None, frame.width, frame.height, frame.format, time_base=Fraction(1, 25))
        graph.link_nodes(source, graph.add("setfield", mode="prog"), graph.add("buffersink")).configure()
        graph.vpush(frame)
        frame = graph.vpull()
    return reformatter.reformat(frame, *size, "rgb24", **colors, threads=1).to_ndarray()


class Turn(NamedTuple):
    """How a stored picture becomes upright: swap x and y, then reverse rows (step_y -1) and columns (step_x -1)."""

    transposed: bool = False
    step_y: int = 1
    step_x: int = 1

    def upright(self, stored: np.ndarray) -> np.ndarray:
        picture = stored.swapaxes(0, 1) if self.transposed else stored
        return picture[:: self.step_y, :: self.step_x]


def orientation_of(frame: Any) -> Turn:
    """The nearest quarter turn and mirror of a frame's display matrix, x' = a x + c y and y' = b x + d y."""
    try:
        matrix = bytes(frame.side_data[Type.DISPLAYMATRIX])
    except (KeyError, ValueError):  # there is none; or there is EXIF of a picture, which PyAV cannot name
        return Turn()
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].astype(float)
    if a * d == b * c:  # it flattens the picture
        return Turn()
    transposed = abs(a) + abs(d) < abs(b) + abs(c)
    y, x = (b, c) if transposed else (d, a)
    return Turn(transposed, -1 if y < 0 else 1, -1 if x < 0 else 1)


def choose_frames(frames: Mapping[str, Any], n: int) -> tuple[list[int], np.ndarray]:
    """The numbers of the T frames, and which of them are no repeats, for a video of ``n`` frames."""
    if frames["kind"] != "dense":
        numbers = [k * n // frames["of"] for k in frames["at"]]
        return numbers, np.diff(numbers, prepend=-1) > 0
    num_frames, stride = frames["num_frames"], frames["stride"]
    if frames["test_starts"] == "centers":
        start = max(n - num_frames * stride + 1, 0) // 2
    else:
        start = max(n - 1 - (num_frames - 1) * stride, 0) // 2
    wanted = [start + k * stride for k in frames["chosen"]]
    last = start + (n - 1 - start) // stride * stride
    numbers = [number % n if frames["short_video"] == "loop" else min(number, last) for number in wanted]
    if len(wanted) == num_frames:
        return numbers, np.array(wanted) < n
    return numbers, np.array([number not in numbers[:k] for k, number in enumerate(numbers)])


def crop(picture: np.ndarray, rule: Mapping[str, Any], pixel_aspect: float) -> np.ndarray:
    """The largest box of the view's aspect, times ``ratio``, in the center."""
    height, width = picture.shape[:2]
    aspect = rule["aspects"][1] / pixel_aspect  # width over height, in stored pixels
    box_height = max(1, round(min(height, width / aspect) * rule["ratio"]))
    box_width = max(1, round(min(width, height * aspect) * rule["ratio"]))
    y, x = (height - box_height) // 2, (width - box_width) // 2
    return picture[y : y + box_height, x : x + box_width]


def resize(picture: np.ndarray, rule: Mapping[str, Any]) -> np.ndarray:
    """OpenCV's bilinear resize, to each size in turn: weights in 2048ths, rounded down twice."""
    values = picture.astype(np.int64)
    for height, width in rule["sizes"]:
        values = sum(values[:, at] * weight[:, None] for at, weight in _taps(width, values.shape[1])) >> 4
        rows = [values[at] * weight[:, None, None] >> 16 for at, weight in _taps(height, values.shape[0])]
        values = (sum(rows) + 2) >> 2
    return values.astype(np.uint8)


def _taps(size: int, length: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The two pixels that each new pixel takes, and their weights."""
    low, part = np.divmod(((np.arange(size) + 0.5) * (length / size) - 0.5).astype(np.float32), np.float32(1))
    pairs = ((low, 1 - part), (low + 1, part))
    return [(at.astype(int).clip(0, length - 1), np.rint(share * 2048).astype(int)) for at, share in pairs]


if __name__ == "__main__":
    main()
