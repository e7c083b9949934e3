from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from dali_pipes.loader.clip_reader import ClipReader
from dali_pipes.loader.decoder_choice import BY_PYAV, DecoderRule
from dali_pipes.loader.external_source import ClipSource
from dali_pipes.loader.sample import FIELDS, About
from dali_pipes.packets.packet_index import select
from dali_pipes.sampling.order import ReadingOrder, epoch_order
from dali_pipes.sampling.spec import StudentFrames, TestViews, rules_from_config
from tests.conftest import picture, read_number, set_display_rotation, write_clip
from tests.dali_pipes.loader.test_clip_loader import make_config, make_manifest

Arrays = namedtuple("Arrays", FIELDS)
CODECS = {"h264": ["libx264"], "mjpeg": ["mjpeg"], "vp9": ["libvpx-vp9"]}


@pytest.fixture
def make_source(make_folder: Callable[..., Path], tmp_path: Path) -> Callable[..., ClipSource]:
    def make(**changes: Any) -> ClipSource:
        config = make_config(make_folder(CODECS, num_frames=24))
        make_manifest(config).save(tmp_path)
        settings: dict[str, Any] = {
            "manifest_folder": tmp_path,
            "rules": rules_from_config(config.sampling, view_size=(96, 128), mode="train"),
            "order": ReadingOrder(mode="train", batch_size=2),
            "reader": ClipReader(DecoderRule("cpu", "prefer_dali")),
            "max_attempts": 2,
            "parent_pid": 1,
        }
        return ClipSource(**{**settings, **changes})

    return make


def _call(source: ClipSource, iteration: int, index: int) -> Arrays:
    return Arrays(*source(SimpleNamespace(iteration=iteration, idx_in_batch=index)))


def _about(sample: Arrays) -> About[int]:
    return About(*sample.about.tolist())


def test_samples_always_have_the_same_types(make_source: Callable[..., ClipSource]) -> None:
    source = make_source()
    samples = [_call(source, iteration, index) for iteration in range(3) for index in range(2)]
    expected = tuple((np.dtype(field.dtype), field.ndim) for field in FIELDS.values())
    assert {tuple((array.dtype, array.ndim) for array in sample) for sample in samples} == {expected}
    assert {bool(sample.is_encoded) for sample in samples} == {False, True}
    for sample in samples:
        assert (len(sample.encoded) > 1) == bool(sample.is_encoded) == (sample.raw_THWC.shape == (1, 1, 1, 3))


def test_a_sample_is_a_pure_function_of_its_place(make_source: Callable[..., ClipSource]) -> None:
    """Another order of calls, another process (pickled), another first batch: the same clip."""
    one, other = (
        make_source(),
        pickle.loads(pickle.dumps(make_source(order=ReadingOrder(mode="train", batch_size=2, first_batch=5)))),
    )
    late = _call(one, 7, 1)
    _call(one, 0, 0)
    for array, again in zip(late, _call(other, 2, 1), strict=True):
        assert np.array_equal(array, again)
    assert _about(late).position == 15 and _about(late).row == epoch_order(0, 5, 3)[0]


def test_evaluation_repeats_its_pass_and_marks_padding(make_source: Callable[..., ClipSource]) -> None:
    source = make_source(order=ReadingOrder(mode="eval", batch_size=2))
    abouts = [_about(_call(source, iteration, index)) for iteration in range(4) for index in range(2)]
    assert [(a.row, bool(a.padding)) for a in abouts] == [(0, False), (1, False), (2, False), (0, True)] * 2
    assert [a.label for a in abouts[:3]] == [0, 1, 2]


def test_an_evaluation_of_several_views_shows_each_of_each_video_and_then_padding(
    make_source: Callable[..., ClipSource], make_folder: Callable[..., Path]
) -> None:
    config = make_config(make_folder(CODECS, num_frames=24))
    rules = rules_from_config(config.sampling, view_size=(96, 96), mode="eval", test_views=TestViews(2, 3))
    source = make_source(order=ReadingOrder(mode="eval", batch_size=4), rules=rules, reader=ClipReader(BY_PYAV))
    samples = [_call(source, iteration, index) for iteration in range(5) for index in range(4)]
    assert [_about(s).position for s in samples] == list(range(20))
    assert [_about(s).row for s in samples] == [0] * 6 + [1] * 6 + [2] * 6 + [0] * 2
    assert [bool(_about(s).padding) for s in samples] == [False] * 18 + [True] * 2
    assert {s.raw_THWC.shape for s in samples} == {(4, 96, 96, 3)}
    assert [s.frame_index_T[0] for s in samples[:6]] == [3] * 3 + [0] * 3
    assert [s.crop_start.tolist() for s in samples[:3]] == [[0, 0], [0, 16], [0, 32]]
    again = _call(source, 5, 1)  # the next pass
    assert all(np.array_equal(one, other) for one, other in zip(again, samples[1], strict=True))


