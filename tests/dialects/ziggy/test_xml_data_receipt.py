"""Data receipt: a delivery is checked against its manifest, and then moved into the datastore, whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from xml_sample import XmlPipeline

from rekindle.dialects.ziggy import data_receipt

ONLY = ("data-receipt", "data-receipt", "--work")
MANIFEST = "tiles-manifest.xml"
TILES = [f"tile-{number}.png" for number in range(4)]


def receive(sample: XmlPipeline, expect: int = 0) -> None:
    sample.console("start", "sample", "receipt", *ONLY, expect=expect)


def reason(sample: XmlPipeline, task: int = 1) -> str:
    """Return why the task failed."""
    message: str = sample.live(task)["error"]["message"]
    return message


def left(sample: XmlPipeline) -> list[str]:
    """Return the files of the data receipt folder."""
    return sorted(str(one.relative_to(sample.delivery)) for one in sample.delivery.rglob("*") if one.is_file())


def edit_manifest(sample: XmlPipeline, old: str, new: str, manifest: str = MANIFEST) -> None:
    path = sample.delivery / manifest
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_delivery_is_moved_into_the_datastore_and_acknowledged(delivered: XmlPipeline) -> None:
    receive(delivered)
    assert delivered.files("set-1/L0") == delivered.files("set-2/L0") == TILES
    (model,) = delivered.files("models/color gains")
    assert model.endswith(".0001-gains.txt")
    assert list(delivered.delivery.iterdir()) == []
    logs = delivered.folder / "logs/manifests"
    assert sorted(one.name for one in logs.iterdir()) == ["tiles-manifest-ack.xml", MANIFEST]
    acknowledgement = (logs / "tiles-manifest-ack.xml").read_text()
    assert 'datasetId="0" checksumType="SHA1" fileCount="9" transferStatus="valid"' in acknowledgement
    assert acknowledgement.count('transferStatus="present" validationStatus="valid"') == 9


def test_models_get_the_next_version_and_data_files_are_replaced(delivered: XmlPipeline) -> None:
    receive(delivered)
    delivered.deliver()
    (delivered.delivery / "models/gains.txt").write_text("0.5 0.5 0.5\n")
    delivered.write_manifest()
    receive(delivered)
    first, second = delivered.files("models/color gains")
    assert (first[10:], second[10:]) == (".0001-gains.txt", ".0002-gains.txt")
    delivered.console("start", "sample", "x", "permuter", "permuter", "--work")
    assert (delivered.subtask("3-3-permuter", 0) / "gains.txt").read_text() == "0.5 0.5 0.5\n"


def change(name: str, text: str) -> Callable[[XmlPipeline], None]:
    return lambda sample: (sample.delivery / name).write_text(text) and None


WRONG: dict[str, tuple[Callable[[XmlPipeline], object], str]] = {
    "size": (change("set-2/L0/tile-3.png", "short"), "set-2/L0/tile-3.png: its size is 5, and not "),
    "checksum": (change("models/gains.txt", "1.0 0.9 0.7\n"), "models/gains.txt: its checksum is "),
    "missing": (lambda sample: (sample.delivery / "set-1/L0/tile-0.png").unlink(), "tile-0.png: it is missing"),
    "unlisted": (change("set-1/L0/tile-9.png", "more"), "set-1/L0/tile-9.png: it is not in the manifest"),
    "link": (
        lambda sample: (
            (sample.delivery / "set-1/L0/tile-0.png").unlink(),
            (sample.delivery / "set-1/L0/tile-0.png").symlink_to("tile-1.png"),
        ),
        "set-1/L0/tile-0.png: it is missing",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_delivery_with_a_wrong_file_is_refused_whole(delivered: XmlPipeline, kind: str) -> None:
    spoil, problem = WRONG[kind]
    spoil(delivered)
    before = left(delivered)
    receive(delivered, expect=2)
    assert "the delivery is refused: 1 problem\n" in reason(delivered)
    assert problem in reason(delivered)
    assert delivered.files("set-1/L0") == delivered.files("models/color gains") == []
    assert left(delivered) == sorted([*before, "tiles-manifest-ack.xml"])
    acknowledgement = (delivered.delivery / "tiles-manifest-ack.xml").read_text()
    assert ('transferStatus="invalid"' in acknowledgement) == (kind != "unlisted")
    # Mended, it is received by a restart of the task.
    shutil.rmtree(delivered.delivery)
    delivered.deliver()
    delivered.console("restart", "-r", "restart-from-beginning", "-t", "1", "--work")
    assert delivered.files("set-1/L0") == TILES
    assert left(delivered) == []


def test_files_of_no_known_type_are_refused(delivered: XmlPipeline) -> None:
    (delivered.delivery / "set-1/L1").mkdir()
    for name in ("set-1/L1/tile-0.perm.png", "set-1/L0/note.txt", "models/other.txt"):
        (delivered.delivery / name).write_text("x")
    delivered.write_manifest()
    receive(delivered, expect=2)
    message = reason(delivered)
    assert message.count("it is of no data file type or model type of the node") == 3
    assert delivered.files("set-1/L0") == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('name="set-1/L0/tile-0.png"', 'name="../outside.png"', "its name must be a path in the delivery's folder"),
        ('name="set-1/L0/tile-0.png"', 'name="/etc/passwd"', "its name must be a path in the delivery's folder"),
        ('name="set-1/L0/tile-0.png"', 'name="set-1//L0/tile-0.png"', "its name must be a path in the delivery's"),
        ('name="set-1/L0/tile-0.png"', 'name="set-1/L0/tile-1.png"', "is there twice"),
        ('size="', 'size="-', "must be a <file> with name, size and checksum"),
        ('fileCount="9"', 'fileCount="8"', "fileCount is 8, and it lists 9 files"),
        ('checksumType="SHA1"', 'checksumType="SUM"', "the checksum type 'SUM' is not known"),
        ("<manifest", '<!DOCTYPE manifest [<!ENTITY a "b">]><manifest', "a DOCTYPE is refused"),
    ],
)
def test_a_bad_manifest_is_refused_at_the_start(delivered: XmlPipeline, old: str, new: str, problem: str) -> None:
    edit_manifest(delivered, old, new)
    assert problem in delivered.console("start", "sample", "receipt", *ONLY, expect=1).err
    assert not (delivered.folder / ".rekindle").exists()


def test_each_delivery_in_a_folder_of_its_own_is_a_task(sample: XmlPipeline) -> None:
    sample.deliver("monday")
    sample.deliver("tuesday")
    edit_manifest(sample, 'datasetId="0"', 'datasetId="12"', f"tuesday/{MANIFEST}")
    (sample.delivery / "monday/models/gains.txt").write_text("spoiled")
    sample.console("start", "sample", "--work", expect=2)
    states = sample.states()
    assert states["data-receipt[delivery=monday]"] == "failed"
    assert states["data-receipt[delivery=tuesday]"] == "completed"
    assert states["permuter[dataset=set-1]"] == "waiting"  # the nodes behind data receipt wait for all deliveries
    assert "[tuesday]" in sample.console("display", "-i", "1", "-d", "full").out


def test_a_dataset_is_received_once(sample: XmlPipeline) -> None:
    for dataset, ends in (("12", 0), ("13", 0), ("12", 2)):
        sample.deliver()
        edit_manifest(sample, 'datasetId="0"', f'datasetId="{dataset}"')
        receive(sample, expect=ends)
    assert "the dataset 12 was received already" in reason(sample, 3)
    kept = sorted(one.name for one in (sample.folder / "logs/manifests").glob("*-manifest.xml"))
    assert kept == [MANIFEST, "tiles.1-manifest.xml"]


def test_a_receipt_that_was_interrupted_moves_the_rest(delivered: XmlPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_manifest(delivered, 'datasetId="0"', 'datasetId="12"')
    types = [{"location": [{"name": "d", "pattern": "set-."}, {"name": "L0"}], "pattern": r"tile-.\.png"}]
    models = [{"name": "color gains", "pattern": r"gains\.txt"}]
    move, moved = data_receipt.move_file, []

    def move_some(path: Path, target: Path) -> None:
        if len(moved) == stop:
            raise KeyboardInterrupt
        moved.append(target)
        move(path, target)

    monkeypatch.setattr(data_receipt, "move_file", move_some)
    monkeypatch.setenv("ZIGGY_TASK_DIR", "task-data/1-1-data-receipt")
    for stop in (1, 4, 9, 10, 11):  # before a file, the model, the manifest; not interrupted, and repeated
        with pytest.raises(KeyboardInterrupt) if stop < 10 else monkeypatch.context():
            data_receipt.receive("data-receipt", "datastore", "logs/manifests", types, models)
    assert len(moved) == len(set(moved)) == 10
    assert delivered.files("set-1/L0") == delivered.files("set-2/L0") == TILES
    assert [one[10:] for one in delivered.files("models/color gains")] == [".0001-gains.txt"]
    assert left(delivered) == []


def test_without_a_delivery_the_other_nodes_run_on_what_is_there(delivered: XmlPipeline) -> None:
    receive(delivered)
    result = delivered.console("start", "sample", "again", "--work")
    assert "no delivery is in" in result.err
    assert "the node data-receipt is left out" in result.err
    assert delivered.files("set-2/L3") == ["average.png"]
    assert "sample: no delivery is in" in delivered.console("start", "sample", "receipt", *ONLY, expect=1).err
