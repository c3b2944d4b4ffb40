"""Each command, flag, spec key, environment variable, error, word and JSON key is in the reference.

The pages of docs/reference are made from the code and from docs/reference_pages/texts. A failure here says what has no
text there, or what has a text and is gone.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reference_pages import GENERATORS, drawings, environment, filled, json_keys, spec_keys, words
from reference_pages.commands import Command, all_commands, is_dialect
from reference_pages.markdown import escaped, table, texts

import rekindle
from project_folder import Project
from rekindle.domain import errors
from rekindle.domain.rerun.plan import ReasonKind
from rekindle.domain.states import Cause, State

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
COMMANDS = list(all_commands())


def page(name: str) -> str:
    return filled((REFERENCE / f"{name}.md").read_text())


def test_each_generated_part_is_on_one_page() -> None:
    marks = [
        mark for path in DOCS.glob("*/*.md") for mark in re.findall(r"^% generated: (.+)$", path.read_text(), re.M)
    ]
    assert sorted(marks) == sorted(GENERATORS)


# --- commands


def test_each_command_has_a_help_text_and_each_flag_too() -> None:
    silent = [" ".join(one.words) for one in COMMANDS if not one.command.help]
    silent += [
        f"{' '.join(one.words)} {option.opts[-1]}" for one in COMMANDS for option in one.options if not option.help
    ]
    assert silent == []


def test_each_command_of_its_own_has_an_example() -> None:
    without = [one for one in COMMANDS if not is_dialect(one) and not hasattr(one.command, "commands")]
    assert [" ".join(one.words) for one in without if not one.examples] == []


def test_each_command_and_each_flag_is_on_its_page() -> None:
    pages = {False: page("commands"), True: page("dialect-commands")}
    missing = [
        f"{' '.join(one.words)} {flag}"
        for one in COMMANDS
        for flag in _flags(one)
        if f"`{flag}" not in _section(pages[is_dialect(one)], one)
    ]
    assert missing == []


def _flags(one: Command) -> list[str]:
    return [flag for option in one.options for flag in (*option.opts, *option.secondary_opts)]


def _section(text: str, one: Command) -> str:
    """The part of a page about one command; the test fails if there is none."""
    _, heading, rest = text.partition(f"# `{' '.join(one.words)}`\n")
    assert heading, f"{' '.join(one.words)} has no section"
    return re.split(r"^\(command-", rest, maxsplit=1, flags=re.MULTILINE)[0]


def test_each_flag_in_an_example_exists() -> None:
    known = {flag for one in COMMANDS for flag in _flags(one)} | {"--help"}
    typed = {word.partition("=")[0] for one in COMMANDS for line in one.examples for word in _own_words(line)}
    assert {word for word in typed if re.fullmatch(r"--[a-z][a-z-]+", word)} <= known


def _own_words(line: str) -> list[str]:
    """The words of a command line that are not passed on to another program."""
    return line.partition(" -- ")[0].replace("--executor-option=", "").split()


# --- JSON


def test_each_json_key_has_a_line() -> None:
    made = json_keys.keys_by_function()
    documented = {name: one for one in texts("json")["shape"] for name in one.get("from", ())}
    assert sorted(documented.keys() - made.keys()) == [], "functions in texts/json.toml that make no document"
    assert sorted(made.keys() - documented.keys()) == [], "functions that no shape in texts/json.toml names"
    wrong = {}
    for shape in texts("json")["shape"]:
        keys = set(shape["keys"])
        expected = {key for name in shape.get("from", ()) for key in made[name]} | set(shape.get("also", ()))
        expected |= {field for name in shape.get("structs", ()) for field in _struct_fields(name)}
        expected -= set(shape.get("left_out", ()))
        if keys != expected:
            wrong[shape["name"]] = {"without a line": expected - keys, "gone": keys - expected}
    assert wrong == {}


def _struct_fields(name: str) -> tuple[str, ...]:
    module, _, kind = name.partition(":")
    fields: tuple[str, ...] = getattr(importlib.import_module(f"rekindle.{module}"), kind).__struct_fields__
    return fields


def test_each_command_with_json_says_which_document() -> None:
    with_flag = {" ".join(one.words[1:]) for one in COMMANDS if not is_dialect(one) and "--json" in _flags(one)}
    assert set(texts("json")["commands"]) == with_flag


SPEC = """
name: sweep
params: {alpha: 0.1}
jobs:
  prepare: {run: "echo data > data.txt; echo '{\\"x\\": 1}' > $REKINDLE_RESULT", outputs: {data: data.txt}}
  train: {needs: [prepare], matrix: {k: {range: [0, 3]}}, run: "echo bad >&2; exit 3", outputs: {o: "o${matrix.k}"}}
  slices: {steps: [{name: process, each: ["a", "b"], run: "test ${item} = a"}]}
  late: {needs: ["train*"], run: "true"}
