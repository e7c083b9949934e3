"""Which damaged files earlier starts have named, so that each is named once and later only counted.

The names are kept beside the scan's results, whatever the splits and settings: the stages of a config, its evaluation
and its next start share them. A file that is damaged in another way than it was is named again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dali_pipes.atomic_files import atomic_write_text
from dali_pipes.json_files import object_in

_FILE = "named_damage.json"


class NamedDamage:
    """The damaged files of a scan's store that were named, each with its health.

    Args:
        store: folder of the scan's results. Where it cannot be written, each start names its files anew.
    """

    def __init__(self, store: Path) -> None:
        self._path = store / _FILE
        self._named = object_in(self._path)

    def take_new(self, healths: Mapping[str, str]) -> dict[str, str]:
        """Those of ``healths`` (path -> ``VideoInfo.health``) that are damaged and were not named; they now were."""
        damaged = {path: health for path, health in healths.items() if health != "ok"}
        new = {path: health for path, health in damaged.items() if self._named.get(path) != health}
        if new:
            self._named |= new
            with suppress(OSError, UnicodeError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                atomic_write_text(self._path, json.dumps(self._named, indent=0) + "\n")
        return new
