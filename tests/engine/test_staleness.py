"""Exact staleness: jobs are run for real, one thing is changed, and exactly the affected jobs are stale."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from assessments import check_assessments
from engine_project import Project

from rekindle.domain.rerun.plan import ReasonKind
from rekindle.domain.rerun.request import How
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries, selections
from rekindle.engine.rerun import rerun
from rekindle.engine.staleness import stale_jobs

SPEC = """
name: made
params: {alpha: 1, beta: 2, deep: {x: 1, y: 2}}
env: {SHARED: same}
jobs:
  a: {run: "cat ${inputs.raw} > ${outputs.out}; echo a >> log", inputs: {raw: raw.txt}, outputs: {out: a.txt}}
  b:
    run: "(cat ${inputs.a}; echo ${params.alpha}) > ${outputs.out}; echo b >> log"
    inputs: {a: a.txt}
    outputs: {out: b.txt}
    priority: 1
  c:
    steps:
      - {name: first, run: "cat ${inputs.b} > c.tmp"}
      - {name: second, run: "cat c.tmp > ${outputs.out}; echo c ${env.FLAVOUR} ${params.deep.x} >> log"}
    inputs: {b: b.txt}
    outputs: {out: c.txt}
  d: {run: "cat ${inputs.c} > ${outputs.out}; echo d >> log", inputs: {c: c.txt}, outputs: {out: d.txt}}
  top: {run: "cat ${inputs.seed} > ${outputs.out}; echo top >> log", inputs: {seed: seed.txt}, outputs: {out: top.txt}}
  left: {run: "cat ${inputs.t} > ${outputs.out}; echo left >> log", inputs: {t: top.txt}, outputs: {out: left.txt}}
  right: {run: "cat ${inputs.t} > ${outputs.out}; echo right >> log", inputs: {t: top.txt}, outputs: {out: right.txt}}
  bottom:
    run: "cat ${inputs.l} ${inputs.r} > ${outputs.out}; echo bottom >> log"
    inputs: {l: left.txt, r: right.txt}
    outputs: {out: bottom.txt}
  called: {call: "work:measured", args: {path: "${inputs.t}", much: 1}, inputs: {t: top.txt}}
  fan:
    inputs: {t: top.txt}
    steps: [{name: each, each: [1, 2], run: "echo ${item}"}]
  after: {run: "echo after >> log", needs: [called]}
  alone: {run: "echo alone >> log"}
"""

MODULES = {
    "work.py": "import helper\n\ndef measured(path, much):\n    return {'size': helper.size(path), 'much': much}\n",
    "helper.py": "import os\n\ndef size(path):\n    return os.path.getsize(path)\n",
    "unrelated.py": "VALUE = 1\n",
}

CHAIN = {"raw.txt": {"a"}, "a.txt": {"a", "b"}, "b.txt": {"b", "c"}, "c.txt": {"c", "d"}, "d.txt": {"d"}}
DIAMOND = {
    "seed.txt": {"top"},
    "top.txt": {"top", "left", "right", "called", "fan"},
    "left.txt": {"left", "bottom"},
    "right.txt": {"right", "bottom"},
    "bottom.txt": {"bottom"},
}
FILES = {**CHAIN, **DIAMOND}
"""Each file, with the job that writes it and those that read it."""


class Made(Project):
    """A project that has run, and its stale jobs."""

    def stale(self) -> dict[str, list[ReasonKind]]:
        """Return the kinds of reasons by job."""
        ids = selections.select(self.session, Selection(everything=True))
        names = {row.job.id: row.job.name for row in job_queries.jobs(self.session, ids)}
        found = stale_jobs.find_stale_jobs(self.session, ids).stale
        check_assessments(self.session)
        return {names[job]: [reason.kind for reason in reasons] for job, reasons in found.items()}

    def rerun_stale(self) -> list[str]:
        """Rerun the stale jobs, and return the jobs that ran."""
        (self.folder / "log").unlink(missing_ok=True)
        ids = selections.select(self.session, Selection(everything=True))
        found = stale_jobs.find_stale_jobs(self.session, ids).stale
        how = How(keep_modified=True)
        rerun.apply(self.session, rerun.plan(self.session, [(list(found), how)], {}, why=found))
        self.work()
        log = self.folder / "log"
        return sorted(line.split()[0] for line in log.read_text().splitlines()) if log.exists() else []


def build(folder: Path) -> Made:
    made = Made(folder)
    (folder / "raw.txt").write_text("raw\n")
    (folder / "seed.txt").write_text("seed\n")
    for name, text in MODULES.items():
        (folder / name).write_text(text)
    assert made.run(SPEC).exit_code == 0
    return made


@pytest.fixture(scope="module", autouse=True)
def _flavour() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patching:
        patching.setenv("FLAVOUR", "plain")
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A project that all tests of this module measure and leave unchanged."""
    one = build(tmp_path_factory.mktemp("made"))
    yield one
    one.session.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Made]:
    one = build(tmp_path)
    yield one
    one.check()
    one.session.close()


