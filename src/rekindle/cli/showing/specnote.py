"""What is said of a workflow whose spec file is not what the store holds."""

from __future__ import annotations

from rekindle.cli.showing import drawing
from rekindle.engine.results import WorkflowStatus


def spec_note(status: WorkflowStatus) -> tuple[str, str] | None:
    """What is the matter with the spec file, and what to type; None where nothing is."""
    one = status.workflow
    folder = drawing.flat(one.directory)
    file, revision = drawing.flat(one.source or ""), f"revision {one.revision}"
    return {
        "no_folder": (f"its folder is missing: {folder}; its jobs cannot run", f"rekindle workflows show {one.id}"),
        "changed": (f"the spec file differs from {revision}, which is what runs", f"rekindle workflows diff {one.id}"),
        "invalid": (
            f"the spec file has changed since {revision}, and has mistakes in it",
            f"rekindle workflows diff {one.id}",
        ),
        "gone": (f"the spec file is gone; {revision} runs without it", f"rekindle workflows show {one.id}"),
        "unreadable": (f"the spec file cannot be read; {revision} runs without it", f"ls -l {file}"),
    }.get(status.spec)
