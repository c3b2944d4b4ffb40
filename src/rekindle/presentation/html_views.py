"""Values as HTML, for notebooks: tables without scripts and colours, which are readable on light and dark pages.

Notebooks look for a method `_repr_html_` on the class of a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from rekindle.presentation import words

if TYPE_CHECKING:
    from rekindle.domain.rerun.plan import PlannedJob
    from rekindle.engine.results import PlannedRerun

MOST = 100
"""Rows of a table that are shown."""

_CELL = "text-align:left;vertical-align:top;padding:2px 12px 2px 0;border-bottom:1px solid rgba(128,128,128,.35)"
_TABLE = "border-collapse:collapse;margin:4px 0 8px"
_SHORT = 40  # characters of a cell that is not broken into lines
_TRACEBACK_LINES = 20


_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})
"""As `html.escape`, whose module takes as long to import as all of this package."""


def text(value: object) -> str:
    """Return a value as escaped HTML, in one line and without control characters."""
    return words.one_line(_plain(value)).translate(_ESCAPES)


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if value < 1e6 else f"{value:.0f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(one)}" for key, one in value.items() if one not in (None, "", [], {}))
    if isinstance(value, list | tuple):
        shown = ", ".join(_plain(one) for one in value[:MOST])
        return shown if len(value) <= MOST else f"{shown}, … ({len(value):,})"
    return str(value)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], total: int | None = None) -> str:
    """Return a table. `total`: the number of rows there are, if some were left out."""
    shown = list(islice(rows, MOST))
    head = "".join(f'<th scope="col" style="{_CELL}">{text(column)}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in shown)
    rest = (len(shown) if total is None else total) - len(shown)
    more = f"<p>… and {rest:,} more</p>" if rest > 0 else ""
    return f'<table style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}'


def _cell(value: object) -> str:
    shown = text(value)
    style = f"{_CELL};white-space:nowrap" if len(shown) <= _SHORT else _CELL
    return f'<td style="{style}">{f"<strong>{shown}</strong>" if shown == "failed" else shown}</td>'


def _facts(document: Mapping[str, Any], without: Sequence[str] = ()) -> str:
    """Return the keys of a document that have a value, each with the value."""
    rows = [(key, value) for key, value in document.items() if value or (value == 0 and value is not False)]
    rows = [(key, value) for key, value in rows if key not in without]
    body = "".join(f'<tr><th scope="row" style="{_CELL}">{text(key)}</th>{_cell(value)}</tr>' for key, value in rows)
    return f'<table style="{_TABLE}"><tbody>{body}</tbody></table>'


def _paragraph(line: str) -> str:
    return f"<p>{text(line)}</p>"


def plan(one: PlannedRerun) -> str:
    """Return a plan: what runs again and why, what is refused and overwritten, warnings and cost."""
    from rekindle.presentation import plans

    found = one.plan
    parts = [f"<p><strong>{text(plans.summary(found))}</strong></p>"]
    parts += [_paragraph(line) for line in plans.cost(found).splitlines()]
    parts += [f"<p><strong>warning:</strong> {text(warning)}</p>" for warning in found.warnings]
    if found.refused:
        rows = ((job.id, job.name, job.why) for job in found.refused)
        parts += [_paragraph("refused:"), table(("id", "name", "why"), rows, len(found.refused))]
    if found.overwrites:
        saved = ", and saves before" if found.jobs.total(lambda job: bool(job.saves)) else ""
        parts.append(_paragraph(f"overwrites{saved}: {_plain(found.overwrites)}"))
    parts.append(table(("id", "name", "before", "after", "start", "reasons"), _planned_jobs(one)))
    for title, lines in (("kept", plans.kept_lines(found.jobs)), ("modified", plans.change_lines(found.jobs))):
        parts += [_paragraph(f"{title}: {_plain(lines)}")] if lines else []
    parts.append(_paragraph("Client.apply(plan) applies it, unless a job has changed since."))
    return "".join(parts)


def _planned_jobs(one: PlannedRerun) -> Iterator[tuple[str, ...]]:
    """Yield the cells of the plan's jobs, parents first. Similar jobs share a row."""
    from rekindle.presentation import attempts, plans

    retired = {job for actions in one.plan.dynamic for job in actions.retires}

    def cells(job: PlannedJob) -> tuple[str, ...]:
        return plans.job_cells(job, job.id in retired)

    for line in plans.tree_lines(one.plan.jobs, one.children, cells):
        if not line.again:
            ids = words.cut(line.ids or attempts.id_ranges([job.id for job in line.jobs]), 24)
            yield (ids, line.name, *line.cells(retired))


def status(document: Mapping[str, Any]) -> str:
    """Return the status of a workflow: its counts, failures and runners."""
    name, state = text(document["name"]), text(document["state"])
    parts = [f"<p>workflow {document['id']} <strong>{name}</strong>: {state}</p>"]
    parts.append(table(tuple(document["counts"]), [tuple(document["counts"].values())]))
    if failures := document["failures"]:
        columns = ("count", "signature", "cause", "type", "newest_message")
        parts.append(table(columns, ([group[column] for column in columns] for group in failures), len(failures)))
    if runners := document["runners"]:
        parts.append(_paragraph(f"{words.plural(len(runners), 'runner')} alive"))
    elif document["counts"].get("ready"):
        parts.append(_paragraph("no runner is alive: rekindle work"))
    return "".join(parts)


def failure(document: Mapping[str, Any]) -> str:
    """Return a group of failures."""
    return _facts(document, without=("example", "partial_outputs"))


def attempt(document: Mapping[str, Any]) -> str:
    """Return an attempt with its steps, and the end of its traceback or stderr."""
    error = document["error"] or {}
    shown = {**document, "error": {key: error.get(key) for key in ("type", "message")}}
    steps = ("name", "state", "cause", "exit_code", "started", "ended")
    parts = [_facts(shown, without=("steps",))]
    if document["steps"]:
        parts.append(table(steps, ([step[column] for column in steps] for step in document["steps"])))
    if printed := (error.get("traceback") or error.get("stderr") or "").rstrip():
        lines = words.printable(printed).splitlines()[-_TRACEBACK_LINES:]
        end = "\n".join(lines).translate(_ESCAPES)
        parts.append(f"<pre>{end}</pre>")
    return "".join(parts)
