"""How the videos of a data set are stored, and the names that follow from it. Plain values, nothing is opened."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_NUMBER_FIELD = re.compile(r"\{:0?\d*d\}")
_SHARD_SUFFIX = re.compile(r"\.(tar|tgz|tbz2?|txz)(\.(gz|bz2|xz|zst|lz4|Z))?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Storage:
    """How the videos of a manifest are stored.

    Args:
        kind: files, folders of JPEG frames, or members of tar shards.
        template: of the frames' file names, such as "img_{:05d}.jpg".
        url: where the shards lie, if not under the manifest's root.
    """

    kind: Literal["videos", "frames", "shards"] = "videos"
    template: str = ""
    url: str = ""

    def shard_file(self, root: Path, name: str) -> str:
        """Path or URL of a shard, from its name in a list."""
        return f"{self.shard_base(root)}/{name}"

    def shard_base(self, root: Path) -> str:
        """Folder or URL where the shards lie."""
        return (self.url or str(root)).rstrip("/")


VIDEO_FILES = Storage()


def check_template(template: str) -> str:
    """The template itself.

    Raises:
        ValueError: not one number field, a folder, or not JPEG files.
    """
    around = split_template(template)
    if len(around) != 2 or set("".join(around)) & set("{}/\\"):
        raise ValueError(f"expected a file name with one number, as in img_{{:05d}}.jpg, found {template}")
    if not around[1].lower().endswith((".jpg", ".jpeg")):
        raise ValueError(f"expected JPEG files (.jpg, .jpeg), found {template}; other pictures are not read")
    return template


def check_url(url: str) -> str:
    """The URL itself.

    Raises:
        ValueError: it is a path.
    """
    if "://" not in url:
        raise ValueError(f"expected a URL, as in s3://bucket/folder, found {url}; a local folder is data.root")
    return url


def split_template(template: str) -> list[str]:
    """What stands before and after the number."""
    return _NUMBER_FIELD.split(template)


def is_shard_pattern(annotation: Path | str) -> bool:
    """Whether what is given for a list is the name of tar files, compressed or not."""
    return bool(_SHARD_SUFFIX.search(str(annotation)))


def split_path(path: str) -> tuple[str, str]:
    """("train-0.tar", "dir/a.mp4") of "train-0.tar/dir/a.mp4", as lists and manifests name a video in a shard.

    Raises:
        ValueError: no part of the path ends in .tar.
    """
    shard, mark, name = path.partition(".tar/")
    if not mark:
        raise ValueError(f"expected <shard>.tar/<video> in the list of shards' videos, found {path}.")
    return f"{shard}.tar", name
