"""Whether what is written follows from attempts and edges: by brute force, for tests and for doubt."""

from __future__ import annotations

from rekindle.store.classes import misclassified
from rekindle.store.database import Database
from rekindle.store.queries import load
from rekindle.store.rowshape import STATES

SQL = load("check")


def check(database: Database) -> list[str]:
    """Every contradiction, a line each; see rekindle.store.port.Archive.check."""
    found = []
    for number, name, state, derived in database.rows(SQL["states"]):
        found.append(f"job {number} {name}: is {STATES[state].label}, and {STATES[derived].label} follows")
    for number, name, unmet, derived in database.rows(SQL["unmet"]):
        found.append(f"job {number} {name}: unmet is {unmet}, and {derived} of what it needs is not done")
    for number, name, kept, derived in database.rows(SQL["attempts"]):
        found.append(f"job {number} {name}: has had {kept} attempts, and {derived} are there")
    for number, name, attempt, _ in database.rows(SQL["pointers"]):
        found.append(f"job {number} {name}: its live attempt {attempt} is not there, not its own, or archived")
    for number, name, attempt, live in database.rows(SQL["live"]):
        found.append(f"job {number} {name}: attempt {attempt} is not archived, and {live or 'none'} is the live one")
    for number, name, reserve, _ in database.rows(SQL["reserves"]):
        found.append(f"job {number} {name}: its reserve {reserve} is no archived, completed attempt, or not alone")
    for number, name, attempt, _ in database.rows(SQL["pinned"]):
        found.append(f"job {number} {name}: it is pinned to {attempt}, which is no attempt of it")
    for number, name, active, _ in database.rows(SQL["active"]):
        found.append(f"job {number} {name}: {active} attempts have not ended")
    for number, name, attempt, _ in database.rows(SQL["leaving"]):
        found.append(f"job {number} {name}: attempt {attempt} is archived, and nobody asks it to end")
    for workflow, resource_class, state, n, derived in database.rows(SQL["counts"]):
        label = STATES[state].label
        found.append(f"workflow {workflow}, class {resource_class}: counts {n} {label} jobs, and {derived} are")
    for number, name, taken, follows in misclassified(database):
        found.append(f"job {number} {name}: its class takes {taken}, and {follows} follows")
    for workflow, name, kept, derived in database.rows(SQL["spans"]):
        found.append(f"workflow {workflow} {name}: keeps the time {kept}, and its attempts say {derived}")
    return found
