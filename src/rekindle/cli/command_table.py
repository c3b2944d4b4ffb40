"""The commands of `rekindle` and its help page. Does not import click, so that `rekindle --help` starts quickly."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rekindle.streams import terminal_columns


class Entry(NamedTuple):
    """The place of a command (`module:attribute`), and its line in the list of commands."""

    target: str
    about: str


DIALECTS = {
    "lpad": Entry(
        "rekindle.dialects.fireworks.lpad.group:lpad",
        "Speak FireWorks: its workflow files and the commands of its LaunchPad.",
    ),
    "rlaunch": Entry("rekindle.dialects.fireworks.launch_commands:rlaunch", "Speak FireWorks: launch fireworks."),
    "qlaunch": Entry(
        "rekindle.dialects.fireworks.queue_commands:qlaunch", "Speak FireWorks: launch in a queue, that of Slurm."
    ),
    "mlaunch": Entry(
        "rekindle.dialects.fireworks.launch_commands:mlaunch",
        "Speak FireWorks: launch several at once, as `rlaunch multi` does.",
    ),
    "torc": Entry("rekindle.dialects.torc.commands:torc", "Speak torc: its spec files and its commands."),
    "resim": Entry("rekindle.dialects.resim.commands:resim", "Speak ReSim: its commands for batches of tests."),
    "ziggy": Entry("rekindle.dialects.ziggy.commands:ziggy", "Speak Ziggy: the commands of its console."),
}
"""Commands of other systems. Each is a command of `rekindle`, and an executable that `rekindle dialects install`
writes. A dialect is imported when its command is used."""

MODE_SETS = ("rekindle.dialects.ziggy.restart_modes:MODES",)
"""What dialects call the ways to rerun their workflows, in the console."""

IMPORTS = {
    "bundle": Entry("rekindle.cli.commands.bundles:import_bundle", "Import a bundle that `rekindle export` wrote."),
    "fireworks": Entry(
        "rekindle.dialects.fireworks.dump_import:import_fireworks",
        "Import a LaunchPad's workflows with their whole history.",
    ),
}
"""The commands of `rekindle import`."""

CONVERTERS = {
    "snakemake": Entry("rekindle.dialects.snakemake.conversion:convert", "Rules of a Snakefile."),
    "make": Entry("rekindle.dialects.make.conversion:convert", "Rules of a Makefile."),
    "joblog": Entry("rekindle.dialects.joblog:convert", "Jobs in a log of GNU parallel."),
    "fireworks": Entry("rekindle.dialects.fireworks.conversion:convert", "A workflow file of FireWorks."),
    "torc": Entry("rekindle.dialects.torc.conversion:convert", "A spec file of torc."),
}
"""What `rekindle init --from` converts."""

SPEC_FILE = "workflow.yaml"
"""The file that `rekindle init` writes."""

COMMANDS = {
    "run": Entry("rekindle.cli.commands.run:run", "Submit SPEC and bring its workflow up to date."),
    "init": Entry(
        "rekindle.cli.commands.init:init",
        "Make a store here, private or shared with a group, and a spec to begin with.",
    ),
    "spec": Entry("rekindle.cli.commands.spec:spec", "Check spec files, and print their JSON Schema."),
    "submit": Entry("rekindle.cli.commands.submit:submit", "Store SPEC as a workflow, and run nothing."),
    "work": Entry("rekindle.cli.commands.work:work", "Run ready jobs until none is left."),
    "status": Entry("rekindle.cli.commands.status:status", "Show each workflow at a glance."),
    "top": Entry(
        "rekindle.cli.commands.top:top",
        "Show jobs, failures and runners live in the terminal, and rerun jobs from the keyboard.",
    ),
    "workflows": Entry(
        "rekindle.cli.commands.workflows:workflows", "List, show, compare, archive and delete workflows."
    ),
    "jobs": Entry("rekindle.cli.commands.job_list:jobs", "List and show jobs."),
    "attempts": Entry(
        "rekindle.cli.commands.attempts:attempts", "List, show and compare attempts, the executions of jobs."
    ),
    "logs": Entry("rekindle.cli.commands.logs:logs", "Print what a job printed."),
    "failures": Entry("rekindle.cli.commands.failures:failures", "Group failed attempts by their error."),
    "flaky": Entry("rekindle.cli.commands.failures:flaky", "Show which jobs fail sometimes, and how often."),
    "lineage": Entry("rekindle.cli.commands.lineage:lineage", "Show where a file comes from, and what used it."),
    "forecast": Entry(
        "rekindle.cli.commands.forecast:forecast",
        "Show when the unfinished jobs will be done, and which of them decide it.",
    ),
    "reproduce": Entry(
        "rekindle.cli.commands.reproduce:reproduce",
        "Run one attempt again in a folder of its own, and compare how it ends.",
    ),
    "verify": Entry(
        "rekindle.cli.commands.reproduce:verify",
        "Run completed jobs of a SELECTION again in folders of their own, and compare their outputs and results.",
    ),
    "why": Entry("rekindle.cli.commands.why:why", "Explain whether jobs would run again, and why or why not."),
    "rerun": Entry("rekindle.cli.commands.rerun:rerun", "Plan a rerun of a SELECTION, show it, and apply it."),
    "supervise": Entry(
        "rekindle.cli.commands.supervise:supervise", "Run WORKFLOW, and rerun its failures, within guards."
    ),
    "restart": Entry(
        "rekindle.cli.commands.restart:restart", "Rerun the interrupted, stale and reset jobs of a workflow."
    ),
    "reset": Entry("rekindle.cli.commands.reset:reset", "Archive a SELECTION and hold it until `restart`."),
    "accept": Entry(
        "rekindle.cli.commands.reset:accept", "Accept the changes of a SELECTION, so that it is not stale."
    ),
    "complete": Entry(
        "rekindle.cli.commands.complete:complete", "Record a SELECTION as completed, with results from elsewhere."
    ),
    "apply": Entry("rekindle.cli.commands.rerun:apply", "Apply a plan that `rerun --save-plan` saved."),
    "undo": Entry("rekindle.cli.commands.reruns:undo", "Undo a rerun."),
    "reruns": Entry("rekindle.cli.commands.reruns:reruns", "List and show the reruns that were applied."),
    "events": Entry("rekindle.cli.commands.events:events", "List what happened in the store."),
    "cancel": Entry("rekindle.cli.commands.control:cancel", "End running jobs, and keep others from starting."),
    "hold": Entry("rekindle.cli.commands.control:hold", "Keep jobs from starting until they are released."),
    "release": Entry("rekindle.cli.commands.control:release", "Let held jobs start again."),
    "prune": Entry("rekindle.cli.commands.prune:prune", "Remove the content of old archived attempts."),
    "cache": Entry(
        "rekindle.cli.commands.cache:cache",
        "Look at, prune and verify the outputs that are kept of jobs with `cache: true`.",
    ),
    "slurm": Entry("rekindle.cli.commands.slurm:slurm", "Run ready jobs in jobs of Slurm."),
    "serve": Entry("rekindle.cli.commands.serve:serve", "Serve the console and the HTTP API."),
    "mcp": Entry("rekindle.cli.commands.mcp:mcp", "Serve tools for an agent over standard input and output."),
    "report": Entry("rekindle.cli.commands.report:report", "Write a workflow as one HTML file."),
    "export": Entry("rekindle.cli.commands.bundles:export", "Write a workflow with its history as one file."),
    "token": Entry("rekindle.cli.commands.token:token", "Make and revoke the tokens of `rekindle serve`."),
    "doctor": Entry("rekindle.cli.commands.doctor:doctor", "Check the installation and the store, and say what to do."),
    "store": Entry("rekindle.cli.commands.store:store", "Check, copy or compact a store."),
    "dialects": Entry("rekindle.cli.commands.dialects:dialects", "List and install the commands of other systems."),
    **DIALECTS,
    "import": Entry(
        "rekindle.cli.commands.bundles:import_history", "Import a workflow from a bundle, or from another system."
    ),
    "completion": Entry("rekindle.cli.root:completion", "Print the completion script for a shell."),
}

ABOUT = """Run workflows of jobs, and rerun exactly the jobs that must run again.