def test_nothing_is_stale_where_nothing_has_changed(made: Made) -> None:
    assert made.stale() == {}


# --- files


@pytest.mark.parametrize("name", FILES)
def test_an_edited_file_makes_stale_who_wrote_it_and_who_reads_it_until_it_is_edited_back(
    made: Made, name: str
) -> None:
    path = made.folder / name
    before = path.read_bytes()
    path.write_bytes(before + b"more\n")
    assert made.stale().keys() == FILES[name]
    path.write_bytes(before)
    assert made.stale() == {}


@pytest.mark.parametrize("name", FILES)
def test_a_deleted_file_makes_stale_who_wrote_it_and_who_reads_it(made: Made, name: str) -> None:
    path = made.folder / name
    before = path.read_bytes()
    path.unlink()
    assert made.stale().keys() == FILES[name]
    path.write_bytes(before)
    assert made.stale() == {}


@pytest.mark.parametrize("name", FILES)
def test_a_touched_file_and_one_replaced_by_the_same_make_nothing_stale(made: Made, name: str) -> None:
    path = made.folder / name
    os.utime(path, (1e9, 1e9))
    assert made.stale() == {}
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)
    assert made.stale() == {}


def test_a_file_told_by_its_time_of_modification_makes_stale_when_it_is_touched(fresh: Made) -> None:
    fresh.submit(SPEC.replace("{raw: raw.txt}", "{raw: {path: raw.txt, by: mtime}}"))
    (fresh.folder / "raw.txt").write_text("other\n")
    fresh.rerun_stale()
    assert fresh.stale() == {}
    os.utime(fresh.folder / "raw.txt", (1e9, 1e9))
    assert fresh.stale() == {"a": [ReasonKind.INPUT]}


def test_a_folder_is_compared_by_all_that_is_in_it(tmp_path: Path) -> None:
    made = Made(tmp_path)
    (tmp_path / "parts" / "deep").mkdir(parents=True)
    (tmp_path / "parts" / "deep" / "one").write_text("1")
    made.run("name: f\njobs:\n  f: {run: 'ls ${inputs.parts}', inputs: {parts: parts}}\n")
    assert made.stale() == {}
    os.utime(tmp_path / "parts" / "deep" / "one", (1e9, 1e9))
    assert made.stale() == {}
    (tmp_path / "parts" / "deep" / "two").write_text("2")
    assert made.stale() == {"f": [ReasonKind.INPUT]}
    (tmp_path / "parts" / "deep" / "two").unlink()
    (tmp_path / "parts" / "deep" / "one").write_text("3")
    assert made.stale() == {"f": [ReasonKind.INPUT]}
    made.session.close()


# --- definition

MATTERS: dict[str, tuple[Callable[[str], str], set[str]]] = {
    "a command": (lambda spec: spec.replace("cat ${inputs.raw}", "cat  ${inputs.raw}"), {"a"}),
    "a command of one step": (lambda spec: spec.replace("cat c.tmp >", "cat < c.tmp >"), {"c"}),
    "a step's name": (lambda spec: spec.replace("name: first", "name: begin"), {"c"}),
    "a step more": (
        lambda spec: spec.replace("- {name: second,", '- {name: more, run: "true"}\n      - {name: second,'),
        {"c"},
    ),
    "the shell": (lambda spec: spec.replace('{run: "cat ${inputs.c}', '{shell: bash, run: "cat ${inputs.c}'), {"d"}),
    "a function's argument": (lambda spec: spec.replace("much: 1", "much: 2"), {"called"}),
    "the type of an argument": (lambda spec: spec.replace("much: 1", 'much: "1"'), {"called"}),
    "the function": (lambda spec: spec.replace("work:measured", "helper:size"), {"called"}),
    "an input's name": (
        lambda spec: spec.replace("${inputs.raw}", "${inputs.r}").replace("{raw: raw", "{r: raw"),
        {"a"},
    ),
    "one more input": (lambda spec: spec.replace("{raw: raw.txt}", "{raw: raw.txt, s: seed.txt}"), {"a"}),
    "where an output is": (lambda spec: spec.replace("{out: d.txt}", "{out: ./d.txt}"), {"d"}),
    "a variable": (lambda spec: spec.replace("d: {run", "d: {env: {X: '1'}, run"), {"d"}),
    "the working directory": (lambda spec: spec.replace("alone: {run", "alone: {workdir: attempt, run"), {"alone"}),
    "the items of a fan-out": (lambda spec: spec.replace("each: [1, 2]", "each: [1, 3]"), {"fan"}),
    "a parameter that a text names": (lambda spec: spec.replace("alpha: 1", "alpha: 7"), {"b", "called"}),
    "a part of a parameter": (lambda spec: spec.replace("{x: 1, y: 2}", "{x: 3, y: 2}"), {"c", "called"}),
    "its other part": (lambda spec: spec.replace("{x: 1, y: 2}", "{x: 1, y: 4}"), {"called"}),
    "a parameter that only a function may look at": (lambda spec: spec.replace("beta: 2", "beta: 5"), {"called"}),
    "one more need": (lambda spec: spec.replace("needs: [called]", "needs: [called, alone]"), {"after"}),
    "one need less": (lambda spec: spec.replace(", needs: [called]", ""), {"after"}),
    "the variables of all": (
        lambda spec: spec.replace("SHARED: same", "SHARED: other"),
        {"a", "b", "c", "d", "top", "left", "right", "bottom", "called", "fan", "after", "alone"},
    ),
}

