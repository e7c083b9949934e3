from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from reskd.training.board.layout import LAYOUT
from reskd.training.metrics_log import MetricsWriter
from tests.reskd.training.test_trainer import read_lines
from tests.reskd.training.tiny import make_trainer

ROOT = Path(__file__).resolve().parents[3]
# A run's metrics in a process whose files may not grow over 2,000 bytes, as on a full disk.
LIMITED = """
import logging, resource, sys
from pathlib import Path
from reskd.training.metrics_log import MetricsWriter
logging.basicConfig(format="%(message)s")
folder = Path(sys.argv[1])
with MetricsWriter(folder / "metrics.jsonl", folder / "tensorboard", first_step=0) as writer:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
    for step in range(1, 1000):
        try:
            writer.scalars(step, {"loss/total": 1 / step, "loss/task": 2 / step, "train/lr": 0.1, "a": 1, "b": 2})
        except OSError as error:
            print(error)
            break
        if step % 5 == 0 and writer._board._writer is not None:
            writer._board._attempt(step, writer._board._writer.flush)
"""


def test_a_full_disk_ends_the_events_in_a_sentence_and_metrics_with_an_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "Traceback" not in done.stderr and done.stderr.count("TensorBoard's events stop at step") == 1
    assert "metrics.jsonl goes on" in done.stderr
    assert done.stdout.startswith(f"{tmp_path / 'metrics.jsonl'}: expected room to write this file of ")
    events = next((tmp_path / "tensorboard").iterdir())
    assert events.stat().st_size <= 2000


def test_lines_go_on_in_a_new_file_where_the_folder_was_deleted(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with MetricsWriter(run / "metrics.jsonl", tmp_path / "board", first_step=0) as writer:
        writer.scalars(1, {"a": 1.0})
        (run / "metrics.jsonl").unlink()
        run.rmdir()
        writer.scalars(2, {"a": 2.0})
    assert read_lines(run) == [{"step": 2, "a": 2.0}]


def test_a_board_that_cannot_be_opened_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "board").write_text("in the way")
    with MetricsWriter(tmp_path / "metrics.jsonl", tmp_path / "board", first_step=0) as writer:
        for step in (1, 2):
            writer.scalars(step, {"a": 1.0})
    assert len(caplog.messages) == 1 and "TensorBoard's events stop at step 0" in caplog.messages[0]
    assert len(read_lines(tmp_path)) == 2


def test_the_layout_shows_what_a_run_writes(tmp_path: Path) -> None:
    """Each curve of the layout's first group is one that a trainer logs, or one of a GPU."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = make_trainer(tmp_path, diagnose_every_steps=1)
    trainer.fit()
    events = EventAccumulator(str(trainer.run.tensorboard), size_guidance={"tensors": 0}).Reload()
    assert "custom_scalars__config__" in events.Tags()["tensors"]
    names = [
        *events.Tags()["scalars"],
        "speed/gpu_used_gib",
        "speed/gpu_busy",
        "val/top1",
        "val/log_loss",
        "loss/alpha_pixel",
    ]
    for group in LAYOUT.values():
        for title, (_, patterns) in group.items():
            assert any(re.fullmatch(pattern, name) for pattern in patterns for name in names), title
