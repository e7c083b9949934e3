"""Which implementation of an op runs. A backend that is asked for is honoured or refused; only "auto" chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from reskd.ops.reference import interpolate_mse_reference

Backend = Literal["auto", "reference"]

# In order of preference for "auto".
_IMPLEMENTATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"reference": interpolate_mse_reference}


def available_backends() -> tuple[str, ...]:
    """The backends that work on this machine, the one preferred by "auto" first."""
    return tuple(_IMPLEMENTATIONS)


def implementation(backend: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The function behind ``backend``. Raises ValueError for a backend that is not here."""
    if backend == "auto":
        return next(iter(_IMPLEMENTATIONS.values()))
    if backend not in _IMPLEMENTATIONS:
        raise ValueError(
            f"backend: expected one of {('auto', *available_backends())}, found {backend!r}; "
            "use 'auto' for the best that works here."
        )
    return _IMPLEMENTATIONS[backend]
