"""What the Python API returns, in a notebook: HTML, pandas and Arrow."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pytest
from cli_shell import Shell

from rekindle import Client, How

LISTS: dict[str, tuple[Callable[[Client], Any], tuple[str, ...]]] = {
    "workflows": (lambda client: client.status(), ("status",)),
    "jobs": (lambda client: client.jobs(client.select(all=True)), ("jobs", "list", "--all")),
    "attempts": (lambda client: client.attempts(), ("attempts", "list")),
    "failures": (lambda client: client.failures(), ("failures",)),
}
TIMES = {"submitted", "queued", "started", "ended", "first", "last", "not_before"}


class Tags(HTMLParser):
    """The elements of a text, which must be closed in order, and its words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen, self.open, self.words = set[str](), list[str](), ""
        self.attributes: set[str] = set()
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.open.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def documents(shell: Shell, name: str) -> list[dict[str, Any]]:
    """The rows that the command line prints as JSON."""
    found: list[dict[str, Any]] = shell(*LISTS[name][1], "--json").json[name]
    return found


@pytest.mark.parametrize("name", LISTS)
def test_a_list_stays_a_list(name: str, still: Shell) -> None:
    with Client() as client:
        found = LISTS[name][0](client)
    assert isinstance(found, list)
    assert found == list(found)
    copied = pickle.loads(pickle.dumps(found))  # noqa: S301 (for another process)
    assert (type(copied), copied) == (list, found)


@pytest.mark.parametrize("name", LISTS)
def test_columns_of_data_frames_are_the_keys_of_the_json(name: str, still: Shell) -> None:
    wanted = documents(still, name)
    with Client() as client:
        found = LISTS[name][0](client)
        frame, table = found.to_pandas(), found.to_arrow()
    assert list(frame.columns) == table.column_names == list(wanted[0])
    assert len(frame) == table.num_rows == len(wanted)


@pytest.mark.parametrize("name", LISTS)
def test_data_frames_hold_the_values_of_the_json(name: str, still: Shell) -> None:
    wanted = documents(still, name)
    with Client() as client:
        found = LISTS[name][0](client)
        frame, rows = found.to_pandas(), found.to_arrow().to_pylist()
    changing = {"seconds"} if name == "workflows" else set()
    for at, document in enumerate(wanted):
        for key in document.keys() - TIMES - changing:
            value, nested = frame[key][at], isinstance(document[key], list | dict)
            assert (None if not nested and pandas.isna(value) else value) == document[key]
            assert (json.loads(rows[at][key]) if nested else rows[at][key]) == document[key]


def test_times_and_numbers_have_their_types(still: Shell) -> None:
    with Client() as client:
        jobs = client.jobs(client.select(all=True))
        frame, table = jobs.to_pandas(), jobs.to_arrow()
    took = (frame["ended"] - frame["started"]).dt.total_seconds()
    assert took.dropna().between(0, 60).all()
    assert [str(frame[key].dtype) for key in ("id", "held", "seconds")] == ["Int64", "boolean", "float64"]
    assert frame["exit_code"].dtype == "Int64"  # though jobs that did not run have none
    assert table.schema.field("started").type == pyarrow.timestamp("ms", tz="UTC")
    assert table.schema.field("exit_code").type == pyarrow.int64()
    assert table.schema.field("matrix").type == pyarrow.string()


