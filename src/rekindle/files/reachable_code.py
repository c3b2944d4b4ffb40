"""The definitions of a project that a function reaches, found by reading its modules.

A reached definition reaches every name that it loads, and an imported module the statements that act on import. A class
counts with all its members. If names are looked up in a way that cannot be followed, the whole module counts; if even
the module is unknown, all modules do."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from blake3 import blake3

from rekindle.domain.changes.fingerprints import definition_key
from rekindle.domain.texts.regexes import lazy_regex
from rekindle.files.bindings import STANDARD, ModuleTree, absolute, aliases_of, children, import_targets

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
_WORD = lazy_regex(r"[^\W\d]\w*")
_HARMLESS = frozenset({"__name__", "__package__", "__version__"})


class ProjectModules(Protocol):
    """The project's modules."""

    def tree(self, name: str) -> ModuleTree | str | None:
        """Return a module's top level, a text that says why it cannot be read, or None if it is not one of the
        project's."""

    def is_module(self, name: str) -> bool:
        """Return whether the project has this module or namespace package."""


class DefinitionTracer:
    """Follows functions through a project's modules."""

    def __init__(self, modules: ProjectModules) -> None:
        self.modules = modules
        self._waiting: list[Callable[[], None]] = []
        self._met: set[tuple[str, ...]] = set()
        self._names: dict[str, set[str]] = {}  # reached, by module
        self._has_effects: dict[str, bool] = {}
        self._values: set[str] = set()  # modules and packages that are used as values
        self.whole: dict[str, str] = {}  # module -> why it counts whole
        self.ran: set[str] = set()  # modules that are imported
        self.anything = ""  # how and where names are looked up in a way that may reach any module
        self.foreign: set[str] = set()  # top-level names of imported modules that are not the project's

    def follow(self, functions: Iterable[str]) -> None:
        """Follow functions ("module:name")."""
        for function in functions:
            module, _, path = function.partition(":")
            self.run(module)
            self.read(module, tuple(path.split("."))[:1], function)
        while self._waiting or self._inside_values():
            while self._waiting:
                self._waiting.pop()()

    def _inside_values(self) -> bool:
        """Count each imported module of a package that is used as a value: the package gives access to it."""
        for module in self.ran - self.whole.keys():
            package = next((one for one in self._values if module.startswith(f"{one}.")), None)
            if package is not None:
                self.count_whole(module, f"the package {package} is used as a value")
        return bool(self._waiting)

    def digests(self) -> dict[str, str]:
        """Return a digest for each reached definition, and for each module's statements that act on import."""
        found: dict[str, str] = {}
        for module in self.ran - self.whole.keys():
            tree = self.modules.tree(module)
            try:
                found |= self._of_module(tree) if isinstance(tree, ModuleTree) else {}
            except RecursionError:
                self.whole[module] = "it is nested too deeply"
        return found

    def _of_module(self, tree: ModuleTree) -> dict[str, str]:
        acts = [one for one in tree.acts if not self._is_quiet_import(one, tree)]
        found = {definition_key(tree.name): _digest(acts)} if acts else {}
        for name in self._names.get(tree.name, ()):
            text = [repr(sorted(tree.aliases[name]))] if name in tree.aliases else []
            found[definition_key(tree.name, name)] = _digest(tree.names.get(name, ()), *text)
        return found

    def _is_quiet_import(self, one: ast.stmt, tree: ModuleTree) -> bool:
        return isinstance(one, ast.Import | ast.ImportFrom) and not any(
            self._acts(name) for name in import_targets(one, tree.package)
        )

    def _acts(self, name: str) -> bool:
        """Whether importing a module may have an effect beyond the names that it binds."""
        found = self._has_effects.get(name)
        if found is not None:
            return found
        self._has_effects[name] = False  # in a cycle the other modules decide
        top = name.partition(".")[0]
        tree = self.modules.tree(name)
        if tree is None:
            found = not self.modules.is_module(top) and (top not in STANDARD or top == "__future__")
        elif isinstance(tree, str):
            found = True
        else:
            found = any(
                not isinstance(one, ast.Import | ast.ImportFrom)
                or any(self._acts(each) for each in import_targets(one, tree.package))
                for one in tree.acts
            )
        self._has_effects[name] = found
        return found

    def _once(self, *key: str) -> bool:
        if key in self._met:
            return False
        self._met.add(key)
        return True

    def run(self, name: str) -> None:
        """Follow the import of a module and its parents."""
        parts = name.split(".")
        for at in range(1, len(parts) + 1):
            module = ".".join(parts[:at])
            if not self._once("run", module):
                continue
            tree = self.modules.tree(module)
            if tree is None:
                if at == 1 and not self.modules.is_module(module):
                    self.foreign.add(module)
                continue
            self.ran.add(module)
            if isinstance(tree, str):
                self.count_whole(module, tree)
                continue
            if tree.star:
                self.count_whole(module, f"import *, line {tree.star}")
            if "__getattr__" in tree.names or "__getattr__" in tree.aliases:
                self.count_whole(module, "module-level __getattr__")
            self._waiting.append(lambda tree=tree: _StatementScanner(self, tree, tree.acts).scan())  # type: ignore[misc]

    def count_whole(self, module: str, because: str) -> None:
        tree = self.modules.tree(module)
        if tree is None or not self._once("whole", module):
            return
        self.run(module)
        self.whole[module] = because
        if isinstance(tree, ModuleTree):
            self._waiting.append(lambda: _StatementScanner(self, tree, tree.statements).scan())

    def escape(self, tree: ModuleTree, because: str) -> None:
        """Count a module whole, and the modules that it imports: any of its names may be looked up."""
        self.count_whole(tree.name, because)
        for targets in tree.aliases.values():
            for target in targets:
                if self.modules.is_module(".".join((target.module, *target.path))):
                    self.read(target.module, target.path, because)
                elif not target.path:
                    self.count_whole(target.module, because)

    def open_values(self, tree: ModuleTree, values: list[ast.expr], because: str) -> None:
        """Count modules among these values whole: any of their names may be looked up."""
        names = [value.id for value in values if isinstance(value, ast.Name)]
        for target in (target for name in names for target in tree.aliases.get(name, ())):
            name = ".".join((target.module, *target.path))
            if self.modules.is_module(name):
                self._values.add(name)
                self.count_whole(name, because)

    def read(self, module: str, path: tuple[str, ...], where: str) -> None:
        """Follow an attribute path that is read, starting from a module."""
        tree = self.modules.tree(module)
        if tree is None and not self.modules.is_module(module):
            self.check_foreign((*module.split("."), *path), where)
            return
        if not path:
            self._values.add(module)
            self.count_whole(module, f"the module is used as a value in {where}")
            return
        name, rest = path[0], path[1:]
        hit = False
        if self.modules.is_module(f"{module}.{name}"):
            hit = True
            self.read(f"{module}.{name}", rest, where)
        if isinstance(tree, ModuleTree):
            if name in tree.names or name in tree.aliases:
                hit = True
                self.name(tree, name, rest)
            if not hit and name not in _HARMLESS:
                self.count_whole(module, f"no definition of {name}, which {where} uses")

    def opaque(self, because: str) -> None:
        """Note a lookup that may reach any module."""
        self.anything = self.anything or because

    def check_foreign(self, path: tuple[str, ...], where: str, *, imported: bool = False) -> None:
        """Check whether a part of another library can reach any module by name. Importing `importlib`'s functions
        alone cannot: their calls are read."""
        if path[0] in _ANY_MODULES or (not imported and path[:2] in _ANY_TARGETS):
            self.opaque(f"{'.'.join(path[:2])}, {where}")

    def name(self, tree: ModuleTree, name: str, rest: tuple[str, ...] = ()) -> None:
        """Follow a module's name that is read, and attributes of it."""
        module = tree.name
        if self._once("name", module, name):
            self.run(module)
            self._names.setdefault(module, set()).add(name)
            if name in tree.rebound:
                self.count_whole(module, f"{name} is bound more than once")
            for statement in tree.names.get(name, ()):
                self._waiting.append(lambda statement=statement: _StatementScanner(self, tree, [statement]).scan())  # type: ignore[misc]
        for target in tree.aliases.get(name, ()):
            key = ".".join((target.module, *target.path, *rest))
            if self._once("alias", module, name, key):
                self._waiting.append(
                    lambda target=target: self.read(target.module, (*target.path, *rest), f"{module}:{name}")  # type: ignore[misc]
                )


