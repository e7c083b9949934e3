"""Pages of the API reference: the public names of reskd and dali_pipes, grouped by what one does with them.

mkdocstrings reads the docstrings from the sources' text; nothing is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("reskd", "dali_pipes")


class Group(NamedTuple):
    title: str
    introduction: str
    names: tuple[str, ...]


# Page -> what is on it. Each public name is in one group; ``check_all_are_grouped`` says which is not.
GROUPS = {
    "training": Group("Training", "Train what a config describes, as `reskd train` does.", ("reskd.train_config",)),
    "students": Group(
        "Students",
        "Load a trained student and ask it about files, or about frames that are already there.",
        ("reskd.load_student", "reskd.Student", "reskd.Answer", "reskd.NoAnswer"),
    ),
    "loaders": Group(
        "Loaders and batches",
        "Two views of each clip for a training loop of your own. `reskd.make_loader` is the short way; the names of "
        "`dali_pipes` are its parts.",
        (
            "reskd.make_loader",
            "dali_pipes.ClipBatch",
            "dali_pipes.View",
            "dali_pipes.FeatureView",
            "dali_pipes.PADDING_POSITION",
            "dali_pipes.ClipLoader",
            "dali_pipes.ReadingOrder",
            "dali_pipes.build_manifests",
            "dali_pipes.Manifest",
        ),
    ),
    "losses": Group("Losses", "The fused loss alone, for any PyTorch program.", ("reskd.interpolate_mse_loss",)),
    "configs": Group(
        "Configs",
        "What a config's file becomes. [Settings](../settings/index.md) has each one's type, default and meaning.",
        ("reskd.load_config", "reskd.ExperimentConfig", "dali_pipes.DataConfig"),
    ),
}
# Configs: their settings are on a page of their own, so only what they compute is shown.
_CONFIGS = ("reskd.ExperimentConfig", "dali_pipes.DataConfig")
# Classes that have public members of a base class.
_INHERITING = {"dali_pipes.ClipLoader": "inherited_members: true"}


def public_names(root: Path) -> dict[str, str]:
    """Public name with its package, ``reskd.load_config`` -> the module that defines it; from the sources' text."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        tree = ast.parse((root / package / "__init__.py").read_text(encoding="utf-8"))
        [table] = [
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id == "_PUBLIC"
        ]
        found |= {f"{package}.{name}": module for name, module in ast.literal_eval(table).items()}
    return found


def check_all_are_grouped(names: Mapping[str, str]) -> None:
    """Raises ValueError if a public name is in no group, or a group has a name that is not public."""
    grouped = [name for group in GROUPS.values() for name in group.names]
    if sorted(grouped) != sorted(names):
        different = sorted(set(grouped) ^ set(names)) or sorted(name for name in grouped if grouped.count(name) > 1)
        raise ValueError(
            f"expected each public name in one group of docs_site/api_pages.py, found a difference in {different}; "
            "add a new name to a group, and remove an old one."
        )


def api_pages(root: Path) -> dict[str, str]:
    """Page under api/ -> its Markdown.

    Raises:
        ValueError: as ``check_all_are_grouped``.
    """
    names = public_names(root)
    check_all_are_grouped(names)
    pages = {f"{page}.md": _group_page(group) for page, group in GROUPS.items()}
    return {"index.md": _index(root, names), **pages}


def _group_page(group: Group) -> str:
    blocks = [f"# {group.title}", group.introduction]
    for name in group.names:
        chosen = {**dict.fromkeys(_CONFIGS, "members: [folder, clips, features, resolved]"), **_INHERITING}.get(name)
        options = f"\n    options:\n      {chosen}" if chosen else ""
        blocks.append(f"::: {name}{options}")
    return "\n\n".join(blocks) + "\n"


def _index(root: Path, names: Mapping[str, str]) -> str:
    lines = [
        "# API reference",
        "",
        "These are the public names; others may change between releases. `import reskd` and `import dali_pipes` load "
        "none of them before it is used. [reskd from Python](../python.md) shows them at work.",
        "",
    ]
    for page, group in GROUPS.items():
        lines += ["", f"## {group.title}", "| name | purpose |", "|---|---|"]
        for name in group.names:
            purpose = _first_sentence(root, names[name], name.rpartition(".")[2]).replace("|", "\\|")
            lines.append(f"| [`{name}`]({page}.md#{name}) | {purpose} |")
    return "\n".join(lines) + "\n"


def _first_sentence(root: Path, module: str, name: str) -> str:
    """The first paragraph of what a module says about one of its names."""
    tree = ast.parse((root / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8"))
    for node, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return _first_paragraph(ast.get_docstring(node))
        names_it = isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]
        if names_it and isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            return _first_paragraph(str(following.value.value))
    raise ValueError(f"expected {name} with a docstring in {module}, found none; write one.")


def _first_paragraph(docstring: str | None) -> str:
    return " ".join((docstring or "").strip().split("\n\n")[0].split())
