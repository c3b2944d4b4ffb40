"""Names for batches that nobody has named."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

_WORDS = (
    "brave calm careful cheerful curious eager gentle happy keen lively merry patient proud quiet quick steady",
    "amber azure bronze coral crimson emerald gold indigo ivory jade lilac ochre pearl ruby silver teal",
    "badger crane dolphin falcon fox heron ibex lynx marten newt otter puffin raven seal starling wren",
)
_TRIES = 100


def pseudo_unique_name(known: Collection[str], choose: Callable[[Sequence[str]], str]) -> str:
    """`merry-indigo-otter`: one that is not known yet, as long as there are any."""
    name = ""
    for _ in range(_TRIES):
        name = "-".join(choose(words.split()) for words in _WORDS)
        if name not in known:
            break
    return name
