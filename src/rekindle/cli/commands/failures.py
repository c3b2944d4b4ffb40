"""`rekindle failures`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import click

from rekindle.cli.opening import opened
from rekindle.cli.options import json_option, workflow_option
from rekindle.cli.showing import drawing, explaining, shapes
from rekindle.cli.showing.lists import emit_rows, page_options, tell_page
from rekindle.domain.models import FailureGroup, PartialOfFailure
from rekindle.engine.looking import look
from rekindle.engine.looking.examples import Example, examples
from rekindle.engine.looking.lists import Page

Partial = Mapping[str, Sequence[PartialOfFailure]]
"""By signature."""

_FIRST = 5
"""Groups of which an example is shown, hosts of a group, and lines of an example, without -v."""


@click.command()
@workflow_option
@click.option(
    "--archived", "--all", "archived", is_flag=True, help="All that ever failed: attempts that were rerun, too."
)
@click.option("-v", "--verbose", is_flag=True, help="Show every host, and more of an example of each group.")
@page_options
@json_option
def failures(workflow: str | None, archived: bool, verbose: bool, page: Page, as_json: bool) -> None:
    """Group failed attempts by how they failed, the largest group first.

    What varies from one to the other (numbers, times, addresses, folders, temporary names) makes no difference. Of each
    group: how often, when first and last, on which hosts, and the end of what its newest attempt said.

    \b
    Example:
      rekindle failures -w sweep
      rekindle failures --archived -v
      rekindle rerun --signature 3f9a0c --canary 2
    """
    with opened() as session:
        every = look.failures(session, workflow, archived)
        groups = page.of(every)
        shown = groups if as_json or verbose else groups[:_FIRST]
        found, partial = examples(session, shown), look.partial_of_failures(session, shown, archived)
    if as_json:
        emit_rows("failures", (_shape(group, found.get(group.signature), partial) for group in groups))
        return
    if not every:
        click.echo("no failures")
        return
    if groups:
        click.echo(explaining.group_lines(groups))
    tell_page(page, len(groups), len(every), "kind")
    _draw_examples(groups, found, partial, verbose)
    if archived or not groups:
        return
    jobs = drawing.many(len({job for group in every for job in group.jobs}), "job")
    click.echo(f"\n{jobs} failed. `rekindle jobs show ID` tells more of one; run them again with")
    first, few = groups[0].signature[:10], len(groups[0].jobs) < _FIRST
    tried = "" if few else " --canary 1"
    click.echo(f"  rekindle rerun --signature {first}{tried}    the first kind{'' if few else ', one of it first'}")
    click.echo("  rekindle rerun -s failed")


def _draw_examples(
    groups: Sequence[FailureGroup], found: Mapping[str, Example], partial: Partial, verbose: bool
) -> None:
    for group in groups:
        example = found.get(group.signature)
        if example is None:
            continue
        click.echo(f"\n{group.signature[:10]}  {_when(group)}{_where(group, verbose)}")
        at = f", step {drawing.flat(example.step)}" if example.step and len(example.attempt.steps) > 1 else ""
        one = example.attempt
        click.echo(f"  {drawing.flat(example.name)} ({one.job}), attempt {one.number}{at}: {explaining.ending(one)}")
        for line in example.tail if verbose else example.tail[-_FIRST:]:
            click.echo(f"  {click.style('│', dim=True)} {drawing.safe(line)}")
        if example.step and example.subtask is not None:
            words = f"logs {one.job} --attempt {one.number} --step {shlex.quote(example.step)}"
            click.echo(f"  `rekindle {words} --subtask {example.subtask}` prints what its item printed")
        left = partial.get(group.signature, [])
        for each in left if verbose else left[:_FIRST]:
            click.echo(f"  {explaining.partial_output(each.output, each.directory)}")
        if not verbose and len(left) > _FIRST:
            click.echo(f"  … and {drawing.many(len(left) - _FIRST, 'more partial output')} (-v shows all)")


def _when(group: FailureGroup) -> str:
    if group.first is None or group.last is None:
        return "when is not known"
    first, last = drawing.when(group.first), drawing.when(group.last)
    return f"at {first}" if first == last else f"first {first}, last {last}"


def _where(group: FailureGroup, verbose: bool) -> str:
    if not group.hosts:
        return ""
    shown = group.hosts if verbose else group.hosts[:_FIRST]
    hosts = ", ".join(f"{drawing.flat(host)} ({count:,})" if len(group.hosts) > 1 else host for host, count in shown)
    more = len(group.hosts) - len(shown)
    return f", on {hosts}" + (f" and {drawing.many(more, 'more host')}" if more else "")


def _shape(group: FailureGroup, example: Example | None, partial: Partial) -> dict[str, object]:
    told = None
    if example is not None:
        one = example.attempt
        told = {
            "job": one.job,
            "name": example.name,
            "attempt": one.id,
            "number": one.number,
            "step": example.step,
            "subtask": example.subtask,
            "ended": shapes.iso(one.ended),
            "tail": list(example.tail),
        }
    left = [
        {"job": one.job, "attempt": one.attempt, **shapes.partial_output(one.output)}
        for one in partial.get(group.signature, ())
    ]
    return {**shapes.failure(group), "example": told, "partial_outputs": left}
