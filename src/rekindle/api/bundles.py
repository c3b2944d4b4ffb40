"""The calls of a client about bundles: a workflow with its history in one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rekindle.api.hints import python_hints
from rekindle.api.reproducer import Reproducer
from rekindle.presentation.bundles import ExportedBundle, ImportedBundle

if TYPE_CHECKING:
    from rekindle.api import arguments


@python_hints
class BundleReader(Reproducer):
    """An open store whose workflows can be written to bundles, and brought from them."""

    def export(
        self,
        workflow: str | int,
        path: arguments.StorePath | None = None,
        *,
        logs: bool = True,
        inputs: bool = False,
        outputs: bool = False,
    ) -> ExportedBundle:
        """Write a workflow (a name or id) with its history as one file, and return what is in it; see `rekindle
        export`. The file may have secrets that commands or environment variables have.

        Args:
            workflow: Its name or id.
            path: The file. None: write nothing, and return what would be in it.
            logs: Whether it has what jobs have printed.
            inputs: Whether it has the files that jobs have read.
            outputs: Whether it has the files that jobs have written.
        """
        from rekindle.engine.bundles.exporting import ExportOptions, export_workflow
        from rekindle.presentation.bundles import export_document

        options = ExportOptions(logs=logs, inputs=inputs, outputs=outputs)
        report = export_workflow(self._session, str(workflow), None if path is None else Path(path), options)
        return ExportedBundle.of(export_document(report))

    def import_bundle(
        self,
        path: arguments.StorePath,
        *,
        name: str | None = None,
        into: arguments.StorePath | None = None,
        dry_run: bool = False,
    ) -> ImportedBundle:
        """Import a workflow that `export` wrote. It is archived: nothing of it runs before
        `client.workflows.archive(workflow, undo=True)`.

        Args:
            path: The file.
            name: The workflow's name in this store. None: that in the bundle.
            into: The workflow's folder, in which files are unpacked. None: a folder with its name beside the store.
            dry_run: Verify the file, and import nothing.

        Raises:
            Refused: The file is damaged or of a newer rekindle, or its name or a file is taken. Nothing is imported.
        """
        from rekindle.engine.bundles.importing import Bundle, import_bundle
        from rekindle.presentation.bundles import import_document

        folder = None if into is None else Path(into)
        with Bundle(Path(path)) as bundle:
            report = import_bundle(self._session, bundle, name=name, into=folder, dry_run=dry_run)
        return ImportedBundle.of(import_document(report))
