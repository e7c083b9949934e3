from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from dali_pipes.jobs.map_files import make_engine, shard_of
from dali_pipes.scan.scan import scan
from dali_pipes.scan.store import read_video_info
from tests.conftest import numbered_clip


def _work(item: str) -> str:
    if item == "die":
        os._exit(9)
    return item.upper()


@pytest.fixture(scope="module")
def ray() -> Any:
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    ray.init(num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_a_ray_cluster_does_the_same_work_and_names_the_item_that_kills_its_process(ray: Any) -> None:
    engine = make_engine("ray")
    assert dict(engine(_work, ["a", "b", "die", "c"])) == {"a": "A", "b": "B", "c": "C", "die": None}
    with pytest.raises(AttributeError):
        list(engine(_work, [1]))  # type: ignore[list-item]


def _look(seconds: float, item: str) -> tuple[Path, str | None]:
    time.sleep(seconds)
    return Path.cwd(), os.environ.get("CUDA_VISIBLE_DEVICES") or None


@pytest.mark.slow
def test_items_on_ray_work_in_the_tools_folder_and_have_a_gpu_each_if_they_use_them(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two GPUs are made up: Ray shares out what it is told that there is."""
    monkeypatch.chdir(tmp_path)  # a cluster may have been started elsewhere
    found = dict(make_engine("ray", uses_gpus=True)(partial(_look, 0.5), list("abcd")))
    assert set(found.values()) == {(tmp_path, "0"), (tmp_path, "1")}
    assert {gpu for _, gpu in dict(make_engine("ray")(partial(_look, 0), ["a"])).values()} == {None}


@pytest.mark.slow
def test_a_scan_on_ray_finds_what_a_local_one_does(ray: Any, tmp_path: Path) -> None:
    names = [f"{number}.mp4" for number in range(4)]
    for number, name in enumerate(names):
        numbered_clip(tmp_path / name, "libx264", 3 + number)
    (tmp_path / names[2]).write_bytes(b"no video")
    on_ray = scan(names, root=tmp_path, store=tmp_path / "on_ray", engine=make_engine("ray"))
    local = scan(names, root=tmp_path, store=tmp_path / "local")
    assert {name: (f.num_frames, f.health, f.whole_file) for name, f in on_ray.items()} == {
        name: (f.num_frames, f.health, f.whole_file) for name, f in local.items()
    }
    assert read_video_info(tmp_path / "on_ray") == on_ray


@pytest.mark.parametrize("name", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_an_item_starts_once_it_is_ready_and_in_its_turn(name: Any, request: pytest.FixtureRequest) -> None:
    if name == "ray":
        request.getfixturevalue("ray")
    done: list[str] = []
    needs = {"b": "d", "never": "missing", "die": "a", "e": "die"}
    items = ["never", "b", "a", "d", "die", "e"]
    for item, result in make_engine(name, num_workers=1)(_work, items, ready=lambda i: needs.get(i, "") in ["", *done]):
        assert result == (None if item == "die" else item.upper())
        done.append(item)
    assert sorted(done) == sorted(["a", "d", "b", "die", "e"])
    for item in ("b", "die", "e"):
        assert done.index(needs[item]) < done.index(item)
    if name == "local":
        assert done == ["a", "d", "b", "die", "e"]


def test_shards_are_disjoint_cover_all_and_do_not_depend_on_the_order() -> None:
    names = [f"class/video {number}.mp4" for number in range(200)] + ["\udcff not UTF-8.mp4"]
    parts = [shard_of(names, (part, 4)) for part in (1, 2, 3, 4)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert min(map(len, parts)) > 30
    assert set(shard_of(names[::-1], (2, 4))) == set(parts[1])


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 0)])
def test_a_shard_outside_its_number_is_refused(shard: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"expected i/n with i from 1 to n, found"):
        shard_of([], shard)


def test_ray_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ValueError, match=r"expected the package ray, found none; pip install -e '\.\[ray\]'"):
        make_engine("ray")


_ENDLESS = """
import signal, sys, time
from pathlib import Path
from dali_pipes.jobs.map_files import make_engine
from tests.dali_pipes.jobs.test_map_files import wait_for_ever
list(make_engine("local", num_workers=2, kills=True)(wait_for_ever, [sys.argv[1] + "/a", sys.argv[1] + "/b"]))
"""


def wait_for_ever(name: str) -> None:
    """Say which process runs the item, and never end."""
    Path(name).write_text(str(os.getpid()))
    while True:
        time.sleep(1)


def test_an_interrupt_kills_items_that_would_never_end(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", _ENDLESS, str(tmp_path)], stderr=subprocess.PIPE, text=True)
    while not all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in "ab"):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=300)[1]
    for name in "ab":
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / name).read_text()), 0)


_ENDED = """
import sys
from dali_pipes.jobs import map_files
from tests.dali_pipes.jobs.test_map_files import hold_a_semaphore, stopped_at_sigterm
map_files._OTHERWISE_S = 600.0
stopped_at_sigterm()
items = [sys.argv[1] + "/a", sys.argv[1] + "/b"]
list(map_files.make_engine("local", num_workers=2, kills=True)(hold_a_semaphore, items))
"""


class _StoppedError(BaseException):
    pass


def stopped_at_sigterm() -> None:
    def stop(*rest: object) -> None:
        raise _StoppedError("by the test")

    signal.signal(signal.SIGTERM, stop)


def hold_a_semaphore(name: str) -> None:
    """As a loader in an item does: the semaphore is known to the resource tracker that all processes share."""
    held = get_context("spawn").Semaphore(1)
    try:
        wait_for_ever(name)
    finally:
        Path(name + ".left").write_text(f"{held}")


def test_items_that_a_signal_ends_close_what_they_hold(tmp_path: Path) -> None:
    """A killed process leaves its semaphores to Python's resource tracker, which warns after the last line."""
    process = subprocess.Popen([sys.executable, "-c", _ENDED, str(tmp_path)], stderr=subprocess.PIPE, text=True)
    while not all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in "ab"):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=600)[1]
    assert "by the test" in said and "leaked" not in said
    assert all((tmp_path / f"{name}.left").exists() for name in "ab")
