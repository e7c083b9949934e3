from __future__ import annotations

from tests.reskd.experiment.resolved_configs import RECORD, read_record, resolve_all


def test_every_shipped_config_resolves_to_what_is_recorded() -> None:
    """If the change is meant: python -m tests.reskd.experiment.resolved_configs"""
    recorded, found = read_record(), resolve_all()
    assert sorted(found) == sorted(recorded)
    for name, settings in recorded.items():
        assert found[name] == settings, name


def test_the_record_stays_small() -> None:
    assert RECORD.stat().st_size < 250_000
