from __future__ import annotations

import json

from reskd.training.run_changes import flatten
from tests.reskd.experiment.resolved_configs import RECORD, resolve_all


def test_every_shipped_config_resolves_to_what_is_recorded() -> None:
    """If the change is meant: python -m tests.reskd.experiment.resolved_configs"""
    recorded, found = json.loads(RECORD.read_text()), resolve_all()
    assert sorted(found) == sorted(recorded)
    for name, settings in recorded.items():
        assert dict(flatten(found[name])) == dict(flatten(settings)), name


def test_the_record_stays_small() -> None:
    assert RECORD.stat().st_size < 300_000
