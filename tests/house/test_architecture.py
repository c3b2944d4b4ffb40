"""What ARCHITECTURE.md names exists, and each package imports only what its row there names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from parsed import nodes, tree

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "rekindle"
PAGE = (ROOT / "ARCHITECTURE.md").read_text()
CODE = re.findall(r"`([^`\n]+)`", PAGE)
FEWEST_INVARIANTS = 15

PLACE = re.compile(r"(?P<file>[\w./-]*(?:/|\.(?:py|sql|md|toml)))(?::(?P<name>[\w.]+))?")
TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*")


def found(file: str) -> Path | None:
    """The file or folder of a path that is relative to the package or to the root."""
    return next((base / file for base in (SOURCE, ROOT) if (base / file).exists()), None)


@cache
def names_in(path: Path) -> frozenset[str]:
    """The functions, classes, methods, fields and constants that a module defines: `name` or `Class.name`."""
    return frozenset(defined(tree(path), ""))


def defined(owner: ast.Module | ast.ClassDef, before: str) -> Iterator[str]:
    for node in owner.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield before + node.name
        if isinstance(node, ast.ClassDef):
            yield from defined(node, f"{node.name}.")
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        yield from (before + target.id for target in targets if isinstance(target, ast.Name))


def imports() -> Iterator[tuple[str, str, str]]:
    """(file, package of the file, module) of every import statement, also those within functions."""
    for path in sorted(SOURCE.rglob("*.py")):
        file = path.relative_to(SOURCE)
        for node in nodes(path):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module == "rekindle":
                modules = [f"rekindle.{alias.name}" for alias in node.names]
            else:
                modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            yield from ((str(file), file.parts[0].removesuffix(".py"), module) for module in modules)


def rows(columns: int) -> list[list[str]]:
    """The cells of the rows of tables with this number of columns."""
    cells = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    return [row for row in cells if len(row) == columns]


def test_each_file_and_function_exists() -> None:
    wrong = []
    for code in CODE:
        place = PLACE.fullmatch(code)
        if place is None:
            continue
        path = found(place["file"])
        if path is None or (place["name"] and place["name"] not in names_in(path)):
            wrong.append(code)
    assert wrong == []


def test_each_test_exists() -> None:
    named = [TEST.fullmatch(code) for code in CODE if "::" in code]
    assert all(named), "a test is written `tests/x.py::test_y`"
    ids = [(one[1], one[2]) for one in named if one]
    assert [one for one in ids if not (ROOT / one[0]).exists() or one[1] not in names_in(ROOT / one[0])] == []


def test_each_name_alone_is_in_the_code() -> None:
    text = "\n".join(path.read_text() for path in SOURCE.rglob("*.*") if path.suffix in (".py", ".sql"))
    words = set(re.findall(r"\w+", text))
    alone = {code for code in CODE if NAME.fullmatch(code) and not PLACE.fullmatch(code)}
    methods = {name for path in SOURCE.rglob("*.py") for name in names_in(path)}
    assert {name for name in alone if "." in name} <= methods | {"Store.folder"}
    assert {name for name in alone if "." not in name} <= words | {"needs"}


def test_each_package_has_a_row() -> None:
    packages = {f"{path.parent.relative_to(SOURCE)}/" for path in SOURCE.rglob("*/__init__.py")}
    first_cells = {name for row in rows(4) + rows(2) for name in re.findall(r"`([^`]+)`", row[0])}
    assert packages - first_cells == set()


def test_there_are_numbered_invariants_each_with_a_test() -> None:
    invariants = [row for row in rows(3) if row[0].isdecimal()]
    assert len(invariants) >= FEWEST_INVARIANTS
    assert [int(row[0]) for row in invariants] == list(range(1, len(invariants) + 1))
    assert [row for row in invariants if not TEST.fullmatch(row[2].strip("`"))] == []


def test_a_package_imports_only_what_its_row_names() -> None:
    allowed = {
        row[0].strip("`/").removesuffix(".py"): set(re.findall(r"\w+", row[3]))
        for row in rows(4)
        if row[0].startswith("`")
    }
    assert {path.parent.name for path in SOURCE.glob("*/__init__.py")} <= allowed.keys()
    wrong = []
    for file, package, module in imports():
        imported = module.removeprefix("rekindle.").partition(".")[0] if module.startswith("rekindle.") else ""
        if package in allowed and imported in allowed and imported not in allowed[package] | {package}:
            wrong.append(f"{file} imports {module}")
    assert wrong == []


def test_only_the_files_of_the_database_import_sqlite3() -> None:
    named = {file for row in rows(2) for file in re.findall(r"`(store/\w+\.py)`", row[0])}
    simulated = "testing/simulation/faulty_store.py"  # raises what SQLite would
    assert {file for file, _, module in imports() if module == "sqlite3"} - named == {simulated}
