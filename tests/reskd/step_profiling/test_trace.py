from __future__ import annotations

import json
from pathlib import Path

import pytest

from reskd.runtime.phases import PHASES
from reskd.step_profiling.setup import SpeedRun
from reskd.step_profiling.trace import profile_steps
from tests.reskd.training.tiny import make_trainer


@pytest.mark.parametrize("real", [False, True])
def test_a_trace_and_two_tables_are_written(real: bool, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path / "run")
    run = SpeedRun(trainer, trainer.make_loader(0) if real else None, 1.0)
    text = profile_steps(run, tmp_path, steps=2, rows=3)
    assert text.split()[:4] == ["phase", "ms", "a", "step"]
    names = [line.split()[0] for line in text.splitlines() if line]
    assert names[1 : 2 + len(PHASES)] == [*PHASES, "step"] and len(names) == 2 + len(PHASES) + 4
    assert (tmp_path / "steps.txt").read_text() == f"{text}\n"
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert set(PHASES) <= {event.get("name") for event in events}
