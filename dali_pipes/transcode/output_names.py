"""Choose the names of a transcode's outputs, so that no two files and no folder get the same one.

``a.avi`` becomes ``a.mp4``. If another video would become ``a.mp4`` too, also on a disk that ignores case, each is
written under its whole name, ``a.avi.mp4`` and ``a.mov.mp4``; only one that is called ``a.mp4`` already keeps its name.
If that is not enough, a hash of the path is added. The names depend on the videos, not on their order.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import PurePosixPath

from dali_pipes.file_names import on_one_line, short_enough

SUFFIX = ".mp4"  # also for MJPEG: unlike AVI it keeps timestamps, and DALI's CPU decoder and PyAV read it
_NUM_NAMED = 3


def plain_name(path: str) -> str:
    """The output of a video whose name nothing else takes."""
    return _short(PurePosixPath(path).with_suffix(SUFFIX).as_posix())


def renamed_outputs(
    paths: Sequence[str], recorded: Mapping[str, str], is_blocked: Callable[[str], bool] = lambda name: False
) -> dict[str, str]:
    """Outputs by path, of those videos that do not get their plain name.

    Args:
        paths: of all videos, relative to the root.
        recorded: outputs of earlier runs by path; they keep their names, and no other video gets them.
        is_blocked: whether an output cannot have this name: a folder has it, or a source.
    """
    names = {path: plain_name(path) for path in dict.fromkeys(paths)}
    levels = dict.fromkeys(names, 0)
    _make_different(names, levels, set(), is_blocked)  # as in the first run, whatever it has recorded since
    if not recorded:
        return _unlike_plain(names)
    names.update({path: name for path, name in recorded.items() if path in names})
    free = {path: level for path, level in levels.items() if path not in recorded}
    _make_different(names, free, {_key(name) for name in recorded.values()}, is_blocked)
    return _unlike_plain(names)


def _unlike_plain(names: Mapping[str, str]) -> dict[str, str]:
    return {path: name for path, name in names.items() if name != plain_name(path)}


def _make_different(
    names: dict[str, str], levels: dict[str, int], taken: set[str], is_blocked: Callable[[str], bool]
) -> None:
    """Lengthen names of the paths in ``levels`` until all differ from each other and from ``taken``."""
    while True:
        used = {name.rpartition("/")[0] for name in names.values()}
        folders = {_key(parent.as_posix()) for name in used for parent in PurePosixPath(name, "x").parents}
        groups = defaultdict(list)
        for path in levels:
            groups[_key(names[path])].append(path)
        clashing = [
            path
            for key, group in groups.items()
            if len(group) > 1 or key in taken or key in folders or is_blocked(names[group[0]])
            for path in _to_rename(group, names, key in taken or key in folders)
            if levels[path] < 2
        ]
        for path in clashing:
            levels[path] += 1
            names[path] = _longer_name(path, levels[path])
        if not clashing:
            return


def _to_rename(group: Sequence[str], names: Mapping[str, str], is_taken: bool) -> list[str]:
    """All of a group but the one that already has the name, if it is free."""
    keepers = [path for path in group if names[path] == path]
    keeps = keepers if len(keepers) == 1 and len(group) > 1 and not is_taken else []
    return [path for path in group if path not in keeps]


def _longer_name(path: str, level: int) -> str:
    whole = PurePosixPath(path)
    if level == 1:
        return _short(f"{whole.as_posix()}{SUFFIX}")
    return _short(f"{whole.as_posix()}.{sha256(path.encode(errors='surrogateescape')).hexdigest()[:8]}{SUFFIX}")


def _short(path: str) -> str:
    """The path with a name that file systems allow."""
    return PurePosixPath(path).with_name(short_enough(PurePosixPath(path).name)).as_posix()


def _key(name: str) -> str:
    """Equal for names that some disk takes for the same."""
    return (name if name.isascii() else unicodedata.normalize("NFC", name)).casefold()


def describe_renamed(renamed: Mapping[str, str]) -> list[str]:
    """A line that names the first renamed outputs; none if there is none."""
    if not renamed:
        return []
    named = ", ".join(
        f"{on_one_line(path)} -> {on_one_line(name)}" for path, name in list(renamed.items())[:_NUM_NAMED]
    )
    more = f" and {len(renamed) - _NUM_NAMED} more" if len(renamed) > _NUM_NAMED else ""
    return [
        f"{len(renamed)} outputs get longer names, as others would have the same one: {named}{more}; transcode.csv and "
        "the new lists hold them"
    ]
