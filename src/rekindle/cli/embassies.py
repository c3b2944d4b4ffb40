"""Which commands of other systems there are. A dialect is imported when its command is used, and never from here."""

from __future__ import annotations

from rekindle.cli.lazy import Entry

DIALECTS = {
    "lpad": Entry(
        "rekindle.dialects.fireworks.lpad.commands:lpad",
        "Speak FireWorks: its workflow files and the commands of its LaunchPad.",
    ),
    "rlaunch": Entry("rekindle.dialects.fireworks.launching.commands:rlaunch", "Speak FireWorks: launch fireworks."),
    "qlaunch": Entry("rekindle.dialects.fireworks.launching.queue:qlaunch", "Speak FireWorks: launch in a queue."),
    "torc": Entry("rekindle.dialects.torc.commands:torc", "Speak torc: its spec files and its commands."),
    "resim": Entry("rekindle.dialects.resim.commands:resim", "Speak ReSim: its commands for batches of tests."),
    "ziggy": Entry("rekindle.dialects.ziggy.commands:ziggy", "Speak Ziggy: the commands of its console."),
}
"""Each is a command of `rekindle`, and an executable that `rekindle dialects install` writes."""

IMPORTS = {
    "fireworks": Entry(
        "rekindle.dialects.fireworks.dumps.command:import_fireworks",
        "Bring in a LaunchPad's workflows with their whole history.",
    ),
}
"""Each is a command of `rekindle import`."""
