"""Measure the shape of the code: files a folder, length of functions, parameters, imports between folders.

    python -m tests.structure          # the table of docs/decisions.md

Only the text of the files is read; nothing is imported. tests/test_structure.py holds the limits.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dali_pipes", "reskd", "benchmarks", "tools", "docs_site")

Graph = Mapping[str, set[str]]


@dataclass(frozen=True)
class Function:
    """A function or method. ``num_parameters`` leaves out self and cls."""

    where: str
    num_lines: int
    num_parameters: int


def source_files(*packages: str) -> list[Path]:
    """All .py files of these packages (default: all of ``PACKAGES``) but empty ones, relative to the root."""
    paths = [path for package in packages or PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return [path.relative_to(ROOT) for path in paths]


def module_name(path: Path) -> str:
    """``a.b`` of a/b.py and of a/b/__init__.py."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """Every imported module, wherever the statement stands; ``from a import b`` gives ``a.b`` if that is a module."""
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the absolute name of the module"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if _is_module(inner) else node.module


def import_graph(*packages: str) -> dict[str, set[str]]:
    """Module -> the project's own modules that it imports."""
    files = source_files(*packages)
    own = {module_name(path) for path in files}
    return {module_name(path): {name for name in imports_of(path) if name in own} for path in files}


def folder_graph(*packages: str) -> dict[str, set[str]]:
    """Folder -> the other folders that its own files import from."""
    folders = {module_name(path): path.parent.as_posix() for path in source_files(*packages)}
    graph: dict[str, set[str]] = defaultdict(set)
    for module, imported in import_graph(*packages).items():
        graph[folders[module]] |= {folders[name] for name in imported} - {folders[module]}
    return dict(graph)


def circles(graph: Graph) -> list[list[str]]:
    """Groups of two or more nodes that reach one another."""
    reachable = {node: _reachable(graph, node) for node in graph}
    found = {tuple(sorted(other for other in reachable[node] if node in reachable[other])) for node in graph}
    return [list(circle) for circle in sorted(found) if len(circle) > 1]


def functions(*packages: str) -> list[Function]:
    """Every function and method, longest first."""
    found = [function for path in source_files(*packages) for function in _functions_in(path)]
    return sorted(found, key=lambda function: -function.num_lines)


def files_per_folder(*packages: str) -> dict[str, int]:
    """Source files that lie directly in each folder; ``__init__.py`` is not counted."""
    counts: dict[str, int] = defaultdict(int)
    for path in source_files(*packages):
        counts[path.parent.as_posix()] += path.name != "__init__.py"
    return dict(counts)


def longest_chain(graph: Graph) -> int:
    """Nodes on the longest way down a graph without circles."""
    lengths: dict[str, int] = {}

    def length(node: str) -> int:
        if node not in lengths:
            lengths[node] = 1 + max((length(below) for below in graph.get(node, ())), default=0)
        return lengths[node]

    return max(map(length, graph))


def _functions_in(path: Path) -> Iterator[Function]:
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            named = [argument for argument in arguments if argument.arg not in ("self", "cls")]
            assert node.end_lineno is not None
            yield Function(f"{path}:{node.name}", node.end_lineno - node.lineno + 1, len(named))


def _reachable(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for below in graph.get(waiting.pop(), ()):
            if below not in seen:
                seen.add(below)
                waiting.append(below)
    return seen | {start}


def _parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def _is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def main() -> None:
    """Print one row a package."""
    print(
        "| package | files | largest folder | longest function | over 40 lines | over 6 parameters | arrows | chain |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for package in PACKAGES:
        found = functions(package)
        folder, most = max(files_per_folder(package).items(), key=lambda item: item[1])
        cells = [
            package,
            sum(files_per_folder(package).values()),
            f"{most} ({folder})",
            f"{found[0].num_lines} ({found[0].where})",
            sum(function.num_lines > 40 for function in found),
            sum(function.num_parameters > 6 for function in found),
            sum(map(len, folder_graph(package).values())),
            longest_chain(import_graph(package)),
        ]
        print(f"| {' | '.join(map(str, cells))} |")
    for name, graph in (("files", import_graph()), ("folders", folder_graph())):
        found_circles = circles(graph)
        print(f"circles of {name}: {len(found_circles)}", *found_circles, sep="\n  ")
    widest = sorted(import_graph().items(), key=lambda item: -len(item[1]))[:5]
    print("most imports:", ", ".join(f"{module} {len(imported)}" for module, imported in widest))
    for function in functions():
        if function.num_parameters > 6 or function.num_lines > 50:
            print(f"{function.num_lines} lines, {function.num_parameters} parameters: {function.where}")


if __name__ == "__main__":
    main()
