"""Files of weights: what is read, what is refused in one sentence, and that nothing in them ever runs."""

from __future__ import annotations

import argparse
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from reskd.models.weights.files import read_weight_file, write_safetensors

STATE = {"backbone.conv1.weight": torch.arange(24.0).view(2, 3, 2, 2), "head.bias": torch.ones(2, dtype=torch.float16)}


class _Evil:
    """Unpickled, it would make a file."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.witness,))


def _message(path: Path) -> str:
    with pytest.raises(ValueError, match=".") as caught:
        read_weight_file(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: expected ")
    assert len(message) < len(str(path)) + 500
    return message


def _zip_with_pickle(path: Path, data: bytes) -> None:
    """As torch.save writes it, around another pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare pickle"])
def test_code_in_a_file_is_not_run_and_named(kind: str, tmp_path: Path) -> None:
    witness, path = tmp_path / "witness", tmp_path / "evil.pth"
    content = {"state_dict": STATE, "meta": _Evil(witness)}
    if kind == "bare pickle":
        path.write_bytes(pickle.dumps({"meta": _Evil(witness)}))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    message = _message(path)
    assert re.search("which is code and was not run|more than tensors and plain values", message)
    assert "weights_only" not in message
    assert not witness.exists()


@pytest.mark.parametrize("name", ["getattr", "eval", "exec", "__import__"])
def test_builtins_are_not_called(name: str, tmp_path: Path) -> None:
    """getattr is in logs of mmengine and is read as nothing; then what it would have returned is not called either."""
    path = tmp_path / "evil.pth"
    # getattr(pathlib.Path, "touch") without pathlib: (GLOBAL builtins name) ("abc", "upper") REDUCE, then REDUCE ().
    data = b"\x80\x02cbuiltins\n" + name.encode() + b"\nX\x03\x00\x00\x00abcX\x05\x00\x00\x00upper\x86R)R."
    _zip_with_pickle(path, data)
    assert _message(path)


def test_a_log_of_mmengine_is_read_as_nothing(tmp_path: Path) -> None:
    """numpy scalars and arrays are in every checkpoint that mmengine's runner writes."""
    import numpy as np

    log = {"lr": np.float64(0.1), "history": np.arange(3), "mean": np.ndarray.mean}
    torch.save({"state_dict": STATE, "message_hub": log}, tmp_path / "epoch_1.pth")
    tensors = read_weight_file(tmp_path / "epoch_1.pth").tensors
    assert torch.equal(tensors["head.bias"], STATE["head.bias"])


@pytest.mark.parametrize("averaged", [True, False])
def test_a_checkpoint_of_timms_training_script_gives_its_averaged_weights(averaged: bool, tmp_path: Path) -> None:
    """Its arguments, a Namespace, are read as nothing."""
    mean = {name: value + 1 for name, value in STATE.items()}
    written = {"epoch": 3, "arch": "resnet18", "state_dict": STATE, "optimizer": {}, "version": 2, "metric": 71.0}
    written["args"] = argparse.Namespace(model="resnet18", lr=0.1, extra=argparse.Namespace(a=[1]))
    torch.save(written | ({"state_dict_ema": mean} if averaged else {}), tmp_path / "last.pth.tar")
    found = read_weight_file(tmp_path / "last.pth.tar")
    assert found.settings is None and found.class_names is None
    assert torch.equal(found.tensors["head.bias"], (mean if averaged else STATE)["head.bias"])
    assert found.source.endswith("last.pth.tar, averaged (state_dict_ema)" if averaged else "last.pth.tar")


def test_reading_leaves_torchs_list_of_safe_names_as_it_was(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    torch.save(STATE, tmp_path / "w.pth")
    read_weight_file(tmp_path / "w.pth")
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("part", [0, 0.01, 0.5, 0.97, 0.999])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_cut_short_is_refused(part: float, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"cut{suffix}"
    _write(path)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    assert "found one that" in _message(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"hello", b"\x00" * 4096, b"\xff" * 64, b"PK\x03\x04" + b"\x00" * 100])
def test_files_of_something_else_are_refused(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"other{suffix}"
    path.write_bytes(content)
    assert "found one that" in _message(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_with_any_byte_changed_is_read_or_refused_in_a_sentence(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"flipped{suffix}"
    _write(path)
    whole = path.read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            read_weight_file(path)
        except ValueError as error:
            assert "\n" not in str(error), error


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}, "meta": {}}, r"found a file with \['meta', 'state_dict'\]"),
        ({"state_dict": {"a": 3}}, r"found a file with \['a'\]"),
        ({3: torch.ones(1)}, r"found a file with \['3'\]"),
        ([1, 2], "expected a dictionary of tensors, found list"),
        (torch.ones(2), "expected a dictionary of tensors, found Tensor"),
        ({}, r"found a file with \[\]"),
    ],
)
def test_other_contents_are_refused(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "file.pt")
    with pytest.raises(ValueError, match=message):
        read_weight_file(tmp_path / "file.pt")


def test_no_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected a file of weights at .*, found none; check the path"):
        read_weight_file(tmp_path / "none.pth")


def test_a_checkpoint_of_ours_says_settings_and_classes(tmp_path: Path) -> None:
    torch.save(
        {"student": STATE, "config": {"student": {"backbone": "resnet18"}}, "class_names": ["a", "b"]}, tmp_path / "w"
    )
    file = read_weight_file(tmp_path / "w")
    assert (file.settings, file.class_names) == ({"backbone": "resnet18"}, ("a", "b"))


def test_safetensors_give_back_what_was_written(tmp_path: Path) -> None:
    shared = torch.ones(4)
    state = {
        "a": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "b": torch.tensor(7),
        "c": shared[:2],
        "d": shared,
        "e": torch.ones(2, dtype=torch.bfloat16),
    }
    write_safetensors(tmp_path / "x" / "w.safetensors", state, settings={"backbone": "resnet18"}, class_names=["a"])
    file = read_weight_file(tmp_path / "x" / "w.safetensors")
    assert set(file.tensors) == set(state)
    assert all(torch.equal(file.tensors[name], value) for name, value in state.items())
    assert (file.settings, file.class_names) == ({"backbone": "resnet18"}, ("a",))
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["w.safetensors"]


def test_safetensors_of_others_have_no_settings(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors")
    file = read_weight_file(tmp_path / "w.safetensors")
    assert (file.settings, file.class_names) == (None, None)


@pytest.mark.parametrize("notes", [{"settings": "{"}, {"settings": "3"}, {"class_names": "{}"}])
def test_safetensors_with_strange_notes_are_refused(notes: dict[str, str], tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors", notes)
    assert "found one that cannot be read" in _message(tmp_path / "w.safetensors")


def test_safetensors_without_tensors_are_refused(tmp_path: Path) -> None:
    save_file({}, tmp_path / "w.safetensors")
    assert "expected tensors, found none" in _message(tmp_path / "w.safetensors")


def _write(path: Path) -> None:
    if path.suffix == ".pth":
        torch.save(STATE, path)
    else:
        write_safetensors(path, STATE, settings={}, class_names=None)
