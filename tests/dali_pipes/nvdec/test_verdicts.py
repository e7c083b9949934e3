from __future__ import annotations

from pathlib import Path

import pytest

from dali_pipes.nvdec import verdicts
from dali_pipes.nvdec.verdicts import keep_verdicts, kept_verdicts


def test_verdicts_are_kept_for_each_gpu(tmp_path: Path) -> None:
    file = tmp_path / "new" / "nvdec.json"
    keep_verdicts("A, CUDA 12.8", {"vp9": True, "av1": False}, file=file)
    keep_verdicts("B, CUDA 12.8", {"av1": True}, file=file)
    assert kept_verdicts("A, CUDA 12.8", file=file) == {"vp9": True, "av1": False}
    assert kept_verdicts("B, CUDA 12.8", file=file) == {"av1": True}
    assert kept_verdicts("A, CUDA 13.0", file=file) == {}
    keep_verdicts("A, CUDA 12.8", {"av1": True}, file=file)
    assert kept_verdicts("A, CUDA 12.8", file=file) == {"vp9": True, "av1": True}


def test_another_dali_is_not_believed_to_do_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_verdicts("A", {"vp9": True}, file=tmp_path / "nvdec.json")
    monkeypatch.setattr(verdicts, "_dali", lambda: "DALI 99")
    assert kept_verdicts("A", file=tmp_path / "nvdec.json") == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"A": 1}', "[" * 100_000])
def test_a_damaged_file_proves_nothing_and_is_replaced(text: str, tmp_path: Path) -> None:
    file = tmp_path / "nvdec.json"
    file.write_text(text)
    assert kept_verdicts("A", file=file) == {}
    keep_verdicts("A", {"vp9": True}, file=file)
    assert kept_verdicts("A", file=file) == {"vp9": True}


def test_an_unknown_gpu_has_no_verdicts(tmp_path: Path) -> None:
    keep_verdicts("", {"vp9": True}, file=tmp_path / "nvdec.json")
    assert kept_verdicts("", file=tmp_path / "nvdec.json") == {}
