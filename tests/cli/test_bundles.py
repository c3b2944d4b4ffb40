"""`export` and `import`: a workflow in one file, looked at elsewhere."""

from __future__ import annotations

import errno
import json
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from cli_shell import Shell

from made_once import made_once
from rekindle import Client, Refused
from rekindle.files.bundle_files import MANIFEST, BundleFileWriter
from rekindle.journal.paths import attempt_folder

SPEC = """\
name: swéep
jobs:
  prepare: {run: "cp raw.csv ${outputs.data}; echo prepared", inputs: {raw: raw.csv}, outputs: {data: data.txt}}
  train:
    matrix: {seed: {range: [0, 3]}}
    needs: [prepare]
    run: "echo seed ${matrix.seed}; test ${matrix.seed} != 2 || { echo no such alloy >&2; exit 3; }"
  own:
    workdir: attempt
    run: "echo kept > ${outputs.o}"
    outputs: {o: o.txt}
"""


@pytest.fixture
@made_once
def project(shell: Shell) -> Shell:
    """A workflow that has run, with a failure that was rerun."""
    (shell.folder / "raw.csv").write_text("1,2\n")
    shell.write(SPEC)
    assert shell("run", "spec.yaml", "-j", "2").code == 2
    assert shell("rerun", "-s", "failed", "--yes", "--work").code == 2
    return shell


