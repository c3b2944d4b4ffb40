"""Which definitions of a project a function reaches, followed by reading its modules.

A definition that is reached brings in every name that it loads, and a module that is imported brings in what it does on
import. A class counts with all its members. Where names are looked up in a way that reading cannot follow, the module
counts whole; where even the module cannot be known, all modules do.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from blake3 import blake3

from rekindle.domain.changes.prints import definition_key
from rekindle.files.bindings import STANDARD, ModuleTree, children, import_targets
from rekindle.files.imports import absolute

_OWN_SOURCE = frozenset({"__file__", "__doc__", "__path__", "__spec__", "__loader__"})
_MODULE_LOOKUPS = frozenset({"globals", "locals", "vars", "dir"})
_ANY_LOOKUPS = frozenset({"eval", "exec", "compile", "__builtins__", "breakpoint"})
_ATTRIBUTE_LOOKUPS = frozenset({"getattr", "setattr", "delattr", "hasattr"})
_ANY_ATTRIBUTES = frozenset(
    {"__builtins__", "__code__", "__doc__", "__globals__", "__loader__", "__spec__", "__subclasses__", "f_builtins",
     "f_globals", "f_locals"}
)  # fmt: skip
_ANY_MODULES = frozenset(
    {"builtins", "cloudpickle", "code", "copyreg", "dill", "docopt", "gc", "imp", "inspect", "joblib", "linecache",
     "marshal", "pickle", "pkg_resources", "pkgutil", "ply", "pydoc", "runpy", "shelve", "tracemalloc", "zipimport"}
)  # fmt: skip
_ANY_TARGETS = frozenset(
    {("sys", "modules"), ("sys", "_getframe"), ("sys", "settrace"), ("sys", "setprofile"), ("sys", "meta_path"),
     ("sys", "path_hooks"), ("importlib", "import_module"), ("importlib", "__import__"), ("importlib", "util"),
     ("importlib", "reload"), ("importlib", "machinery")}
)  # fmt: skip
_IMPORT_CALLS = ("import_module", "__import__")
_HARMLESS = frozenset({"__name__", "__package__", "__version__"})


class Modules(Protocol):
    """The project's modules."""

    def tree(self, name: str) -> ModuleTree | str | None:
        """Return a module's top level; a text says why it cannot be read; None: it is not one of the project's."""

    def is_module(self, name: str) -> bool:
        """Return whether the project has this module or namespace package."""


class Unknown(Exception):
    """Names are looked up in a way that may reach any module; the text says how, and where."""


