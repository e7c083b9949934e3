from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from dali_pipes.synthetic import data_set
from dali_pipes.synthetic.data_set import Settings, choose_codec, make_data_set
from dali_pipes.synthetic.videos import CLASSES
from reskd.commands import make_demo_data

SMALL = ["--num-train", "6", "--num-test", "6", "--workers", "1", "--format", "mjpeg"]


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("demo") / "data"
    make_demo_data.main([str(out), *SMALL])
    return out


def test_lists_name_every_file_once_and_every_class_equally(demo: Path) -> None:
    for split in ("train", "test"):
        rows = _rows(demo / f"{split}.csv")
        assert list(rows[0]) == ["path", "label", "group"]
        assert Counter(row["label"] for row in rows) == dict.fromkeys(CLASSES, 1)
        listed = {row["path"] for row in rows}
        assert listed == {path.relative_to(demo).as_posix() for path in (demo / split).rglob("*.*")}
    assert (demo / "classes.txt").read_text().split() == list(CLASSES)


def test_no_group_is_in_both_lists(demo: Path) -> None:
    train, test = ({row["group"] for row in _rows(demo / f"{split}.csv")} for split in ("train", "test"))
    assert not train & test


def test_same_seed_same_hash_whatever_the_format_and_the_workers(demo: Path, tmp_path: Path) -> None:
    settings = Settings(seed=0, num_train=6, num_test=6, format="mixed")
    again = make_data_set(tmp_path / "again", settings, num_workers=2)
    first = json.loads((demo / "dataset.json").read_text())
    assert again["rendered_sha256"] == first["rendered_sha256"]
    assert again["encoded_sha256"] != first["encoded_sha256"]


def test_other_seed_other_hash(demo: Path, tmp_path: Path) -> None:
    settings = Settings(seed=1, num_train=6, num_test=6, format="mjpeg")
    other = make_data_set(tmp_path / "other", settings, num_workers=1)
    assert other["rendered_sha256"] != json.loads((demo / "dataset.json").read_text())["rendered_sha256"]


def test_mixed_is_mostly_h264_with_a_few_of_the_others() -> None:
    settings = Settings(seed=0, num_train=6, num_test=6, format="mixed")
    count = Counter(choose_codec(settings, f"train_{k:04d} level-upright") for k in range(4000))
    assert 0.03 < count["vp9"] / 4000 < 0.07
    assert 0.03 < count["mjpeg"] / 4000 < 0.07
    assert count.total() - count["vp9"] - count["mjpeg"] == count["h264"]


def test_the_same_data_set_is_left_alone(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (demo / "dataset.json").stat().st_mtime_ns
    make_demo_data.main([str(demo), *SMALL])
    assert "already holds this data set" in capsys.readouterr().out
    assert (demo / "dataset.json").stat().st_mtime_ns == before


def test_another_data_set_is_refused_and_replaced_with_overwrite(tmp_path: Path) -> None:
    out = tmp_path / "data"
    make_demo_data.main([str(out), *SMALL])
    with pytest.raises(FileExistsError, match=r"another demo data set.*--overwrite"):
        make_demo_data.main([str(out), *SMALL, "--seed", "1"])
    make_demo_data.main([str(out), *SMALL, "--seed", "1", "--overwrite"])
    assert json.loads((out / "dataset.json").read_text())["settings"]["seed"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_data_set_with_a_missing_file_is_not_taken_for_whole(tmp_path: Path) -> None:
    out = tmp_path / "data"
    make_demo_data.main([str(out), *SMALL])
    next(out.rglob("*.avi")).unlink()
    with pytest.raises(FileExistsError, match="missing files"):
        make_demo_data.main([str(out), *SMALL])


def test_a_folder_of_someone_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not lose me")
    with pytest.raises(FileExistsError, match="found something else"):
        make_demo_data.main([str(tmp_path), *SMALL, "--overwrite"])
    assert (tmp_path / "thesis.txt").exists()


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(data_set, "encode", full_disk)
    with pytest.raises(OSError, match="no space left"):
        make_demo_data.main([str(tmp_path / "data"), *SMALL])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-train", "50"], "multiple of 6.*found 50; try 48"),
        (["--num-test", "0"], "--num-test.*found 0; try 6"),
        (["--seed", "-1"], "--seed: expected 0 or more, found -1"),
    ],
)
def test_settings_out_of_range_are_named(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        make_demo_data.main([str(tmp_path / "data"), *arguments])


def test_preview_alone_writes_a_picture_and_no_data(tmp_path: Path) -> None:
    make_demo_data.main(["--preview", str(tmp_path / "classes.png")])
    assert [path.name for path in tmp_path.iterdir()] == ["classes.png"]
    assert (tmp_path / "classes.png").read_bytes().startswith(b"\x89PNG")
