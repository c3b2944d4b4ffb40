"""`rekindle spec`: check spec files, and print the JSON Schema for editors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rekindle.cli.command_table import Entry
from rekindle.cli.groups import LazyGroup
from rekindle.cli.options import json_option
from rekindle.cli.output import json_output
from rekindle.domain.overrides import pairs
from rekindle.presentation import words

if TYPE_CHECKING:
    from rekindle.domain.errors import SpecProblem
    from rekindle.spec.checking import CheckedSpec

COMMANDS = {
    "check": Entry("rekindle.cli.commands.spec:check", "Check spec files, and run nothing."),
    "schema": Entry("rekindle.cli.commands.spec:schema", "Print the JSON Schema of spec files, for editors."),
}


@click.group("spec", cls=LazyGroup, entries=COMMANDS)
def spec() -> None:
    """Check spec files, and print their JSON Schema.

    \b
    Example:
      rekindle spec check sweep.yaml
      rekindle spec schema > spec.schema.json
    """


@click.command()
@json_option
def schema(as_json: bool) -> None:
    """Print the JSON Schema of spec files, for editors. It is of the draft 2020-12; --json prints it on one line.

    An editor with a YAML language server completes and explains the keys of a spec that begins with the line
    `# yaml-language-server: $schema=spec.schema.json`. `rekindle init` writes the schema and this line.

    \b
    Example:
      rekindle spec schema > spec.schema.json
    """
    import json

    from rekindle.spec.spec_schema import spec_schema

    if as_json:
        json_output.emit(spec_schema())
    else:
        click.echo(json.dumps(spec_schema(), indent=2, ensure_ascii=False))


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("--param", multiple=True, metavar="K=V", help="Set a parameter of the specs; repeat for more.")
@json_option
def check(files: tuple[str, ...], param: tuple[str, ...], as_json: bool) -> int:
    """Check spec files, and run nothing. No store is read or made.

    Every problem is listed with file, line and column. Warnings name inputs that are not there and that no job writes,
    parameters that no job uses, and numbers that do not keep their digits (3.10 is 3.1).

    Exit code: 0 all files are valid, 1 not.

    \b
    Example:
      rekindle spec check sweep.yaml
      rekindle spec check specs/*.yaml --json
    """
    from rekindle.spec.checking import check as check_file

    given = pairs("--param", param)
    found = [check_file(Path(file), given) for file in files]
    if as_json:
        json_output.emit({"files": [_document(one) for one in found]})
    else:
        for one in found:
            _show(one)
    return 1 if any(one.problems for one in found) else 0


def _document(found: CheckedSpec) -> dict[str, Any]:
    definition = found.definition
    facts = (
        {
            "name": definition.name,
            "entries": len(definition.templates),
            "jobs": len(definition.jobs),
            "edges": len(definition.edges),
            "params": len(definition.params),
        }
        if definition is not None
        else dict.fromkeys(("name", "entries", "jobs", "edges", "params"))
    )
    return {
        "file": found.path,
        "valid": not found.problems,
        **facts,
        "problems": [_problem(one) for one in found.problems],
        "missing": [_problem(one) for one in found.missing],
        "unused": [_problem(one) for one in found.unused],
        "numbers": [_problem(one) for one in found.numbers],
    }


def _problem(one: SpecProblem) -> dict[str, Any]:
    return {"line": one.line, "column": one.column, "message": one.message, "hint": one.hint}


def _show(found: CheckedSpec) -> None:
    """Print what a file defines, or each problem, and its warnings."""
    for problem in found.problems:
        click.echo(problem.render(found.path))
    warnings = sorted((*found.missing, *found.unused, *found.numbers))
    for warning in warnings:
        click.echo(warning._replace(message=f"warning: {warning.message}").render(found.path))
    definition = found.definition
    if definition is None:
        click.echo(f"{found.path}: not valid: {words.plural(len(found.problems), 'problem')}")
        return
    jobs = words.plural(len(definition.jobs), "job")
    if len(definition.templates) != len(definition.jobs):
        entries = len(definition.templates)
        jobs += f" of {entries:,} entries" if entries > 1 else " of 1 entry"
    more = f", {words.plural(len(warnings), 'warning')}" if warnings else ""
    click.echo(f"{found.path}: valid: {definition.name}, {jobs}, {words.plural(len(definition.edges), 'edge')}{more}")