@pytest.fixture
def elsewhere(project: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Another folder, with `b.rekindle`: the workflow with its inputs and outputs."""
    (project.folder / "there").mkdir()
    done = project("export", "swéep", "-o", "there/b.rekindle", "--inputs", "--outputs")
    assert done.code == 0, done.err
    monkeypatch.chdir(project.folder / "there")
    monkeypatch.setenv("REKINDLE_STORE", str(project.folder / "there" / ".rekindle"))
    return project


def rewritten(
    bundle: Path, change: Callable[[dict[str, bytes]], None], manifest: Callable[[dict[str, Any]], None] | None = None
) -> str:
    """Write a bundle with other members and another manifest, whose digests fit, and return its name."""
    with zipfile.ZipFile(bundle) as before:
        members = {name: before.read(name) for name in before.namelist()}
    document = json.loads(members.pop(MANIFEST))
    change(members)
    writer = BundleFileWriter(bundle.with_name("changed"))
    for name, content in members.items():
        writer.add(name, [content])
    document["members"] = [
        {"name": one.name, "size": one.size, "blake3": one.blake3, "sha256": one.sha256} for one in writer.members
    ]
    if manifest is not None:
        manifest(document)
    writer.add(MANIFEST, [json.dumps(document).encode()])
    writer.close()
    return "changed"


def keep(_: dict[str, bytes]) -> None:
    """Change no member."""


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def differences(shell: Shell, *store: str) -> list[dict[str, Any]]:
    """Return in what the two attempts of the job that was rerun differ. A bundle numbers attempts anew."""
    attempts = shell(*store, "attempts", "list", "-w", "swéep", "-n", "train[seed=2]", "--json").json["attempts"]
    found: list[dict[str, Any]] = shell(
        *store, "attempts", "diff", *(str(one["id"]) for one in attempts), "--json"
    ).json["differences"]
    assert [one["number"] for one in attempts] == [1, 2]
    assert found
    return found


def refused(shell: Shell, *words: str) -> str:
    """Return why an import is refused; nothing may have been imported."""
    done = shell("import", *words)
    assert done.code == 1, done.out
    if Path(".rekindle").exists():  # a file that is damaged does not make a store
        assert shell("workflows", "list", "--archived", "--json").json["workflows"] == []
    folder = Path.cwd()
    assert not (folder / "swéep").exists()
    assert [path for path in (folder / ".rekindle").glob("attempts/**/*") if path.is_file()] == []
    assert not (folder.parent / "slipped").exists()
    return done.err


def test_history_logs_failures_and_comparisons_are_those_of_the_original(elsewhere: Shell) -> None:
    original = ("--store", str(elsewhere.folder / ".rekindle"))
    done = elsewhere("import", "b.rekindle")
    assert done.code == 0, done.err
    assert "imported workflow 1 swéep: 5 jobs, 6 attempts" in done.out
    for words in (
        ("logs", "train[seed=2]", "-w", "swéep", "--attempt", "1", "--stderr"),
        ("logs", "prepare", "-w", "swéep"),
        ("failures", "-w", "swéep"),
        ("why", "train[seed=2]", "-w", "swéep"),
        ("workflows", "diff", "swéep"),
    ):
        here, there = elsewhere(*words), elsewhere(*original, *words)
        assert (here.code, here.out) == (there.code, there.out), words
        assert here.out
    assert differences(elsewhere) == differences(elsewhere, *original)
    found = elsewhere("lineage", "swéep/data.txt", "--json").json
    assert (found["made"]["name"], found["current"]["verdict"]) == ("prepare", "current")
    [rerun] = elsewhere("reruns", "list", "--json").json["reruns"]
    assert rerun["jobs"] == 1
    assert elsewhere("store", "check", "--deep").code == 0


def test_an_import_without_room_leaves_nothing(elsewhere: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, *_: object) -> None:
        os.close(fd)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "data.txt")

    with monkeypatch.context() as patching:
        patching.setattr("rekindle.engine.bundles.importing._write", full)
        assert "No space left on device" in refused(elsewhere, "b.rekindle")
    assert elsewhere("store", "check").code == 0
    assert elsewhere("import", "b.rekindle").code == 0


def test_files_are_unpacked_beside_the_store_and_with_the_attempts(elsewhere: Shell) -> None:
    assert elsewhere("import", "b.rekindle").code == 0
    assert sorted(path.name for path in Path("swéep").iterdir()) == ["data.txt", "raw.csv", "spec.yaml"]
    assert Path("swéep/data.txt").read_text() == "1,2\n"
    [own] = elsewhere("attempts", "list", "-w", "swéep", "-n", "own", "--json").json["attempts"]
    assert Path(own["workdir"], "o.txt").read_text() == "kept\n"
    assert own["workdir"].startswith(str(Path.cwd()))


def test_an_imported_workflow_runs_only_when_it_is_brought_back(elsewhere: Shell) -> None:
    assert elsewhere("import", "b.rekindle").code == 0
    before = elsewhere("attempts", "list", "--json").out
    assert elsewhere("work").code == 0
    assert elsewhere("attempts", "list", "--json").out == before
    assert elsewhere("workflows", "archive", "swéep", "--undo").code == 0
    done = elsewhere("rerun", "-w", "swéep", "-n", "train[seed=2]", "--yes", "--work")
    assert done.code == 2
    assert len(elsewhere("attempts", "list", "--json").json["attempts"]) == len(json.loads(before)["attempts"]) + 1
    assert elsewhere("undo").code == 1  # it has started
    assert elsewhere("rerun", "-w", "swéep", "-n", "own", "--yes").code == 0
    assert elsewhere("undo").code == 0


def test_the_same_store_gives_the_same_bytes_and_an_import_too(elsewhere: Shell) -> None:
    first = Path("b.rekindle").read_bytes()
    assert elsewhere("import", "b.rekindle", "--into", "deep/er").code == 0
    again = elsewhere("export", "swéep", "-o", "again", "--inputs", "--outputs", "--json").json
    assert Path("again").read_bytes() == first
    assert (again["bytes"], again["rows"]["job"]) == (len(first), 5)
    assert first.endswith(again["digest"].encode())


def test_without_options_a_bundle_has_rows_and_logs(project: Shell) -> None:
    assert project("export", "swéep", "-o", "b").code == 0
    with zipfile.ZipFile("b") as bundle, tarfile.open(fileobj=BytesIO(bundle.read("attempts.tar"))) as logs:
        assert not [name for name in bundle.namelist() if name.startswith("project/")]
        assert all(name.endswith((".out", ".err")) for name in logs.getnames())
        assert logs.getnames()
    assert project("export", "swéep", "-o", "c", "--no-logs").code == 0
    with zipfile.ZipFile("c") as bundle:
        assert "attempts.tar" not in bundle.namelist()
    assert project("import", "c", "--as", "no logs").code == 0
    assert project("logs", "prepare", "-w", "no logs").out == ""


def test_a_dry_run_writes_nothing(elsewhere: Shell) -> None:
    before = everything(elsewhere.folder)
    original = ("--store", str(elsewhere.folder / ".rekindle"))
    done = elsewhere(*original, "export", "swéep", "--outputs", "--dry-run")
    assert done.code == 0
    assert "would write swéep: 5 jobs" in done.out
    assert elsewhere(*original, "export", "swéep", "--dry-run", "--json").json["bundle"] is None
    done = elsewhere(*original, "import", "b.rekindle", "--as", "x", "--dry-run")
    assert done.code == 0
    assert "would import x: 5 jobs" in done.out
    after = everything(elsewhere.folder)
    assert {
        name for name in {*before, *after} if before.get(name) != after.get(name) and "store.db" not in name
    } == set()


def test_a_name_that_is_taken_and_a_bundle_that_is_known_are_refused(elsewhere: Shell) -> None:
    original = ("--store", str(elsewhere.folder / ".rekindle"))
    done = elsewhere(*original, "import", "b.rekindle")
    assert done.code == 1
    assert "the store has a workflow 'swéep' already (id 1)" in done.err
    assert "--as NAME" in done.err
    assert elsewhere("import", "b.rekindle").code == 0
    done = elsewhere("import", "b.rekindle", "--into", "two")
    assert done.code == 1
    assert "this bundle has been imported already, as workflow 1 swéep" in done.err
    assert elsewhere("import", "b.rekindle", "--as", "twö lines", "--into", "two").code == 0
    assert [one["name"] for one in elsewhere("workflows", "list", "--archived", "--json").json["workflows"]] == [
        "swéep",
        "twö lines",
    ]


def test_another_file_is_never_overwritten_and_an_equal_one_is_kept(elsewhere: Shell) -> None:
    Path("into").mkdir()
    Path("into/raw.csv").write_text("1,2\n")
    Path("into/data.txt").write_text("mine")
    message = refused(elsewhere, "b.rekindle", "--into", "into")
    assert "into/data.txt is there already" in message
    assert {path.name: path.read_text() for path in Path("into").iterdir()} == {"raw.csv": "1,2\n", "data.txt": "mine"}
    Path("into/data.txt").unlink()
    done = elsewhere("import", "b.rekindle", "--into", "into")
    assert done.code == 0
    assert "1 of them there already" in done.out


def test_nothing_is_written_through_a_link(elsewhere: Shell) -> None:
    def nested(members: dict[str, bytes]) -> None:
        members["project/sub/slipped"] = b"x"

    Path("into").mkdir()
    Path("into/sub").symlink_to(elsewhere.folder)
    changed = rewritten(Path("b.rekindle"), nested)
    assert "sub cannot be written" in refused(elsewhere, changed, "--into", "into")
    assert [path.name for path in Path("into").iterdir()] == ["sub"]


@pytest.mark.parametrize("name", ["project/../../slipped", "/slipped", "project//slipped", "../slipped"])
def test_a_name_that_leads_out_of_its_folder_is_refused(elsewhere: Shell, name: str) -> None:
    changed = rewritten(Path("b.rekindle"), lambda members: members.update({name: b"x"}))
    assert "would be written outside" in refused(elsewhere, changed)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("1/../../../../slipped", tarfile.REGTYPE),
        ("9999.0.out", tarfile.REGTYPE),
        ("x.out", tarfile.REGTYPE),
        ("1.0.out", tarfile.SYMTYPE),
        ("1.0.out", tarfile.LNKTYPE),
        ("1.0.out", tarfile.FIFOTYPE),
    ],
)
def test_a_file_of_no_attempt_and_a_link_are_refused(elsewhere: Shell, name: str, kind: bytes) -> None:
    def other(members: dict[str, bytes]) -> None:
        content = BytesIO()
        with tarfile.open(fileobj=content, mode="w") as tar:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        members["attempts.tar"] = content.getvalue()

    assert "is damaged, or no bundle" in refused(elsewhere, rewritten(Path("b.rekindle"), other))


def test_a_damaged_or_foreign_file_is_one_clear_error(elsewhere: Shell) -> None:
    content = Path("b.rekindle").read_bytes()
    with zipfile.ZipFile("foreign", "w") as foreign:
        foreign.writestr("manifest.json", "{}")
    Path("flipped").write_bytes(content[:5000] + bytes([content[5000] ^ 4]) + content[5001:])
    Path("cut").write_bytes(content[:-1])
    for name in ("foreign", "flipped", "cut"):
        message = refused(elsewhere, name)
        assert message.startswith(f"rekindle: {name} is damaged, or no bundle: ")
        assert "nothing was imported" in message
    assert elsewhere("import", "missing").code == 1
    assert "no such file: missing" in elsewhere("import", "missing").err


@pytest.mark.parametrize("key", ["version", "schema"])
def test_a_bundle_of_a_newer_rekindle_is_refused(elsewhere: Shell, key: str) -> None:
    changed = rewritten(Path("b.rekindle"), keep, lambda document: document.update({key: 999}))
    assert f"its {key} is 999" in refused(elsewhere, changed)


def _lines(members: dict[str, bytes], table: str) -> list[Any]:
    return [json.loads(line) for line in members[f"rows/{table}.jsonl"].splitlines()]


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("job", "next_attempt", "{"),
        ("attempt", "state", 99),
        ("attempt", "job", 77),
        ("edge", "parent", None),
        ("job", "binding", 5),
        ("template", "body", "{}"),
        ("job", "unknown", 1),
        ("attempt", "number", "x"),
    ],
)
def test_rows_that_no_store_can_have_are_refused(elsewhere: Shell, table: str, column: str, value: Any) -> None:
    def other(members: dict[str, bytes]) -> None:
        names, *rows = _lines(members, table)
        if column not in names:
            names.append(column)
            rows = [[*row, None] for row in rows]
        rows[0][names.index(column)] = value
        members[f"rows/{table}.jsonl"] = b"".join(json.dumps(line).encode() + b"\n" for line in (names, *rows))

    assert "is damaged, or no bundle" in refused(elsewhere, rewritten(Path("b.rekindle"), other))


def test_a_bundle_from_before_a_column_existed_is_imported(elsewhere: Shell) -> None:
    def older(members: dict[str, bytes]) -> None:
        names, *rows = _lines(members, "attempt")
        at = names.index("left_running")
        lines = [[*line[:at], *line[at + 1 :]] for line in (names, *rows)]
        members["rows/attempt.jsonl"] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        del members["rows/prune.jsonl"]

    def without_table(document: dict[str, Any]) -> None:
        del document["rows"]["prune"]
        document["schema"] = 12

    assert elsewhere("import", rewritten(Path("b.rekindle"), older, without_table)).code == 0


def test_a_log_of_many_pieces_is_carried(project: Shell) -> None:
    [attempt, *_] = project("attempts", "list", "-n", "prepare", "--json").json["attempts"]
    path = Path(f"{attempt_folder(str(project.folder / '.rekindle'), attempt['id'])}.0.out")
    with path.open("wb") as log:
        for _ in range(40):
            log.write(os.urandom(1 << 20))
    assert project("export", "swéep", "-o", "b").code == 0
    with Client("other") as client:
        imported = client.import_bundle("b", into="x")
        copied = Path(f"{attempt_folder(str(project.folder / 'other'), attempt['id'])}.0.out")
        assert copied.read_bytes() == path.read_bytes()
        assert imported.attempt_files


def test_python_exports_and_imports(project: Shell) -> None:
    with Client() as client:
        measured = client.export("swéep", inputs=True)
        assert (measured.bundle, measured.project_files) == (None, 2)
        exported = client.export(1, "b", inputs=True, outputs=True)
    assert exported.project_files == 3
    with Client("other") as client:
        assert client.import_bundle("b", dry_run=True).workflow is None
        imported = client.import_bundle("b", name="theirs", into="theirs")
        assert (imported.workflow, imported.name, imported.digest) == (1, "theirs", exported.digest)
        with pytest.raises(Refused, match="imported already"):
            client.import_bundle("b", name="theirs")


def test_what_is_outside_of_the_folder_is_named(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "outside.csv").write_text("x")
    shell.write("{name: w, jobs: {a: {run: 'true', inputs: {i: ../outside.csv}}}}", "in/spec.yaml")
    assert shell("run", "in/spec.yaml").code == 0
    found = shell("export", "w", "-o", "b", "--inputs", "--json")
    report = found.json
    assert report["left_out"] == 1
    assert report["first_left_out"][0]["path"] == str(tmp_path / "outside.csv")


def test_a_file_that_cannot_be_written_and_words_that_are_missing(project: Shell) -> None:
    done = project("export", "swéep", "-o", "no/such/folder/b")
    assert done.code == 1
    assert "the bundle cannot be written" in done.err
    assert project("export", "swéep").code == 64
    assert "-o FILE" in project("export", "swéep").err
    assert "no such workflow" in project("export", "sweep", "-o", "b").err
    assert [path.name for path in project.folder.iterdir() if "part" in path.name] == []


def test_a_workflow_that_has_not_run_is_carried(shell: Shell) -> None:
    shell.write("name: new\njobs:\n  a: {run: 'true'}\n")
    assert shell("submit", "spec.yaml").code == 0
    assert shell("export", "new", "-o", "new.rk", "--dry-run").code == 0
    assert shell("export", "new", "-o", "new.rk").code == 0
    assert shell("import", "new.rk", "--as", "again").code == 0
    assert [one["name"] for one in shell("jobs", "list", "-w", "again", "--json").json["jobs"]] == ["a"]


def test_a_misspelt_system_is_no_file(shell: Shell) -> None:
    done = shell("import", "firework", "dump")
    assert done.code == 64
    assert "did you mean `fireworks`?" in done.err
    assert "name a file that" in shell("import", ".").err


def entities(bundle: Path) -> Iterator[dict[str, Any]]:
    with zipfile.ZipFile(bundle) as file:
        yield from json.loads(file.read("ro-crate-metadata.json"))["@graph"]


def test_the_metadata_is_a_workflow_run_crate(elsewhere: Shell) -> None:
    found = {one["@id"]: one for one in entities(Path("b.rekindle"))}
    descriptor, root = found["ro-crate-metadata.json"], found["./"]
    assert descriptor["about"] == {"@id": "./"}
    assert {"@id": "https://w3id.org/ro/crate/1.1"} in descriptor["conformsTo"]
    assert all(root[key] for key in ("name", "description", "datePublished", "license", "mainEntity", "hasPart"))
    assert "https://w3id.org/ro/wfrun/workflow/0.5" in [one["@id"] for one in root["conformsTo"]]
    main = found[root["mainEntity"]["@id"]]
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow"} <= set(main["@type"])
    assert found[main["programmingLanguage"]["@id"]]["name"] == "rekindle"
    actions = [one for one in found.values() if one["@type"] == "CreateAction"]
    assert len(actions) == 7  # six attempts and the run
    assert {one["@id"] for one in actions} == {one["@id"] for one in root["mentions"]}
    assert all(one["instrument"] == {"@id": main["@id"]} for one in actions)
    prepare = next(one for one in actions if one["name"].endswith(" of prepare"))
    assert prepare["object"][0] in root["hasPart"]
    assert prepare["result"] == [{"@id": "project/data.txt"}]
    assert prepare["startTime"] <= prepare["endTime"]
    failed = [one for one in actions if one.get("actionStatus") == {"@id": "http://schema.org/FailedActionStatus"}]
    assert len(failed) == 2

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from [value["@id"]] if value.keys() == {"@id"} else []
            value = list(value.values())
        if isinstance(value, list):
            for one in value:
                yield from references(one)

    outside = {one for one in references(list(found.values())) if not one.startswith("http")}
    assert outside <= found.keys()  # each entity that is named is described
    import hashlib

    with zipfile.ZipFile("b.rekindle") as bundle:
        assert found["project/raw.csv"]["sha256"] == hashlib.sha256(bundle.read("project/raw.csv")).hexdigest()
