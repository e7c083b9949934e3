"""Choose whole groups to hold out where a group may hold videos of several classes.

Note [How groups of several classes are chosen]
Classes are gone through in order. Each takes groups in its hash order, counting what earlier classes took, until it has
its share; a group that moves other classes further from theirs is passed over. Then groups are added, removed or
exchanged while that lowers the cost: the sum over classes of the squared difference between a class's share and the
wanted one. A class with two groups or more of which none is held out costs extra. A class never loses its last video.
With 20 scenes of 6 classes each, the shares are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_NO_VIDEO_COST = 4.0  # more than any difference of two shares, squared, of several classes
_LEAST_GAIN = 1e-9
_NUM_TRIED = 256  # changes of single groups that are made, if they still help, before all are rated again
_NUM_EXCHANGED = 48  # groups whose exchange is tried, those that cost least to give back first
_MAX_WORK = 10_000_000  # entries of the table of groups and classes that are read: half a second


@dataclass(frozen=True)
class GroupTable:
    """Number of videos by group and class, as one entry for each pair that occurs, sorted by group.

    Args:
        starts: int64 (G,), first entry of each group.
        columns, counts: int64 (entries,), class and number of videos of each entry.
        totals: int64 (K,), number of videos of each class.
        num_groups: int64 (K,), number of groups of each class.
    """

    starts: np.ndarray
    columns: np.ndarray
    counts: np.ndarray
    totals: np.ndarray
    num_groups: np.ndarray

    @staticmethod
    def of(sizes: Sequence[Mapping[int, int]], num_classes: int) -> GroupTable:
        """``sizes``: for each group, class -> number of videos."""
        lengths = np.array([len(group) for group in sizes], np.int64)
        columns = np.array([label for group in sizes for label in group], np.int64)
        counts = np.array([count for group in sizes for count in group.values()], np.int64)
        totals = np.bincount(columns, counts, num_classes).astype(np.int64)
        num_groups = np.bincount(columns, minlength=num_classes)
        return GroupTable(np.cumsum(lengths) - lengths, columns, counts, totals, num_groups)

    def entries(self, group: int) -> slice:
        end = self.starts[group + 1] if group + 1 < len(self.starts) else len(self.columns)
        return slice(int(self.starts[group]), int(end))


def choose_groups(table: GroupTable, orders: Mapping[int, Sequence[int]], fraction: float) -> np.ndarray:
    """Choose the groups to hold out: bool (G,). See Note [How groups of several classes are chosen].

    Args:
        orders: class -> its groups in hash order.
        fraction: wanted share of each class's videos.
    """
    chosen = np.zeros(len(table.starts), bool)
    held = np.zeros(len(table.totals), np.int64)
    for label in sorted(orders):
        target = fraction * table.totals[label]
        for group in orders[label]:
            if held[label] >= target and held[label]:
                break
            if not chosen[group] and _gain(table, held, chosen, group, fraction) > _LEAST_GAIN:
                _move(table, held, chosen, group)
    _improve(table, held, chosen, fraction)
    return chosen


def _gain(table: GroupTable, held: np.ndarray, chosen: np.ndarray, group: int, fraction: float) -> float:
    """By how much the cost falls if a group changes its side; -inf if a class would lose its last video."""
    entries = table.entries(group)
    columns = table.columns[entries]
    after = held[columns] + table.counts[entries] * (-1 if chosen[group] else 1)
    if (after >= table.totals[columns]).any():
        return -np.inf
    change = _cost(table, columns, held[columns], fraction) - _cost(table, columns, after, fraction)
    return float(change.sum())


def _move(table: GroupTable, held: np.ndarray, chosen: np.ndarray, group: int) -> None:
    """Hold a group out, or give it back."""
    entries = table.entries(group)
    held[table.columns[entries]] += table.counts[entries] * (-1 if chosen[group] else 1)
    chosen[group] = not chosen[group]


def _improve(table: GroupTable, held: np.ndarray, chosen: np.ndarray, fraction: float) -> None:
    """Make the changes that lower the cost most, until none does or the work exceeds ``_MAX_WORK``."""
    work = 0
    while work < _MAX_WORK:
        work += len(table.columns)
        gains = _gains(table, held, chosen, fraction)
        changed = [
            group
            for group in np.argsort(-gains, kind="stable")[:_NUM_TRIED].tolist()
            if gains[group] > _LEAST_GAIN and _change(table, held, chosen, group, fraction)
        ]
        if not changed:
            work += len(table.columns) * _NUM_EXCHANGED
            changed = _best_exchange(table, held, chosen, gains, fraction)
            for group in changed:
                _move(table, held, chosen, group)
        if not changed:
            return


def _change(table: GroupTable, held: np.ndarray, chosen: np.ndarray, group: int, fraction: float) -> bool:
    """Let a group change its side if that lowers the cost, which changes of other groups may have prevented."""
    helps = _gain(table, held, chosen, group, fraction) > _LEAST_GAIN
    if helps:
        _move(table, held, chosen, group)
    return helps


def _best_exchange(
    table: GroupTable, held: np.ndarray, chosen: np.ndarray, gains: np.ndarray, fraction: float
) -> list[int]:
    """The group to give back and the one to hold out for it that lower the cost most; empty if none do."""
    best: list[int] = []
    most = _LEAST_GAIN
    given_back = np.flatnonzero(chosen)[np.argsort(-gains[chosen], kind="stable")]
    for group in given_back[:_NUM_EXCHANGED].tolist():
        _move(table, held, chosen, group)
        others = np.where(chosen, -np.inf, _gains(table, held, chosen, fraction))
        others[group] = -np.inf
        _move(table, held, chosen, group)
        other = int(others.argmax())
        if gains[group] + others[other] > most:
            best, most = [group, other], float(gains[group] + others[other])
    return best


def _gains(table: GroupTable, held: np.ndarray, chosen: np.ndarray, fraction: float) -> np.ndarray:
    """float64 (G,): by how much the cost falls if a group changes its side; -inf where a class would lose its last."""
    sign = np.where(chosen, -1, 1)
    lengths = np.diff(np.append(table.starts, len(table.columns)))
    change = table.counts * np.repeat(sign, lengths)
    before, after = held[table.columns], held[table.columns] + change
    gain = _cost(table, table.columns, before, fraction) - _cost(table, table.columns, after, fraction)
    gains = np.round(np.add.reduceat(gain, table.starts), 12)  # equal gains: the first group, on every machine
    loses = np.logical_or.reduceat(after >= table.totals[table.columns], table.starts)
    return np.where(loses & ~chosen, -np.inf, gains)


def _cost(table: GroupTable, columns: np.ndarray, held: np.ndarray, fraction: float) -> np.ndarray:
    """Cost of each of these classes, with this number of its videos held out."""
    share = held / table.totals[columns] - fraction
    empty = (held == 0) & (table.num_groups[columns] > 1)
    return share * share + np.where(empty, _NO_VIDEO_COST, 0.0)