class Reach:
    """Follows functions through a project's modules."""

    def __init__(self, modules: Modules) -> None:
        self._modules = modules
        self._waiting: list[Callable[[], None]] = []
        self._met: set[tuple[str, ...]] = set()
        self._names: dict[str, set[str]] = {}  # reached, by module
        self._ran: set[str] = set()  # modules that are imported
        self._acting: dict[str, bool] = {}
        self._values: set[str] = set()  # modules and packages that are used as values
        self.whole: dict[str, str] = {}  # module -> why it counts whole
        self.foreign: set[str] = set()  # top-level names of imported modules that are not the project's

    def follow(self, functions: Iterable[str]) -> None:
        """Follow functions ("module:name"). Raises Unknown where any module may be reached."""
        for function in functions:
            module, _, path = function.partition(":")
            self._run(module)
            self._follow(module, tuple(path.split("."))[:1], function)
        while self._waiting or self._inside_values():
            while self._waiting:
                self._waiting.pop()()

    def _inside_values(self) -> bool:
        """A package that is used as a value gives access to each of its modules that is imported."""
        for module in self._ran - self.whole.keys():
            package = next((one for one in self._values if module.startswith(f"{one}.")), None)
            if package is not None:
                self._whole(module, f"the package {package} is used as a value")
        return bool(self._waiting)

    def digests(self) -> dict[str, str]:
        """Return a digest for each definition that was reached, and each module's statements that act on import."""
        found = {}
        for module in self._ran - self.whole.keys():
            tree = self._modules.tree(module)
            if not isinstance(tree, ModuleTree):
                continue
            acts = [one for one in tree.acts if not self._is_quiet_import(one, tree)]
            if acts:
                found[definition_key(module)] = _digest(acts)
            for name in self._names.get(module, ()):
                text = [repr(sorted(tree.aliases[name]))] if name in tree.aliases else []
                found[definition_key(module, name)] = _digest(tree.names.get(name, ()), *text)
        return found

    def _is_quiet_import(self, one: ast.stmt, tree: ModuleTree) -> bool:
        return isinstance(one, ast.Import | ast.ImportFrom) and not any(
            self._acts(name) for name in import_targets(one, tree.package)
        )

    def _acts(self, name: str) -> bool:
        """Whether importing a module may have an effect beyond the names that it binds."""
        found = self._acting.get(name)
        if found is not None:
            return found
        self._acting[name] = False  # in a circle the other modules decide
        top = name.partition(".")[0]
        tree = self._modules.tree(name)
        if tree is None:
            found = not self._modules.is_module(top) and (top not in STANDARD or top == "__future__")
        elif isinstance(tree, str):
            found = True
        else:
            found = any(
                not isinstance(one, ast.Import | ast.ImportFrom)
                or any(self._acts(each) for each in import_targets(one, tree.package))
                for one in tree.acts
            )
        self._acting[name] = found
        return found

    def _once(self, *key: str) -> bool:
        if key in self._met:
            return False
        self._met.add(key)
        return True

    def _run(self, name: str) -> None:
        """A module is imported, and its parents before it."""
        parts = name.split(".")
        for at in range(1, len(parts) + 1):
            module = ".".join(parts[:at])
            if not self._once("run", module):
                continue
            tree = self._modules.tree(module)
            if tree is None:
                if at == 1 and not self._modules.is_module(module):
                    self.foreign.add(module)
                continue
            self._ran.add(module)
            if isinstance(tree, str):
                self._whole(module, tree)
                continue
            if tree.star:
                self._whole(module, f"import *, line {tree.star}")
            if "__getattr__" in tree.names:
                self._whole(module, f"module-level __getattr__, line {tree.names['__getattr__'][0].lineno}")
            self._waiting.append(lambda tree=tree: _Scan(self, tree, tree.acts).scan())  # type: ignore[misc]

    def _whole(self, module: str, because: str) -> None:
        tree = self._modules.tree(module)
        if tree is None or not self._once("whole", module):
            return
        self._run(module)
        self.whole[module] = because
        if isinstance(tree, ModuleTree):
            self._waiting.append(lambda: _Scan(self, tree, tree.statements).scan())

    def _escape(self, tree: ModuleTree, because: str) -> None:
        """Any name of a module may be looked up: so may any of the modules that it imports."""
        self._whole(tree.name, because)
        for targets in tree.aliases.values():
            for target in targets:
                if self._modules.is_module(".".join((target.module, *target.path))):
                    self._follow(target.module, target.path, because)
                elif not target.path:
                    self._whole(target.module, because)

    def _open(self, tree: ModuleTree, values: list[ast.expr], because: str) -> None:
        """Any name of these values may be looked up: a module counts whole."""
        names = [value.id for value in values if isinstance(value, ast.Name)]
        for target in (target for name in names for target in tree.aliases.get(name, ())):
            name = ".".join((target.module, *target.path))
            if self._modules.is_module(name):
                self._values.add(name)
                self._whole(name, because)

    def _follow(self, module: str, path: tuple[str, ...], where: str) -> None:
        """An attribute path is read, starting from a module."""
        tree = self._modules.tree(module)
        if tree is None and not self._modules.is_module(module):
            _check_foreign((*module.split("."), *path), where)
            return
        if not path:
            self._values.add(module)
            self._whole(module, f"the module is used as a value in {where}")
            return
        name, rest = path[0], path[1:]
        hit = False
        if self._modules.is_module(f"{module}.{name}"):
            hit = True
            self._follow(f"{module}.{name}", rest, where)
        if isinstance(tree, ModuleTree):
            if name in tree.names or name in tree.aliases:
                hit = True
                self._name(tree, name, rest)
            if not hit and name not in _HARMLESS:
                self._whole(module, f"no definition of {name}, which {where} uses")

    def _name(self, tree: ModuleTree, name: str, rest: tuple[str, ...] = ()) -> None:
        """A name of a module is read, and attributes of it."""
        module = tree.name
        if self._once("name", module, name):
            self._names.setdefault(module, set()).add(name)
            if name in tree.rebound:
                self._whole(module, f"{name} is bound more than once")
            for statement in tree.names.get(name, ()):
                self._waiting.append(lambda statement=statement: _Scan(self, tree, [statement]).scan())  # type: ignore[misc]
        for target in tree.aliases.get(name, ()):
            key = ".".join((target.module, *target.path, *rest))
            if self._once("alias", module, name, key):
                self._waiting.append(
                    lambda target=target: self._follow(target.module, (*target.path, *rest), f"{module}:{name}")  # type: ignore[misc]
                )


