"""The most certain mistakes as small pictures, read from the videos if they are still there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from av.error import FFmpegError

from dali_pipes.manifest.manifest import ManifestRow
from dali_pipes.manifest.sources import locations_of, storage_of, store_of
from dali_pipes.scan.store import read_video_info
from dali_pipes.storage_spec import split_path
from reskd.experiment.config import ExperimentConfig
from reskd.pages.html import Thumbnail
from reskd.reports.experiment.data import Model
from reskd.reports.experiment.findings import Mistake
from reskd.reports.thumbnails import thumbnail_of


def mistake_thumbnails(mistakes: Sequence[Mistake], model: Model) -> list[Thumbnail]:
    """A picture, or the reason why there is none, for each mistake."""
    rows, reason = _rows([one.video for one in mistakes], model.config)
    shown = []
    for one in mistakes:
        image, missing = _image(rows.get(one.video), reason)
        is_class = " or ".join(one.labels) or "none of the classes"
        lines = [("", f'"{one.answer}" ({100 * one.score:.0f} %), but it is {is_class}')]
        lines += [("neutral", _other(title, answer, right)) for title, answer, right in one.others]
        described = f"middle frame of {one.video}: {is_class}, taken for {one.answer}"
        shown.append(Thumbnail(one.video, image, missing, tuple(lines), described))
    return shown


def _other(title: str, answer: str, right: bool) -> str:
    return f"{title}: right" if right else f'{title}: "{answer}"'


def _rows(names: Sequence[str], config: ExperimentConfig | None) -> tuple[Mapping[str, ManifestRow], str]:
    """The rows of videos that the scan knows, and why others have none."""
    if config is None:
        return {}, "the settings of the run are not known"
    if config.data.kind != "clips":
        return {}, "the data are features: there is no picture"
    data = config.clips
    if data.storage.kind == "shards" and data.storage.url:
        return {}, "the videos are at a URL, from which a report reads nothing"
    try:
        known, storage = read_video_info(store_of(data)), storage_of(data)
        locations = locations_of(data, names)
    except (OSError, ValueError) as error:
        return {}, f"the videos were not found: {error}"
    rows = {}
    for name, location in locations.items():
        if (found := known.get(location.key)) is not None and found.usable:
            shard = storage.shard_file(data.root, split_path(name)[0]) if storage.kind == "shards" else ""
            rows[name] = ManifestRow(data.root / name, 0, replace(found), storage.template, shard)
    return rows, f"not found by the scan of {data.root}"


def _image(row: ManifestRow | None, reason: str) -> tuple[str, str]:
    """(data URI, "") or ("", why there is none)."""
    if row is None:
        return "", reason
    try:
        return thumbnail_of(row), ""
    except FileNotFoundError:
        return "", "the video is no longer there"
    except (OSError, ValueError, FFmpegError) as error:
        return "", f"the video cannot be read: {error}"