class _StatementScanner:
    """Scans statements of a module for the names that they reach."""

    def __init__(self, reach: DefinitionTracer, tree: ModuleTree, statements: Iterable[ast.stmt]) -> None:
        self._reach, self._tree, self._statements = reach, tree, statements

    def scan(self) -> None:
        for statement in self._statements:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if isinstance(statement, ast.ClassDef):
                    self._import_members(statement)
                used = self._tree.used.get(statement.name)
                if not isinstance(statement, ast.ClassDef):
                    self._annotation(statement)
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
            elif isinstance(node, ast.ClassDef):
                self._import_members(node)
                waiting += children(node)
            elif isinstance(node, ast.Constant):
                if isinstance(node.value, str):
                    self._named(node.value)
            elif isinstance(node, ast.arg | ast.AnnAssign | ast.FunctionDef | ast.AsyncFunctionDef):
                self._annotation(node)
                waiting += children(node)
            else:
                waiting += children(node)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for name in import_targets(node, self._tree.package):
            self._reach.run(name)
        for top, path in _imported(node):
            self._reach.check_foreign((*top.split("."), *path), self._at(node), imported=True)
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            base = absolute(node.module or "", node.level, self._tree.package)
            self._reach.count_whole(base, f"import * in {self._tree.name}, line {node.lineno}")
            tree = self._reach.modules.tree(base)
            for statement in tree.names.get("__all__", ()) if isinstance(tree, ModuleTree) else ():
                for each in ast.walk(statement):
                    if isinstance(each, ast.Constant) and isinstance(each.value, str):
                        self._reach.count_whole(f"{base}.{each.value}", f"import * in {self._tree.name}")

    def _named(self, *names: str) -> None:
        """Follow a text that may be the name of a lookup."""
        for name in names:
            if name in self._tree.names or name in self._tree.aliases:
                self._reach.name(self._tree, name)

    def _annotation(self, node: ast.arg | ast.AnnAssign | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Follow quoted names in an annotation, which may be evaluated."""
        annotation = node.returns if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else node.annotation
        for one in ast.walk(annotation) if annotation is not None else ():
            if isinstance(one, ast.Constant) and isinstance(one.value, str):
                self._named(*_WORD.findall(one.value))

    def _import_members(self, node: ast.ClassDef) -> None:
        """Follow a class's imports: each is an attribute, and may be read without its name."""
        waiting: list[ast.AST] = list(node.body)
        while waiting:
            one = waiting.pop()
            for _, target in aliases_of(one, self._tree.package):
                self._reach.read(target.module, target.path, f"{self._tree.name}:{node.name}")
            if not isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                waiting += children(one)

    def _attribute(self, node: ast.Attribute, used: frozenset[str] | None) -> list[ast.AST]:
        path: list[str] = []
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            if base.attr in _ANY_ATTRIBUTES:
                self._reach.opaque(f"{base.attr}, {self._at(base)}")
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
        """Count a module whole if one of its attributes is set."""
        name = ".".join((module, *path))
        if self._reach.modules.is_module(name):
            self._reach.count_whole(name, f"assigned to in {where}")

    def _use(self, node: ast.Name, path: tuple[str, ...], used: frozenset[str] | None) -> None:
        name, tree = node.id, self._tree
        if name.startswith("__") and not name.endswith("__"):  # in a class, the name means `_Class__name`
            for each in [one for one in (*tree.names, *tree.aliases) if one.startswith("_") and one.endswith(name)]:
                self._reach.name(tree, each)
        if used is not None and name not in used and name not in tree.aliases:
            return
        if name in tree.aliases or name in tree.names:
            self._reach.name(tree, name, path)
        if name in tree.names and name not in tree.aliases:
            return
        if name in _ANY_LOOKUPS or name in _IMPORT_CALLS[1:]:
            self._reach.opaque(f"{name}, {self._at(node)}")
        if name in _OWN_SOURCE:
            self._reach.count_whole(tree.name, f"{name}, {self._at(node)}")
        elif name in _MODULE_LOOKUPS:
            self._reach.escape(tree, f"{name}, {self._at(node)}")
        elif name in _ATTRIBUTE_LOOKUPS:
            self._reach.count_whole(tree.name, f"{name} is used as a value, {self._at(node)}")

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
                self._reach.count_whole(self._tree.name, f"{because}, line {node.lineno}")
                self._reach.open_values(self._tree, node.args[:1], f"{because}, {self._at(node)}")
            elif str(getattr(node.args[1], "value", "")) in _ANY_ATTRIBUTES:
                self._reach.opaque(f"{called} of {getattr(node.args[1], 'value', '')}, {self._at(node)}")
        else:
            rest.append(node.func)
        return iter(rest)

    def _imported_by_call(self, node: ast.Call) -> None:
        text = _constant_text(node.args[:1])
        name = absolute(text.lstrip("."), len(text) - len(text.lstrip(".")), self._tree.package)
        if not name:
            self._reach.opaque(f"an import with a computed name, {self._at(node)}")
            return
        self._reach.check_foreign(tuple(name.split(".")), self._at(node), imported=True)
        below = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        for each in (name.partition(".")[0], name, *(f"{name}.{one}" for one in below)):
            self._reach.run(each)
            self._reach.count_whole(each, f"imported by a call in {self._at(node)}")

    def _at(self, node: ast.expr | ast.stmt) -> str:
        return f"{self._tree.name}, line {node.lineno}"


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, tuple[str, ...]]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, ()) for alias in node.names)
    elif not node.level and node.module:
        yield from ((node.module, (alias.name,)) for alias in node.names)


def _constant_text(arguments: list[ast.expr]) -> str:
    if arguments and isinstance(arguments[0], ast.Constant) and isinstance(arguments[0].value, str):
        return arguments[0].value
    return ""


def _digest(statements: Iterable[ast.stmt], *texts: str) -> str:
    text = "\n".join([*texts, *(ast.dump(one, annotate_fields=False) for one in statements)])
    return str(blake3(text.encode(errors="surrogatepass")).hexdigest())
