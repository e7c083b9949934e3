"""Class names, and the class numbers and groups of listed videos."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dali_pipes.annotations.list_text import check_utf8, read_text, split_lines
from dali_pipes.annotations.listed_video import ListedVideo, ParsedList, is_number
from dali_pipes.file_names import check_group_pattern, first_few, matched_group, on_one_line

# Numbers beyond both make a list's numbers sparse: most classes would have no video.
_MOST_PER_USED = 10
_MOST_SPARSE = 1000
_LONGEST_NUMBER = 9  # digits
# A group pattern that matches any path: the name without its suffix and, where there is one, without _c and a number.
_CATCH_ALL = r"([^/]+?)(_c\d+)?(\.\w+)?$"


@dataclass(frozen=True, slots=True)
class LabeledVideo:
    """A listed video with its class numbers, in the list's order, and the name of its group."""

    path: str
    labels: tuple[int, ...]
    group: str

    @property
    def label(self) -> int:
        """The first label, which counts when the list is split by group."""
        return self.labels[0]


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read class names in the order of their lines.

    "1 Name" lines (UCF101's classInd.txt) must be numbered from 1, "id,name" tables (Kinetics') from 0.

    Raises:
        ValueError: no such file, no names, a repeated name, numbers out of order, or no text; names file and line.
    """
    if not path.is_file():
        raise ValueError(f"data.classes: expected a file with class names, found none at {path}.")
    lines = [(number, line.strip()) for number, line in enumerate(split_lines(read_text(path)), 1) if line.strip()]
    if lines and lines[0][1][0] in "[{":
        raise ValueError(f"{path}, line 1: expected class names, one a line, found JSON; write one name a line.")
    numbered = [re.fullmatch(r"(\d+)\s+(\S.*)", line) for _, line in lines]
    names = lines
    first = 1
    if lines and lines[0][1].replace(" ", "").lower() == "id,name":
        lines, first = lines[1:], 0
        numbered = [re.fullmatch(r'(\d+)\s*,\s*"?(\S[^"]*)"?', line) for _, line in lines]
        names = lines
        if not all(numbered):
            line = next(line for (line, _), match in zip(lines, numbered, strict=True) if not match)
            raise ValueError(f"{path}, line {line}: expected a number and a name as the first line says.")
    if lines and all(numbered):
        numbers = [int(match.group(1)[:_LONGEST_NUMBER]) for match in numbered if match]
        if numbers != list(range(first, len(lines) + first)):
            raise ValueError(
                f"{path}: expected classes numbered {first} to {len(lines) + first - 1} in order, found "
                f"{numbers[:5]}..."
            )
        names = [(line, match.group(2).strip()) for (line, _), match in zip(lines, numbered, strict=True) if match]
    return _checked_names(path, names)


def _checked_names(path: Path, names: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    seen: dict[str, int] = {}
    for line, name in names:
        check_utf8(f"{path}, line {line}", name)
        if name in seen:
            raise ValueError(
                f"{path}, line {line}: expected class names, each once, found {name!r} twice (also line {seen[name]})."
            )
        seen[name] = line
    if not seen:
        raise ValueError(f"{path}: expected class names, each once, found none.")
    return tuple(seen)


def class_names_of(listed: Sequence[ListedVideo], place: Callable[[int], str] = lambda number: "") -> tuple[str, ...]:
    """Sorted names of the labels; if all labels are numbers, the numbers from 0 to the largest.

    Names of class folders are names, also if they look like numbers.

    Args:
        place: where a video is listed, such as "train.txt, line 7", by its position in ``listed``.

    Raises:
        ValueError: numbers that are so large, or so few of their range, that most classes would have no video.
    """
    labels = {label for video in listed for label in video.labels}
    if not all(map(is_number, labels)) or any(video.named for video in listed):
        return tuple(sorted(labels))
    used = {label.lstrip("0") or "0" for label in labels}
    largest = max(used, key=lambda label: (len(label), label))
    if len(largest) > _LONGEST_NUMBER or int(largest) >= max(_MOST_SPARSE, _MOST_PER_USED * len(used)):
        number = next(
            number
            for number, video in enumerate(listed)
            if any((one.lstrip("0") or "0") == largest for one in video.labels)
        )
        shown = largest if len(largest) <= 20 else f"{largest[:20]}... ({len(largest)} digits)"
        raise ValueError(
            f"{place(number) or listed[number].path}: expected class numbers from 0 on without large gaps, found "
            f"{shown} among {len(used)} different ones; name the classes in data.classes, or write class names."
        )
    return tuple(str(number) for number in range(int(largest) + 1))


def label_videos(
    listed: Sequence[ListedVideo],
    class_names: Sequence[str],
    *,
    group_pattern: str | None,
    source: str,
    by_number: bool = True,
) -> list[LabeledVideo]:
    """Assign class numbers and groups: the group is the pattern's first group, else the CSV's column, else the video.

    Args:
        by_number: whether a name of digits that is no class is the number of one, as where a file names the classes.
            Class numbers always are.

    Raises:
        ValueError: a label that is not a class, or paths in which the pattern finds no group.
    """
    number_of = {name: number for number, name in enumerate(class_names)}
    groups = _groups(listed, group_pattern, source)
    labeled = []
    for video, group in zip(listed, groups, strict=True):
        numbers = []
        for label in video.labels:
            number = number_of.get(label)
            if number is None and (by_number or not video.named):
                number = _as_number(label, len(class_names))
            if number is None:
                raise ValueError(f"{source}: {video.path} has the label {label!r}, {_no_class(label, class_names)}")
            numbers.append(number)
        labels = (numbers[0],) if len(numbers) == 1 else tuple(dict.fromkeys(numbers))
        labeled.append(LabeledVideo(video.path, labels, group))
    return labeled


def _groups(listed: Sequence[ListedVideo], group_pattern: str | None, source: str) -> list[str]:
    """The group of each video."""
    if group_pattern is None:
        return [video.group or video.path for video in listed]
    try:
        check_group_pattern(group_pattern)
    except ValueError as error:
        raise ValueError(f"data.group_pattern: {error}.") from error
    found = [(video.path, matched_group(group_pattern, video.path)) for video in listed]
    groups = [group for _, group in found if group]
    missing = [path for path, group in found if not group]
    if missing:
        raise ValueError(
            f"{source}: expected data.group_pattern {on_one_line(group_pattern)} to find a group in the path of "
            f"every video, broken files too, found none in {len(missing):,} of {len(listed):,}: {first_few(missing)}; "
            f"let it match any name, as {_CATCH_ALL} does: a name without _c and a number is then a group of its own."
        )
    return groups


def _as_number(label: str, num_classes: int) -> int | None:
    if not is_number(label) or len(label.lstrip("0")) > _LONGEST_NUMBER or int(label) >= num_classes:
        return None
    return int(label)


def _no_class(label: str, class_names: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(label, class_names, n=1, cutoff=0.0)
    return f"which is none of the {len(class_names)} classes; the nearest is {nearest[0] if nearest else None!r}."


def check_folder_numbers(parsed: ParsedList, class_names: Sequence[str], source: str) -> None:
    """Compare the numbers of UCF101's list with the order of the class names: counted from 1, or from 0.

    Raises:
        ValueError: a folder whose number is that of another class.
    """
    position = {name: number for number, name in enumerate(class_names)}
    known = {folder: number for folder, number in parsed.numbers.items() if folder in position}
    wrong = {
        first: [folder for folder, number in known.items() if number != position[folder] + first] for first in (1, 0)
    }
    if all(wrong.values()):
        folder = wrong[1][0]
        raise ValueError(
            f"{source}: expected the number {position[folder] + 1} for the folder {folder}, its line in data.classes, "
            f"found {known[folder]}; mend one of the files, or set data.list_format to ucf (the folder counts) or "
            "numbers (the number counts)."
        )


def describe_labels(parsed: ParsedList, class_names: Sequence[str], *, has_class_file: bool, source: str) -> list[str]:
    """Sentences on what looks wrong about the labels of a training list."""
    counts: Mapping[str, int] = Counter(label for video in parsed.videos for label in video.labels)
    sentences = []
    if len(class_names) == 1:
        sentences.append(f"{source}: there is a single class, {class_names[0]!r}, so nothing can be learned from it")
    elif len(counts) == 1:
        sentences.append(f"{source}: all videos have a single class, {next(iter(counts))!r}, of {len(class_names)}")
    sentences += _look_alikes(source, "labels", counts)
    sentences += _look_alikes(source, "groups", [video.group for video in parsed.videos if video.group])
    numbers = {label for label in counts if is_number(label)}
    is_named = any(video.named for video in parsed.videos)
    values = {int(label) for label in numbers if len(label) <= _LONGEST_NUMBER}
    if not has_class_file and not is_named and len(numbers) == len(counts) and 0 not in values and 1 in values:
        sentences.append(
            f"{source}: labels are 1 to {max(values)} and 0 never occurs, so class 0 has no video; if they count from "
            "1, subtract 1, or write class names"
        )
    if numbers and len(numbers) < len(counts) and not is_named:
        sentences.append(
            f"{source}: labels are names and numbers ({min(numbers)}, {min(counts.keys() - numbers)}, ...); without "
            "data.classes each is a class of its own"
        )
    return sentences


def _look_alikes(source: str, noun: str, names: Iterable[str]) -> list[str]:
    """A sentence if names differ only in case, in characters of no width, in how an accent is coded, or in zeros."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        visible = name.casefold()
        if not name.isascii():  # groups may be as many as videos, and most names are ASCII
            plain = unicodedata.normalize("NFKC", name).casefold()
            visible = "".join(one for one in plain if unicodedata.category(one) != "Cf")
        alike[visible.lstrip("0") or "0" if visible.isdigit() else visible].append(name)
    pairs = [found for found in alike.values() if len(found) > 1]
    if not pairs:
        return []
    shown = ", ".join(" and ".join(f"{name!a}" for name in found[:3]) for found in pairs[:3])
    return [f"{source}: {len(pairs)} {noun} look alike but are taken as different ones: {shown}"]
