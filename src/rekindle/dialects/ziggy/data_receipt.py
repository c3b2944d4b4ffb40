"""Data receipt, which a job calls: check a delivery against its manifest, and move its files into the datastore."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from rekindle.dialects.ziggy.datastore import (
    MODELS,
    TASK_FOLDER,
    Level,
    ModelType,
    match,
    newest_models,
    next_model_name,
    values_of_path,
)
from rekindle.dialects.ziggy.manifests import ACKNOWLEDGED, SUFFIX, DeliveredFile, Delivery, read_delivery
from rekindle.dialects.ziggy.task_data import move_file, write_file
from rekindle.dialects.ziggy.xml_elements import parse_xml
from rekindle.domain.errors import Refused


def receive(
    folder: str, datastore: str, logs: str, types: Sequence[Mapping[str, Any]], models: Sequence[Mapping[str, Any]]
) -> None:
    """Move the files of a delivery into the datastore, and write the acknowledgement.

    Raise Refused, and move nothing, if a file is missing, has another size or checksum, is not in the manifest, or is
    of no known type. Repeated after an interruption, it moves the rest."""
    logged, record = Path(logs), Path(os.environ[TASK_FOLDER]) / "received.xml"
    if record.exists() and not any(Path(folder).glob(f"*{SUFFIX}")):
        print(f"received already: {record}")
        return
    delivery = read_delivery(Path(folder))
    _refuse_again(delivery, logged)
    targets = {one.name: _target(one.name, delivery.folder, Path(datastore), types, models) for one in delivery.files}
    wrong = {one.name: _problem(delivery, one, targets[one.name]) for one in delivery.files}
    acknowledgement = _acknowledgement(delivery, wrong)
    name = delivery.manifest.name.removesuffix(SUFFIX) + ACKNOWLEDGED
    bad = [f"{name}: {problem}" for name, problem in wrong.items() if problem]
    bad += [f"{one}: it is not in the manifest" for one in _unlisted(delivery, name)]
    bad += [f"{one}: it is of no data file type or model type of the node" for one, to in targets.items() if to is None]
    if bad:
        write_file(delivery.folder / name, acknowledgement)
        counted = f"{len(bad)} problem{'s' if len(bad) > 1 else ''}"
        raise Refused(f"the delivery is refused: {counted}\n" + "\n".join(bad))
    for one in delivery.files:
        path, target = delivery.folder / one.name, targets[one.name]
        if target is not None and path.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            move_file(path, target)
    logged.mkdir(parents=True, exist_ok=True)
    logged_name = _unused_name(logged, delivery.manifest.name.removesuffix(SUFFIX))
    write_file(logged / f"{logged_name}{ACKNOWLEDGED}", acknowledgement)
    with contextlib.suppress(FileNotFoundError):
        (delivery.folder / name).unlink()
    for inner, _, _ in os.walk(delivery.folder, topdown=False):
        if Path(inner) != delivery.folder:
            Path(inner).rmdir()
    record.parent.mkdir(parents=True, exist_ok=True)
    write_file(record, acknowledgement)
    move_file(delivery.manifest, logged / f"{logged_name}{SUFFIX}")
    print(f"received: {len(delivery.files)} files, dataset {delivery.dataset}")


def _unused_name(logged: Path, name: str) -> str:
    """Return the name of a manifest without its suffix, with a number if an earlier one has it."""
    number, found = 0, name
    while (logged / f"{found}{SUFFIX}").exists():
        number += 1
        found = f"{name}.{number}"
    return found


def _refuse_again(delivery: Delivery, logged: Path) -> None:
    """Refuse a dataset that was received before. Dataset 0 may come again."""
    if delivery.dataset in ("", "0") or not any((delivery.folder / one.name).exists() for one in delivery.files):
        return  # of an interrupted receipt, the manifest is left
    for path in logged.glob(f"*{ACKNOWLEDGED}"):
        if parse_xml(path).get("datasetId") == delivery.dataset:
            raise Refused(f"the dataset {delivery.dataset} was received already: {path}")


def _target(
    name: str,
    folder: Path,
    datastore: Path,
    types: Sequence[Mapping[str, Any]],
    models: Sequence[Mapping[str, Any]],
) -> Path | None:
    """Return the path in the datastore of a file, or None if it is of no known type. Of a model that was moved
    already, it is the newest."""
    *folders, own = name.split("/")
    if folders == [MODELS]:
        for model in models:
            if match(model["pattern"], own) is None:
                continue
            stored = datastore / MODELS / str(model["name"])
            newest = {own: name for name, own in newest_models(stored, ModelType(model["name"], model["pattern"]))}
            if (folder / name).exists() or own not in newest:
                return stored / next_model_name(stored, own, datetime.now(UTC).strftime("%Y-%m-%d"))
            return stored / newest[own]
        return None
    for one in types:
        location = tuple(Level(**level) for level in one["location"])
        if match(one["pattern"], own) is not None and values_of_path(location, folders) is not None:
            return datastore / name
    return None


def _problem(delivery: Delivery, file: DeliveredFile, target: Path | None) -> str:
    """Return what is wrong with a file. A file that was moved already is looked at in the datastore."""
    path = delivery.folder / file.name
    if not path.exists() and target is not None:
        path = target
    if path.is_symlink() or not path.is_file():
        return "it is missing"
    if path.stat().st_size != file.size:
        return f"its size is {path.stat().st_size}, and not {file.size}"
    found = delivery.checksum(path)
    return "" if found == file.checksum else f"its checksum is {found}, and not {file.checksum}"


def _unlisted(delivery: Delivery, acknowledgement: str) -> list[str]:
    listed = {one.name for one in delivery.files}
    names = (str(one.relative_to(delivery.folder)) for one in delivery.folder.rglob("*") if not one.is_dir())
    return sorted(one for one in names if one not in listed and one not in (delivery.manifest.name, acknowledgement))


def _acknowledgement(delivery: Delivery, wrong: Mapping[str, str]) -> str:
    """Return the document that tells the sender which files have come, and which are valid."""

    def line(one: DeliveredFile) -> str:
        problem = wrong[one.name]
        values = {
            "name": one.name,
            "size": str(one.size),
            "checksum": one.checksum,
            "transferStatus": "absent" if problem == "it is missing" else "present",
            "validationStatus": "invalid" if problem else "valid",
        }
        return f"    <file {_attributes(values)}/>\n"

    status = {
        "datasetId": delivery.dataset,
        "checksumType": delivery.checksum_type,
        "fileCount": str(len(delivery.files)),
        "transferStatus": "invalid" if any(wrong.values()) else "valid",
    }
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    lines = "".join(map(line, delivery.files))
    return f"{head}<acknowledgement {_attributes(status)}>\n{lines}</acknowledgement>\n"


def _attributes(values: Mapping[str, str]) -> str:
    return " ".join(f"{name}={quoteattr(value)}" for name, value in values.items())
