"""The lists of the originals' commands, against the commands here, the messages and the pages."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from rekindle.cli.main import main
from rekindle.cli.root import cli
from rekindle.dialects.original_commands import FOLDERS, OriginalCommands, read_original, spellings

sys.path.append(str(Path(__file__).parents[2] / "scripts"))
from command_tables import options, page_of, registered, table, with_table

DIALECTS = sorted(set(FOLDERS.values()))
every_dialect = pytest.mark.parametrize("folder", DIALECTS)
REFUSED = {"resim": 1}
"""The exit codes for wrong command lines that are not 64: ReSim's client exits with 1."""


def commands_named(text: str) -> list[str]:
    """Return the command lines in backticks of a text."""
    return re.findall(r"`((?:rekindle|torc|lpad|rlaunch|ziggy|resim) [^`]+)`", text)


def uses(original: OriginalCommands) -> Iterator[tuple[str, str]]:
    """Yield each command or flag that is not here, and what to use."""
    for path, one in original.commands.items():
        if one.use:
            yield path, one.use
        for flags, use in one.missing.items():
            for flag in spellings(flags):
                yield f"{path} {flag[-1]}", use


@every_dialect
def test_what_is_listed_as_here_is_here(folder: str) -> None:
    here = registered(folder)
    wrong = []
    for path, one in read_original(folder).commands.items():
        if bool(one.use) == (path in here):
            wrong.append(f"{path}: {'here, and listed as not here' if one.use else 'not here'}")
            continue
        if one.use:
            continue
        known = options(here[path])
        for flags in (one.flags, *one.changed):
            wrong += [f"{path} {flag}: not here" for names in spellings(flags) for flag in names if flag not in known]
        for flags in one.missing:
            wrong += [f"{path} {flag}: here" for names in spellings(flags) for flag in names if flag in known]
    assert not wrong, "\n".join(wrong)


@every_dialect
def test_other_names_of_a_command_are_here(folder: str) -> None:
    for path, one in read_original(folder).commands.items():
        for name in one.also if not one.use else ():
            words = [*path.split()[:-1], name]
            assert main([*words, "--help"]) == 0, words


@every_dialect
def test_what_is_not_here_is_refused_and_says_what_to_use(
    folder: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    original, wrong = read_original(folder), []
    lines = [path for path, _ in uses(original)]
    for path, one in original.commands.items():
        group = path.rpartition(" ")[0]
        lines += [f"{group} {name}" for name in one.also if one.use]
        lines += [f"{path} {flag}" for flags in one.missing for names in spellings(flags) for flag in names]
        lines += [f"{path} {name}" for name in one.commands]
    for line in lines:
        words = line.split()
        if words[0] not in FOLDERS:
            continue
        capsys.readouterr()
        code = main([*words, "1"])
        err = capsys.readouterr().err
        if code != REFUSED.get(folder, 64) or "is not here: use " not in err or not err.startswith("rekindle: "):
            wrong.append(f"{line}: {code} {err}")
    assert not wrong, "\n".join(wrong)
    assert not list(tmp_path.iterdir())


@every_dialect
def test_what_to_use_is_a_command(folder: str) -> None:
    for path, use in uses(read_original(folder)):
        for line in commands_named(use):
            command: click.Command = cli
            for word in line.removeprefix("rekindle ").replace("-f json ", "").split():
                if word.startswith("-"):
                    assert word in options(command) or word == "--help", (path, line)
                elif isinstance(command, click.Group) and word.islower():
                    found = command.get_command(click.Context(command), word)
                    assert found is not None, (path, line)
                    command = found


@every_dialect
def test_an_unknown_command_or_flag_has_the_nearest_one(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    program = next(name for name, one in FOLDERS.items() if one == folder)
    assert main([program, "frobnicate"]) == REFUSED.get(folder, 64)
    assert f"rekindle {program} has no command 'frobnicate'" in capsys.readouterr().err
    assert main([program, "--frobnicate"]) == REFUSED.get(folder, 64)
    assert "--frobnicate" in capsys.readouterr().err


@every_dialect
def test_the_table_of_the_page_is_current(folder: str) -> None:
    page = page_of(folder).read_text()
    assert page == with_table(page, table(folder)), "`make tables` writes the tables"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("torc jobs list --url http://host", "torc's --url is not here: use `rekindle --store URL torc …`"),
        ("torc --log-level=debug jobs list", "torc's --log-level is not here: use the command without it"),
        ("torc workflows list --bogus -u me", "No such option '--bogus'"),
        ("torc workflows init 1 --wait-timeout=5", "torc's workflows init --wait-timeout is not here"),
        ("ziggy con res --dry-run --task", "Option '--task' requires an argument"),
        ("ziggy cluster start", "ziggy's cluster is not here: use `rekindle work`"),
        ("resim project list", "resim's project is not here: use `--project`"),
        ("lpad get_wf", "rekindle lpad has no command 'get_wf'"),
    ],
)
def test_flags_anywhere_and_abbreviations(capsys: pytest.CaptureFixture[str], line: str, says: str) -> None:
    assert main(line.split()) in (1, 64)
    assert says in capsys.readouterr().err
