"""Which modules count as what a function is made of, found without importing them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekindle.domain.changes.fingerprints import ABSENT
from rekindle.files.digests import digest_of, digest_of_mapping
from rekindle.files.sources import CodeDigester, search_path


def modules_of(functions: Iterable[str], directory: str, path: Sequence[str]) -> dict[str, str]:
    """The digests of the files of all modules that functions import."""
    found = CodeDigester(path).code(functions, directory)
    return {name: digest for name, digest in found.items() if ":" not in name and " " not in name}


def plant(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(textwrap.dedent(text))


TREES: dict[str, tuple[dict[str, str], set[str]]] = {
    "its own module": ({"m.py": "import os, json", "other.py": ""}, {"m"}),
    "what it imports, and so on": ({"m.py": "import a", "a.py": "from b import c", "b.py": ""}, {"m", "a", "b"}),
    "a circle": ({"m.py": "import a", "a.py": "import m"}, {"m", "a"}),
    "a package's __init__": ({"m.py": "import p.q.r as s", "p/__init__.py": "", "p/q/__init__.py": "import x",
                              "p/q/r.py": "", "p/q/no.py": "", "x.py": ""}, {"m", "p", "p.q", "p.q.r", "x"}),
    "from a package": ({"m.py": "from p import a, name", "p/__init__.py": "name = 1", "p/a.py": ""}, {"m", "p", "p.a"}),
    "a star": ({"m.py": "from p.a import *", "p/__init__.py": "", "p/a.py": ""}, {"m", "p", "p.a"}),
    "a namespace package": ({"m.py": "import n.a", "n/a.py": "", "n/b.py": ""}, {"m", "n.a"}),
    "in a function": ({"m.py": "def f():\n  import a", "a.py": ""}, {"m", "a"}),
    "for types": ({"m.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  import a", "a.py": ""}, {"m", "a"}),
    "by a name": ({"m.py": "import importlib\nx = importlib.import_module('a')\ny = __import__('b')", "a.py": "",
                   "b.py": ""}, {"m", "a", "b"}),
    "a syntax error": ({"m.py": "import a", "a.py": "import b\ndef f(:", "b.py": ""}, {"m", "a"}),
    "no text at all": ({"m.py": "import a", "a.py": "\0"}, {"m", "a"}),
    "what is not there": ({"m.py": "try:\n  import nowhere.at.all\nexcept ImportError: pass"}, {"m"}),
    "a package before a module": ({"m.py": "import a", "a/__init__.py": "import b", "a.py": "import c", "b.py": "",
                                   "c.py": ""}, {"m", "a", "b"}),
    "what is installed": ({"m.py": "import a", "site-packages/a.py": "import b", "b.py": ""}, {"m"}),
    "rekindle itself": ({"m.py": "from rekindle import Action\nimport rekindle.domain.changes.fingerprints"}, {"m"}),
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_what_counts(tmp_path: Path, name: str) -> None:
    files, expected = TREES[name]
    plant(tmp_path, files)
    path = [str(tmp_path / "site-packages"), *search_path()]
    assert set(modules_of(["m:f"], str(tmp_path), path)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("from . import a", {"p.q.a"}),
        ("from .a import name", {"p.q.a"}),
        ("from .. import b", {"p.b"}),
        ("from ..b import name as other", {"p.b"}),
        ("from ... import top", set()),
        ("from .... import top", set()),
        ("import importlib\nimportlib.import_module('.a', __package__)", {"p.q.a"}),
    ],
)
@pytest.mark.parametrize("where", ["p/q/m.py", "p/q/m/__init__.py"])
def test_relative_imports(tmp_path: Path, line: str, expected: set[str], where: str) -> None:
    others = {"p/__init__.py": "", "p/b.py": "", "p/q/__init__.py": "", "p/q/a.py": "", "top.py": "", "b.py": ""}
    if where.endswith("__init__.py"):  # one level more to go
        line = line.replace("from .", "from ..").replace("'.a'", "'..a'")
    plant(tmp_path, {**others, where: line})
    found = set(modules_of(["p.q.m:f"], str(tmp_path), []))
    assert found == {"p", "p.q", "p.q.m"} | expected


def test_the_functions_own_package_counts_wherever_it_is(tmp_path: Path) -> None:
    installed = tmp_path / "lib" / "site-packages"
    plant(installed, {"tool/__init__.py": "", "tool/a.py": "from . import b; import other", "tool/b.py": "",
                      "other.py": ""})  # fmt: skip
    assert set(modules_of(["tool.a:f"], str(tmp_path), [str(installed)])) == {"tool", "tool.a", "tool.b"}
    assert "json.decoder" in modules_of(["json:dumps"], str(tmp_path), search_path())


def test_the_project_stands_before_the_path_and_the_path_before_what_is_installed(tmp_path: Path) -> None:
    plant(tmp_path, {"project/m.py": "import a, b", "project/a.py": "1", "path/a.py": "2", "path/b.py": "3"})
    path = [str(tmp_path / "path"), *search_path()]
    found = modules_of(["m:f"], str(tmp_path / "project"), path)
    assert found["a"] == digest_of(str(tmp_path / "project/a.py"))
    assert found["b"] == digest_of(str(tmp_path / "path/b.py"))


def test_a_module_that_has_no_file_is_absent(tmp_path: Path) -> None:
    assert modules_of(["nowhere:f", "sys:exit"], str(tmp_path), search_path()) == {"nowhere": ABSENT, "sys": ABSENT}


def test_several_functions_share_one_answer(tmp_path: Path) -> None:
    plant(tmp_path, {"m.py": "import a", "n.py": "import a", "a.py": ""})
    both = modules_of(["n:f", "m:f", "m:g"], str(tmp_path), [])
    assert list(both) == ["a", "m", "n"]
    assert digest_of_mapping(both) == digest_of_mapping(dict(reversed(both.items())))


def test_the_path_is_that_of_a_process_for_calls(tmp_path: Path) -> None:
    program = "import sys; from rekindle.files.sources import search_path; print('|'.join(search_path()))"
    plant(tmp_path, {"script.py": program})
    extra = os.pathsep.join([str(tmp_path / "extra"), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": extra}

    def said(*argv: str) -> list[str]:
        done = subprocess.run([sys.executable, *argv], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip().split("|")

    alone = said("-P", "-c", "import sys; print('|'.join(sys.path))")
    assert said(str(tmp_path / "script.py")) == said("-P", "-c", program) == said("-c", program) == alone


EDITS = st.lists(
    st.tuples(st.sampled_from("mabc"), st.sampled_from([None, "import a", "import b", "from p import x", "import c"])),
    max_size=6,
)


@given(EDITS)
@settings(max_examples=50)
def test_an_answer_that_is_kept_is_the_answer_that_would_be_found(edits: list[tuple[str, str | None]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        plant(Path(name), {"m.py": "import a"})
        kept = CodeDigester([])
        for module, text in edits:
            if text is None:
                Path(name, f"{module}.py").unlink(missing_ok=True)
            else:
                Path(name, f"{module}.py").write_text(text)
            assert kept.code(["m:f"], name) == CodeDigester([]).code(["m:f"], name)


NAMES = ("m", "a", "p", "p.b", "p.c", "p.q", "p.q.d")
LINES = st.builds(
    lambda form, name: form.format(name, *(name.rpartition(".")[::2] if "." in name else (name, "__name__"))),
    st.sampled_from(["import {0}", "import {0} as other", "from {1} import {2}", "from {0} import *"]),
    st.sampled_from(NAMES),
)


@given(st.fixed_dictionaries({name: st.lists(LINES, max_size=2) for name in NAMES}))
@settings(max_examples=15)
def test_nothing_that_python_loads_is_left_out(lines: dict[str, list[str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        inner = {"p", "p.q"}
        files = {
            module.replace(".", "/") + ("/__init__.py" if module in inner else ".py"): "\n".join(text)
            for module, text in lines.items()
        }
        plant(Path(name), files)
        program = f"import sys; sys.path.insert(0, {name!r})\ntry:\n  import m\nexcept ImportError:\n  pass\n"
        program += "files = [(n, one.__dict__.get('__file__') or '') for n, one in sys.modules.items()]\n"
        program += f"print(*[n for n, file in files if file.startswith({name!r})])"
        done = subprocess.run([sys.executable, "-I", "-B", "-c", program], capture_output=True, text=True, check=True)
        assert set(done.stdout.split()) <= set(modules_of(["m:f"], name, []))
