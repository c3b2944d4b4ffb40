"""The stand-ins with which click and msgspec are imported: nobody else sees them, and they lead to the real modules."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.new_interpreters

BEFORE = "import sys; from rekindle.cli.light_imports import import_libraries; import_libraries()\n"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", BEFORE + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "name",
    [
        "inspect",
        "gettext",
        "platform",
        "threading",
        "typing_extensions",
        "urllib.parse",
        "msgspec.inspect",
        "msgspec.toml",
    ],
)
def test_other_code_gets_the_real_module(name: str) -> None:
    code = f"import importlib; assert {name!r} not in sys.modules; print(importlib.import_module({name!r}).__file__)"
    assert run(code).endswith((".py", ".so"))


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("import click; print(click.core.inspect.isfunction(run_all := lambda: 0))", "True"),
        ("import click; print(click.core.inspect.cleandoc('  a\\n    b\\n    c'))", "a\nb\nc"),
        ("import msgspec; print(msgspec.json.schema(int))", "{'type': 'integer'}"),
        ("import msgspec; print(msgspec.inspect.type_info(int))", "IntType("),
        ("import msgspec; print(msgspec.msgpack.decode(msgspec.msgpack.encode([1])))", "[1]"),
        ("import pathlib; print(pathlib.Path('/a b').as_uri())", "file:///a%20b"),
        ("import uuid; print(len(str(uuid.uuid4())))", "36"),
    ],
)
def test_what_the_libraries_use_later_comes_from_the_real_module(code: str, printed: str) -> None:
    assert run(code).startswith(printed)


def test_a_help_page_is_indented_as_without_stand_ins() -> None:
    asked = "from rekindle.cli.root import invoke; invoke(('jobs', 'list', '--help'), process=False)"
    plain = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert run(asked) == plain.strip()
