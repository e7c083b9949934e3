"""reskd profile decode: rows and picture from a folder of clips; bad arguments refused in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from reskd.commands.profile import decode as profile_decode


def test_rows_carry_command_and_versions_and_are_drawn(
    make_folder: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = make_folder({"h264": ["libx264"]}, num_frames=24)
    arguments = ["--root", str(root), "--scan-cache", str(tmp_path), "--frames", "2", "--rounds", "1", "--clips", "2"]
    arguments += ["--batch", "2", "--workers", "1", "--candidates", "pyav", "dali-reader", "--out", str(tmp_path)]
    profile_decode.main(arguments)
    printed = capsys.readouterr().out
    assert "dali-reader: absent: DALI on cpu: codec h264 is not among" in printed
    lines = (tmp_path / "profile_decode.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(row["candidate"], row["num_frames"], row["wrong_frames"]) for row in rows] == [
        ("pyav", 2, 0),
        ("dali-reader", 2, None),
    ]
    assert rows[0]["command"].startswith(f"reskd profile decode --root .../{root.name} --scan-cache .../")
    assert rows[0]["environment"]["versions"]["av"] == rows[0]["av"]
    assert (tmp_path / "profile_decode.csv").read_text().count("\n") == 3
    assert (tmp_path / "profile_decode.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected either --manifest FOLDER or --root FOLDER"),
        (["--root", ".", "--candidates", "cv2"], "--candidates: expected some of reskd"),
        (["--root", ".", "--clips", "6"], "--clips: expected a multiple of --batch 4, found 6"),
        (["--make", "x", "--kinds", "av2"], "--kinds: expected some of h264-g12-no-b"),
        (["--manifest", "nowhere"], "expected a saved manifest in nowhere, found no manifest.json"),
    ],
)
def test_bad_arguments_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        profile_decode.main(arguments)


def test_too_few_videos_for_the_content_and_a_missing_csv_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--content: expected at least 2 videos in .*, found 0"):
        profile_decode.main(["--make", str(tmp_path), "--content", str(tmp_path)])
    with pytest.raises(ValueError, match="expected rows in .*profile_decode.csv, found none; measure first"):
        profile_decode.main(["--picture", "--out", str(tmp_path)])


def test_without_a_gpu_cuda_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match="--device cuda: expected a GPU that torch can use, found none"):
        profile_decode.main(["--root", ".", "--device", "cuda"])


def test_the_standard_files_are_found_again_as_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile_decode.main(["--make", str(tmp_path / "made"), "--kinds", "mjpeg", "--videos", "1"])
    assert "mjpeg: 1 clips, " in capsys.readouterr().out
    chosen = profile_decode.build_parser().parse_args(["--root", str(tmp_path / "made"), "--workers", "1"])
    ((files, folder),) = profile_decode.manifests(chosen, tmp_path / "scratch")
    assert files == "mjpeg" and (folder / "manifest.json").is_file()