MATTERS_NOT: dict[str, Callable[[str], str]] = {
    "the priority": lambda spec: spec.replace("priority: 1", "priority: 9"),
    "resources": lambda spec: spec.replace("    priority: 1", "    resources: {memory: 1M, time: 1h}"),
    "the project's label": lambda spec: spec.replace("name: made", "name: made\nproject: alloys"),
    "failures that a fan-out allows": lambda spec: spec.replace("each: [1, 2]", "each: [1, 2], max_failed: 1"),
    "how often subtasks are tried again": lambda spec: spec.replace("each: [1, 2]", "each: [1, 2], resubmit: 2"),
    "how many subtasks run at once": lambda spec: spec.replace("each: [1, 2]", "each: [1, 2], parallel: 1"),
    "how a file is told apart": lambda spec: spec.replace("{a: a.txt}", "{a: {path: a.txt, by: mtime}}"),
    "what else makes it stale": lambda spec: spec.replace("jobs:", "stale_on: [environment]\njobs:"),
    "a new job beside them": lambda spec: spec + '  more: {run: "true"}\n',
    "comments and order": lambda spec: spec.replace("jobs:", "jobs: # all of them"),
}


@pytest.mark.parametrize("what", MATTERS)
def test_a_change_of_the_definition_that_matters_makes_stale_exactly_what_it_concerns(made: Made, what: str) -> None:
    change, expected = MATTERS[what]
    assert change(SPEC) != SPEC
    made.submit(change(SPEC))
    assert made.stale().keys() == expected
    made.submit(SPEC)
    assert made.stale() == {}


@pytest.mark.parametrize("what", MATTERS_NOT)
def test_a_change_of_the_definition_that_does_not_matter_makes_nothing_stale(made: Made, what: str) -> None:
    assert MATTERS_NOT[what](SPEC) != SPEC
    made.submit(MATTERS_NOT[what](SPEC))
    assert made.stale() == {}
    made.submit(SPEC)


# --- code and environment


@pytest.mark.parametrize(
    ("module", "before", "after", "expected"),
    [
        ("work.py", "'much': much", "'many': much", {"called"}),
        ("helper.py", "return", "return 1 +", {"called"}),
        ("unrelated.py", "1", "2", set()),
        ("work.py", "def", "# edited\ndef other(): pass\n\n\ndef", set()),
        ("helper.py", "    return", '    """Documented."""\n\n    return', set()),
    ],
)
def test_edited_code_makes_stale_what_reaches_it(
    made: Made, module: str, before: str, after: str, expected: set[str]
) -> None:
    path = made.folder / module
    path.write_text(MODULES[module].replace(before, after, 1))
    assert made.stale().keys() == expected
    path.write_text(MODULES[module])
    assert made.stale() == {}


def test_an_outer_variable_counts_if_a_text_names_it(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANOTHER", "1")
    assert made.stale() == {}
    monkeypatch.setenv("FLAVOUR", "strange")
    assert made.stale() == {"c": [ReasonKind.ENVIRONMENT]}


# --- what runs again


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("raw.txt", ["a", "b", "c", "d"]),
        ("b.txt", ["b", "c", "d"]),
        ("seed.txt", ["after", "bottom", "left", "right", "top"]),
        ("left.txt", ["bottom", "left"]),
        ("d.txt", ["d"]),
    ],
)
def test_after_rerunning_stale_jobs_nothing_is_stale(fresh: Made, name: str, runs: list[str]) -> None:
    (fresh.folder / name).write_text("other\n")
    assert fresh.rerun_stale() == runs
    assert fresh.stale() == {}
    assert set(fresh.states().values()) == {State.COMPLETED}
