"""Step times over numbers of processes, as text."""

from __future__ import annotations

from collections.abc import Sequence

from reskd.profiling.measurement_rows import aligned
from reskd.scaling.config import Rates
from reskd.scaling.paper_model import lost_to_failures, step_time
from reskd.scaling.simulated_run import simulate

_TITLES = ("processes", "clips each", "step ms", "clips/s", "of linear", "limit", "sum ms", "not hidden", "read GB/s")
_SECONDS_OF_DAY = 86_400


def describe_scaling(
    rates: Rates, processes: Sequence[int], clips_per_step: int | None, *, clips: float | None = None, steps: int = 40
) -> str:
    """A line for each number of processes, predicted by formulas and simulated.

    Args:
        clips_per_step: over all processes; None: each process has as many as in the first measured point.
        clips: of a whole run, for its days.
        steps: that are simulated; 0: none.

    Raises:
        ValueError: a process would have no clip in a step.
    """
    titles = list(_TITLES)
    titles += ["simulated clips/s", "waiting"] if steps else []
    titles += ["lost to failures"] if rates.failures else []
    titles += ["days"] if clips else []
    lines = [titles]
    of_one = clips_per_step or rates.step.measured[0].clips
    alone = of_one / step_time(rates, 1, of_one).seconds
    for count in processes:
        total = clips_per_step or rates.step.measured[0].clips * count
        if total < count:
            raise ValueError(f"--clips-per-step {total}: expected at least a clip for each of {count} processes.")
        lines.append(_line(rates, count, total, alone, clips=clips, steps=steps))
    return aligned(lines)


def _line(rates: Rates, count: int, clips_per_step: int, alone: float, *, clips: float | None, steps: int) -> list[str]:
    """``alone``: clips/s of one process."""
    predicted = step_time(rates, count, clips_per_step)
    rate = clips_per_step / predicted.seconds
    line = [str(count), f"{clips_per_step / count:.4g}", _ms(predicted.seconds), f"{rate:.4g}"]
    line += [f"{100 * rate / count / alone:.0f} %", predicted.limit]
    line += [_ms(predicted.sum_seconds), _ms(predicted.unhidden_seconds), f"{predicted.storage_gb_per_s:.3g}"]
    if steps:
        simulated = simulate(rates, count, clips_per_step, steps=steps)
        line += [f"{clips_per_step / simulated.step_seconds:.4g}", f"{100 * simulated.wait_share:.1f} %"]
    lost = lost_to_failures(rates.failures, count) if rates.failures else 0.0
    line += [f"{100 * lost:.2g} %"] if rates.failures else []
    if clips:
        line.append(f"{clips / rate / _SECONDS_OF_DAY / (1 - lost):.3g}" if lost < 1 else "never")
    return line


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}"
