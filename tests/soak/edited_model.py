"""The model of an edited project: its source files, scripts and jobs, rendered to the text of every file.

Each job writes only its declared outputs, whole, and copies all that it reads into them: a stale input is visible in
the output. A job fails if and only if a line that it reads contains BAD.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

SPEC = "flow.yaml"
BAD = "BAD"

Matrix = tuple[str, list[Any]]
"""("list", values) or ("range", [first, end])."""

OF_JOBS = ("job", "twin", "around")
"""The kinds of `Read` whose `ref` is the uid of a job."""

WIDE = "wide"
"""Outputs in this folder are also read through the folder."""


@dataclass
class Read:
    """One thing that a job reads: `data` (a key), `conf` (a path), `glob`, `folder` (data/), `job` (a uid), `twin` (the
    same matrix value's output of a job) or `around` (a job's output, where the folder around it is declared)."""

    kind: str
    ref: Any = None
    declared: bool = True
    """False: the command only names the file; for a job's output the job is then listed in `needs`."""

    inside: bool = True
    """Of a job with a folder as output: read the declared folder's files, not the folder."""


@dataclass
class Job:
    """A job of the spec. `uid` stays when the job is renamed."""

    uid: int
    name: str
    kind: str
    """join, pipe, script, call, folder, fan, gather."""

    stem: str
    reads: list[Read] = field(default_factory=list)
    needs: list[int] = field(default_factory=list)
    matrix: Matrix | None = None
    twin: int | None = None
    """The job whose matrix this one has too."""

    param: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    listed: bool = False
    """Give the command as a list of words."""

    aggregate: bool = False
    finished: bool = False

    def values(self) -> list[Any]:
        """Return the matrix's values, or [None] without a matrix."""
        if self.matrix is None:
            return [None]
        form, values = self.matrix
        return list(range(*values)) if form == "range" else values

    def instances(self) -> list[str]:
        """Return the names of the jobs that the matrix makes."""
        return [self.name if value is None else f"{self.name}[k={value}]" for value in self.values()]

    def outputs(self, value: Any) -> dict[str, str]:
        """Return the declared outputs by key. `value` is the matrix value, or its placeholder."""
        base = f"out/{self.stem}" if value is None else f"out/{self.stem}.{value}"
        if self.kind == "folder":
            return {"d": base}
        if self.kind == "fan":
            return {"d": f"{base}.items", "o": f"{base}.txt"}
        return {"o": f"{base}.txt"}


@dataclass
class Model:
    """A project at one moment."""

    data: dict[str, str] = field(default_factory=dict)
    confs: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    """Path by role: join, split, item, total, gather, awk."""

    versions: dict[str, int] = field(default_factory=dict)
    """What each script writes first into its output, by role; `calls`, `helper` and `constant` for the module."""

    comments: dict[str, int] = field(default_factory=dict)
    """Text without an effect, by role; `docstring`, `unused` for the module."""

    params: dict[str, Any] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    """`--param` of each command."""

    env: dict[str, str] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    """Each job reads and needs only earlier ones."""

    uids: int = 0
    order: int = 0
    """Seed of the order in which the spec lists the jobs; 0: as in `jobs`."""

    def job(self, uid: int) -> Job:
        return next(job for job in self.jobs if job.uid == uid)

    def readers(self, uid: int) -> list[Job]:
        """Return the jobs that read or need the job."""
        return [
            job
            for job in self.jobs
            if uid in (*job.needs, job.twin) or any(read.kind in OF_JOBS and read.ref == uid for read in job.reads)
        ]

    def outputs(self) -> dict[str, list[str]]:
        """Return the declared output paths by job name."""
        return {
            name: list(job.outputs(value).values())
            for job in self.jobs
            for name, value in zip(job.instances(), job.values(), strict=True)
        }

    def files(self) -> dict[str, str]:
        """Return the text of every source file, by path."""
        found = {f"data/{key}.txt": text for key, text in self.data.items()}
        found |= self.confs
        found |= {path: _SCRIPTS[role](self.versions[role], self.comments[role]) for role, path in self.scripts.items()}
        found |= {"out/.keep": "", f"out/{WIDE}/.keep": ""}
        found["calls.py"] = _calls(self)
        found["calclib.py"] = f"# {self.comments['constant']}\nSCALE = {self.versions['constant']}\n"
        found[SPEC] = spec(self)
        return found


def spec(model: Model) -> str:
    """Return the spec file: one line of flow YAML per job."""
    lines = ["name: flow", f"params: {_flow(model.params)}", f"env: {_flow(model.env)}", "jobs:"]
    jobs = [f"  {job.name}: {_flow(_entry(model, job))}" for job in model.jobs]
    if model.order:
        jobs.sort(key=lambda line: hash_of(line, model.order))
    return "\n".join([*lines, *jobs, ""])


