"""What lies at a dotted path in a document, as MongoDB reads one: lists are looked through.

A list on the way stands for the objects in it, and a number names one of its elements as well; what such a path
finds may be several values. A list at the end stands for each of its elements and for itself. Where a name is not
there the value is ABSENT, but elements of a list that are no objects have nothing to say about further names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rekindle.domain.documents.ordering import ABSENT, Json


def values_at(document: Json, names: Sequence[str], *, elements: bool = True) -> Iterator[Json]:
    """Every value at the path. Without `elements` a list at the end is only itself."""
    value = document
    for at, name in enumerate(names):
        if isinstance(value, dict):
            if name not in value:
                yield ABSENT
                return
            value = value[name]
        elif isinstance(value, list):
            yield from _within(value, names[at:], elements)
            return
        else:
            yield ABSENT
            return
    if elements and isinstance(value, list):
        yield from value
    yield value


def _within(found: Sequence[Json], names: Sequence[str], elements: bool) -> Iterator[Json]:
    name, further = names[0], names[1:]
    for at, one in enumerate(found):
        if isinstance(one, dict):
            yield from values_at(one, names, elements=elements)
        if name != str(at):
            continue
        if not further:
            yield one  # named by its number it is itself, even where it is a list
        elif isinstance(one, dict):
            yield from values_at(one, further, elements=elements)
        elif isinstance(one, list):
            yield from _within(one, further, elements)
