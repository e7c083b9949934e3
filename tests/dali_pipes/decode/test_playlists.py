"""Lists of other files, named like videos: nothing that they name is opened."""

from __future__ import annotations

import io
from pathlib import Path

import av
import pytest

from dali_pipes.decode.pyav import open_video
from dali_pipes.scan.probe import probe
from dali_pipes.transcode.encode import OutputSettings, reencode
from tests.conftest import numbered_clip

LISTS = {
    "a list (ffconcat)": "ffconcat version 1.0\nfile inner.mp4\n",
    "a playlist (m3u8)": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\ninner.mp4\n#EXT-X-ENDLIST\n",
    "a session description (sdp)": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "a manifest (mpd)": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet><Representation id="1" '
    'bandwidth="1"><BaseURL>inner.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "a playlist (asx)": '<asx version="3.0"><entry><ref href="inner.mp4"/></entry></asx>',
}


@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".avi", ""])
@pytest.mark.parametrize("kind", LISTS)
def test_a_list_of_other_files_is_refused_with_the_reason(kind: str, suffix: str, tmp_path: Path) -> None:
    numbered_clip(tmp_path / "inner.mp4", "libx264", 5)
    path = tmp_path / f"list{suffix}"
    path.write_text(LISTS[kind])
    reason = f"it is {kind}, which names other files: expected one video file"
    for decode in (True, False):
        assert probe(path, decode=decode).video_info.health == f"bad: does not open: {reason}"
    with pytest.raises(ValueError, match="which names other files"):
        open_video(io.BytesIO(path.read_bytes()))
    result = reencode(path, tmp_path / "out.mp4", OutputSettings())
    assert (result.frames_out, result.status) == (0, f"bad: does not open: {reason}")


def test_a_file_that_is_no_list_keeps_its_own_error(tmp_path: Path) -> None:
    # Not random bytes, which are a sound file of some format now and then.
    (tmp_path / "a.mp4").write_bytes(bytes(range(200, 256)) * 100)
    with pytest.raises(av.error.InvalidDataError):
        open_video(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"")
    with pytest.raises(av.error.InvalidDataError):
        open_video(tmp_path / "b.mp4")


@pytest.mark.parametrize("name", ["img%d.jpg", "img%03d.jpg", "img*.jpg", "img?.jpg", "{img1,img2}.jpg", "img[12].jpg"])
def test_a_name_is_no_pattern_of_other_names(name: str, tmp_path: Path) -> None:
    with open_video(numbered_clip(tmp_path / "a.mp4", "libx264", 1)) as container:
        picture = next(container.decode(video=0))
    for other in ("img1.jpg", "img2.jpg", "img001.jpg", "img002.jpg"):
        picture.save(tmp_path / other)
    (tmp_path / "img1.jpg").rename(tmp_path / name)
    with open_video(tmp_path / name) as container:
        assert sum(1 for _ in container.decode(video=0)) == 1
