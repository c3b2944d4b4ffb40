"""`rekindle torc`: torc's own commands."""

from __future__ import annotations

import click

from rekindle.dialects.torc.asked import Asked
from rekindle.dialects.torc.commands_data import files, user_data
from rekindle.dialects.torc.commands_hpc import hpc
from rekindle.dialects.torc.commands_jobs import jobs, results
from rekindle.dialects.torc.commands_workflows import workflows


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    *("-F", "--output-format", "--format", "output_format"),
    type=click.Choice(["text", "table", "json"]),
    default="text",
    help="How lists are printed.",
)
@click.option("-n", "--no-prompts", is_flag=True, help="Ask nothing; without a terminal nothing is asked anyway.")
@click.option("-k", "--workflow-key", metavar="KEY", help="The workflow. [default: the only one of the store]")
@click.pass_context
def torc(ctx: click.Context, output_format: str, no_prompts: bool, workflow_key: str | None) -> None:
    """Speak torc: its spec files and its commands.

    \b
    Example:
      rekindle torc workflows create workflow.yaml
      rekindle torc jobs run -j 4
      rekindle torc -F json results list -f return_code=1
    """
    ctx.obj = Asked(output_format == "json", not no_prompts, workflow_key)


for _group in (workflows, jobs, results, files, user_data, hpc):
    torc.add_command(_group)
