from __future__ import annotations

import platform
from pathlib import Path

import pytest

from dali_pipes.transcode import encode
from dali_pipes.transcode.encode import OutputSettings, reencode
from tests.conftest import numbered_clip


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names of x86 instruction sets")
@pytest.mark.parametrize("instructions", ["0", "SSE2", "SSSE3"])
def test_other_processors_write_the_same_bytes(
    instructions: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = numbered_clip(tmp_path / "source.mp4", "libx264", 12, height=240, width=320)
    settings = OutputSettings(short_side=96)
    reencode(source, tmp_path / "here.mp4", settings)
    options = encode._encoder_options(settings)
    options["x264-params"] += f":asm={instructions}"
    monkeypatch.setattr(encode, "_encoder_options", lambda _: options)
    reencode(source, tmp_path / "there.mp4", settings)
    assert (tmp_path / "here.mp4").read_bytes() == (tmp_path / "there.mp4").read_bytes()


def test_a_file_is_written_again_with_the_same_bytes(tmp_path: Path) -> None:
    source = numbered_clip(tmp_path / "source.mp4", "libx264", 12, height=240, width=320)
    written = set()
    for _ in range(30):
        reencode(source, tmp_path / "new.mp4", OutputSettings(short_side=96))
        written.add((tmp_path / "new.mp4").read_bytes())
    assert len(written) == 1
