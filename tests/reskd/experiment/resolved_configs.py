"""Every shipped config as it resolves, defaults included: one line a run in resolved_configs.json.

A change of a config, of a base file or of a default shows there as a changed line. Where it is meant, write it anew:

    python -m tests.reskd.experiment.resolved_configs
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reskd.experiment.stages import load_stages

RECORD = Path(__file__).with_suffix(".json")


def shipped_configs() -> list[Path]:
    """The config files of experiments. A name that begins with _ is that of a base file, which is none by itself."""
    return [path for path in sorted(Path("configs").rglob("*.yaml")) if not path.name.startswith("_")]


def resolve_all() -> dict[str, dict[str, Any]]:
    """Name of a run -> all its settings."""
    return {config.name: config.resolved() for path in shipped_configs() for config in load_stages(path)}


def write_record() -> None:
    lines = [f"{json.dumps(name)}:{json.dumps(settings, separators=(',', ':'))}"
             for name, settings in sorted(resolve_all().items())]  # fmt: skip
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write_record()