def hash_of(text: str, seed: int) -> int:
    """Return a number that depends only on its arguments."""
    value = seed
    for byte in text.encode():
        value = (value * 1_000_003 + byte) % 2_147_483_647
    return value


def _entry(model: Model, job: Job) -> dict[str, Any]:
    """One value of `jobs:`."""
    placeholder = None if job.matrix is None else "${matrix.k}"
    entry: dict[str, Any] = {"outputs": job.outputs(placeholder)}
    inputs: dict[str, str] = {}
    needs = [model.job(uid).name for uid in job.needs]
    words: list[str] = []
    for read in job.reads:
        paths, told = _paths(model, read)
        for path in paths if read.declared else ():
            inputs[f"i{len(inputs)}"] = path
            if told == paths and "*" not in path:
                words.append(f"${{inputs.i{len(inputs) - 1}}}")
        if not read.declared or told != paths or "*" in told[0]:
            words += told
        if read.kind == "job" and not read.declared:
            needs.append(model.job(read.ref).name)
    if inputs:
        entry["inputs"] = inputs
    if needs:
        entry["needs"] = [_pattern(model, name) for name in dict.fromkeys(needs)]
    if job.matrix is not None:
        form, values = job.matrix
        entry["matrix"] = {"k": {"range": values} if form == "range" else values}
    if job.env:
        entry["env"] = job.env
    if job.aggregate:
        entry["aggregate"] = True
    if job.finished:
        entry["when"] = "finished"
    tag = f"${{params.{job.param}}}" if job.param else "-"
    return {**entry, **_work(model, job, tag, words)}


def _pattern(model: Model, name: str) -> str:
    """Return a need as written in the spec: jobs of a matrix by a glob."""
    job = next(job for job in model.jobs if job.name == name)
    return name if job.matrix is None else f"{name}[*"


def _paths(model: Model, read: Read) -> tuple[list[str], list[str]]:
    """(what is declared, what the command reads)."""
    if read.kind == "data":
        path = f"data/{read.ref}.txt"
        return [path], [path]
    if read.kind == "conf":
        return [read.ref], [read.ref]
    if read.kind == "glob":
        return ["data/*.txt"], ["data/*.txt"]
    if read.kind == "folder":
        return ["data"], ["data/*.txt"]
    writer = model.job(read.ref)
    if read.kind == "twin":
        path = writer.outputs("${matrix.k}")["o"]
        return [path], [path]
    if read.kind == "around":
        return [f"out/{WIDE}"], [writer.outputs(value)["o"] for value in writer.values()]
    declared: list[str] = []
    told: list[str] = []
    for value in writer.values():
        outputs = writer.outputs(value)
        if writer.kind == "folder":
            inside = [f"{outputs['d']}/head", f"{outputs['d']}/body"]
            declared += inside if read.inside else [outputs["d"]]
            told += inside
        else:
            declared.append(outputs["o"])
            told.append(outputs["o"])
    return declared, told


def _work(model: Model, job: Job, tag: str, words: list[str]) -> dict[str, Any]:
    """`run`, `call` and `steps` of a job."""
    scripts = model.scripts
    if job.kind == "call":
        args = {"out": "${outputs.o}", "tag": tag, "files": words}
        return {"call": "calls:score", "args": args}
    if job.kind == "fan":
        mark = "$" + "{item}"
        items = f"sh {scripts['item']} {mark} ${{outputs.d}} {tag}"
        clear = "rm -rf ${outputs.d} && mkdir -p ${outputs.d}"
        return {
            "steps": [
                {"name": "clear", "run": clear},
                {"name": "items", "each": "data/*.txt", "run": items},
                {"name": "merge", "run": f"sh {scripts['join']} ${{outputs.o}} {tag} ${{outputs.d}}/*"},
            ]
        }
    program = {
        "join": ["sh", scripts["join"], "${outputs.o}", tag],
        "script": ["python3", scripts["total"], "${outputs.o}", tag],
        "folder": ["sh", scripts["split"], "${outputs.d}", tag],
        "gather": ["python3", scripts["gather"], "${outputs.o}", tag],
        "pipe": [],
    }[job.kind]
    if job.kind == "pipe":
        return {"run": f"cat {' '.join(['/dev/null', *words])} | awk -v tag={tag} -f {scripts['awk']} > ${{outputs.o}}"}
    if job.listed and not any("*" in word for word in words):
        return {"run": [*program, *words]}
    return {"run": " ".join([*program, *words])}


def _flow(value: Any) -> str:
    return json.dumps(value)


