from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
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
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_a_ray_cluster_does_the_same_work_and_names_the_item_that_kills_its_process(ray: Any) -> None:
    engine = make_engine("ray")
    assert dict(engine(_work, ["a", "b", "die", "c"])) == {"a": "A", "b": "B", "c": "C", "die": None}
    with pytest.raises(AttributeError):
        list(engine(_work, [1]))  # type: ignore[list-item]


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
