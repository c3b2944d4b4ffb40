"""Random projects and random edits, each a pure function of its seed."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from random import Random
from typing import Any

from edited_model import BAD, OF_JOBS, SPEC, WIDE, Job, Matrix, Model, Read
from edited_project import Edited

Edit = Callable[[Edited, Random], str | None]
"""Changes the project and returns a description, or None if the edit does not apply."""

EDITS: dict[str, tuple[Edit, int, tuple[str, ...]]] = {}
"""By name: (edit, weight, features that it needs)."""

PARAMS = ("p", "q")
VALUES: tuple[Any, ...] = (1, 2, "1", "x", True, 1.5)


def edit(weight: int, *needs: str) -> Callable[[Edit], Edit]:
    """Register an edit."""

    def register(function: Edit) -> Edit:
        EDITS[function.__name__] = (function, weight, needs)
        return function

    return register


def random_edit(project: Edited, rng: Random) -> None:
    """Make one random edit and write it to the folder."""
    known = {name: weight for name, (_, weight, needs) in EDITS.items() if project.without.isdisjoint((name, *needs))}
    while True:
        name = rng.choices([*known], [*known.values()])[0]
        if done := EDITS[name][0](project, rng):
            project.note(f"# {name}: {done}")
            project.write(rng)
            project.dirty = True
            return


def random_model(rng: Random, without: Collection[str]) -> Model:
    """Make a project with 3 to 7 jobs."""
    model = Model()
    for key in ("a", "b", "c")[: rng.randint(2, 3)]:
        model.data[key] = _text(rng)
    model.confs = {"conf/one.cfg": _text(rng), "conf/two.cfg": _text(rng)}
    model.scripts = {
        "join": "tools/join.sh",
        "split": "tools/split.sh",
        "item": "tools/item.sh",
        "awk": "tools/number.awk",
        "total": "tools/total.py",
        "gather": "tools/gather.py",
    }
    model.versions = dict.fromkeys((*model.scripts, "calls", "helper", "constant"), 1)
    model.comments = dict.fromkeys((*model.scripts, "calls", "constant", "docstring", "unused"), 1)
    model.params = {name: rng.choice(VALUES) for name in PARAMS}
    for _ in range(rng.randint(3, 6)):
        add_random_job(model, rng, without)
    return model


def add_random_job(model: Model, rng: Random, without: Collection[str]) -> Job:
    """Add a job that reads earlier ones."""
    model.uids += 1
    uid = model.uids
    kinds = ["join", "join", "pipe", "script"]
    kinds += ["folder", "folder"] * ("folders" not in without) + ["fan"] * ("each" not in without)
    kinds += ["call", "call"] * ("calls" not in without)
    kinds += ["gather", "gather"] * (bool(model.jobs) and "aggregates" not in without)
    job = Job(uid, f"j{uid}", rng.choice(kinds), f"s{uid}", listed=rng.random() < 0.3)
    at = len(model.jobs)
    if "folders" not in without and job.kind in ("join", "pipe") and rng.random() < 0.25:
        job.stem, at = f"{WIDE}/{job.stem}", 0
    if "matrix" not in without and job.kind not in ("fan", "gather") and rng.random() < 0.35:
        job.matrix = _matrix(rng)
    if "params" not in without and rng.random() < 0.4:
        job.param = rng.choice(PARAMS)
    if "env" not in without and rng.random() < 0.2:
        job.env = {"LEVEL": rng.choice(["high", "low", "${params.q}"])}
    if job.kind == "gather":
        job.needs = [one.uid for one in rng.sample(model.jobs, min(len(model.jobs), rng.randint(1, 3)))]
        job.aggregate = rng.random() < 0.6
        job.finished = "finished" not in without and rng.random() < 0.4
    else:
        _choose_reads(model, job, rng, without, earlier=model.jobs[:at])
    model.jobs.insert(at, job)
    return job


def _choose_reads(model: Model, job: Job, rng: Random, without: Collection[str], earlier: list[Job]) -> None:
    """Add one to three inputs to a job."""
    twins = [one for one in earlier if one.matrix is not None and one.kind not in ("folder", "fan")]
    if job.matrix is not None and job.kind != "call" and twins and rng.random() < 0.5:
        twin = rng.choice(twins)
        job.matrix, job.twin = twin.matrix, twin.uid
        job.reads.append(Read("twin", twin.uid))
    for _ in range(rng.randint(1, 2)):
        read = _read(model, job, rng, without, earlier)
        if all((one.kind, one.ref) != (read.kind, read.ref) for one in job.reads):
            job.reads.append(read)


def _read(model: Model, job: Job, rng: Random, without: Collection[str], earlier: list[Job]) -> Read:
    called = job.kind == "call"
    named = "named" not in without and not called and rng.random() < 0.4
    choices = ["data"] * 2 + ["conf"] + ["job"] * 4 * bool(earlier)
    if not called and job.kind != "fan":
        choices += ["glob"] * ("globs" not in without) + ["folder"] * ("folders" not in without)
    wide = [one for one in earlier if one.stem.startswith(f"{WIDE}/")]
    if wide and not called and not job.stem.startswith(f"{WIDE}/"):
        choices += ["around"] * 2
    kind = rng.choice(choices)
    if kind == "data":
        return Read(kind, rng.choice(sorted(model.data)), declared=not named)
    if kind == "conf":
        return Read(kind, rng.choice(sorted(model.confs)), declared=not named)
    if kind == "job":
        return Read(kind, rng.choice(earlier).uid, declared=called or rng.random() < 0.7, inside=rng.random() < 0.5)
    if kind == "around":
        return Read(kind, rng.choice(wide).uid)
    return Read(kind)


def _text(rng: Random) -> str:
    return "".join(f"{rng.randrange(16**6):06x}\n" for _ in range(rng.randint(1, 2)))


def _matrix(rng: Random) -> Matrix:
    if rng.random() < 0.5:
        return ("range", [0, rng.randint(1, 3)])
    return ("list", rng.sample(["u", "v", 7, "w"], rng.randint(1, 3)))


def _instance(project: Edited, rng: Random, *states: str) -> str | None:
    """Return the name of a job in the spec that was in one of these states after the last run."""
    there = project.model.outputs()
    names = sorted(name for name, state in project.states.items() if state in states and name in there)
    return rng.choice(names) if names else None


def _all_done(project: Edited) -> bool:
    return set(project.states.values()) == {"completed"}


# Source files


@edit(6)
def change_source(project: Edited, rng: Random) -> str:
    key = rng.choice(sorted(project.model.data))
    project.model.data[key] = _text(rng)
    return f"data/{key}.txt"


@edit(3)
def change_with_equal_size_and_time(project: Edited, rng: Random) -> str:
    model = project.model
    path = rng.choice(sorted([*(f"data/{key}.txt" for key in model.data), *model.confs]))
    text = project.model.files()[path]
    changed = "".join(f"{rng.randrange(16**6):06x}\n" if line != BAD else f"{BAD}\n" for line in text.splitlines())
    if path in model.confs:
        model.confs[path] = changed
    else:
        model.data[path.removeprefix("data/").removesuffix(".txt")] = changed
    project.keep_times = True
    return path


@edit(3)
def change_named_file(project: Edited, rng: Random) -> str:
    path = rng.choice(sorted(project.model.confs))
    project.model.confs[path] = _text(rng)
    return path


@edit(2)
def add_source(project: Edited, rng: Random) -> str | None:
    free = sorted({"a", "b", "c", "d", "e"} - {*project.model.data})
    if not free:
        return None
    key = rng.choice(free)
    project.model.data[key] = _text(rng)
    return f"data/{key}.txt"


@edit(2)
def remove_source(project: Edited, rng: Random) -> str | None:
    model = project.model
    read = {read.ref for job in model.jobs for read in job.reads if read.kind == "data"}
    free = sorted({*model.data} - read)
    if not free or len(model.data) == 1:
        return None
    key = rng.choice(free)
    del model.data[key]
    return f"data/{key}.txt"


@edit(2)
def rename_source(project: Edited, rng: Random) -> str | None:
    model = project.model
    free = sorted({"a", "b", "c", "d", "e", "f"} - {*model.data})
    old, new = rng.choice(sorted(model.data)), rng.choice(free)
    model.data[new] = model.data.pop(old)
    for job in model.jobs:
        for read in job.reads:
            if (read.kind, read.ref) == ("data", old):
                read.ref = new
    return f"data/{old}.txt to data/{new}.txt"


@edit(2)
def touch(project: Edited, rng: Random) -> str:
    path = rng.choice(sorted(project.model.files()))
    os.utime(project.folder / path)
    return path


@edit(3, "failures")
def break_source(project: Edited, rng: Random) -> str:
    key = rng.choice(sorted(project.model.data))
    project.model.data[key] = f"{BAD}\n"
    return f"data/{key}.txt"


@edit(5, "failures")
def mend_source(project: Edited, rng: Random) -> str | None:
    bad = sorted(key for key, text in project.model.data.items() if BAD in text)
    if not bad:
        return None
    key = rng.choice(bad)
    project.model.data[key] = _text(rng)
    return f"data/{key}.txt"


# Scripts and functions


@edit(4, "named")
def change_script(project: Edited, rng: Random) -> str:
    role = rng.choice(sorted(project.model.scripts))
    project.model.versions[role] += 1
    project.keep_times = rng.random() < 0.25
    return project.model.scripts[role]


@edit(2)
def change_comment(project: Edited, rng: Random) -> str:
    role = rng.choice(sorted(project.model.comments))
    project.model.comments[role] += 1
    return project.model.scripts.get(role, role)


@edit(3, "calls")
def change_function(project: Edited, rng: Random) -> str:
    what = rng.choice(["calls", "helper", "constant"])
    project.model.versions[what] += 1
    project.keep_times = rng.random() < 0.25
    return {"calls": "calls.score", "helper": "calls._header", "constant": "calclib.SCALE and calls.LEVELS"}[what]


@edit(1, "named")
def rename_script(project: Edited, rng: Random) -> str:
    role = rng.choice(sorted(project.model.scripts))
    path = project.model.scripts[role]
    folder, _, name = path.rpartition("/")
    project.model.scripts[role] = f"{folder}/x{name}" if not name.startswith("x") else f"{folder}/{name[1:]}"
    return f"{path} to {project.model.scripts[role]}"


# The spec


@edit(4, "params")
def change_param(project: Edited, rng: Random) -> str:
    name = rng.choice(PARAMS)
    before = project.model.params[name]
    after = rng.choice([value for value in VALUES if repr(value) != repr(before)])
    project.model.params[name] = after
    return f"{name}: {before!r} to {after!r}"


@edit(2, "params")
def give_param(project: Edited, rng: Random) -> str:
    name = rng.choice(PARAMS)
    if name in project.model.given and rng.random() < 0.6:
        del project.model.given[name]
        return f"no longer --param {name}"
    project.model.given[name] = rng.choice(["1", "2", "y", "true"])
    return f"--param {name}={project.model.given[name]}"


@edit(5, "matrix")
def change_matrix(project: Edited, rng: Random) -> str | None:
    jobs = [job for job in project.model.jobs if job.matrix is not None]
    if not jobs:
        return None
    job = rng.choice(jobs)
    assert job.matrix is not None
    form, values = job.matrix
    if form == "range":
        first, end = values
        end = max(first + 1, end + rng.choice([-1, 1]))
        changed: Matrix = ("range", [first, min(end, 4)])
    elif len(values) > 1 and rng.random() < 0.5:
        gone = rng.choice(values)
        changed = ("list", [value for value in values if value != gone])
    else:
        changed = ("list", [*values, *[value for value in ["u", "v", 7, "w"] if value not in values][:1]])
    for one in [job, *_twins(project.model, job)]:
        one.matrix = changed
    return f"{job.name}: {form} {values} to {changed[1]}"


def _twins(model: Model, job: Job) -> list[Job]:
    """Return the other jobs with the same matrix."""
    root = job
    while root.twin is not None:
        root = model.job(root.twin)
    found = [root]
    for one in model.jobs:
        if one.twin in [known.uid for known in found]:
            found.append(one)
    return [one for one in found if one is not job]


@edit(3)
def add_job(project: Edited, rng: Random) -> str:
    job = add_random_job(project.model, rng, project.without)
    return f"{job.name} ({job.kind})"


@edit(2)
def remove_job(project: Edited, rng: Random) -> str | None:
    model = project.model
    if len(model.jobs) < 3:
        return None
    job = rng.choice(model.jobs)
    if job.twin is not None or any(one.twin == job.uid for one in model.jobs):
        return None
    if any(reader.needs == [job.uid] and reader.kind == "gather" for reader in model.jobs):
        return None
    for reader in model.readers(job.uid):
        reader.needs = [uid for uid in reader.needs if uid != job.uid]
        reader.reads = [read for read in reader.reads if read.kind not in OF_JOBS or read.ref != job.uid]
    model.jobs.remove(job)
    project.removed.append(job)
    return job.name


@edit(3)
def add_back_job(project: Edited, rng: Random) -> str | None:
    model = project.model
    known = {job.uid for job in model.jobs}
    names = {job.name for job in model.jobs}
    for job in project.removed:
        reads = [read.ref for read in job.reads if read.kind in OF_JOBS]
        sources = {read.ref for read in job.reads if read.kind == "data"}
        if {*reads, *job.needs} <= known and sources <= {*model.data} and job.name not in names:
            project.removed.remove(job)
            last = max((model.jobs.index(model.job(uid)) + 1 for uid in (*reads, *job.needs)), default=0)
            model.jobs.insert(last if job.stem.startswith(f"{WIDE}/") else len(model.jobs), job)
            return job.name
    return None


@edit(1)
def rename_job(project: Edited, rng: Random) -> str:
    job = rng.choice(project.model.jobs)
    before, job.name = job.name, f"r{job.name}"
    return f"{before} to {job.name}"


@edit(2)
def change_reads(project: Edited, rng: Random) -> str | None:
    model = project.model
    jobs = [job for job in model.jobs if job.kind != "gather"]
    if not jobs:
        return None
    job = rng.choice(jobs)
    if rng.random() < 0.5 and len(job.reads) > 1:
        gone = rng.choice(job.reads)
        if gone.kind == "twin":
            return None
        job.reads.remove(gone)
        return f"{job.name} no longer reads {gone.kind} {gone.ref}"
    read = _read(model, job, rng, project.without, model.jobs[: model.jobs.index(job)])
    if any((one.kind, one.ref) == (read.kind, read.ref) for one in job.reads):
        return None
    job.reads.append(read)
    return f"{job.name} reads {read.kind} {read.ref}"


@edit(2)
def change_needs(project: Edited, rng: Random) -> str | None:
    model = project.model
    job = rng.choice(model.jobs)
    earlier = [one.uid for one in model.jobs[: model.jobs.index(job)]]
    if job.needs and rng.random() < 0.4 and (len(job.needs) > 1 or job.kind != "gather"):
        gone = rng.choice(job.needs)
        job.needs.remove(gone)
        return f"{job.name} no longer needs {model.job(gone).name}"
    free = [uid for uid in earlier if uid not in job.needs]
    if not free:
        return None
    job.needs.append(rng.choice(free))
    return f"{job.name} needs {model.job(job.needs[-1]).name}"


@edit(2)
def change_output_path(project: Edited, rng: Random) -> str:
    job = rng.choice(project.model.jobs)
    job.stem = f"{job.stem}x" if not job.stem.endswith("x") else job.stem[:-1]
    return f"{job.name}: {job.stem}"


@edit(2, "env")
def change_env(project: Edited, rng: Random) -> str:
    env = project.model.env
    if rng.random() < 0.5:
        env = rng.choice(project.model.jobs).env
    name = "FLAVOR" if env is project.model.env else "LEVEL"
    if name in env and rng.random() < 0.4:
        del env[name]
        return f"no longer {name}"
    env[name] = rng.choice(["sweet", "sour", "bitter"])
    return f"{name}={env[name]}"


@edit(1)
def change_form_of_command(project: Edited, rng: Random) -> str:
    job = rng.choice(project.model.jobs)
    job.listed = not job.listed
    return job.name


@edit(1)
def reorder_jobs(project: Edited, rng: Random) -> str:
    project.model.order = rng.randint(0, 1000)
    return "the jobs of the spec"


@edit(1, "aggregates")
def change_aggregate(project: Edited, rng: Random) -> str | None:
    jobs = [job for job in project.model.jobs if job.kind == "gather"]
    if not jobs:
        return None
    job = rng.choice(jobs)
    job.aggregate = not job.aggregate
    return f"{job.name}: aggregate {job.aggregate}"


# Outputs, folders and commands


@edit(2)
def delete_output(project: Edited, rng: Random) -> str | None:
    return _spoil(project, rng, "")


@edit(2)
def overwrite_output(project: Edited, rng: Random) -> str | None:
    return _spoil(project, rng, "by hand\n")


def _spoil(project: Edited, rng: Random, text: str) -> str | None:
    name = _instance(project, rng, "completed")
    if name is None:
        return None
    path = project.folder / rng.choice(project.model.outputs()[name])
    if path.is_dir():
        inside = sorted(path.iterdir())
        path = rng.choice(inside) if inside else path / "new"
    if not path.exists():
        return None
    path.unlink()
    if text:
        path.write_text(text)
    return f"{path.relative_to(project.folder)} of {name}"


@edit(2)
def move_project(project: Edited, rng: Random) -> str:
    project.move()
    return f"to {project.folder.name}"


@edit(1)
def copy_project(project: Edited, rng: Random) -> str:
    project.copy()
    return f"to {project.folder.name}"


@edit(2)
def interrupt_run(project: Edited, rng: Random) -> str:
    changed = change_source(project, rng)
    project.write(rng)
    project.interrupt()
    project.states = {}
    return f"a run after a change of {changed}"


@edit(2)
def rerun_and_undo(project: Edited, rng: Random) -> str | None:
    name = _instance(project, rng, "completed")
    if name is None:
        return None
    if project.rekindle("rerun", name, "--yes")[0] == 0:
        project.expect(0, "undo")
    return name


@edit(2)
def rerun_some(project: Edited, rng: Random) -> str | None:
    name = _instance(project, rng, "completed", "failed")
    if name is None:
        return None
    downstream = rng.choice(["all", "changed", "none"])
    work = ["--work", "-j", "1"] if rng.random() < 0.6 else []
    project.rekindle("rerun", name, "--yes", "--downstream", downstream, *work)
    return name


@edit(2, "params")
def set_then_change_in_spec(project: Edited, rng: Random) -> str | None:
    jobs = [job for job in project.model.jobs if job.param and job.param not in project.model.given]
    if not jobs or not _all_done(project) or project.dirty:
        return None
    job = rng.choice(jobs)
    name = rng.choice(job.instances())
    assert job.param is not None
    project.rekindle("rerun", name, "--set", f"{job.param}=9", "--yes", "--work", "-j", "1")
    before = project.model.params[job.param]
    project.model.params[job.param] = rng.choice([value for value in VALUES if repr(value) != repr(before)])
    project.write(rng)
    project.expect(
        0, "submit", SPEC, *project.given_words()
    )  # submitted now, because a later edit may restore the value
    return f"{name}: {job.param}=9, then {before!r} to {project.model.params[job.param]!r}"


@edit(1)
def accept_comment(project: Edited, rng: Random) -> str | None:
    if not _all_done(project) or project.dirty:
        return None
    role = rng.choice(sorted(project.model.comments))
    project.model.comments[role] += 1
    project.write(rng)
    project.expect(0, "accept", "-w", "flow")
    return f"a comment of {project.model.scripts.get(role, role)}"
