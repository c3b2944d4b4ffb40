"""No import cycles: not at run time, not in functions, not under TYPE_CHECKING."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from parsed import nodes

SOURCE = Path(__file__).resolve().parents[2] / "src"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path, modules: set[str]) -> Iterator[str]:
    """Yield the modules of ours that a file names in any import statement."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in modules else node.module


def import_graph() -> dict[str, set[str]]:
    paths = {module_name(path): path for path in SOURCE.rglob("*.py")}
    return {name: set(imported(path, set(paths))) - {name} for name, path in paths.items()}


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = import_graph()
    assert graph["rekindle.cli.main"], "the graph is empty"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" imports ".join(reversed(error.args[1]))) from None


def test_errors_import_nothing_of_ours() -> None:
    assert import_graph()["rekindle.domain.errors"] == set()
