"""`python -m benchmarks [ROW]...`: measure rekindle, print and record the results. Nothing is asserted."""

from __future__ import annotations

import argparse
import os
import pkgutil
import sys
from datetime import UTC, datetime
from importlib import import_module

from msgspec.structs import replace

import benchmarks.rows
from benchmarks import history
from benchmarks.harness import CommandFailed, Result, Row, Unavailable, measure, progress
from benchmarks.report import page, text

PAGE = history.ROOT / "docs" / "explanation" / "measurements.md"


def all_rows() -> dict[str, Row]:
    """Return the rows of all modules in benchmarks/rows, by name."""
    modules = sorted(one.name for one in pkgutil.iter_modules(benchmarks.rows.__path__))
    rows = [row for name in modules for row in import_module(f"benchmarks.rows.{name}").ROWS]
    found = {row.name: row for row in rows}
    assert len(found) == len(rows), "two rows have one name"
    return found


def main() -> int:
    """Measure the named rows, or all, and record them."""
    rows = all_rows()
    args = _arguments(rows)
    if args.table:
        return _write_table()
    for name in [name for name in os.environ if name.startswith("REKINDLE_")]:
        del os.environ[name]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    machine = history.this_machine()
    print(machine)
    failed = False
    for name in args.rows or [name for name, row in rows.items() if row.peers == args.peers]:
        try:
            result = run(rows[name], args, machine)
        except CommandFailed as error:
            progress.clear()
            print(f"bench: {name}: {error}", file=sys.stderr)
            failed = True
            continue
        progress.clear()
        print(text(result, history.before(history.read(history.LOCAL), result)), flush=True)
        if not args.no_history:
            history.append(history.LOCAL, [result])
    return int(failed)


def run(row: Row, args: argparse.Namespace, machine: str) -> Result:
    """Measure one row."""
    sizes = (args.size,) if args.size else row.quick if args.quick else row.sizes
    at = row.at if row.at is not None and row.at in sizes else sizes[-1]
    rounds = args.rounds or (min(row.rounds, 2) if args.quick else row.rounds)
    now, load = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", os.getloadavg()[0]
    progress.row = row.name
    result = Result(row.name, row.about, now, history.commit(), machine, load, bool(args.quick or args.size))
    try:
        found = measure(row, sizes, at, rounds)
    except Unavailable as missing:
        return replace(result, unavailable=str(missing))
    return replace(result, size=at, sizes=sizes, rounds=rounds, measurements=found)


def _write_table() -> int:
    """Publish the newest complete results, and write the page of the documentation."""
    if (path := history.publish(history.this_machine())) is not None:
        print(f"bench: new results are in {path.relative_to(history.ROOT)}")
    results = history.newest(history.published())
    if not results:
        print("bench: there is no complete result\nhint: python -m benchmarks", file=sys.stderr)
        return 1
    PAGE.write_text(page(results.values()))
    print(f"bench: wrote {PAGE.relative_to(history.ROOT)}")
    return 0


def _arguments(rows: dict[str, Row]) -> argparse.Namespace:
    listed = "\n".join(f"  {name:14}{row.about}" for name, row in rows.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Measure rekindle on this machine.\n\nrows:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="measure only these (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes and at most two rounds")
    parser.add_argument("--peers", action="store_true", help="measure the rows with other systems: see scripts/peers")
    parser.add_argument("--size", type=int, metavar="N", help="measure at this size only")
    parser.add_argument("--rounds", type=int, metavar="N", help="measure so many rounds")
    parser.add_argument(
        "--no-history", action="store_true", help="print only; append nothing to .benchmarks/history.jsonl"
    )
    parser.add_argument(
        "--table", action="store_true", help="measure nothing; publish the newest complete results and write the page"
    )
    args = parser.parse_args()
    if unknown := [name for name in args.rows if name not in rows]:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(rows)}")
    return args


if __name__ == "__main__":
    sys.exit(main())
