"""The names that a module's source binds at its top level, its imports, and its statements with an effect on import.

A statement is passive if nothing can notice whether, or in which order, it runs: a plain function or class, a constant,
a container of names. A passive statement matters only where its names are used. All others act on import and always
matter. Docstrings are removed; positions and comments do not appear in the dump of a tree."""

from __future__ import annotations

import ast
import builtins
import symtable
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

STANDARD = frozenset(sys.stdlib_module_names)
"""Top-level names of the standard library's modules."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_PURE_BUILTINS = frozenset(
    {"bytes", "complex", "float", "frozenset", "int", "object", "range", "slice", "str", "tuple"}
)
_PURE_CALLS = frozenset(
    {
        "collections.namedtuple", "dataclasses.field", "decimal.Decimal", "enum.auto", "fractions.Fraction",
        "logging.getLogger", "pathlib.Path", "pathlib.PurePath", "pathlib.PurePosixPath", "re.compile",
        "struct.Struct", "string.Template", "typing.NewType", "typing.ParamSpec", "typing.TypeVar",
    }
)  # fmt: skip
_PURE_DECORATORS = frozenset(
    {
        "abc.abstractmethod", "contextlib.asynccontextmanager", "contextlib.contextmanager", "dataclasses.dataclass",
        "enum.unique", "functools.cache", "functools.cached_property", "functools.lru_cache",
        "functools.total_ordering", "typing.final", "typing.no_type_check", "typing.overload", "typing.override",
        "typing.runtime_checkable",
    }
)  # fmt: skip
_PURE_BASES = frozenset(
    {
        "abc.ABC", "enum.Enum", "enum.Flag", "enum.IntEnum", "enum.IntFlag", "enum.StrEnum", "typing.Generic",
        "typing.NamedTuple", "typing.Protocol", "typing.TypedDict",
    }
)  # fmt: skip
_BUILTIN_CLASSES = frozenset(name for name, value in vars(builtins).items() if isinstance(value, type))
_OPERATIONS = (ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.JoinedStr, ast.FormattedValue, ast.Slice,
               ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context, ast.Constant)  # fmt: skip


class ImportTarget(NamedTuple):
    """The meaning of an imported name: a module, and the attributes to follow from it."""

    module: str
    path: tuple[str, ...] = ()


class ModuleTree(msgspec.Struct):
    """A module's top level."""

    name: str
    package: str  # that relative imports start from
    names: dict[str, list[ast.stmt]] = msgspec.field(
        default_factory=dict
    )  # statements that bind each name, imports left out
    aliases: dict[str, list[ImportTarget]] = msgspec.field(
        default_factory=dict
    )  # by imported name, wherever the import stands
    acts: list[ast.stmt] = msgspec.field(default_factory=list)  # statements that act on import, and all imports
    statements: list[ast.stmt] = msgspec.field(default_factory=list)  # all that run
    rebound: set[str] = msgspec.field(
        default_factory=set
    )  # names that several statements bind, or functions through `global`
    used: Mapping[str, frozenset[str]] = msgspec.field(default_factory=dict)  # global names in each function or class
    star: int = 0  # the line of an `import *`
    imported: frozenset[str] = frozenset()  # dotted names of all its imports


def read_tree(source: bytes, name: str, package: str) -> ModuleTree:
    """Parse a module. Raise SyntaxError, ValueError, RecursionError or MemoryError if it cannot be parsed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
        symbols = symtable.symtable(source, "<module>", "exec")  # type: ignore[arg-type]  # bytes are taken too
    found = ModuleTree(name, package, used=_globals_by_definition(symbols))
    nodes = {id(statement): _notable(statement) for statement in _unconditional(tree.body)}
    found.imported = frozenset(
        imported for each in nodes.values() for node in each for imported in imported_names(node, package)
    )
    sure = _sure_aliases(nodes.values(), package)
    found.statements = list(_running(tree.body, sure))
    counts: dict[str, int] = {}
    for statement in found.statements:
        notable = nodes[id(statement)]
        _collect_imports(found, notable)
        for bound in _bound(statement, notable):
            counts[bound] = counts.get(bound, 0) + 1
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                found.names.setdefault(bound, []).append(statement)
        found.rebound.update(one for node in notable if isinstance(node, ast.Global) for one in node.names)
    found.rebound.update(
        bound
        for bound, count in counts.items()
        if count > 1 and (bound in found.names or len(found.aliases.get(bound, ())) > 1)
    )
    _PassiveStatements(found, sure).sort()
    for statement in found.statements:
        _strip_docstrings(nodes[id(statement)])
    return found


def children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node's children, without the context nodes of names."""
    for name in node._fields:
        if name == "ctx":
            continue
        value = getattr(node, name, None)
        if isinstance(value, list):
            yield from (each for each in value if isinstance(each, ast.AST))
        elif isinstance(value, ast.AST):
            yield value