@pytest.mark.parametrize(("alone", "wanted"), [(False, [3, 9, 15, 21]), (True, [3, 15])])
def test_packets_are_read_for_frames_that_a_view_shows_and_for_no_others(
    alone: bool, wanted: list[int], make_source: Callable[..., ClipSource], make_folder: Callable[..., Path]
) -> None:
    config = make_config(make_folder(CODECS, num_frames=24))
    rules = rules_from_config(config.sampling, view_size=(96, 128), mode="eval", student=StudentFrames(2, alone=alone))
    source = make_source(
        order=ReadingOrder(mode="eval", batch_size=3), rules=rules, reader=ClipReader(DecoderRule("cpu", "prefer_dali"))
    )
    with mock.patch("dali_pipes.loader.clip_reader.select", wraps=select) as asked:
        samples = [_call(source, 0, index) for index in range(3)]
    assert [call.args[1].tolist() for call in asked.call_args_list] == [wanted] * 3
    assert {bool(sample.is_encoded) for sample in samples} == {False, True}  # for PyAV, and for DALI
    for sample in samples:
        assert sample.frame_index_T[sample.student_k].tolist() == [3, 15]
        assert bool(sample.is_encoded) or len(sample.raw_THWC) == len(wanted)


def test_a_file_of_another_size_is_not_trusted(make_source: Callable[..., ClipSource], tmp_path: Path) -> None:
    source = make_source(order=ReadingOrder(mode="eval", batch_size=1), max_attempts=3)
    rows = np.load(tmp_path / "rows.npy")
    rows["file_size"][[0, 1]] += 1
    np.save(tmp_path / "rows.npy", rows)
    about = _about(_call(source, 0, 0))
    assert about.row == 2 and about.attempt > 0 and about.position == 0
    with pytest.raises(
        RuntimeError,
        match=r"position 1: .* found none among 1 of the list: .*00.avi: expected \d+ bytes as scanned, found",
    ):
        _call(replace(source, max_attempts=1), 1, 0)


def test_a_worker_imports_neither_torch_nor_dali_nor_pydantic() -> None:
    loaded = "sorted({name.split('.')[0] for name in sys.modules})"
    code = f"import json, sys, dali_pipes.loader.external_source; print(json.dumps({loaded}))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"torch", "nvidia", "pydantic", "torchvision"} & set(json.loads(run.stdout))


def test_what_needs_no_dali_imports_without_it() -> None:
    modules = ", ".join(f"dali_pipes.{name}" for name in ("batch", "config", "sampling.clip_plan", "manifest.manifest"))
    code = f"import sys; sys.modules['nvidia'] = None; import {modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_rotated_and_short_video_is_upright_in_its_sample_and_repeats_frames(tmp_path: Path) -> None:
    (tmp_path / "clips" / "a").mkdir(parents=True)
    stored = [np.rot90(picture(number)) for number in range(2)]
    path = write_clip(tmp_path / "clips" / "a" / "0.mp4", "libx264", stored)
    set_display_rotation(path, quarter_turns_clockwise=1)
    config = make_config(tmp_path / "clips")
    make_manifest(config).save(tmp_path / "manifest")
    rules = rules_from_config(config.sampling, view_size=(96, 128), mode="eval")
    source = ClipSource(
        tmp_path / "manifest",
        rules,
        ReadingOrder(mode="eval", batch_size=1),
        ClipReader(DecoderRule("cuda", "auto")),
        1,
        1,
    )
    sample = _call(source, 0, 0)
    assert not sample.is_encoded and sample.raw_THWC.shape == (4, 96, 128, 3)
    assert sample.frame_index_T.tolist() == [0, 0, 1, 1]
    assert sample.valid_T.tolist() == [True, False, True, False]
    assert [read_number(frame) for frame in sample.raw_THWC] == [(0, False), (0, False), (1, False), (1, False)]
