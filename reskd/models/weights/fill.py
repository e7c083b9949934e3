"""Fills a recognizer from a file, strictly, and reports every tensor.

A file's names become ours (names.py). Then every tensor of the model must match one of the same shape, and every
tensor of the file must match one of the model or be ignored for a reason; else the model is unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from reskd.models.backbones.temporal_shift import ShiftedConv2d
from reskd.models.backbones.timm_2d import TimmBackbone
from reskd.models.config import AggregatedConfig, FeaturesConfig, difference, network_name
from reskd.models.python_config import PythonConfig
from reskd.models.recognizer import Recognizer
from reskd.models.weights.architectures import Kind, Network, describe, num_classes_of, recognize
from reskd.models.weights.files import State, WeightFile
from reskd.models.weights.inflate import inflate
from reskd.models.weights.names import IMAGE_LAYOUTS, Renamed, layout_of, rename
from reskd.models.weights.report import TensorFate, WeightReport
from reskd.models.weights.timm_names import rename_timm

# The model creates these itself; files of other versions or of 2-D networks lack them.
_MADE_BY_THE_MODEL = {
    "num_batches_tracked": "not counted in the file",
    "relative_position_index": "a constant of the model",
}
_HEAD = "head."
_AGGREGATOR = "aggregator."


def fit(model: Recognizer, file: WeightFile) -> WeightReport:
    """Fill ``model`` with the weights of ``file``, including the head if ``weights_head`` says so.

    Raises:
        ValueError: the file does not fit. The model is then unchanged.
    """
    renamed = _rename(model, file)
    found = describe(renamed.tensors, is_shifted=bool(renamed.shifted), first=next(iter(file.tensors), None))
    keeps_head = _keeps_head(model, renamed)
    differences = list(_traceless_differences(model, file, renamed))
    if keeps_head:
        _refuse_other_classes(model, renamed, source=file.source, found=found)
        if renamed.layout != "ours":
            _refuse_layers_before_head(model, source=file.source)
        if differences:
            expected, other, advice = differences[0]
            raise ValueError(f"{file.source}: expected weights trained with {expected}, found {other}; {advice}.")
    else:
        renamed = _without_head(renamed)
        found = found.partition(" with ")[0]
    adapted = inflate(renamed, model.state_dict())
    if adapted is not renamed and keeps_head:
        raise ValueError(
            f"{file.source}: expected weights of a network over space and time, found {found}, which is only a start "
            f"for {network_name(model.config)}; set weights_head to new."
        )
    fill(model, adapted.tensors, source=file.source, found=found, needs_head=keeps_head, names_in_file=adapted.sources)
    remarks = tuple(f"trained with {other}, used with {expected}" for expected, other, _ in differences)
    return WeightReport(file.source, renamed.layout, found, tuple(_fates(model, file, renamed, adapted)), remarks)


def fill(
    model: Recognizer,
    state: State,
    *,
    source: str,
    found: str,
    needs_head: bool = True,
    names_in_file: Mapping[str, str] | None = None,
) -> None:
    """Fill ``model`` from tensors under our names.

    Args:
        source: their origin, for the message.
        found: their network, for the message.
        needs_head: if False, ``state`` may lack the head, which then stays unchanged; so may a whole aggregator, as in
            weights of a backbone.
        names_in_file: our name -> the file's, for the message.

    Raises:
        ValueError: a tensor is missing, left over, not finite, or of another shape or kind. The model is unchanged.
    """
    optional: tuple[str, ...] = () if needs_head else (model.head_prefix,)
    if not needs_head and not any(name.startswith(_AGGREGATOR) for name in state):
        optional += (_AGGREGATOR,)
    expected = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(optional)}
    mismatch = _first_mismatch(expected, state, names_in_file or {})
    if mismatch:
        raise ValueError(
            f"{source}: expected weights of {_wanted(model, with_head=needs_head)}, found {found}, first difference at "
            f"{mismatch}; "
            "set the backbone and the classes to what the file holds, or give another file."
        )
    _refuse_what_is_not_finite(state, names_in_file or {}, source=source)
    model.load_state_dict(state, strict=False)


def _rename(model: Recognizer, file: WeightFile) -> Renamed:
    backbone = _timm_backbone(model)
    if backbone is None or layout_of(file.tensors) == "ours":
        return rename(file.tensors, where=file.source)
    return rename_timm(file.tensors, backbone, where=file.source)


def _timm_backbone(model: Recognizer) -> TimmBackbone | None:
    backbone = getattr(model, "backbone", None)
    return backbone if isinstance(backbone, TimmBackbone) else None


def _keeps_head(model: Recognizer, renamed: Renamed) -> bool:
    choice = model.config.weights_head
    return choice == "keep" or (choice == "auto" and renamed.layout not in IMAGE_LAYOUTS)


def _refuse_other_classes(model: Recognizer, renamed: Renamed, *, source: str, found: str) -> None:
    num_classes = num_classes_of(renamed.tensors)
    if num_classes is None and recognize(renamed.tensors):
        raise ValueError(
            f"{source}: expected weights with a classifier of {model.num_classes} classes, found {found} without one; "
            "set weights_head to new, or give another file."
        )
    if num_classes is not None and num_classes != model.num_classes:
        name = next(name for name in renamed.tensors if name.startswith(_HEAD))
        raise ValueError(
            f"{source}: expected weights of {_wanted(model, with_head=True)}, found {found}, first difference at "
            f"{name}; give weights trained on the same classes, or set weights_head to new to start from these."
        )


def _refuse_layers_before_head(model: Recognizer, *, source: str) -> None:
    backbone = _timm_backbone(model)
    if backbone is not None and backbone.removed:
        raise ValueError(
            f"{source}: expected a classifier that takes the mean of the feature map, found layers of {backbone.name} "
            f"before it ({min(backbone.removed)}); set weights_head to new."
        )


def _traceless_differences(model: Recognizer, file: WeightFile, renamed: Renamed) -> Iterator[tuple[str, str, str]]:
    """(mine, theirs, what to do) where equal shapes hide other outputs: strides, shifts, pixels."""
    config = model.config
    if file.settings is not None:
        try:
            found = difference(config, file.settings)
        except ValueError as error:
            raise ValueError(f"{file.source}: {error}; give another file.") from None
        if found:
            key, mine, theirs = found
            advice = f"set {key} as the checkpoint has it, or give another file"
            yield f"{key} {mine}", str(theirs), advice
    if renamed.shifted is not None:
        mine_shifted = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, ShiftedConv2d)}
        if mine_shifted != renamed.shifted:
            advice = "set family to tsm where the file shifts and else to tsn, or give another file"
            yield _shifts(mine_shifted), _shifts(renamed.shifted), advice


def _shifts(names: set[str] | frozenset[str]) -> str:
    return f"{len(names)} convolutions shifted in time"


def _without_head(renamed: Renamed) -> Renamed:
    num_classes = num_classes_of(renamed.tensors)
    why = "the classifier" if num_classes is None else f"the classifier of {num_classes} classes"
    ignored = {renamed.sources[name]: why for name in renamed.tensors if name.startswith(_HEAD)}
    tensors = {name: tensor for name, tensor in renamed.tensors.items() if not name.startswith(_HEAD)}
    return Renamed(renamed.layout, tensors, renamed.sources, renamed.ignored | ignored, renamed.shifted)


def _refuse_what_is_not_finite(state: State, names_in_file: Mapping[str, str], *, source: str) -> None:
    """Raises ValueError for weights of a damaged file or a diverged run."""
    for name, tensor in state.items():
        has_values = tensor.is_floating_point() and tensor.layout == torch.strided and not tensor.is_meta
        # One pass without a copy: infinity or NaN carries over to the sum, and a sum in fp64 does not overflow.
        if has_values and not torch.isfinite(tensor.sum(dtype=torch.float64)):
            raise ValueError(
                f"{source}: expected finite weights, found NaN or infinity in {names_in_file.get(name, name)}; "
                "give another file."
            )


def _fates(model: Recognizer, file: WeightFile, renamed: Renamed, adapted: Renamed) -> Iterator[TensorFate]:
    targets = {adapted.sources[target]: target for target in adapted.tensors}
    for source in file.tensors:
        if source in adapted.ignored:
            yield TensorFate("ignored", source, None, adapted.ignored[source])
            continue
        target = targets[source]
        if adapted.tensors[target].shape != file.tensors[source].shape:
            yield TensorFate("inflated", source, target)
        else:
            yield TensorFate("loaded" if source == target else "renamed", source, target)
    for target in model.state_dict():
        if target not in adapted.tensors:
            part = "the head" if target.startswith(_HEAD) else "the aggregator"
            yield TensorFate("new", None, target, _made_by_the_model(target) or f"{part}, to be trained")


def _first_mismatch(expected: State, found: State, names_in_file: Mapping[str, str]) -> str | None:
    for name, tensor in expected.items():
        if name not in found:
            if _made_by_the_model(name):
                continue
            return f"{name} (not in the file)"
        fault = _fault(tensor, found[name], name)
        if fault:
            return f"{names_in_file.get(name, name)} ({fault})"
    extra = next((name for name in found if name not in expected), None)
    return f"{names_in_file.get(extra, extra)} (not in the model)" if extra else None


def _fault(expected: Tensor, found: Tensor, name: str) -> str | None:
    if found.shape != expected.shape:
        return f"{tuple(found.shape)} in the file, {tuple(expected.shape)} in the model"
    if found.is_meta:
        return "without values in the file"
    if found.layout != torch.strided or found.is_floating_point() != expected.is_floating_point():
        return f"{found.dtype} in the file, {expected.dtype} in the model"
    if name.endswith("relative_position_index") and not expected.is_meta and not torch.equal(found, expected):
        return "another order of positions"
    return None


def _made_by_the_model(name: str) -> str | None:
    return next((why for ending, why in _MADE_BY_THE_MODEL.items() if name.endswith(ending)), None)


def _wanted(model: Recognizer, *, with_head: bool) -> str:
    if isinstance(model.config, (AggregatedConfig, FeaturesConfig, PythonConfig)):
        return network_name(model.config) + (f" with {model.num_classes} classes" if with_head else "")
    kinds: dict[str, Kind] = {"tsm": "2-D and shifted in time", "slow_only": "3-D"}
    kind = kinds.get(model.config.family, "2-D")
    return str(Network(model.config.backbone, kind, model.num_classes if with_head else None))
