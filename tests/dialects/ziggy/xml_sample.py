"""The sample pipeline of examples/ziggy in a folder of its own, with what its definition files say."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest
from ziggy_sample import Console

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "ziggy"
OVERRIDES = "etc/ziggy-extra.d/pl-with-overrides.xml"


class XmlPipeline(Console):
    """The sample with a delivery, and commands run in its folder."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        super().__init__(folder, capture)
        shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        self.delivery = folder / "data-receipt"

    def deliver(self, folder: str = ".") -> None:
        """Make the delivery, or one in a folder of the data receipt folder."""
        runpy.run_path(str(EXAMPLE / "deliver.py"))["deliver"](self.delivery / folder)

    def write_manifest(self) -> None:
        """Write the manifest again, after a change of the delivery."""
        runpy.run_path(str(EXAMPLE / "deliver.py"))["write_manifest"](self.delivery)

    def define(self, name: str, text: str) -> None:
        """Write a definition file beside the sample's."""
        folder = self.folder / "etc" / "ziggy.d"
        (folder / name).write_text(f"<pipelineDefinition>\n{text}\n</pipelineDefinition>\n")

    def replace(self, file: str, old: str, new: str) -> None:
        """Change a text of a definition file."""
        path = self.folder / "etc" / "ziggy.d" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def files(self, folder: str) -> list[str]:
        """Return the names in a folder of the datastore."""
        path = self.folder / "datastore" / folder
        return sorted(one.name for one in path.iterdir()) if path.exists() else []

    def subtask(self, task: str, number: int) -> Path:
        """Return the folder of a subtask: `1-2-permuter`."""
        return self.folder / "task-data" / task / f"st-{number}"
