"""Evaluate the expressions of a Snakefile without running Python: constants, `config`, `expand`, simple functions."""

from __future__ import annotations

import ast
import itertools
import operator
import os.path
import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rekindle.dialects.snakemake.snakefile import compile_path, fill_known, wildcard_names

_MOST_ITEMS = 100_000


class NotStatic(Exception):
    """An expression whose value only Python could compute, with the reason."""


class FlaggedPath(str):
    """A path with flags: `temp("x")` is "x" with the flag `temp`."""

    __slots__ = ("flags",)
    flags: tuple[str, ...]

    def __new__(cls, path: str, flags: tuple[str, ...]) -> FlaggedPath:
        """Make a path with these flags, and those that it has."""
        made = super().__new__(cls, path)
        made.flags = (*flags, *getattr(path, "flags", ()))
        return made


class Names:
    """Values by position and by name, as `input` and `wildcards` are in a Snakefile."""

    def __init__(self, positional: Sequence[Any] = (), named: Mapping[str, Any] | None = None) -> None:
        self.positional = list(positional)
        self.named = dict(named or {})

    @property
    def items(self) -> list[Any]:
        """All values, flat."""
        return list(flat([*self.positional, *self.named.values()]))

    def get(self, name: str) -> Any:
        """Return a value by name. Raise NotStatic if there is none."""
        if name not in self.named:
            raise NotStatic(f"there is no {name}")
        return self.named[name]


class Function(msgspec.Struct):
    """A lambda, or a function of assignments, conditions and `return`."""

    parameters: list[str]
    body: list[ast.stmt]
    scope: dict[str, Any]


class Unknown(msgspec.Struct, frozen=True):
    """A name whose value is not known, with the reason."""

    why: str


def flat(value: Any) -> Iterator[Any]:
    """Yield the items of nested lists."""
    if isinstance(value, Names):
        yield from value.items
    elif isinstance(value, list | tuple | set):
        for one in value:
            yield from flat(one)
    else:
        yield value


def evaluate(node: ast.AST, scope: Mapping[str, Any]) -> Any:
    """Return the value of an expression. Raise NotStatic."""
    reader = _READERS.get(type(node))
    if reader is None:
        raise NotStatic(f"{ast.unparse(node):.60} is not evaluated")
    try:
        return reader(node, scope)
    except (KeyError, IndexError) as error:
        raise NotStatic(f"{ast.unparse(node):.60}: there is no {error.args[0]!r:.40}") from None
    except (TypeError, ValueError, AttributeError, ZeroDivisionError, RecursionError, re.error) as error:
        raise NotStatic(f"{ast.unparse(node):.60}: {error}") from None


def call(function: Function, given: Sequence[Any], by_name: Mapping[str, Any]) -> Any:
    """Call a function with the arguments that its parameters name; the first one is given by position."""
    local = dict(function.scope)
    for at, name in enumerate(function.parameters):
        if at < len(given):
            local[name] = given[at]
        elif name in by_name:
            local[name] = by_name[name]
        else:
            raise NotStatic(f"a function with the parameter {name}")
    found = execute(function.body, local)
    if found is None:
        raise NotStatic("a function without a value")
    return found[0]


def execute(body: Sequence[ast.stmt], scope: dict[str, Any]) -> tuple[Any] | None:
    """Execute assignments and conditions. Return the value of a `return` that is reached. Raise NotStatic."""
    for statement in body:
        if isinstance(statement, ast.Return) and statement.value is not None:
            return (evaluate(statement.value, scope),)
        if isinstance(statement, ast.If):
            found = execute(statement.body if evaluate(statement.test, scope) else statement.orelse, scope)
            if found is not None:
                return found
        elif not isinstance(statement, ast.Pass | ast.Expr | ast.Import | ast.ImportFrom):
            assign(statement, scope)
    return None


