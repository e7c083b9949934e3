"""Old names of modules: one sentence says what to write instead, and nothing else is touched."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path

import pytest

import dali_pipes.renamed
import reskd.renamed

MOVED = dali_pipes.renamed.MOVED | reskd.renamed.MOVED
ROOT = Path(__file__).parents[2]


def _is_folder(name: str) -> bool:
    return (ROOT / name.replace(".", "/")).is_dir()


GONE = [name for name in MOVED if not _is_folder(name)]
FOLDERS = [name for name in MOVED if _is_folder(name)]


def test_every_old_module_is_named_with_its_new_place() -> None:
    for old in GONE:
        with pytest.raises(ModuleNotFoundError, match=rf"{re.escape(old)} was renamed to {re.escape(MOVED[old])}; "):
            importlib.import_module(old)


def test_every_new_place_is_there() -> None:
    places = {name for text in MOVED.values() for name in re.findall(r"[a-z_0-9]+(?:\.[a-z_0-9]+)+", text)}
    assert [place for place in sorted(places) if not (ROOT / f"{place.replace('.', '/')}.py").is_file()] == []


def test_what_a_module_held_that_is_a_folder_now_is_named_too() -> None:
    assert {"dali_pipes.loader", "dali_pipes.manifest", "reskd.models.weights"} <= set(FOLDERS)
    for statement, new in (
        ("from dali_pipes.loader import ClipLoader", "dali_pipes.loader.clip_loader"),
        ("from dali_pipes.manifest import Manifest", "dali_pipes.manifest.manifest"),
        ("from dali_pipes.storage import StorageSpec", "dali_pipes.storage_spec"),
        ("from reskd.models.backbones import build_backbone", "reskd.models.backbones.torchvision_2d"),
    ):
        with pytest.raises(ImportError, match=rf"was renamed to {re.escape(new)}; import it from there"):
            exec(statement)


@pytest.mark.parametrize(
    ("statement", "new"),
    [
        ("import reskd.config", "reskd.experiment.config"),
        ("from reskd import config", "reskd.experiment.config"),
        ("from reskd.config import load_config", "reskd.experiment.config"),
        ("from reskd.analysis import flops", "reskd.profiling.flops"),
        ("from reskd.analysis.flops import count_recognizer", "reskd.profiling.flops"),
        ("from dali_pipes.source import ReadingOrder", "ReadingOrder to dali_pipes.sampling.order"),
    ],
)
def test_every_way_to_write_an_import_gets_the_sentence(statement: str, new: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=re.escape(new)):
        exec(statement)


def test_other_names_are_not_answered_for() -> None:
    for name in ("reskd.no_such_module", "no_such_package", "dali_pipes.jobs.no_such_module"):
        assert importlib.util.find_spec(name) is None
    with pytest.raises(ImportError, match="cannot import name 'no_such_name' from 'dali_pipes.jobs.progress'"):
        exec("from dali_pipes.jobs.progress import no_such_name")


def test_the_finders_come_last() -> None:
    ours = [isinstance(finder, dali_pipes.renamed.OldNames) for finder in sys.meta_path]
    assert sum(ours) == 2 and not any(ours[: ours.index(True)])
