from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dali_pipes.config import DataConfig
from dali_pipes.manifest import build as build_module
from dali_pipes.manifest import cache as cache_module
from dali_pipes.manifest.build import build_manifests, copy_split_table
from tests.conftest import numbered_clip


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    for name in ("a/0.mp4", "a/1.mp4", "b/0.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        numbered_clip(tmp_path / name, "libx264", 5)
    (tmp_path / "b" / "1.mp4").write_text("no video")
    (tmp_path / "list.csv").write_text("path,label\na/0.mp4,a\na/1.mp4,a\nb/0.mp4,b\nb/1.mp4,b\n")
    return DataConfig(
        root=tmp_path, train=Path("list.csv"), val_fraction=0, views={"student": {"size": 32, "source": "decoded"}}
    )


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that manifests are built and not taken from the store."""
    count: list[int] = []
    scan: Callable[..., Any] = build_module.scan

    def counted(*positional: Any, **keywords: Any) -> Any:
        count.append(1)
        return scan(*positional, **keywords)

    monkeypatch.setattr(build_module, "scan", counted)
    return count


def _manifests(config: DataConfig, **options: Any) -> tuple[Any, list[str]]:
    messages: list[str] = []
    options = {"seed": 0, "splits": ("train",), **options}
    return build_manifests(config, on_message=messages.append, **options)["train"], messages


def test_the_second_start_finds_the_manifest_and_says_how_many_files_are_damaged(
    config: DataConfig, builds: list[int]
) -> None:
    first, said = _manifests(config)
    again, said_again = _manifests(config)
    assert len(builds) == 1 and any("b/1.mp4: bad" in message for message in said)
    command = f"reskd prepare scan {shlex.quote(str(config.root))} --list list.csv"
    assert f"train: 1 of 4 files are damaged: 0 cut, 1 bad; to list them: {command}" in said_again
    how = f"each is decoded once, and what is found is kept in {config.root / '.reskd_scan'}"
    assert said[0] == f"scanning 4 new files: {how}"
    assert sorted(said_again) == sorted(message for message in said[1:] if "b/1.mp4" not in message)
    assert first.content_hash == again.content_hash and np.array_equal(first.rows, again.rows)
    assert again.dropped == first.dropped and again.folder is not None and first.folder is None


def test_damage_is_told_apart_from_what_is_worth_knowing(config: DataConfig) -> None:
    for number_of_start in (1, 2):
        damage: list[str] = []
        _, said = _manifests(config, on_damage=damage.append)
        assert len(damage) == 3 - number_of_start and damage[-1].startswith("train: 1 of 4 files are damaged")
        assert not any("bad" in message or "damaged" in message for message in said)


@pytest.mark.parametrize("change", ["file", "vanished", "list", "setting", "seed", "index"])
def test_whatever_changes_is_looked_at_anew(change: str, config: DataConfig, builds: list[int]) -> None:
    first, _ = _manifests(config)
    options: dict[str, Any] = {}
    if change == "file":
        numbered_clip(config.root / "a" / "1.mp4", "libx264", 7)
    elif change == "vanished":
        (config.root / "a" / "1.mp4").unlink()
        with pytest.raises(ValueError, match=r"list\.csv: expected its 4 videos .* 1 of them missing: a/1\.mp4; check"):
            _manifests(config)
        return
    elif change == "list":
        (config.root / "list.csv").write_text("path,label\na/0.mp4,a\nb/0.mp4,b\n")
    elif change == "setting":
        config = config.model_copy(update={"group_pattern": r"(\w)/"})
    elif change == "seed":
        options = {"seed": 1}
    elif change == "index":
        for part in (config.root / ".reskd_scan").glob("*.packets"):
            part.unlink()
    second, _ = _manifests(config, **options)
    assert len(builds) == 2
    assert (second.content_hash == first.content_hash) == (change in ("setting", "seed", "index"))


def test_folders_of_classes_are_walked_each_time(config: DataConfig, builds: list[int]) -> None:
    folders = config.model_copy(update={"train": "folders"})
    assert _manifests(folders)[0].num_listed == 4
    numbered_clip(config.root / "b" / "2.mp4", "libx264", 5)
    assert _manifests(folders)[0].num_listed == 5 and len(builds) == 2


def test_names_that_are_not_ascii_are_checked_file_by_file(config: DataConfig, builds: list[int]) -> None:
    (config.root / "a" / "1.mp4").rename(config.root / "a" / "\u00e9t\u00e9.mp4")
    (config.root / "list.csv").write_text("path,label\na/0.mp4,a\na/\u00e9t\u00e9.mp4,a\nb/0.mp4,b\n", encoding="utf-8")
    _manifests(config)
    _manifests(config)
    assert len(builds) == 1
    numbered_clip(config.root / "b" / "0.mp4", "libx264", 9)
    assert _manifests(config)[0].rows["num_frames"].tolist() == [5, 5, 9]


def test_a_store_that_cannot_be_written_keeps_nothing(
    config: DataConfig, builds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*positional: Any, **keywords: Any) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(json, "dumps", json.dumps)
    monkeypatch.setattr(Path, "replace", refuse)
    _manifests(config)
    _manifests(config)
    assert len(builds) == 2
    assert not list((config.root / ".reskd_scan" / "manifests").iterdir())


def test_a_store_of_the_version_before_is_scanned_again_at_the_next_start(
    config: DataConfig, builds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(cache_module, "SCHEMA_VERSION", 3)
        first, _ = _manifests(config)
    for table in (config.root / ".reskd_scan").glob("*.csv"):
        rows = table.read_text().split("\r\n")
        table.write_text("\r\n".join(row.rsplit(",", 6)[0] for row in rows), newline="")
        table.with_suffix(".crc32").unlink()
    again, _ = _manifests(config)
    assert len(builds) == 2 and again.folder is None
    assert again.rows.dtype == first.rows.dtype and again.content_hash == first.content_hash
    _manifests(config)
    assert len(builds) == 2


def test_a_bad_file_that_was_repaired_is_taken(config: DataConfig, builds: list[int]) -> None:
    first, _ = _manifests(config)
    assert [path for path, _ in first.dropped] == ["b/1.mp4"]
    numbered_clip(config.root / "b" / "1.mp4", "libx264", 5)
    again, said = _manifests(config)
    assert len(builds) == 2 and len(again) == 4 and again.dropped == ()
    assert not any("damaged" in message for message in said)


def test_a_bad_file_that_vanished_is_missed(config: DataConfig) -> None:
    _manifests(config)
    (config.root / "b" / "1.mp4").unlink()
    with pytest.raises(ValueError, match="found 1 of them missing: b/1.mp4"):
        _manifests(config)


def test_a_list_that_is_edited_during_the_scan_is_read_at_the_next_start(config: DataConfig, builds: list[int]) -> None:
    def edit(message: str) -> None:
        if message.startswith("scanning"):
            (config.root / "list.csv").write_text("path,label\na/0.mp4,a\nb/0.mp4,b\n")

    first = build_manifests(config, seed=0, splits=("train",), on_message=edit)["train"]
    copy_split_table(config, config.root / "splits.csv", seed=0, splits=("train",))
    assert "a/1.mp4" in (config.root / "splits.csv").read_text(), "the table is that of the first start"
    again, _ = _manifests(config)
    assert [first.path(number) for number in range(len(first))] == ["a/0.mp4", "a/1.mp4", "b/0.mp4"]
    assert [again.path(number) for number in range(len(again))] == ["a/0.mp4", "b/0.mp4"]
    _manifests(config)
    assert len(builds) == 2, "the third start takes what the second kept"