def assign(statement: ast.stmt, scope: dict[str, Any]) -> None:
    """Execute an assignment to names, or a definition of a function. Raise NotStatic for any other statement."""
    if isinstance(statement, ast.FunctionDef):
        simple = statement.args
        names = [one.arg for one in (*simple.posonlyargs, *simple.args)]
        scope[statement.name] = Function(names, statement.body, scope)
        return
    if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        joined = ast.BinOp(ast.Name(statement.target.id), statement.op, statement.value)
        scope[statement.target.id] = evaluate(joined, scope)
        return
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target, value = statement.targets[0], evaluate(statement.value, scope)
        if isinstance(target, ast.Name):
            scope[target.id] = value
            return
        if isinstance(target, ast.Tuple) and all(isinstance(one, ast.Name) for one in target.elts):
            values = value.items if isinstance(value, Names) else list(value)
            values = list(value.named.values()) if isinstance(value, Names) else values
            for one, item in zip(target.elts, values, strict=True):
                assert isinstance(one, ast.Name)
                scope[one.id] = item
            return
    raise NotStatic("a statement that is not a simple assignment")


def assigned_names(statement: ast.AST) -> Iterator[str]:
    """Yield the names that a statement can set."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]


def _name(node: Any, scope: Mapping[str, Any]) -> Any:
    if node.id not in scope:
        raise NotStatic(f"the value of {node.id} is not known")
    value = scope[node.id]
    if isinstance(value, Unknown):
        raise NotStatic(value.why)
    return value


def _attribute(node: Any, scope: Mapping[str, Any]) -> Any:
    owner = evaluate(node.value, scope)
    if isinstance(owner, Names):
        return owner.get(node.attr)
    raise NotStatic(f"{ast.unparse(node):.60} is not evaluated")


def _subscript(node: Any, scope: Mapping[str, Any]) -> Any:
    owner = evaluate(node.value, scope)
    if isinstance(node.slice, ast.Slice):
        parts = (
            None if one is None else evaluate(one, scope)
            for one in (node.slice.lower, node.slice.upper, node.slice.step)
        )
        return (owner.items if isinstance(owner, Names) else owner)[slice(*parts)]
    key = evaluate(node.slice, scope)
    if isinstance(owner, Names):
        return owner.get(key) if isinstance(key, str) else owner.items[key]
    return owner[key]


def _joined(node: Any, scope: Mapping[str, Any]) -> str:
    parts = []
    for one in node.values:
        value = evaluate(one.value, scope) if isinstance(one, ast.FormattedValue) else one.value
        spec = evaluate(one.format_spec, scope) if isinstance(one, ast.FormattedValue) and one.format_spec else ""
        parts.append(format(value, spec) if isinstance(one, ast.FormattedValue) else value)
    return "".join(parts)


_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, other: one in other,
    ast.NotIn: lambda one, other: one not in other,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}


def _binary(node: Any, scope: Mapping[str, Any]) -> Any:
    left: Any = evaluate(node.left, scope)
    right: Any = evaluate(node.right, scope)
    left = left.items if isinstance(left, Names) else left
    right = right.items if isinstance(right, Names) else right
    if isinstance(node.op, ast.Mult):
        sizes = [len(one) for one in (left, right) if isinstance(one, str | list | tuple)]
        numbers = [one for one in (left, right) if isinstance(one, int)]
        if sizes and numbers and sizes[0] * numbers[0] > _MOST_ITEMS:
            raise NotStatic("a very large value")
        return left * right
    if type(node.op) not in _OPERATORS:
        raise NotStatic(f"{ast.unparse(node):.60} is not evaluated")
    return _OPERATORS[type(node.op)](left, right)


def _compare(node: Any, scope: Mapping[str, Any]) -> bool:
    values = [evaluate(one, scope) for one in (node.left, *node.comparators)]
    pairs = zip(node.ops, itertools.pairwise(values), strict=True)
    return all(_OPERATORS[type(op)](*pair) for op, pair in pairs)


def _boolean(node: Any, scope: Mapping[str, Any]) -> Any:
    value = None
    for one in node.values:
        value = evaluate(one, scope)
        if bool(value) is isinstance(node.op, ast.Or):
            break
    return value


def _unary(node: Any, scope: Mapping[str, Any]) -> Any:
    value = evaluate(node.operand, scope)
    return not value if isinstance(node.op, ast.Not) else -value if isinstance(node.op, ast.USub) else value


def _bindings(generators: Sequence[ast.comprehension], scope: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a scope for each iteration of a comprehension."""
    if not generators:
        yield dict(scope)
        return
    first, *others = generators
    source = evaluate(first.iter, scope)
    for item in source.items if isinstance(source, Names) else source:
        local = dict(scope)
        if isinstance(first.target, ast.Name):
            local[first.target.id] = item
        elif isinstance(first.target, ast.Tuple):
            for target, part in zip(first.target.elts, item, strict=True):
                local[ast.unparse(target)] = part
        if all(evaluate(test, local) for test in first.ifs):
            yield from _bindings(others, local)


