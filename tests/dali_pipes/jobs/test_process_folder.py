from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

_NAME_IT = "from dali_pipes.jobs.process_folder import process_folder; print(process_folder(), flush=True); "
# A loader that has started its pipeline, and then waits.
_LOADER = """
import sys
from pathlib import Path
from dali_pipes.config import DataConfig
from dali_pipes.jobs.process_folder import process_folder
from dali_pipes.loader.clip_loader import ClipLoader
from dali_pipes.manifest.build import build_manifests
from dali_pipes.sampling.order import ReadingOrder
config = DataConfig(
    root=Path(sys.argv[1]),
    train="folders",
    val_fraction=0,
    loader={"num_workers": 1, "decoder": "prefer_dali"},
    sampling={"num_frames": 2},
    views={"student": {"size": 32, "source": "decoded"}},
)
manifest = build_manifests(config, seed=0, splits=("train",))["train"]
loader = ClipLoader(manifest, config, order=ReadingOrder(mode="train", batch_size=1), views=("student",))
next(iter(loader))
print(process_folder(), flush=True)
sys.stdin.read()
"""


def _start(code: str, folder: Path, *arguments: str) -> tuple[subprocess.Popen[str], Path]:
    """Start ``code`` with ``folder`` for its temporary files, and read the name of its process folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def _end(process: subprocess.Popen[str], with_signal: int | None = None) -> None:
    if with_signal is not None:
        process.send_signal(with_signal)
    process.communicate()


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    return tmp_path / f"reskd-{os.getuid()}"


def test_the_folder_is_removed_at_the_end(tmp_path: Path, parent: Path) -> None:
    process, folder = _start(_NAME_IT + "(process_folder() / 'x').write_text('x'); input()", tmp_path)
    assert folder.parent == parent and folder.is_dir()
    process.communicate("\n")
    assert list(parent.iterdir()) == []


def test_a_killed_process_leaves_its_folder_to_the_next_and_a_living_one_keeps_it(tmp_path: Path, parent: Path) -> None:
    killed, left_over = _start(_NAME_IT + "input()", tmp_path)
    living, kept = _start(_NAME_IT + "input()", tmp_path)
    _end(killed, signal.SIGKILL)
    assert left_over.is_dir()
    third, folder = _start(_NAME_IT + "input()", tmp_path)
    assert {path.name for path in parent.iterdir()} == {
        name for path in (kept, folder) for name in (path.name, f"{path.name}.lock")
    }
    third.communicate("\n")
    living.communicate("\n")


def test_many_starts_at_once_all_get_a_folder(tmp_path: Path, parent: Path) -> None:
    code = _NAME_IT + "import os; assert os.path.isdir(process_folder()); input()"
    started = [_start(code, tmp_path) for _ in range(4)]
    assert len({folder for _, folder in started}) == 4
    for process, folder in started:
        assert folder.is_dir()
        process.communicate("\n")
        assert process.returncode == 0
    assert list(parent.iterdir()) == []


def test_a_forked_child_has_its_own_folder_and_removes_only_that(tmp_path: Path) -> None:
    code = (
        _NAME_IT + "import multiprocessing as m; p = m.get_context('fork').Process(target=lambda: "
        "print(process_folder())); p.start(); p.join(); print(process_folder().is_dir())"
    )
    process, folder = _start(code, tmp_path)
    rest = process.communicate()[0].split()
    assert Path(rest[0]) != folder and rest[1] == "True"


def test_a_killed_loader_leaves_nothing_once_another_process_has_started(
    tmp_path: Path, parent: Path, make_folder: Callable[..., Path]
) -> None:
    """DALI's generated source files and the loader's notes and manifest are all in the process's folder."""
    process, folder = _start(_LOADER, tmp_path, str(make_folder({"mjpeg": ["mjpeg"]})))
    assert any(path.name.startswith("__autograph_generated_file") for path in folder.iterdir())
    assert any(path.name.startswith("loader_") for path in folder.iterdir())
    _end(process, signal.SIGKILL)
    assert [path for path in tmp_path.iterdir() if path != parent] == []
    _start(_NAME_IT, tmp_path)[0].communicate()
    assert list(parent.iterdir()) == []


def test_another_users_folder_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dali_pipes.jobs import process_folder

    monkeypatch.setattr(process_folder, "_held", {})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"reskd-{os.getuid()}").mkdir()
    monkeypatch.setattr(process_folder.os, "getuid", lambda: os.geteuid() + 1)
    (tmp_path / f"reskd-{os.geteuid() + 1}").mkdir()
    with pytest.raises(PermissionError, match="another user's; set TMPDIR"):
        process_folder.process_folder()
