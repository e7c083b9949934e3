"""Recovery of a loader whose pipeline failed: it retries, then replaces DALI by PyAV, then gives up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dali_pipes.loader.external_source import NONE_READABLE
from dali_pipes.loader.watchdog import Hang

# After so many batches that only PyAV could decode, DALI is not tried again: each of them costs two restarts.
_MOST_BATCHES_LOST_BY_DALI = 3
# After so many restarts for black frames, PyAV decodes every file that the scan did not: films often begin black.
_MOST_RESTARTS_FOR_BLACK = 8
# A loader may restart this often, and once more for so many batches that it has served.
_FREE_RESTARTS, _BATCHES_A_RESTART = 10, 100


class Recovery:
    """Remembers the failures of one loader.

    Args:
        prefetch: number of batches that DALI prefetches; one of them may be the one that failed.

    Attributes:
        pyav_batches: iterations whose clips PyAV decodes, whatever the choice is.
        pyav_rows: rows that PyAV decodes, as DALI put out black frames that the scan cannot vouch for.
        hung_rows: rows that are no longer opened.
    """

    def __init__(self, prefetch: int) -> None:
        self._prefetch = prefetch
        self._failures: Counter[int] = Counter()
        self._num_restarts = 0
        self.pyav_batches: frozenset[int] = frozenset()
        self.pyav_rows: frozenset[int] = frozenset()
        self._num_black = 0
        self.hung_rows: frozenset[int] = frozenset()

    def should_retry(self, error: Exception, iteration: int, hangs: Sequence[Hang]) -> bool:
        """Whether to restart at ``iteration``; also records how.

        A file at which a worker hung is skipped. Any other failure is retried once unchanged, since a killed worker
        says nothing about the file, and once with PyAV in place of DALI.
        """
        if NONE_READABLE in str(error):
            return False
        self.hung_rows |= {hang.row for hang in hangs}
        if hangs:
            return True
        self._num_restarts += 1
        self._failures[iteration] += 1
        if self._failures[iteration] == 2:
            self.use_pyav(iteration)
        return self._failures[iteration] <= 2 and not self.restarts_too_often(iteration)

    def restarts_too_often(self, iteration: int) -> bool:
        """Whether there were more restarts than ``iteration`` served batches allow."""
        return self._num_restarts > _FREE_RESTARTS + iteration // _BATCHES_A_RESTART

    @property
    def dali_has_failed(self) -> bool:
        """Whether DALI failed at so many batches that it is not worth trying."""
        return sum(count >= 2 for count in self._failures.values()) >= _MOST_BATCHES_LOST_BY_DALI

    def doubt(self, rows: frozenset[int]) -> None:
        """Leave these rows to PyAV from now on; the pipeline restarts for them."""
        self.pyav_rows |= rows
        self._num_black += 1

    @property
    def undecoded_by_pyav(self) -> bool:
        """Whether PyAV decodes all files that the scan did not decode."""
        return self._num_black >= _MOST_RESTARTS_FOR_BLACK

    def use_pyav(self, iteration: int) -> None:
        """Make PyAV decode this batch and those prefetched with it."""
        self.pyav_batches |= frozenset(range(iteration, iteration + self._prefetch + 1))


def reason_of(error: Exception) -> str:
    """The line of DALI's message that names the cause: a sentence of ours from a worker, or DALI's own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    ours = [line.partition(": ")[2] for line in lines if NONE_READABLE in line and line.startswith("RuntimeError: ")]
    telling = [line for line in lines if line.startswith(("Error in ", "Error while", "Message:", "Failed to"))]
    # The last line of a worker's traceback is its error.
    raised = lines[-1:] if any(line.startswith("Traceback (most recent") for line in lines) else []
    return next(iter(ours or telling or raised or lines), type(error).__name__)