def _comprehension(node: Any, scope: Mapping[str, Any]) -> Any:
    every = itertools.islice(_bindings(node.generators, scope), _MOST_ITEMS)
    if isinstance(node, ast.DictComp):
        return {evaluate(node.key, local): evaluate(node.value, local) for local in every}
    return [evaluate(node.elt, local) for local in every]


def _list(node: Any, scope: Mapping[str, Any]) -> list[Any]:
    found: list[Any] = []
    for one in node.elts:
        if isinstance(one, ast.Starred):
            found += flat(evaluate(one.value, scope))
        else:
            found.append(evaluate(one, scope))
    return found


def _lambda(node: Any, scope: Mapping[str, Any]) -> Function:
    return Function([one.arg for one in node.args.args], [ast.Return(node.body)], dict(scope))


def _call(node: Any, scope: Mapping[str, Any]) -> Any:
    given = _list(ast.List(node.args), scope)
    named = {one.arg: evaluate(one.value, scope) for one in node.keywords if one.arg}
    if any(one.arg is None for one in node.keywords):
        for one in node.keywords:
            named |= evaluate(one.value, scope) if one.arg is None else {}
    written = ast.unparse(node.func)
    if isinstance(node.func, ast.Name):
        own = scope.get(node.func.id)
        if isinstance(own, Function):
            return call(own, given, named)
        if written in ("expand", "glob_wildcards"):
            return _SNAKEMAKE[written](scope, given, named)
    if written in _PLAIN:
        return _PLAIN[written](*(one.items if isinstance(one, Names) else one for one in given), **named)
    if isinstance(node.func, ast.Attribute):
        owner = evaluate(node.func.value, scope)
        if node.func.attr == "get" and isinstance(owner, Mapping):
            return owner.get(*given)
        if isinstance(owner, Names) and node.func.attr == "get":
            return owner.named.get(*given)
        if node.func.attr == "format" and isinstance(owner, str):
            return _format(owner, given, named)
        if (type(owner) if not isinstance(owner, str) else str, node.func.attr) in _METHODS:
            result = getattr(owner, node.func.attr)(*given, **named)
            return list(result) if isinstance(owner, dict) else result
    raise NotStatic(f"{written:.50}(…) is not called")


def _format(text: str, given: Sequence[Any], named: Mapping[str, Any]) -> str:
    """Format a text whose fields are plain names or numbers."""
    for _, field, _, _ in string.Formatter().parse(text):
        if field is not None and not re.fullmatch(r"\w*", field):
            raise NotStatic(f"the field {{{field}}} is not evaluated")
    return text.format(*given, **named)


def _expand(_: Mapping[str, Any], given: Sequence[Any], named: Mapping[str, Any]) -> list[str]:
    """Return the paths of `expand(pattern, [zip,] name=values)`."""
    patterns = [str(one) for one in flat(given[0])]
    paired = len(given) > 1 and given[1] is _PLAIN["zip"]
    if len(given) > 1 and not paired:
        raise NotStatic("expand with a function other than zip")
    missing_allowed = bool(named.get("allow_missing"))
    columns = {
        name: [str(one) for one in flat(list(value) if isinstance(value, Mapping) else value)]
        for name, value in named.items()
        if name != "allow_missing"
    }
    rows = zip(*columns.values(), strict=True) if paired else itertools.product(*columns.values())
    bindings = [dict(zip(columns, row, strict=True)) for row in itertools.islice(rows, _MOST_ITEMS)]
    found = []
    for pattern in patterns:
        written = pattern.replace("{{", "\0").replace("}}", "\1")
        names = set(wildcard_names(written))
        if names - columns.keys() and not missing_allowed:
            raise NotStatic(f"expand has no values for {', '.join(sorted(names - columns.keys()))}")
        texts = [fill_known(written, one) for one in bindings]
        # A product repeats a path for the values of names that are not in it.
        found += [one.replace("\0", "{").replace("\1", "}") for one in (texts if paired else dict.fromkeys(texts))]
    return found


