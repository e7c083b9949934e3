"""What a loader tries after its pipeline failed: the same again, then PyAV in place of DALI; then it gives up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dali_pipes.loader.external_source import NONE_READABLE
from dali_pipes.loader.watchdog import Hang


class Recovery:
    """Remembers what failed, for one loader.

    Args:
        prefetch: batches that DALI makes ahead; it may have failed at a later one than it owes.

    Attributes:
        pyav_batches: iterations whose clips PyAV decodes whatever the choice is.
        hung_rows: rows that are not opened any more.
    """

    def __init__(self, prefetch: int) -> None:
        self._prefetch = prefetch
        self._failures: Counter[int] = Counter()
        self.pyav_batches: frozenset[int] = frozenset()
        self.hung_rows: frozenset[int] = frozenset()

    def should_retry(self, error: Exception, iteration: int, hangs: Sequence[Hang]) -> bool:
        """Whether to start again at ``iteration``, having noted how.

        A worker that hung costs its file. Anything else is tried once more as it was, as a killed worker is no fault
        of a file, and once with PyAV decoding what DALI would have.
        """
        if NONE_READABLE in str(error):
            return False
        self.hung_rows |= {hang.row for hang in hangs}
        if hangs:
            return True
        self._failures[iteration] += 1
        if self._failures[iteration] == 2:
            self.use_pyav(iteration)
        return self._failures[iteration] <= 2

    def use_pyav(self, iteration: int) -> None:
        """Have PyAV decode this batch and those that are made ahead of it."""
        self.pyav_batches |= frozenset(range(iteration, iteration + self._prefetch + 1))


def reason_of(error: Exception) -> str:
    """The line of DALI's message that says what happened."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line.startswith(("Error in ", "Error while", "Message:", "Failed to"))]
    return next(iter(telling or lines), type(error).__name__)
