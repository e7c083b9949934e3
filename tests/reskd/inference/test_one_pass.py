"""Many files are read by several processes, in the order of the files, and a worker imports no torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dali_pipes.loader.cpu_render import RenderPlan
from dali_pipes.sampling.spec import SamplingRules, StudentFrames, TestViews
from dali_pipes.single_pass.test_views import ViewsRule, read_test_views
from reskd.inference import one_pass
from tests.conftest import numbered_clip

RULE = ViewsRule(
    SamplingRules(
        num_frames=2,
        frame_kind="segments",
        random_frames=False,
        crop_kind="center",
        view_aspect=1.0,
        center_ratio=0.875,
        flip_probability=0.0,
        test_views=TestViews(1, 1),
        student=StudentFrames(2, alone=True),
    ),
    RenderPlan(None, (16, 16), False, None, ("student",)),
)


def test_files_come_in_their_order_and_as_read_alone(tmp_path: Path) -> None:
    files = []
    for number, num_frames in enumerate((60, 5, 30, 6, 0)):
        files.append(str(tmp_path / f"{number}.mp4"))
        if num_frames:
            numbered_clip(Path(files[-1]), "libx264", num_frames, tint=20 * number)
        else:
            Path(files[-1]).write_bytes(b"no video")
    found = list(one_pass.read_in_order(files, RULE))
    assert [file for file, _ in found] == files
    for file, views in found:
        alone = read_test_views(RULE, file)
        assert views is not None and views.video_info == alone.video_info and views.error == alone.error
        if alone.frames_VTHWC is not None:
            np.testing.assert_array_equal(views.frames_VTHWC, alone.frames_VTHWC)
    assert found[0][1] is not None and found[0][1].frames_VTHWC is not None


def test_a_worker_imports_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    modules: list[str] = []

    def noted(work: Any, *_: object, **more: object) -> Iterator[Any]:
        modules.append(work.func.__module__)
        return iter(())

    monkeypatch.setattr(one_pass, "map_isolated", noted)
    assert list(one_pass.read_in_order(["a.mp4"], RULE)) == []
    program = f"import sys, {modules[0]}; print(*{{'torch', 'nvidia.dali', 'timm'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
