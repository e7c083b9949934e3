"""Without torch and numpy the settings are those with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from docs_site.settings_pages import settings_pages

ROOT = Path(__file__).parents[2]
WITHOUT = """
import importlib.util, sys, unittest.mock
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in ("torch", "numpy") else find(name, *rest)

real = [one for one in sys.meta_path if getattr(one, "__name__", "") == "PathFinder"]

class Without:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in ("torch", "numpy") else real[0].find_spec(name, path, target)

sys.meta_path = [Without if one in real else one for one in sys.meta_path]
from docs_site.settings_pages import settings_pages
pages = settings_pages()
assert "torch" not in sys.modules and isinstance(sys.modules["numpy"], unittest.mock.MagicMock)
sys.stdout.write("".join(pages.values()))
"""


def test_the_pages_are_the_same_where_torch_and_numpy_are_missing() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(settings_pages().values())
