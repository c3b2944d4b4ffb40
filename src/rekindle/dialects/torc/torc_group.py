"""A click group that takes torc's `-f json` anywhere, and says what to use in place of torc's commands that are not
here."""

from __future__ import annotations

import click

from rekindle.domain.errors import UsageError

_FORMAT_FLAGS = ("-f", "-F", "--format", "--output-format")
FORMATS = ("text", "table", "json")

NOT_HERE = {
    "access-groups": "`rekindle init --shared`",
    "completions": "the completion of rekindle",
    "compute-nodes": "`rekindle status`, which names the runners",
    "config": "the options of each command; there is no server to configure",
    "events": "`rekindle events`",
    "exec": "`torc workflows create-from-commands-file`",
    "failure-handlers": "the spec, then `torc create --update`",
    "job-dependencies": "`rekindle why JOB`",
    "logs": "`rekindle logs JOB`",
    "plot-resources": "`torc -f json results list`, which has peak memory and CPU use",
    "remote": "`torc run` on each host that sees the store",
    "resource-requirements": "`rekindle jobs show JOB`",
    "scheduled-compute-nodes": "`rekindle status`, which names the runners",
    "slurm": "`torc run`: it runs the ready jobs on this machine",
    "submit": "`torc run`: it runs the ready jobs on this machine",
    "submit-slurm": "`torc run`: it runs the ready jobs on this machine",
    "tasks": "the command itself, which ends when it is done",
    "tui": "`rekindle status`",
    "files create": "the spec, then `torc create --update`",
    "files delete": "the spec, then `torc create --update`",
    "files get": "`torc files list`",
    "files list-required-existing": "`torc workflows init`, which names what is missing",
    "files update": "the spec, then `torc create --update`",
    "hpc detect": "`torc run`",
    "hpc list": "`torc run`",
    "jobs create": "the spec, then `torc create --update`",
    "jobs create-from-file": "`torc workflows create-from-commands-file`",
    "jobs delete": "the spec, then `torc create --update`",
    "jobs delete-all": "`torc delete`",
    "jobs list-resource-requirements": "`rekindle jobs show JOB`",
    "jobs update": "the spec, then `torc create --update`",
    "reports check-resource-utilization": "`torc -f json results list`, which has peak memory and CPU use",
    "reports results": "`torc -f json results list`",
    "results delete": "`rekindle workflows delete`: results are kept with their workflow",
    "results get": "`torc -f json results list`",
    "user-data create": "the spec, then `torc create --update`",
    "user-data delete": "the spec, then `torc create --update`",
    "workflows archive": "`rekindle workflows archive`",
    "workflows check-resources": "`torc -f json results list`, which has peak memory and CPU use",
    "workflows correct-resources": "`torc recover`",
    "workflows export": "`rekindle workflows show`",
    "workflows import": "`torc create`",
    "workflows list-actions": "`torc jobs list`, where actions are jobs",
    "workflows new": "`torc create`",
    "workflows submit": "`torc run`: it runs the ready jobs on this machine",
    "workflows update": "the spec, then `torc create --update`",
}
"""torc's commands that are not here, and what to use."""


class TorcGroup(click.Group):
    """A group of torc's commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move torc's format options before the command, then parse as click does."""
        if ctx.parent is not None and isinstance(ctx.parent.command, TorcGroup):
            return super().parse_args(ctx, args)
        moved: list[str] = []
        left: list[str] = []
        rest = iter(args)
        for word in rest:
            if word == "--":
                left += [word, *rest]
            elif word in _FORMAT_FLAGS and (following := next(rest, None)) is not None:
                if following in FORMATS:
                    moved += ["--format", following]
                else:
                    left += [word, following]
            elif word.startswith(("--format=", "--output-format=")):
                moved += ["--format", word.partition("=")[2]]
            else:
                left.append(word)
        return super().parse_args(ctx, [*moved, *left])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a command as click does. Raise UsageError for a command of torc that is not here."""
        path = args[0] if self.name == "torc" else f"{self.name} {args[0]}"
        if path in NOT_HERE and args[0] not in self.commands:
            raise UsageError(f"torc's {path} is not here: use {NOT_HERE[path]}")
        return super().resolve_command(ctx, args)
