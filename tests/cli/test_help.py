"""The help of every command, and its imports."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from cli_shell import Shell

from rekindle.cli.command_table import DIALECTS, help_page
from rekindle.cli.groups import LazyGroup
from rekindle.cli.main import main
from rekindle.cli.root import cli

HEAVY = {"rich", "psycopg", "starlette", "distributed", "sqlite3", "yaml", "msgspec", "psutil", "blake3", "asyncio"}
SPOKEN = {
    (): "run submit work supervise status logs failures rerun restart reset accept apply undo cancel hold release "
    "completion",
    ("workflows",): "list show diff archive delete",
    ("jobs",): "list show",
    ("attempts",): "list show",
    ("reruns",): "list show",
    ("events",): "list",
}


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands())


def spoken(path: tuple[str, ...]) -> str:
    return " ".join(path)


def test_the_commands_of_the_contract_are_there() -> None:
    assert {(*group, name) for group, names in SPOKEN.items() for name in names.split()} <= set(ALL)


@pytest.mark.parametrize("path", ALL, ids=spoken)
def test_every_command_shows_an_example(path: tuple[str, ...]) -> None:
    text = inspect.cleandoc(ALL[path].help or "")
    assert "Example:\n  rekindle " in text
    for line in text.partition("Example:\n")[2].splitlines():
        assert line.strip().startswith(f"rekindle {path[0]}") or "rekindle" in line


@pytest.mark.parametrize("path", ALL, ids=spoken)
def test_every_option_is_documented(path: tuple[str, ...]) -> None:
    bare = [one.name for one in ALL[path].params if isinstance(one, click.Option) and not one.help]
    assert bare == []


@pytest.mark.parametrize("path", ALL, ids=spoken)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_everywhere(path: tuple[str, ...], flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*path, flag]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: rekindle")
    assert "Example:" in out


@pytest.mark.parametrize("path", [(), *(path for path, one in ALL.items() if isinstance(one, LazyGroup))], ids=spoken)
def test_a_group_lists_each_command_with_the_first_sentence_of_its_help(path: tuple[str, ...]) -> None:
    group = ALL[path] if path else cli
    assert isinstance(group, LazyGroup)
    for name, entry in group.entries.items():
        said = inspect.cleandoc(ALL[(*path, name)].help or "").replace("\n", " ")
        assert said.startswith(entry.about.rstrip(".")), name


def test_every_command_that_prints_data_takes_json() -> None:
    ours = {path: one for path, one in ALL.items() if path[0] not in DIALECTS}
    without = {path for path, one in ours.items() if not any("--json" in parameter.opts for parameter in one.params)}
    assert without == {path for path, one in ours.items() if isinstance(one, click.Group)} | {("completion",), ("mcp",)}


@pytest.mark.parametrize("columns", [20, 60, 80, 97, 300])
def test_the_help_page_is_the_one_that_click_formats(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with cli.make_context("rekindle", ["status"]) as context:
        formatted = click.Group.get_help(cli, context)
    assert help_page() == formatted


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--version"]], ids=" ".join)
def test_help_and_version_import_neither_click_nor_commands(words: list[str]) -> None:
    code = f"import sys; from rekindle.cli.main import main; main({words!r}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert loaded & (HEAVY | {"click", "json"}) == set()
    assert {name for name in loaded if name.startswith("rekindle.")} <= {
        "rekindle.cli", "rekindle.cli.main", "rekindle.cli.command_table", "rekindle.domain", "rekindle.domain.errors",
        "rekindle.streams",
    }  # fmt: skip


@pytest.mark.parametrize("words", [["status"], ["jobs", "list"], ["failures"], ["work"]], ids=" ".join)
def test_a_command_imports_nothing_that_it_does_not_use(words: list[str], still: Shell) -> None:
    code = (
        "import sys; from rekindle.cli.main import main; "
        f"assert main({words!r}) == 0; print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=still.folder, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert loaded & {"rich", "psycopg", "starlette", "distributed", "yaml"} == set()


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    from rekindle import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rekindle {__version__}\n"


@pytest.mark.parametrize("words", [("cancel", "b", "--note"), ("workflows", "list", "--limit"), ("jobs", "list", "-f")])
def test_an_option_without_its_value_names_the_help_of_its_command(shell: Shell, words: tuple[str, ...]) -> None:
    done = shell(*words)
    path = " ".join(["rekindle", *words[: 1 if words[0] == "cancel" else 2]])
    assert done.code == 64
    assert f"Option '{words[-1]}' requires an argument" in done.err
    assert f"`{path} --help`" in done.err
