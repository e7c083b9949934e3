from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from reskd.training.run_directory import (
    RunDirectory,
    check_same_experiment,
    config_hash,
    open_run_directory,
    with_former_settings,
    write_description,
)

CONFIG: dict[str, Any] = {
    "name": "x",
    "runs": "runs",
    "optimizer": {"lr": 0.1},
    "data": {"loader": {"num_workers": 2, "decoder": "auto"}},
}


def started(folder: Path) -> Path:
    run, _ = open_run_directory(folder, CONFIG, resume="auto", overwrite=False)
    write_description(run, CONFIG, {}, overwrite=False)
    run.last.write_bytes(b"weights")
    return folder


def changed(**changes: Any) -> dict[str, Any]:
    return {**CONFIG, **changes}


def test_looking_writes_nothing(tmp_path: Path) -> None:
    assert open_run_directory(tmp_path / "x", CONFIG, resume="auto", overwrite=False)[1] is None
    assert not (tmp_path / "x").exists()


def test_auto_goes_on_from_last_and_a_path_from_there(tmp_path: Path) -> None:
    folder = started(tmp_path / "x")
    assert open_run_directory(folder, CONFIG, resume="auto", overwrite=False)[1] == folder / "last.pt"
    other = tmp_path / "other.pt"
    other.write_bytes(b"")
    assert open_run_directory(folder, CONFIG, resume=str(other), overwrite=False)[1] == other
    with pytest.raises(FileNotFoundError, match="expected auto, last, none or a checkpoint, found no file gone.pt"):
        open_run_directory(folder, CONFIG, resume="gone.pt", overwrite=False)


def test_a_lost_last_checkpoint_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = started(tmp_path / "x")
    (folder / "last.pt").rename(folder / "epoch_001.pt")
    assert open_run_directory(folder, CONFIG, resume="auto", overwrite=False)[1] is None
    assert f"{folder}/last.pt: expected it beside epoch_001.pt, found none; the run starts over." in caplog.text
    (folder / "last.pt").symlink_to("nowhere")
    with pytest.raises(ValueError, match=r"last\.pt: expected the last checkpoint, found a link to nothing"):
        open_run_directory(folder, CONFIG, resume="auto", overwrite=False)


def test_another_experiment_is_refused_by_the_settings_that_differ(tmp_path: Path) -> None:
    folder = started(tmp_path / "x")
    with pytest.raises(ValueError, match=r"1 settings differ: optimizer\.lr: 0\.1 there, 0\.2 now"):
        open_run_directory(folder, changed(optimizer={"lr": 0.2}), resume="auto", overwrite=False)


def test_a_run_goes_on_under_another_test_protocol(tmp_path: Path) -> None:
    folder = started(tmp_path / "x")
    data = {**CONFIG["data"], "sampling": {"test_clips": 10, "test_crops": 3}}
    assert open_run_directory(folder, changed(data=data), resume="auto", overwrite=False)[1] is not None


def test_a_run_of_before_the_pixel_aspect_goes_on_with_stored_pixels(tmp_path: Path) -> None:
    saved = {"data": {"kind": "clips", "root": "there"}}
    assert with_former_settings(saved)["data"]["pixel_aspect"] == "stored"
    now = {"data": {"kind": "clips", "root": "there", "pixel_aspect": "stored"}}
    check_same_experiment(now, saved, tmp_path)
    now["data"]["pixel_aspect"] = "display"
    with pytest.raises(ValueError, match=r"data\.pixel_aspect: 'stored' there, 'display' now"):
        check_same_experiment(now, saved, tmp_path)
    for other in ({"data": {"kind": "features"}}, now, {}):
        assert with_former_settings(other) == other


@pytest.mark.parametrize(
    ("key", "nothing", "other"),
    [
        ("data.val_pattern", None, "_g1"),
        ("data.split_seed", None, 1),
        ("data.augmentation.rand_augment", None, "x"),
        ("data.augmentation.color_jitter", None, "x"),
        ("data.augmentation.random_erasing", None, "x"),
        ("student.batch_norm", "batch_stats", "running_stats"),
        ("teacher.model.batch_norm", "batch_stats", "running_stats"),
        ("student.frozen_stages", 0, 2),
        ("teacher.model.frozen_stages", 0, 2),
        ("loss.auto_steps", 20, 40),
    ],
)
def test_a_run_of_before_a_setting_goes_on_where_it_changes_nothing(
    key: str, nothing: object, other: object, tmp_path: Path
) -> None:
    *groups, name = key.split(".")

    def settings(**values: object) -> dict[str, Any]:
        tree: dict[str, Any] = {"root": "there", **values}
        for group in reversed(groups):
            tree = {group: tree}
        return tree

    check_same_experiment(settings(**{name: nothing}), settings(), tmp_path)
    assert config_hash(settings(**{name: nothing})) == config_hash(settings())
    assert config_hash(settings(**{name: other})) != config_hash(settings())
    with pytest.raises(ValueError, match=rf"{re.escape(key)}: {nothing!r} there, {other!r} now"):
        check_same_experiment(settings(**{name: other}), settings(), tmp_path)


def test_settings_of_speed_may_change(tmp_path: Path) -> None:
    folder = started(tmp_path / "x")
    quicker = changed(data={"loader": {"num_workers": 8, "decoder": "auto"}})
    assert open_run_directory(folder, quicker, resume="auto", overwrite=False)[1] is not None
    assert config_hash(quicker) == config_hash(CONFIG)
    assert config_hash(changed(data={"loader": {"num_workers": 2, "decoder": "pyav"}})) != config_hash(CONFIG)


def test_diagnoses_begin_and_end_in_a_started_run(tmp_path: Path) -> None:
    folder = started(tmp_path / "x")  # of a version without the setting
    for every in (None, 5):
        diagnosed = changed(training={**CONFIG.get("training", {}), "diagnose_every_steps": every})
        assert open_run_directory(folder, diagnosed, resume="auto", overwrite=False)[1] is not None
        assert config_hash(diagnosed) == config_hash(CONFIG)


def test_overwrite_deletes_only_when_the_run_begins(tmp_path: Path) -> None:
    folder = started(tmp_path / "x")
    new = changed(optimizer={"lr": 0.2})
    run, checkpoint = open_run_directory(folder, new, resume="auto", overwrite=True)
    assert checkpoint is None
    assert run.last.exists()
    write_description(run, new, {}, overwrite=True)
    assert not run.last.exists()


@pytest.mark.parametrize("content", ["file", "folder"])
def test_what_is_no_run_is_never_written_into(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x"
    if content == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="expected a folder|is not empty and not a run's folder"):
        open_run_directory(path, CONFIG, resume="auto", overwrite=True)


def test_events_lie_in_the_folder_that_names_the_run_and_those_of_before_go_on_in_theirs(tmp_path: Path) -> None:
    assert RunDirectory(tmp_path / "x").tensorboard == tmp_path / "x"
    folder = started(tmp_path / "x")
    (folder / "tensorboard").mkdir()
    assert RunDirectory(folder).tensorboard == folder / "tensorboard"
    write_description(RunDirectory(folder), CONFIG, {}, overwrite=True)
    assert RunDirectory(folder).tensorboard == folder
