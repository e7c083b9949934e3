"""Weights for a network that the user's own code makes, under the names which that code gives them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from reskd.models.config import difference, network_name
from reskd.models.recognizer import Recognizer
from reskd.models.weights.files import State, WeightFile
from reskd.models.weights.fill import fill
from reskd.models.weights.report import TensorFate, WeightReport

_PREFIX = "backbone."
_OF_DDP = "module."


def fit_own_names(model: Recognizer, file: WeightFile) -> WeightReport:
    """Fill a network of family python from a checkpoint of ours, or from a state dict of the user's module.

    Under ``weights_head`` auto the head comes from the file if it has the model's shapes there.

    Raises:
        ValueError: the file does not fit, or the head is to be new and cannot be told. The model is then unchanged.
    """
    if file.settings is not None and (found := difference(model.config, file.settings)):
        key, mine, theirs = found
        raise ValueError(
            f"{file.source}: expected weights trained with {key} {mine}, found {theirs}; set {key} as the checkpoint "
            "has it, or give another file."
        )
    sources = _ours(model, file.tensors)
    state = {name: file.tensors[source] for name, source in sources.items()}
    keeps_head = _keeps_head(model, state)
    taken = {name: value for name, value in state.items() if keeps_head or not name.startswith(model.head_prefix)}
    fill(
        model,
        taken,
        source=file.source,
        found=f"{len(state)} tensors (the first is {next(iter(file.tensors), 'none')})",
        needs_head=keeps_head,
        names_in_file=sources,
    )
    return WeightReport(file.source, "its own names", network_name(model.config), tuple(_fates(model, sources, taken)))


def _ours(model: Recognizer, names: Iterable[str]) -> dict[str, str]:
    """Name in the model -> name in the file.

    One rule holds for the whole file, as the user's module may itself have a child "backbone" or "module".
    """
    given, own = list(names), set(model.state_dict())
    plain = {name: name for name in given}
    if all(name.startswith(_OF_DDP) for name in given) and not all(_PREFIX + name in own for name in given):
        plain = {name.removeprefix(_OF_DDP): name for name in given}
    of_user = {_PREFIX + name: source for name, source in plain.items()}
    return max(of_user, plain, key=lambda found: len(own & set(found)))


def _keeps_head(model: Recognizer, state: State) -> bool:
    choice = model.config.weights_head
    own = {name: value for name, value in model.state_dict().items() if name.startswith(model.head_prefix)}
    if choice == "new" and not own:
        raise ValueError(
            f"weights_head: expected auto or keep for {network_name(model.config)}, whose last layer cannot be told, "
            "found new; set head to that layer's name."
        )
    if choice != "auto":
        return choice == "keep"
    return all(name in state and state[name].shape == value.shape for name, value in own.items())


def _fates(model: Recognizer, sources: Mapping[str, str], taken: State) -> Iterator[TensorFate]:
    for name, source in sources.items():
        if name in taken:
            yield TensorFate("loaded" if name == source else "renamed", source, name)
        else:
            yield TensorFate("ignored", source, None, "the head, of other classes or to be trained anew")
    for name in model.state_dict():
        if name not in taken:
            yield TensorFate("new", None, name, "the head, to be trained")
