"""Every shipped config as it resolves, defaults included, in resolved_configs.json.

The first line has what most runs share, the others one run each: its own values, and the shared keys that it lacks. A
change of a config, of a base file or of a default shows there as a changed line. Where it is meant, write it anew:

    python -m tests.reskd.experiment.resolved_configs
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from reskd.experiment.stages import load_stages
from reskd.training.run_changes import flatten

RECORD = Path(__file__).with_suffix(".json")
_SHARED, _LACKS = "shared by most", "lacks"
Settings = dict[str, Any]  # key.sub -> value


def shipped_configs() -> list[Path]:
    """The config files of experiments. A name that begins with _ is that of a base file, which is none by itself."""
    return [path for path in sorted(Path("configs").rglob("*.yaml")) if not path.name.startswith("_")]


def resolve_all() -> dict[str, Settings]:
    """Name of a run -> all its settings."""
    return {config.name: dict(flatten(config.resolved())) for path in shipped_configs() for config in load_stages(path)}


def read_record() -> dict[str, Settings]:
    """As ``resolve_all``."""
    record = json.loads(RECORD.read_text())
    shared = record.pop(_SHARED)
    return {
        name: {key: value for key, value in (shared | own).items() if key != _LACKS and key not in own[_LACKS]}
        for name, own in record.items()
    }


def write_record() -> None:
    found = resolve_all()
    counts: dict[str, Counter[str]] = {}
    for settings in found.values():
        for key, value in settings.items():
            counts.setdefault(key, Counter())[json.dumps(value)] += 1
    most = {key: values.most_common(1)[0] for key, values in counts.items()}
    shared = {key: json.loads(value) for key, (value, count) in most.items() if count > len(found) / 2}
    record = {_SHARED: shared}
    for name, settings in sorted(found.items()):
        own = {key: value for key, value in settings.items() if key not in shared or shared[key] != value}
        record[name] = own | {_LACKS: [key for key in shared if key not in settings]}
    lines = [f"{json.dumps(name)}:{json.dumps(own, separators=(',', ':'))}" for name, own in record.items()]
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write_record()
