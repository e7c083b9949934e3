from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dali_pipes.config import DataConfig
from tests.dali_pipes.manifest.test_build_cache import _manifests, builds, config  # noqa: F401


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a label's bit": lambda kept: flip(kept / "train/labels.npy", -4),
    "a row's bit": lambda kept: flip(kept / "train/rows.npy", -9),
    "a path's bit": lambda kept: flip(kept / "train/paths.npy", -1),
    "a class's name": lambda kept: flip(kept / "train/manifest.json", -200),
    "a message's bit": lambda kept: flip(kept / "about.json", -5),
    "half an array": lambda kept: os.truncate(kept / "train/rows.npy", 300),
    "an empty array": lambda kept: os.truncate(kept / "train/paths.npy", 0),
    "another array": lambda kept: np.save(kept / "train/labels.npy", np.zeros(3, np.int32)),
    "an array of objects": lambda kept: np.save(kept / "train/labels.npy", np.array([{}, 1], object)),
    "no array": lambda kept: (kept / "train/rows.npy").unlink(),
    "half a JSON": lambda kept: os.truncate(kept / "train/manifest.json", 80),
    "deep JSON": lambda kept: (kept / "train/manifest.json").write_text("[" * 100_000),
    "a JSON of another kind": lambda kept: (kept / "train/manifest.json").write_text("[]"),
    "binary JSON": lambda kept: (kept / "about.json").write_bytes(bytes(range(256))),
    "no JSON": lambda kept: (kept / "about.json").unlink(),
    "no split": lambda kept: (kept / "train").rename(kept / "other"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_manifests_are_made_again_with_one_line_said(
    damage: str,
    config: DataConfig,  # noqa: F811
    builds: list[int],  # noqa: F811
) -> None:
    first, said = _manifests(config)
    (kept,) = (config.root / ".reskd_scan" / "manifests").iterdir()
    DAMAGES[damage](kept)
    again, said_again = _manifests(config)
    assert len(builds) == 2
    assert np.array_equal(first.rows, again.rows) and first.content_hash == again.content_hash
    assert first.class_names == again.class_names
    (more,) = [message for message in said_again if message not in said]
    assert more.startswith(f"{kept}: the kept manifests are damaged and are made again (")
    _, said_last = _manifests(config)
    assert len(builds) == 2 and set(said_last) <= set(said)  # damaged files are named once


@pytest.mark.parametrize("change", ["cut", "longer", "gone"])
def test_manifests_whose_packet_indexes_changed_are_made_again(
    change: str,
    config: DataConfig,  # noqa: F811
    builds: list[int],  # noqa: F811
) -> None:
    first, _ = _manifests(config)
    (part,) = (config.root / ".reskd_scan").glob("*.packets")
    if change == "gone":
        part.unlink()
    else:
        part.write_bytes(part.read_bytes()[:-1] if change == "cut" else part.read_bytes() + b"1")
    again, _ = _manifests(config)
    assert len(builds) == 2 and again.content_hash == first.content_hash
    assert (again.rows["part"] >= 0).all()