\b
Example:
  rekindle run sweep.yaml -j 4        run it
  rekindle failures                   see what failed, and why
  rekindle rerun -s failed --work     rerun them, and the jobs that need them
"""

STORE_HELP = (
    "The store: a folder, sqlite:///path or postgresql://…; may be typed anywhere. [default: $REKINDLE_STORE, else the "
    "nearest .rekindle/ at or above the working directory, else a new one there]"
)

VERSION_HELP = "Print the version."

MOST_COLUMNS = 100
"""The widest help page. Click limits it to 80 by default."""


def help_page() -> str:
    """Return the help page of `rekindle` as click formats it, for the width of the terminal."""
    import textwrap

    width = max(min(terminal_columns(), MOST_COLUMNS) - 2, 50)
    about, _, example = ABOUT.partition("\n\n\b\n")
    options = [("--store URL", STORE_HELP), ("--version", VERSION_HELP), ("-h, --help", "Show this message and exit.")]
    return "\n".join(
        [
            "Usage: rekindle [OPTIONS] COMMAND [ARGS]...",
            "",
            textwrap.fill(about, width, initial_indent="  ", subsequent_indent="  "),
            "",
            textwrap.indent(example, "  "),
            "Options:",
            *_definitions(options, width),
            "",
            "Commands:",
            *_definitions([(name, entry.about) for name, entry in COMMANDS.items()], width),
        ]
    )


def _definitions(rows: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    """Format names and their texts in two columns."""
    import textwrap

    rows = list(rows)
    column = max(len(name) for name, _ in rows) + 2
    for name, text in rows:
        first, *others = textwrap.wrap(text, max(width - column - 2, 10))
        yield f"  {name:{column}}{first}"
        yield from (f"  {'':{column}}{line}" for line in others)
