"""Lists that the Python API returns: they show themselves as tables in notebooks, and become data frames."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from rekindle.domain.errors import RekindleError
from rekindle.presentation import html_views
from rekindle.presentation.batch_values import Event, FailureGroup, FlakyJob, Rerun, StoredWorkflow, WorkflowStatus
from rekindle.presentation.values import Attempt, Job, Value

if TYPE_CHECKING:
    import pandas
    import pyarrow

Row = TypeVar("Row", bound=Value)

_TIMES = frozenset({"submitted", "queued", "started", "ended", "first", "last", "not_before", "at", "undone"})
"""Keys of documents whose values are times."""

_ANY_JSON = frozenset({"result"})
"""Keys whose values are any JSON."""

_SHOWN: Mapping[type[Value], str] = {
    WorkflowStatus: "id name state counts seconds",
    StoredWorkflow: "id name project revision counts submitted source",
    Job: "id workflow_name name state cause exit_code attempts started seconds",
    Attempt: "id job number state cause exit_code host started ended archived",
    FailureGroup: "count signature cause type newest_message jobs",
    FlakyJob: "job name failures passes rate interval last_failure",
    Rerun: "rerun at kind jobs note undone",
    Event: "id at kind workflow detail",
}
"""The keys that a notebook shows."""

_FEW = 3  # values of a `repr`


class RowList(list[Row]):
    """A list with methods for notebooks and data frames."""

    def __init__(self, kind: type[Row], rows: Iterable[Row]) -> None:
        super().__init__(rows)
        self._kind = kind

    @classmethod
    def of(cls, kind: type[Row], documents: Iterable[Mapping[str, Any]]) -> RowList[Row]:
        """Return the values of JSON documents."""
        return cls(kind, msgspec.convert(list(documents), list[kind]))  # type: ignore[valid-type]

    def __repr__(self) -> str:
        more = f", … {len(self):,} in all" if len(self) > _FEW else ""
        return f"[{', '.join(map(repr, self[:_FEW]))}{more}]"

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process is a plain list."""
        return list, (list(self),)

    def _repr_html_(self) -> str:
        shown = _SHOWN[self._kind].split()
        rows = (tuple(found[key] for key in shown) for found in (one.to_dict() for one in self[: html_views.MOST]))
        return html_views.table(shown, rows, len(self))

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame with the keys of the command line's JSON as columns. Times are timestamps in UTC; lists
        and objects stay such. RekindleError without pandas."""
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise _missing("to_pandas", "pandas", error) from None
        columns = self._columns()
        return pandas.DataFrame({key: _series(pandas, _type(key, values), values) for key, values in columns.items()})

    def to_arrow(self) -> pyarrow.Table:
        """Return an Arrow table with the keys of the command line's JSON as columns. Times are timestamps in UTC; lists
        and objects are JSON texts. RekindleError without pyarrow."""
        try:
            import pyarrow
        except ModuleNotFoundError as error:
            raise _missing("to_arrow", "pyarrow", error) from None
        columns = self._columns()
        return pyarrow.table({key: _array(pyarrow, _type(key, values), values) for key, values in columns.items()})

    def _columns(self) -> dict[str, list[Any]]:
        """Return the values of each key of the documents."""
        found = [one.to_dict() for one in self]
        return {key: [one[key] for one in found] for key in self._kind.__struct_encode_fields__}


def _missing(method: str, module: str, error: ModuleNotFoundError) -> RekindleError:
    return RekindleError(
        f"{method}() needs the Python module {error.name}, which is not installed", hint=f"pip install {module}"
    )


ColumnType = Literal["time", "boolean", "integer", "number", "text", "json", "none"]


def _type(key: str, values: Sequence[Any]) -> ColumnType:
    """Return the type of a column."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return "none"
    if key in _ANY_JSON:
        return "json"
    if key in _TIMES:
        return "time"
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "integer"
    if kinds <= {int, float}:
        return "number"
    return "text" if kinds == {str} else "json"


_PANDAS = {"boolean": "boolean", "integer": "Int64", "number": "float64", "text": "string"}


def _series(pandas: Any, kind: ColumnType, values: Sequence[Any]) -> Any:
    if kind == "time":
        return pandas.to_datetime(pandas.Series(values, dtype="object"), utc=True, format="ISO8601")
    return pandas.Series(values, dtype=_PANDAS.get(kind, "object"))


def _array(pyarrow: Any, kind: ColumnType, values: Sequence[Any]) -> Any:
    if kind == "time":
        times = [None if value is None else datetime.fromisoformat(value) for value in values]
        return pyarrow.array(times, pyarrow.timestamp("ms", tz="UTC"))
    if kind == "json":
        return pyarrow.array([None if value is None else json.dumps(value) for value in values], pyarrow.string())
    types = {
        "boolean": pyarrow.bool_(),
        "integer": pyarrow.int64(),
        "number": pyarrow.float64(),
        "text": pyarrow.string(),
        "none": pyarrow.null(),
    }
    return pyarrow.array(values, types[kind])
