"""How large the terms of a loss are in a run's first step, and whether one dominates another.

Note [When two networks are fresh]
A joint teacher and its student both start at random and agree: their embeddings and scores are almost equal, whatever
the loss weights. So the terms of a joint run are compared after its first epoch, not in its first step.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dali_pipes.atomic_files import atomic_write_text
from dali_pipes.json_files import parse_json
from reskd.losses.config import LossConfig

# Above this ratio the smaller term causes at most a hundredth of the gradient.
_DWARFED = 100.0
# Weights of the papers' recipes (docs/models.md, docs/fewer_frames.md; the task's is 1): who trains by them means them.
_PUBLISHED = {"task": 1.0, "pixel": 100.0, "logit_map": 200.0, "embedding": 0.001, "prediction": 0.01}
log = logging.getLogger(__name__)


class TermBalance(NamedTuple):
    """A term of the loss, averaged over the clips of the first step."""

    name: str
    unweighted: float
    weight: float

    @property
    def weighted(self) -> float:
        return self.weight * self.unweighted


def balance_of(losses: Mapping[str, float], weights: Mapping[str, float]) -> list[TermBalance]:
    """``losses``: the step's metrics, ``loss/<term>`` unweighted; ``weights``: term -> weight."""
    return [TermBalance(name, losses[f"loss/{name}"], weight) for name, weight in weights.items()]


def shares_of(values: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """``loss_share/<term>``, the weighted share of each term in the loss; empty for a single term or a loss of 0.

    Args:
        values: a logged step's metrics: ``loss/<term>`` unweighted, and ``loss/alpha_<term>`` of automatic weights.
        weights: term -> weight, for the others.
    """
    weighted = {
        name: values.get(f"loss/alpha_{name}", weight) * values[f"loss/{name}"] for name, weight in weights.items()
    }
    total = sum(weighted.values())
    if len(weighted) < 2 or not 0 < total < math.inf:
        return {}
    return {f"loss_share/{name}": value / total for name, value in weighted.items()}


def table(terms: Sequence[TermBalance]) -> str:
    """A Markdown table with one row per term."""
    rows = [f"| {term.name} | {term.unweighted:.4g} | {term.weight:g} | {term.weighted:.4g} |" for term in terms]
    return "\n".join(["| term | unweighted | weight | weighted |", "|---|---|---|---|", *rows])


def warning(terms: Sequence[TermBalance], *, when: str) -> str | None:
    """A warning where one weighted term is more than 100 times another, unless both have the weights of the papers.

    Terms with weight 0 do not count.

    Args:
        when: the terms were measured, as "in the first step".
    """
    counted = sorted((term for term in terms if term.weight > 0), key=lambda term: term.weighted)
    if len(counted) < 2 or not counted[-1].weighted > _DWARFED * counted[0].weighted:
        return None
    small, large = counted[0], counted[-1]
    if all(term.weight == _PUBLISHED.get(term.name) for term in (small, large)) and small.weighted > 0:
        return None
    times = f"{large.weighted / small.weighted:.0f} times" if small.weighted > 0 else "beyond any multiple of"
    advice = (
        f"the {large.name} term, weighted, is {times} the {small.name} term {when} ({large.weighted:.3g} and "
        f"{small.weighted:.3g}), which will hardly be learned; set {_setting(large.name)} lower or "
        f"{_setting(small.name)} higher."
    )
    if large.name == "task" or not {small.name, large.name} <= {"task", "embedding", "prediction"}:
        return advice
    return advice + (
        " The configs of NeXtVLAD have 1 for the task, 0.01 for the prediction and 0.001 for the embedding."
    )


def log_first_step(terms: Sequence[TermBalance], path: Path, *, judges: bool) -> None:
    """Write several terms to ``path``, and log them as a table; with ``judges`` also an imbalance."""
    if len(terms) > 1:
        write(path, terms)
        log.info("the terms of the first step's loss:\n%s", table(terms))
    if judges:
        log_imbalance(terms, when="in the first step")


def log_imbalance(terms: Sequence[TermBalance], *, when: str) -> None:
    """Log ``warning``, if there is one."""
    if advice := warning(terms, when=when):
        log.warning(advice)


def write(path: Path, terms: Sequence[TermBalance]) -> None:
    atomic_write_text(path, json.dumps([term._asdict() for term in terms], indent=2) + "\n")


def read(path: Path) -> list[TermBalance]:
    """Raises ValueError if the file is damaged."""
    try:
        return [TermBalance(**row) for row in parse_json(path.read_bytes())]
    except (ValueError, TypeError):
        raise ValueError(f"{path}: expected the size of each loss term, found something else; delete it.") from None


def _setting(name: str) -> str:
    if name == "task":
        return "loss.task_weight"
    return f"loss.{name}.alpha" if name in LossConfig.model_fields else f"loss.terms.{name}.alpha"