def _notable(statement: ast.stmt) -> list[ast.AST]:
    """Return the nodes of a statement that bind names, import, or have a docstring."""
    found: list[ast.AST] = [statement]
    for node in found:
        found += children(node)
    return [node for node in found if isinstance(node, _NOTABLE) and not _is_load(node)]


def _is_load(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)


def _unconditional(statements: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield all statements of the top level and of its conditions; see `_running`."""
    for statement in statements:
        yield statement
        if isinstance(statement, ast.If):
            yield from _unconditional(statement.orelse)


def import_targets(node: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    """Return the modules that an import statement runs; for `from a import b` also `a.b`, which need not be a
    module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = absolute(node.module or "", node.level, package)
    if not base:
        return []
    return [base, *(f"{base}.{alias.name}" for alias in node.names if alias.name != "*")]


def aliases_of(node: ast.AST, package: str) -> Iterator[tuple[str, ImportTarget]]:
    """Yield the names that an import binds and their targets; nothing for any other node."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (
                (alias.asname, ImportTarget(alias.name))
                if alias.asname
                else (_top(alias.name), ImportTarget(_top(alias.name)))
            )
    elif isinstance(node, ast.ImportFrom) and (base := absolute(node.module or "", node.level, package)):
        for alias in node.names:
            if alias.name != "*":
                yield alias.asname or alias.name, ImportTarget(base, (alias.name,))


def _sure_aliases(nodes: Iterable[Iterable[ast.AST]], package: str) -> dict[str, ImportTarget]:
    """Return the names that mean one import everywhere in a module: nothing else binds them."""
    found: dict[str, set[ImportTarget]] = {}
    bound: set[str] = set()
    for node in (node for each in nodes for node in each):
        for alias, target in aliases_of(node, package):
            found.setdefault(alias, set()).add(target)
        if not isinstance(node, ast.Import | ast.ImportFrom):
            bound.update(_binds(node))
    return {alias: next(iter(targets)) for alias, targets in found.items() if len(targets) == 1 and alias not in bound}


def _top(name: str) -> str:
    return name.partition(".")[0]


def _collect_imports(found: ModuleTree, notable: Iterable[ast.AST]) -> None:
    for node in notable:
        for alias, target in aliases_of(node, found.package):
            targets = found.aliases.setdefault(alias, [])
            if target not in targets:
                targets.append(target)
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            found.star = found.star or node.lineno


def _running(statements: Iterable[ast.stmt], aliases: Mapping[str, ImportTarget]) -> Iterator[ast.stmt]:
    """Yield the statements that run on import: not those for type checkers or scripts."""
    for statement in statements:
        if isinstance(statement, ast.If) and _never(statement.test, aliases):
            yield from _running(statement.orelse, aliases)
        else:
            yield statement


def _never(test: ast.expr, aliases: Mapping[str, ImportTarget]) -> bool:
    dotted = _dotted(test, aliases)
    if dotted in ("typing.TYPE_CHECKING", "typing_extensions.TYPE_CHECKING"):
        return True
    return ast.dump(test) == _IS_SCRIPT


_IS_SCRIPT = ast.dump(ast.parse("__name__ == '__main__'", mode="eval").body)


def _dotted(node: ast.expr, aliases: Mapping[str, ImportTarget]) -> str:
    """Return `re.compile` for an expression that an import gives that meaning; "" for any other."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    target = aliases.get(node.id)
    return "" if target is None else ".".join((target.module, *target.path, *reversed(parts)))


def _bound(statement: ast.stmt, notable: Iterable[ast.AST]) -> set[str]:
    """Return the names that a statement may bind at the top level."""
    if isinstance(statement, _FUNCTION_OR_CLASS):
        return {statement.name}
    return {name for node in notable for name in _binds(node)}


def _binds(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            yield node.id
    elif isinstance(node, _FUNCTION_OR_CLASS):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or _top(alias.name) for alias in node.names)
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        yield from filter(None, [node.name])
    elif isinstance(node, ast.MatchMapping):
        yield from filter(None, [node.rest])


_FUNCTION_OR_CLASS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_NOTABLE = (*_FUNCTION_OR_CLASS, ast.Name, ast.Import, ast.ImportFrom, ast.Global, ast.arg, ast.ExceptHandler,
            ast.MatchAs, ast.MatchStar, ast.MatchMapping, ast.Call)  # fmt: skip


def _globals_by_definition(table: symtable.SymbolTable) -> dict[str, frozenset[str]]:
    """Return, for each function and class of the top level, the names in it that may be the module's."""
    found: dict[str, frozenset[str]] = {}
    for child in table.get_children():
        name = child.get_name()
        found[name] = found.get(name, frozenset()) | frozenset(_globals(child))
    return found


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    of_class = table.get_type() == "class"  # a class body looks a name up in the module until it binds the name
    for symbol in table.get_symbols():
        if symbol.is_global() or (of_class and symbol.is_local()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals(child)


def _strip_docstrings(nodes: Iterable[ast.AST]) -> None:
    for node in nodes:
        if isinstance(node, _FUNCTION_OR_CLASS) and node.body and _is_docstring(node.body[0]):
            node.body[:1] = [] if len(node.body) > 1 else [ast.Pass()]


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


class _PassiveStatements:
    """Decides which statements of a module are passive."""

    def __init__(self, tree: ModuleTree, sure: Mapping[str, ImportTarget]) -> None:
        """`sure`: the names that mean one import wherever they stand."""
        self._tree, self._sure = tree, sure
        self._scalars: set[str] = set()  # names of immutable values that nothing rebinds
        self._classes: set[str] = set()  # names of passive classes that do not act on their subclasses

    def sort(self) -> None:
        """Put all statements that are not passive into `acts`."""
        self._tree.acts = [one for one in self._tree.statements if not self._passive(one)]

    def _passive(self, one: ast.stmt) -> bool:
        if isinstance(one, ast.Import | ast.ImportFrom):
            return False
        if isinstance(one, _FUNCTIONS):
            return self._function(one)
        if isinstance(one, ast.ClassDef):
            return self._class(one)
        if isinstance(one, ast.Assign | ast.AnnAssign):
            return self._assignment(one)
        return isinstance(one, ast.Pass) or (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))

    def _assignment(self, one: ast.Assign | ast.AnnAssign) -> bool:
        targets = one.targets if isinstance(one, ast.Assign) else [one.target]
        if not all(isinstance(target, ast.Name) for target in targets):
            return False
        if isinstance(one, ast.AnnAssign) and not self._annotation(one.annotation):
            return False
        if one.value is None:
            return True
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if self._scalar(one.value):
            self._scalars.update(name for name in names if name not in self._tree.rebound)
            return True
        return self._quiet(one.value)

    def _function(self, one: ast.FunctionDef | ast.AsyncFunctionDef, *, method: bool = False) -> bool:
        arguments = one.args
        every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
        annotations = [each.annotation for each in every if each is not None]
        return (
            all(self._decorator(each, method=method) for each in one.decorator_list)
            and all(self._quiet(each) for each in (*arguments.defaults, *arguments.kw_defaults) if each is not None)
            and all(self._annotation(each) for each in (*annotations, one.returns) if each is not None)
        )

    def _class(self, one: ast.ClassDef) -> bool:
        passive = (
            not one.keywords
            and all(self._decorator(each) for each in one.decorator_list)
            and all(self._base(each) for each in one.bases)
            and all(self._member(each) for each in one.body)
        )
        hooks = ("__init_subclass__", "__class_getitem__", "__mro_entries__")
        if passive and not any(isinstance(each, _FUNCTIONS) and each.name in hooks for each in one.body):
            self._classes.add(one.name)
        return passive

    def _member(self, one: ast.stmt) -> bool:
        return self._function(one, method=True) if isinstance(one, _FUNCTIONS) else self._passive_in_class(one)

    def _passive_in_class(self, one: ast.stmt) -> bool:
        if isinstance(one, ast.Assign | ast.AnnAssign):
            scalars = set(self._scalars)
            passive = self._assignment(one) and not (isinstance(one.value, ast.Name) and not self._scalar(one.value))
            self._scalars = scalars
            return passive
        return isinstance(one, ast.Pass) or (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))

    def _base(self, one: ast.expr) -> bool:
        if isinstance(one, ast.Subscript):
            one = one.value
        if isinstance(one, ast.Name) and one.id in self._classes:
            return one.id not in self._tree.rebound
        if isinstance(one, ast.Name) and one.id in _BUILTIN_CLASSES:
            return self._is_builtin(one.id)
        return _dotted(one, self._sure) in _PURE_BASES

    def _decorator(self, one: ast.expr, *, method: bool = False) -> bool:
        if method and isinstance(one, ast.Name) and one.id in ("classmethod", "property", "staticmethod"):
            return self._is_builtin(one.id)
        if method and isinstance(one, ast.Attribute) and one.attr in ("setter", "getter", "deleter"):
            return isinstance(one.value, ast.Name)
        if isinstance(one, ast.Call):
            given = (*one.args, *(each.value for each in one.keywords))
            return self._decorator(one.func) and all(self._scalar(each) for each in given)
        return _dotted(one, self._sure) in _PURE_DECORATORS

    def _annotation(self, one: ast.expr) -> bool:
        return not any(isinstance(node, ast.Call | ast.NamedExpr | ast.Await | ast.Lambda) for node in ast.walk(one))

    def _scalar(self, one: ast.AST) -> bool:
        """Return whether the node is an immutable value made of constants."""
        if isinstance(one, ast.Name):
            return one.id in self._scalars or (one.id == "__name__" and self._is_builtin(one.id))
        if isinstance(one, ast.Attribute):
            dotted = _dotted(one, self._sure)
            return _top(dotted) in STANDARD and dotted.count(".") == 1
        if isinstance(one, ast.Tuple):
            return all(self._scalar(each) for each in one.elts)
        return isinstance(one, _OPERATIONS) and all(self._scalar(each) for each in ast.iter_child_nodes(one))

    def _quiet(self, one: ast.expr | None) -> bool:
        """Return whether evaluating the node has no effect and always gives the same value."""
        if one is None or isinstance(one, ast.Name):
            return True
        if isinstance(one, ast.Lambda):
            return all(self._quiet(each) for each in (*one.args.defaults, *one.args.kw_defaults) if each is not None)
        if isinstance(one, ast.Tuple | ast.List | ast.Set):
            return all(self._quiet(each) for each in one.elts)
        if isinstance(one, ast.Dict):
            return None not in one.keys and all(self._quiet(each) for each in (*one.keys, *one.values))
        if isinstance(one, ast.Call):
            return self._pure_call(one)
        return self._scalar(one)

    def _pure_call(self, one: ast.Call) -> bool:
        function, dotted = one.func, _dotted(one.func, self._sure)
        by_name = isinstance(function, ast.Name) and function.id in _PURE_BUILTINS and self._is_builtin(function.id)
        if not (by_name or dotted in _PURE_CALLS):
            return False
        given = (*one.args, *(each.value for each in one.keywords))
        if dotted == "dataclasses.field":
            return all(self._quiet(each) for each in given)
        return all(self._scalar(each) or (_is_display(each) and self._quiet(each)) for each in given)

    def _is_builtin(self, name: str) -> bool:
        return name not in self._tree.names and name not in self._tree.aliases and not self._tree.star


def _is_display(one: ast.expr) -> bool:
    return isinstance(one, ast.List | ast.Tuple | ast.Set | ast.Dict) and not any(
        isinstance(node, ast.Name) for node in ast.walk(one)
    )


_BY_NAME = ("import_module", "__import__")


def imported_names(node: ast.AST, package: str) -> Iterator[str]:
    """Yield the dotted names that a node imports; for `from a import b` both `a` and `a.b`, which need not be a
    module. `package` is the base of relative imports ("": none)."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = absolute(node.module or "", node.level, package)
        if base:
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
    elif isinstance(node, ast.Call) and _called(node.func) in _BY_NAME and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            name = first.value.lstrip(".")
            yield from filter(None, [absolute(name, len(first.value) - len(name), package)])


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def absolute(name: str, level: int, package: str) -> str:
    """Return the dotted name of a relative import; "" if it leaves the package."""
    if not level:
        return name
    parts = package.split(".") if package else []
    if level > len(parts):
        return ""
    return ".".join([*parts[: len(parts) - level + 1], *([name] if name else [])])