"""

OPEN = {
    *("counts", "statuses", "held", "matrix", "params", "overrides", "request", "detail", "env", "inputs", "outputs"),
    *(
        "labels",
        "args",
        "result",
        "action",
        "licences",
        "evidence",
        "reasons",
        "waits",
        "offer",
        "inherited",
        "stopped",
    ),
    *("retry", "patches", "differences", "subtasks", "item"),
}
"""Keys below which the keys are the user's, or depend on a kind."""


def test_the_keys_of_real_documents_are_documented(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.spec(SPEC)
    project.rekindle("run", "spec.yaml", "--json", expect=2)
    read = [
        *("status", "workflows list", "workflows show sweep", "jobs list", "jobs show 2", "attempts list"),
        *("attempts show 1", "failures", "flaky", "events list", "why -w sweep", "logs prepare"),
        *("rerun -s failed --dry-run", "restart sweep --dry-run", "rerun -s failed --yes", "reruns list"),
        *("reruns show 1", "undo", "attempts diff 1 2", "workflows diff sweep"),
    ]
    documented = {key.rpartition(".")[2] for shape in texts("json")["shape"] for key in shape["keys"]}
    missing = {
        (command, key) for command in read for key in _keys(project.ask(*command.split())) if key not in documented
    }
    assert missing == set()


def _keys(document: Any) -> Iterator[str]:
    if isinstance(document, list):
        for one in document:
            yield from _keys(one)
    elif isinstance(document, dict):
        for key, value in document.items():
            yield key
            if key not in OPEN:
                yield from _keys(value)


# --- words


def test_each_state_cause_and_reason_has_a_text() -> None:
    known = texts("words")
    assert set(known["states"]) == {state.label for state in State}
    assert set(known["causes"]) == {cause.value for cause in Cause}
    assert set(known["reasons"]) == {kind.value for kind in ReasonKind}


def test_each_kind_of_event_has_a_text() -> None:
    assert set(texts("words")["events"]) == words.event_kinds()


def test_each_exit_code_has_a_text() -> None:
    contract = {0, 1, 2, 5, 6, 7, 8, 64}
    assert {int(code) for code in texts("words")["codes"]} == contract
    assert {errors.RekindleError.exit_code, errors.UsageError.exit_code} <= contract


def test_each_error_is_in_the_tree_and_has_a_text() -> None:
    found = words.error_classes()
    main = {one.name for one in found if one.module == errors.__name__}
    assert set(re.findall(r"(?:── |^)(?!Every )([A-Z]\w+) ", errors.__doc__ or "", re.MULTILINE)) == main
    assert len(main) > 20
    assert [one.name for one in found if not one.about] == []
    text = page("errors")
    assert [one.name for one in found if f"`{one.name}`" not in text] == []


# --- settings


def test_each_environment_variable_has_a_text() -> None:
    documented = {name for part in texts("environment")["part"] for name in part["variables"]}
    assert environment.named_in_code() - documented == set()
    source = "\n".join(path.read_text() for path in (ROOT / "src" / "rekindle").rglob("*.py"))
    assert {name for name in documented if name not in source} == set()


def test_each_spec_key_of_the_readers_is_on_the_page() -> None:
    from rekindle.spec import job_entries, loading

    text = spec_keys.page()
    keys = {*job_entries.JOB_KEYS, *job_entries._DEFAULTS_KEYS, *loading._TOP_KEYS, *job_entries._RESOURCE_KEYS}
    assert {key for key in keys if f"\n`{key}`\n" not in text} == set()


def test_each_public_name_is_on_the_page_of_the_python_api() -> None:
    text = page("python-api")
    public = {name for name in rekindle.__all__ if not name.startswith("__")}
    assert {name for name in public if not re.search(rf"rekindle\.{name}\b", text)} == set()


# --- drawings


def test_drawings_show_what_the_planner_decides() -> None:
    assert drawings.failed().count('class="again"') == 2  # the failed job, and the one that waits for it
    assert "from step mean" in drawings.failed_step()
    assert drawings.everything_below().count('class="again"') == 5
    assert drawings.changed_only().count('class="checked"') == 2  # the completed jobs below may be reused
    assert "completed → ready" in drawings.none_below()
    assert drawings.none_below().count('class="again"') == 1


# --- the helpers


@pytest.mark.parametrize(
    ("plain", "shown"),
    [("a*b", r"a\*b"), ("`a*b` <c>", r"`a*b` \<c\>"), ("${x}", r"\$\{x\}"), ("plain text.", "plain text.")],
)
def test_texts_of_the_code_are_shown_as_they_are(plain: str, shown: str) -> None:
    assert escaped(plain) == shown


def test_pipes_do_not_end_a_cell() -> None:
    assert table(["a"], [("x|y",)]).splitlines()[-1] == r"| x\|y |"
