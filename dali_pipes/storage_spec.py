"""How the videos of a data set are stored, and the resulting file names. Plain values; nothing is opened."""

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
        template: template of the frames' file names, such as "img_{:05d}.jpg".
        url: URL of the shards' folder, if they are not under the manifest's root.
    """

    kind: Literal["videos", "frames", "shards"] = "videos"
    template: str = ""
    url: str = ""

    def shard_file(self, root: Path, name: str) -> str:
        """Path or URL of a shard, from its name in a list."""
        return f"{self.shard_base(root)}/{name}"

    def shard_base(self, root: Path) -> str:
        """Folder or URL of the shards."""
        return (self.url or str(root)).rstrip("/")


VIDEO_FILES = Storage()


def check_template(template: str) -> str:
    """Check and return the template.

    Raises:
        ValueError: it does not have exactly one number field, contains a folder, or is not for JPEG files.
    """
    around = split_template(template)
    if len(around) != 2 or set("".join(around)) & set("{}/\\"):
        raise ValueError(f"expected a file name with one number, as in img_{{:05d}}.jpg, found {template}")
    if not around[1].lower().endswith((".jpg", ".jpeg")):
        raise ValueError(f"expected JPEG files (.jpg, .jpeg), found {template}; other formats are not supported")
    return template


def check_url(url: str) -> str:
    """Check and return the URL.

    Raises:
        ValueError: it is a path.
    """
    if "://" not in url:
        raise ValueError(f"expected a URL, as in s3://bucket/folder, found {url}; set data.root for a local folder")
    return url


def split_template(template: str) -> list[str]:
    """The template's text before and after the number."""
    return _NUMBER_FIELD.split(template)


def is_shard_pattern(annotation: Path | str) -> bool:
    """Whether ``annotation`` names tar files, compressed or not, instead of a list."""
    return bool(_SHARD_SUFFIX.search(str(annotation)))


def split_path(path: str) -> tuple[str, str]:
    """Split a video's path in a shard: "train-0.tar/dir/a.mp4" -> ("train-0.tar", "dir/a.mp4").

    Raises:
        ValueError: no part of the path ends in .tar.
    """
    shard, mark, name = path.partition(".tar/")
    if not mark:
        raise ValueError(f"expected <shard>.tar/<video> in the list of shards' videos, found {path}.")
    return f"{shard}.tar", name
