"""Functions that a workflow holds as source text, in the place of `module:function`: those typed in a notebook."""

from __future__ import annotations

import re

from rekindle.domain.errors import BadValue

_NAME = re.compile(r"def\s+(\w+)")
_NOTEBOOK = frozenset({"display", "get_ipython", "_", "__IPYTHON__"})
"""Names that a notebook adds to the built-in ones."""


def is_source(call: str) -> bool:
    """Return whether a call is the source of a function, and not `module:function`."""
    return "\n" in call


def function_name(source: str) -> str:
    """Return the name of the function that a source defines."""
    found = _NAME.search(source)
    return found[1] if found else "?"


def shown_call(call: str) -> str:
    """Return a call for people: `module:function`, or the name of a function that is held as source."""
    return f"{function_name(call)} (source)" if is_source(call) else call


def check_source(source: str) -> None:
    """Raise BadValue unless a text defines one function, which uses only its arguments, built-in names and what it
    imports itself."""
    import ast
    import builtins

    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError) as error:
        raise BadValue(f"the source of a function cannot be parsed: {error}") from None
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef):
        raise BadValue("the source must be one function", hint="def score(seed): …")
    name = body[0].name
    known = {*vars(builtins), name} - _NOTEBOOK
    outside = [one for one in _outside(source) if one not in known]
    if outside:
        raise BadValue(
            f"{name} uses what is defined outside of it: {', '.join(outside)}",
            hint=f"import or define {'them' if len(outside) > 1 else outside[0]} within {name}, pass values as `args`, "
            f"or save {name} in a module and import it",
        )


def _outside(source: str) -> list[str]:
    """Return the names that a source reads and does not define. Annotations are not evaluated."""
    import symtable

    found: dict[str, None] = {}
    waiting = [symtable.symtable(f"{_ANNOTATIONS}\n{source}", "<source>", "exec")]
    while waiting:
        table = waiting.pop(0)
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module"):
                found[symbol.get_name()] = None
        waiting += table.get_children()
    return list(found)


_ANNOTATIONS = "from __future__ import annotations"