_WAIT = """\
if [ -e ../gate ]; then : > ../waiting; fi
while [ -e ../gate ]; do sleep 0.01; done
"""
"""Keeps a job running until an interrupt arrives. `gate` is beside the project, and exists only before an interrupt."""

_WAIT_IN_PYTHON = """\
while os.path.exists("../gate"):
    open("../waiting", "w").close()
    time.sleep(0.01)
"""


def _join(version: int, comment: int) -> str:
    return (
        f"# comment {comment}\nset -e\n{_WAIT}out=$1 tag=$2\nshift 2\n"
        f'{{ echo "join {version} $tag $FLAVOR $LEVEL"; cat /dev/null "$@"; }} > "$out"\n! grep -q {BAD} "$out"\n'
    )


def _split(version: int, comment: int) -> str:
    return (
        f'# comment {comment}\nset -e\n{_WAIT}out=$1 tag=$2\nshift 2\nrm -rf "$out"\nmkdir -p "$out"\n'
        f'echo "split {version} $tag $FLAVOR $LEVEL" > "$out/head"\ncat /dev/null "$@" > "$out/body"\n'
        f'for one in "$@"; do cp "$one" "$out/copy.${{one##*/}}"; done\n! grep -q {BAD} "$out/body"\n'
    )


def _item(version: int, comment: int) -> str:
    return (
        f'# comment {comment}\nset -e\n{{ echo "item {version} $3 $FLAVOR $LEVEL"; cat "$1"; }} > "$2/${{1##*/}}"\n'
        f'! grep -q {BAD} "$1"\n'
    )


def _awk(version: int, comment: int) -> str:
    return (
        f'# comment {comment}\nBEGIN {{ print "awk", {version}, tag }}\n/{BAD}/ {{ exit 3 }}\n{{ print NR ": " $0 }}\n'
    )


def _total(version: int, comment: int) -> str:
    return f'''\
"""Docstring {comment}."""
import os
import sys
import time

{_WAIT_IN_PYTHON}
out, tag, *paths = sys.argv[1:]
texts = [open(path).read() for path in paths]
with open(out, "w") as file:
    print("total", {version}, tag, os.environ.get("FLAVOR"), os.environ.get("LEVEL"), file=file)
    for text in texts:
        file.write(text)
sys.exit(any("{BAD}" in text for text in texts))
'''


def _gather(version: int, comment: int) -> str:
    return f"""\
# comment {comment}
import json
import os
import sys
import time

{_WAIT_IN_PYTHON}
out, tag = sys.argv[1:3]
jobs = json.loads(os.environ["REKINDLE_INPUTS"])
if list(jobs) == ["file"]:
    with open(jobs["file"]) as file:
        jobs = json.load(file)
with open(out, "w") as file:
    print("gather", {version}, tag, os.environ.get("FLAVOR"), os.environ.get("LEVEL"), file=file)
    for name, job in sorted(jobs.items()):
        print("==", name, job.get("state", "completed"), json.dumps(job["result"], sort_keys=True), file=file)
        for key, path in sorted(job["outputs"].items()):
            paths = [path]
            if os.path.isdir(path):
                paths = [os.path.join(path, one) for one in sorted(os.listdir(path))]
            for one in paths:
                print("--", key, os.path.basename(one), file=file)
                file.write(open(one).read())
"""


_SCRIPTS = {"join": _join, "split": _split, "item": _item, "awk": _awk, "total": _total, "gather": _gather}


def _calls(model: Model) -> str:
    versions, comments = model.versions, model.comments
    return f'''\
"""Functions that jobs call, {comments["docstring"]}."""
import os
import time

import calclib

LEVELS = {{"low": {versions["constant"]}}}
UNUSED = {comments["unused"]}


def _header(tag):
    """Return the first line ({comments["docstring"]})."""
    # {comments["calls"]}
    return f"call {versions["helper"]} {{tag!r}} {{calclib.SCALE}} {{LEVELS['low']}}\\n"


def unused():
    return UNUSED + {comments["unused"]}


def score(out, tag, files):
{textwrap.indent(_WAIT_IN_PYTHON, "    ")}
    texts = [open(path).read() for path in files]
    with open(out, "w") as file:
        file.write(_header(tag))
        file.write("version {versions["calls"]} " + os.environ.get("FLAVOR", "") + "\\n")
        for text in texts:
            file.write(text)
    if any("{BAD}" in text for text in texts):
        raise ValueError("a bad line")
    return {{"lines": sum(text.count("\\n") for text in texts), "tag": tag}}
'''


def instances(model: Model) -> Iterator[tuple[Job, str, Any]]:
    """(job, name, matrix value) of every job."""
    for job in model.jobs:
        for name, value in zip(job.instances(), job.values(), strict=True):
            yield job, name, value
