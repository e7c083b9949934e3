"""Loss terms of the user's, in the sum with their weights, with weights of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from reskd.losses.config import LossConfig
from reskd.losses.distillation import DistillationLoss, FeaturePair
from reskd.losses.extra_terms import ExtraTerms
from reskd.outputs import RecognizerOutput

PARTS = f"{Path(__file__).parents[3]}/docs/examples/own_parts.py"
FILE = """
def norm(pair):
    return lambda student, teacher, targets: student.logits_NK.pow(2).mean() + 0 * len(targets)
def vector(pair):
    return lambda student, teacher, targets: student.logits_NK.mean(1)
def number(pair):
    return lambda student, teacher, targets: 1.0
def broken(pair):
    return lambda student, teacher, targets: student.logits_NK @ student.logits_NK
def nothing(pair):
    return None
def missing(pair):
    return lambda student, teacher, targets: student.embedding_NE.mean()
def two(pair):
    return lambda student, teacher: student.logits_NK.mean()
def later(pair):
    def term(student, teacher, targets):
        raise NotImplementedError("the third term")
    return term
def counted(pair):
    return lambda student, teacher, targets: student.logits_NK.sum() / targets.bincount().sum()
def module(pair):
    import torch
    return torch.nn.Identity()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "terms.py"
    path.write_text(FILE, encoding="utf-8")
    return path


def output(dim: int) -> RecognizerOutput:
    generator = torch.Generator().manual_seed(dim)
    logits = torch.randn((2, 3), generator=generator).requires_grad_()
    return RecognizerOutput(logits, torch.randn((2, 4, dim, 2, 2), generator=generator).requires_grad_())


def loss_of(build: str, pair: FeaturePair | None = None, **settings: Any) -> DistillationLoss:
    return DistillationLoss(LossConfig(terms={"own": {"build": build, "alpha": 0.5, **settings}}), pair)


def test_a_term_is_added_with_its_weight(file: Path) -> None:
    student, targets = output(6), torch.tensor([0, 2])
    terms = loss_of(f"{file}:norm", needs_teacher=False)(student, targets, None)
    own = student.logits_NK.pow(2).mean()
    assert set(terms.unweighted) == {"task", "own"}
    torch.testing.assert_close(terms.unweighted["own"], own.detach())
    torch.testing.assert_close(terms.total, terms.weighted["task"] + 0.5 * own)


def test_a_terms_own_weights_are_trained_and_saved() -> None:
    loss = loss_of(f"{PARTS}:cosine_term", FeaturePair(6, 8, (), ()))
    loss(output(6), torch.tensor([0, 1]), output(8)).total.backward()
    names = [name for name, value in loss.named_parameters() if value.grad is not None and value.grad.any()]
    assert names == ["extra.own.projection.weight", "extra.own.projection.bias"]
    assert set(loss.state_dict()) == set(names)


def test_without_terms_of_ones_own_nothing_changes() -> None:
    assert DistillationLoss(LossConfig()).state_dict() == {}
    assert LossConfig().weights == {"task": 1.0}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vector", r"loss.terms.own: expected a scalar tensor, found a tensor of shape \(2,\)"),
        ("number", "expected a scalar tensor, found float"),
        ("broken", r"loss.terms.own failed with RuntimeError: .*\(terms.py, line 9\)"),
        ("missing", r"loss.terms.own failed with AttributeError: .*\(terms.py, line 13\)"),
        ("two", "loss.terms.own failed with TypeError: "),
        ("later", "loss.terms.own failed with NotImplementedError: the third term"),
    ],
)
def test_what_is_no_scalar_is_refused(file: Path, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss_of(f"{file}:{name}", needs_teacher=False)(output(6), torch.tensor([0, 1]), None)


def test_a_function_that_makes_no_term_is_refused(file: Path) -> None:
    with pytest.raises(ValueError, match=r"loss.terms.own.build: expected a function to return a callable"):
        loss_of(f"{file}:nothing")


def test_a_term_that_compares_needs_a_teacher() -> None:
    with pytest.raises(ValueError, match="loss.own compares the student with a teacher"):
        loss_of(f"{PARTS}:cosine_term", FeaturePair(6, 6, (), ()))(output(6), torch.tensor([0, 1]), None)


@pytest.mark.parametrize(
    ("name", "message"), [("pixel", "no term of this program has"), ("a b", "letters, digits and _")]
)
def test_a_name_is_free_and_plain(name: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LossConfig(terms={name: {"build": "x", "alpha": 1}})


def test_a_module_is_not_called_as_a_part_of_torchs_modules_is(file: Path) -> None:
    config = LossConfig(terms={"check": {"build": f"{file}:module", "alpha": 1, "needs_teacher": False}})
    with pytest.raises(ValueError, match="loss.terms.check: expected a name that no torch module has"):
        DistillationLoss(config, None)


@pytest.mark.parametrize("name", ["norm", "counted"])
def test_a_term_that_needs_values_is_passed_over_where_there_are_none(file: Path, name: str) -> None:
    terms = LossConfig(terms={"own": {"build": f"{file}:{name}", "alpha": 1, "needs_teacher": False}}).terms
    student = RecognizerOutput(torch.zeros((2, 3), device="meta"), None)
    ExtraTerms(terms, None).check(student, None, torch.zeros(2, dtype=torch.int64, device="meta"))
    with pytest.raises(ValueError, match="loss.terms.own failed with NotImplementedError: the third term"):
        later = LossConfig(terms={"own": {"build": f"{file}:later", "alpha": 1, "needs_teacher": False}}).terms
        ExtraTerms(later, None).check(student, None, torch.zeros(2, dtype=torch.int64, device="meta"))