def _glob_wildcards(scope: Mapping[str, Any], given: Sequence[Any], _: Mapping[str, Any]) -> Names:
    """Return the values of wildcards in the paths that are there."""
    pattern, folder = str(given[0]), scope["__folder__"]
    names = wildcard_names(pattern)
    expression = compile_path(pattern, {})
    base = pattern[: pattern.find("{")].rpartition("/")[0]
    columns: dict[str, list[str]] = {name: [] for name in names}
    root = Path(folder, base)
    files = sorted(one for one in root.rglob("*") if one.is_file()) if root.is_dir() else []
    for path in files[:_MOST_ITEMS]:
        found = expression.fullmatch(os.path.join(base, path.relative_to(root)))  # noqa: PTH118 base may be empty
        for name in names if found else ():
            columns[name].append(found[name] if found else "")
    return Names(named=columns)


_SNAKEMAKE: dict[str, Callable[[Mapping[str, Any], Sequence[Any], Mapping[str, Any]], Any]] = {
    "expand": _expand,
    "glob_wildcards": _glob_wildcards,
}


def _flag(name: str) -> Callable[..., Any]:
    def apply(value: Any, *_: Any, **__: Any) -> Any:
        if isinstance(value, Function):
            return value
        if isinstance(value, list | tuple):
            return [apply(one) for one in value]
        return FlaggedPath(str(value), (name,))

    return apply


def _range(*bounds: int) -> list[int]:
    if len(range(*bounds)) > _MOST_ITEMS:
        raise NotStatic("a very large range")
    return list(range(*bounds))


FLAGS = ("temp", "temporary", "protected", "directory", "ancient", "touch", "pipe", "service", "local", "repeat")
_PLAIN: dict[str, Callable[..., Any]] = {
    **{name: _flag(name) for name in FLAGS},
    "len": len,
    "str": str,
    "int": int,
    "float": float,
    "list": list,
    "tuple": tuple,
    "dict": dict,
    "bool": bool,
    "sum": sum,
    "min": min,
    "max": max,
    "abs": abs,
    "round": round,
    "any": any,
    "all": all,
    "range": _range,
    "sorted": lambda items, reverse=False: sorted(items, reverse=reverse),
    "set": lambda items=(): list(dict.fromkeys(items)),
    "zip": lambda *columns: list(zip(*columns, strict=False)),
    "enumerate": lambda items, start=0: list(enumerate(items, start)),
    "multiext": lambda prefix, *suffixes: [f"{prefix}{one}" for one in suffixes],
    "os.path.join": lambda *parts: os.path.join(*parts),  # noqa: PTH118 the same texts as in Python
    "os.path.basename": lambda path: os.path.basename(path),  # noqa: PTH119
    "os.path.dirname": lambda path: os.path.dirname(path),  # noqa: PTH120
    "os.path.splitext": lambda path: list(os.path.splitext(path)),  # noqa: PTH122
}
_METHODS = {
    *((str, name) for name in ("split", "rsplit", "strip", "lstrip", "rstrip", "replace", "join", "upper", "lower")),
    *((str, name) for name in ("startswith", "endswith", "removeprefix", "removesuffix", "title", "zfill")),
    *((dict, name) for name in ("keys", "values", "items")),
    *((list, name) for name in ("index", "count")),
}
_READERS: dict[type, Callable[[Any, Mapping[str, Any]], Any]] = {
    ast.Constant: lambda node, _: node.value,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Subscript: _subscript,
    ast.JoinedStr: _joined,
    ast.BinOp: _binary,
    ast.Compare: _compare,
    ast.BoolOp: _boolean,
    ast.UnaryOp: _unary,
    ast.IfExp: lambda node, scope: evaluate(node.body if evaluate(node.test, scope) else node.orelse, scope),
    ast.List: _list,
    ast.Tuple: lambda node, scope: tuple(_list(node, scope)),
    ast.Set: _list,
    ast.Dict: lambda node, scope: {
        evaluate(key, scope): evaluate(value, scope) for key, value in zip(node.keys, node.values, strict=True)
    },
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.DictComp: _comprehension,
    ast.Lambda: _lambda,
    ast.Call: _call,
}
FUNCTION_NAMES = {"zip": _PLAIN["zip"]}
"""Functions that are passed as values: `expand("{a}", zip, a=A)`."""