class _Scan:
    """Reads statements of a module for what they reach."""

    def __init__(self, reach: Reach, tree: ModuleTree, statements: Iterable[ast.stmt]) -> None:
        self._reach, self._tree, self._statements = reach, tree, statements

    def scan(self) -> None:
        for statement in self._statements:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                used = self._tree.used.get(statement.name)
                inner = set(map(id, statement.body))
                self._visit([one for one in children(statement) if id(one) not in inner], None)
                self._visit(statement.body, used)
            else:
                self._visit([statement], None)

    def _visit(self, nodes: Iterable[ast.AST], used: frozenset[str] | None) -> None:
        """`used`: the names that may be the module's; None: any."""
        waiting = list(nodes)
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node)
            elif isinstance(node, ast.Attribute):
                waiting += self._attribute(node, used)
            elif isinstance(node, ast.Name):
                self._use(node, (), used)
            elif isinstance(node, ast.Call):
                waiting += self._call(node)
            elif isinstance(node, ast.Constant):
                if isinstance(node.value, str) and node.value in self._tree.names:  # it may be looked up by name
                    self._reach._name(self._tree, node.value)
            else:
                waiting += children(node)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for name in import_targets(node, self._tree.package):
            self._reach._run(name)
        for top, path in _imported(node):
            _check_foreign((*top.split("."), *path), self._at(node), imported=True)
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            base = absolute(node.module or "", node.level, self._tree.package)
            self._reach._whole(base, f"import * in {self._tree.name}, line {node.lineno}")
            tree = self._reach._modules.tree(base)
            for statement in tree.names.get("__all__", ()) if isinstance(tree, ModuleTree) else ():
                for each in ast.walk(statement):
                    if isinstance(each, ast.Constant) and isinstance(each.value, str):
                        self._reach._whole(f"{base}.{each.value}", f"import * in {self._tree.name}")

    def _attribute(self, node: ast.Attribute, used: frozenset[str] | None) -> list[ast.AST]:
        path: list[str] = []
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            if base.attr in _ANY_ATTRIBUTES:
                raise Unknown(f"{base.attr}, {self._at(base)}")
            path.append(base.attr)
            base = base.value
        if not isinstance(base, ast.Name):
            return [base]
        self._use(base, tuple(reversed(path)), used)
        if not isinstance(node.ctx, ast.Load):
            for target in self._tree.aliases.get(base.id, ()):
                self._assigned((*target.path, *reversed(path[1:])), target.module, self._at(node))
        return []

    def _assigned(self, path: Iterable[str], module: str, where: str) -> None:
        """An attribute is set on what a path leads to: where that is a module, one of its names changes."""
        name = ".".join((module, *path))
        if self._reach._modules.is_module(name):
            self._reach._whole(name, f"assigned to in {where}")

    def _use(self, node: ast.Name, path: tuple[str, ...], used: frozenset[str] | None) -> None:
        name, tree = node.id, self._tree
        if used is not None and name not in used and name not in tree.aliases:
            return
        if name in tree.aliases or name in tree.names:
            self._reach._name(tree, name, path)
        if name in tree.names and name not in tree.aliases:
            return
        if name in _ANY_LOOKUPS or name in _IMPORT_CALLS[1:]:
            raise Unknown(f"{name}, {self._at(node)}")
        if name in _OWN_SOURCE:
            self._reach._whole(tree.name, f"{name}, {self._at(node)}")
        elif name in _MODULE_LOOKUPS:
            self._reach._escape(tree, f"{name}, {self._at(node)}")
        elif name in _ATTRIBUTE_LOOKUPS:
            self._reach._whole(tree.name, f"{name} is used as a value, {self._at(node)}")

    def _call(self, node: ast.Call) -> Iterator[ast.AST]:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        rest: list[ast.AST] = [*node.args, *node.keywords]
        if called in _IMPORT_CALLS:
            self._imported_by_call(node)
            if isinstance(node.func, ast.Attribute) and not isinstance(node.func.value, ast.Name):
                rest.append(node.func.value)
        elif isinstance(node.func, ast.Name) and called in _ATTRIBUTE_LOOKUPS and called not in self._tree.names:
            if not _constant_text(node.args[1:2]):
                because = f"{called} with a computed name"
                self._reach._whole(self._tree.name, f"{because}, line {node.lineno}")
                self._reach._open(self._tree, node.args[:1], f"{because}, {self._at(node)}")
            elif str(getattr(node.args[1], "value", "")) in _ANY_ATTRIBUTES:
                raise Unknown(f"{called} of {getattr(node.args[1], 'value', '')}, {self._at(node)}")
        else:
            rest.append(node.func)
        return iter(rest)

    def _imported_by_call(self, node: ast.Call) -> None:
        text = _constant_text(node.args[:1])
        name = absolute(text.lstrip("."), len(text) - len(text.lstrip(".")), self._tree.package)
        if not name:
            raise Unknown(f"an import with a computed name, {self._at(node)}")
        self._reach._run(name)
        _check_foreign(tuple(name.split(".")), self._at(node), imported=True)
        self._reach._whole(name, f"imported by a call in {self._at(node)}")
        self._reach._whole(name.partition(".")[0], f"imported by a call in {self._at(node)}")

    def _at(self, node: ast.expr | ast.stmt) -> str:
        return f"{self._tree.name}, line {node.lineno}"


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, tuple[str, ...]]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, ()) for alias in node.names)
    elif not node.level and node.module:
        yield from ((node.module, (alias.name,)) for alias in node.names)


def _check_foreign(path: tuple[str, ...], where: str, *, imported: bool = False) -> None:
    """Raise Unknown for a part of another library that can reach any module by name. A mere import of `importlib`'s or
    `operator`'s functions is none: their calls are read."""
    if path[0] in _ANY_MODULES or (not imported and path[:2] in _ANY_TARGETS):
        raise Unknown(f"{'.'.join(path[:2])}, {where}")


def _constant_text(arguments: list[ast.expr]) -> str:
    if arguments and isinstance(arguments[0], ast.Constant) and isinstance(arguments[0].value, str):
        return arguments[0].value
    return ""


def _digest(statements: Iterable[ast.stmt], *texts: str) -> str:
    text = "\n".join([*texts, *(ast.dump(one, annotate_fields=False) for one in statements)])
    return str(blake3(text.encode(errors="surrogatepass")).hexdigest())
