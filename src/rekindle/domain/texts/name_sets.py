"""Sets of names of matrix jobs as products of values: `train[model=b, seed=3,8,13]`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import msgspec

_SEVERAL_ORDERS = 20_000
"""Names up to which several orders of the keys are tried."""

_ROUNDS = 4

_FEW = 8
"""Sets up to which it is worth looking for values that restrict nothing."""

Row = tuple[str, ...]
"""The values of a name."""


class NameSet(msgspec.Struct, frozen=True):
    """Names of one matrix with one of the values of each key: `base[key=value,…]`. A key without `values` may have any
    value. Without `keys`, the name `base`."""

    base: str
    keys: tuple[str, ...] = ()
    values: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def has(self, name: str) -> bool:
        """Return whether the name is in the set."""
        base, keys, row = _parse(name)
        own = dict(zip(keys, row, strict=True))
        return (base, keys) == (self.base, self.keys) and all(own[key] in values for key, values in self.values)


class NameIndex:
    """All names that a set of names is chosen from. Values that follow from others are left out of the sets."""

    def __init__(self, names: Iterable[str]) -> None:
        self._matrices = {matrix: _Matrix(rows) for matrix, rows in _by_matrix(names).items()}

    def factor(self, names: Iterable[str]) -> list[NameSet]:
        """Return disjoint sets that contain exactly these names, of the index and of themselves. The number of sets is
        small, not always the smallest."""
        found: list[NameSet] = []
        for (base, keys), rows in _by_matrix(names).items():
            matrix = self._matrices.get((base, keys))
            if matrix is None or not matrix.rows.issuperset(rows):
                matrix = _Matrix(rows, whole=False)
            found += [
                NameSet(base, keys, tuple((keys[at], one[at]) for at in sorted(one))) for one in matrix.factor(rows)
            ]
        return found


Chosen = dict[int, Row]
"""For each key that restricts the names, by its position: the values."""


class _Matrix:
    """The names of one matrix; `whole` unless others exist that are not known."""

    def __init__(self, rows: Sequence[Row], *, whole: bool = True) -> None:
        self.rows, self._whole = set(rows), whole
        self.needed = list(range(len(rows[0])))  # keys that tell the names apart
        for at in reversed(self.needed[:]):
            rest = [one for one in self.needed if one != at]
            if whole and len({tuple(row[one] for one in rest) for row in self.rows}) == len(self.rows):
                self.needed = rest

    def factor(self, rows: Sequence[Row]) -> list[Chosen]:
        """Return the smallest list of sets that was found with exactly these rows; of several, that with the fewest
        values."""
        factored = list(_factor([tuple(row[at] for at in self.needed) for row in rows]))
        fewest = min(map(len, factored))
        every = [
            [self._restricting(dict(zip(self.needed, one, strict=True)), fewest <= _FEW) for one in found]
            for found in factored
            if len(found) == fewest
        ]
        return min(every, key=lambda found: sum(len(values) for one in found for values in one.values()))

    def _restricting(self, chosen: Chosen, few: bool) -> Chosen:
        """Leave out the keys without which no other names would be chosen."""
        if not (self._whole and few):
            return chosen
        number = self._count(chosen)
        for at in sorted(chosen, key=lambda at: -len(chosen[at])):
            rest = {one: values for one, values in chosen.items() if one != at}
            if self._count(rest) == number:
                chosen = rest
        return chosen

    def _count(self, chosen: Chosen) -> int:
        wanted = [(at, frozenset(values)) for at, values in chosen.items()]
        return sum(all(row[at] in values for at, values in wanted) for row in self.rows)


def _by_matrix(names: Iterable[str]) -> dict[tuple[str, tuple[str, ...]], list[Row]]:
    matrices: dict[tuple[str, tuple[str, ...]], list[Row]] = {}
    for name in dict.fromkeys(names):
        base, keys, row = _parse(name)
        matrices.setdefault((base, keys), []).append(row)
    return matrices


def _parse(name: str) -> tuple[str, tuple[str, ...], Row]:
    """Split `train[a=1,b=2]` into base, keys and values. A value may contain commas."""
    base, bracket, inner = name.partition("[")
    if not (bracket and inner.endswith("]") and "=" in inner.partition(",")[0]):
        return name, (), ()
    pairs: list[str] = []
    for part in inner[:-1].split(","):
        if "=" in part:
            pairs.append(part)
        else:
            pairs[-1] += f",{part}"
    split = [pair.partition("=") for pair in pairs]
    return base, tuple(key for key, _, _ in split), tuple(value for _, _, value in split)


Ranks = tuple[int, ...]
Product = tuple[Ranks, ...]
"""For each key, the ranks of its values."""


def _factor(rows: Sequence[Row]) -> Iterator[list[tuple[Row, ...]]]:
    """Yield lists of disjoint products that contain exactly these rows: for each column, the values."""
    columns = [_in_order(column) for column in zip(*rows, strict=True)]
    ranks = [{value: (rank,) for rank, value in enumerate(column)} for column in columns]
    products: list[Product] = [tuple(known[value] for known, value in zip(ranks, row, strict=True)) for row in rows]
    for order in _orders(columns, len(rows)):
        merged = _merge(products, order)
        yield [
            tuple(tuple(column[at] for at in taken) for column, taken in zip(columns, product, strict=True))
            for product in sorted(merged)
        ]
        if len(merged) == 1:
            break


def _in_order(values: Iterable[str]) -> list[str]:
    """Return the different values: numbers by size, others as they first appear."""
    different = list(dict.fromkeys(values))
    try:
        return sorted(different, key=float)
    except ValueError:
        return different


def _orders(columns: Sequence[Sequence[str]], names: int) -> Iterator[Sequence[int]]:
    """Yield the orders of keys in which values are merged."""
    by_length = sorted(range(len(columns)), key=lambda at: -len(columns[at]))
    yield by_length
    if names <= _SEVERAL_ORDERS:
        for at in range(1, len(columns)):
            yield by_length[at:] + by_length[:at]


def _merge(products: Sequence[Product], order: Sequence[int]) -> list[Product]:
    """Merge disjoint products that differ in one key only, key by key."""
    found = list(products)
    for _ in range(_ROUNDS):
        before = len(found)
        for at in order:
            alike: dict[Product, list[Ranks]] = {}
            for one in found:
                alike.setdefault(one[:at] + one[at + 1 :], []).append(one[at])
            if len(alike) < len(found):
                found = [
                    (*rest[:at], tuple(sorted(itertools.chain.from_iterable(values))), *rest[at:])
                    for rest, values in alike.items()
                ]
        if len(found) == before:
            break
    return found