@pytest.mark.parametrize("name", LISTS)
def test_an_empty_list_has_the_same_columns(name: str, still: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = documents(still, name)
    with Client() as client:
        found = LISTS[name][0](client)
        found.clear()
        assert list(found.to_pandas().columns) == found.to_arrow().column_names == list(wanted[0])
        assert "<table" in found._repr_html_()


@pytest.mark.parametrize("module", ["pandas", "pyarrow"])
def test_a_missing_library_is_named_with_its_install(module: str, still: Shell) -> None:
    method = "to_pandas" if module == "pandas" else "to_arrow"
    code = (
        f"import sys; sys.modules[{module!r}] = None\nfrom rekindle import Client, RekindleError\n"
        f"try: Client().status().{method}()\nexcept RekindleError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        f"{method}() needs the Python module {module}, which is not installed (pip install {module})\n"
    )


def test_the_api_imports_neither_pandas_nor_arrow(still: Shell) -> None:
    code = "import sys; from rekindle import Client; Client().status()._repr_html_(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"pandas", "pyarrow", "numpy", "html"} & set(done.stdout.split()) == set()


def test_plans_statuses_failures_and_attempts_show_themselves(still: Shell) -> None:
    with Client() as client:
        plan = client.plan_rerun(client.selection(state="failed"), How(start="failed-step"))
        shown = {
            "plan": plan,
            "status": client.status()[0],
            "failure": client.failures()[0],
            "attempt": next(one for one in client.attempts() if one.cause is not None),
        }
        words = {name: Tags(value._repr_html_()).words for name, value in shown.items()}
    assert "2 jobs run again: 1 selected, 1 downstream" in words["plan"]
    assert "selected (exit)" in words["plan"]
    assert "from check, on prepare of attempt" in words["plan"]
    assert "diamond: failed" in words["status"]
    assert "no such alloy: Xy" in words["status"]
    assert "no such alloy: Xy" in words["failure"]
    assert all(word in words["attempt"] for word in ("failed", "exit", "prepare", "check", "no such alloy: Xy"))


@pytest.mark.parametrize("name", LISTS)
def test_a_list_shows_itself_as_a_table_with_the_keys_of_the_json(name: str, still: Shell) -> None:
    wanted = documents(still, name)
    with Client() as client:
        html = LISTS[name][0](client)._repr_html_()
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", html)
    assert heads
    assert set(heads) <= set(wanted[0])
    assert html.count("<tr>") == 1 + len(wanted)
    Tags(html)


def test_a_long_list_is_shown_in_part(shell: Shell) -> None:
    shell.write("name: long\njobs:\n  one: {matrix: {i: {range: [0, 150]}}, run: 'true'}\n")
    assert shell("run", "spec.yaml").code == 0
    with Client() as client:
        html = client.jobs(client.select(all=True))._repr_html_()
        plan = client.plan_rerun(client.selection(name="*"))._repr_html_()
    assert html.count("<tr>") == 101
    assert "and 50 more" in html
    assert "one[*] ×150" in Tags(plan).words


HOSTILE = r"""
name: "<script>alert(1)</script>"
jobs:
  odd:
    matrix: {x: ["<img src=x onerror=alert(1)>", "&amp;\"'"]}
    run: ["sh", "-c", "printf '</pre><script>alert(2)</script> \\033[31mred\\033[0m\\n' >&2; exit 3"]
"""


def test_what_jobs_say_is_escaped(shell: Shell) -> None:
    shell.write(HOSTILE)
    assert shell("run", "spec.yaml").code == 2
    with Client() as client:
        jobs = client.select(all=True)
        shown = [client.status(), client.jobs(jobs), client.attempts(), client.failures()]
        shown += [client.status()[0], client.attempts()[0], client.failures()[0], client.plan_rerun(jobs)]
        pages = [value._repr_html_() for value in shown]
    for html in pages:
        found = Tags(html)
        assert found.seen <= {"table", "thead", "tbody", "tr", "th", "td", "p", "pre", "strong"}
        assert found.attributes <= {"style", "scope"}
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", html)
        assert "color" not in html.replace("border-color", "")  # readable on light and dark pages
    text = "".join(Tags(html).words for html in pages)
    assert "<img src=x onerror=alert(1)>" in text
    assert "</pre><script>alert(2)</script>" in text


def test_lists_need_no_open_client(still: Shell) -> None:
    with Client() as client:
        attempts, failures = client.attempts(), client.failures()
    assert len(attempts.to_pandas()) == len(attempts) == 3
    assert failures.to_arrow().num_rows == 1
    assert "<table" in attempts._repr_html_()


def test_the_examples_of_the_page_run(diamond: Shell) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "terminal-and-notebook.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec("".join(blocks).replace("sweep", "diamond"), names)  # noqa: S102
    names["client"].close()
    assert names["applied"].rerun == 1
    assert len(names["frame"]) == 4
    assert names["table"].num_rows == 3
