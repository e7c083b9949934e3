"""Loss terms of the user's: ``loss.terms.NAME``.

The function is called once, as ``build(pair, **arguments)`` with a ``FeaturePair`` of the networks' sizes, or None
without a teacher. It returns a callable, or a torch.nn.Module whose parameters are then trained and saved with the
loss. Each step calls it as ``term(student, teacher, targets)`` with two ``RecognizerOutput`` (the teacher's is None
without one, and needs no gradient) and the labels; it returns a scalar, the mean over the clips.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from reskd.extensions.config import MadeByCode
from reskd.extensions.locate import make, reason_of
from reskd.outputs import RecognizerOutput


class ExtraTerms(nn.Module):
    """The terms by name, as one module, so that DDP, optimizer and checkpoint have their parameters.

    Args:
        pair: sizes of both networks, a ``FeaturePair``; None without a teacher.

    Raises:
        ValueError: a function is missing or fails, or returns nothing that can be called.
    """

    def __init__(self, wanted: Mapping[str, MadeByCode], pair: Any) -> None:
        super().__init__()
        self._functions: dict[str, Any] = {}
        for name, one in wanted.items():
            key = f"loss.terms.{name}.build"
            term = make(one.build, "loss", pair, key=key, arguments=one.arguments)
            if not callable(term):
                raise ValueError(
                    f"{key}: expected a function to return a callable (student, teacher, targets), found "
                    f"{type(term).__name__}; docs/extending.md shows one."
                )
            if isinstance(term, nn.Module):
                if hasattr(self, name):
                    raise ValueError(f"loss.terms.{name}: expected a name that no torch module has; choose another.")
                self.add_module(name, term)
            else:
                self._functions[name] = term

    def check(self, student: RecognizerOutput, teacher: RecognizerOutput | None, targets: Tensor) -> None:
        """Call every term on outputs that are on the meta device; one that reads values there is passed over.

        Raises:
            ValueError: as ``value``.
        """
        for name in (*self._functions, *dict(self.named_children())):
            try:
                self.value(name, student, teacher, targets)
            except ValueError as error:
                if "meta" not in str(error).lower():  # torch writes it either way
                    raise

    def value(self, name: str, student: RecognizerOutput, teacher: RecognizerOutput | None, targets: Tensor) -> Tensor:
        """The unweighted value of a term.

        Raises:
            ValueError: the term fails, or returns something else than a scalar tensor.
        """
        term = self._functions[name] if name in self._functions else self.get_submodule(name)
        try:
            value = term(student, teacher, targets)
        except Exception as error:  # of the user's code, so any
            if "out of memory" in str(error):
                raise
            raise ValueError(f"loss.terms.{name} failed with {reason_of(error)}.") from error
        if not isinstance(value, Tensor) or value.ndim != 0:
            found = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"loss.terms.{name}: expected a scalar tensor, found {found}; return the mean over clips.")
        return value.float()
