"""Jobs with `cache: true` whose outputs are, or hold, symbolic links are reused where a value is set back."""

from __future__ import annotations

import textwrap

import pytest

from rekindle.engine.rerun.resubmit import apply_update, plan_update
from rekindle.spec import load

COMMANDS = {
    "to an output": ("echo ${params.a} > f; ln -sf f sl", "f: f, l: sl"),
    "to an output, listed first": ("echo ${params.a} > f; ln -sf f sl", "l: sl, z: f"),
    "to a file of its own": ("echo ${params.a} > f_${params.a}; ln -sf f_${params.a} sl", "l: sl"),
    "to a folder of its own": (
        "mkdir -p d_${params.a}; echo ${params.a} > d_${params.a}/f; ln -sfn d_${params.a} sl",
        "l: sl",
    ),
    "to a file in an output": ("mkdir -p d; echo ${params.a} > d/f; ln -sf d/f sl", "d: d, l: sl"),
    "within an output": ("mkdir -p sl; echo ${params.a} > f; ln -sf ../f sl/l", "d: sl, z: f"),
}


def update(project, command, outputs, a):
    """Do what `run` does. Return whether the job ran."""
    spec = f"""
        name: links
        params: {{a: 1}}
        jobs:
          f: {{cache: true, run: "echo ran >> {project.folder}/ran; {command}", outputs: {{{outputs}}}}}
    """
    path = project.folder / "spec.yaml"
    path.write_text(textwrap.dedent(spec))
    found = plan_update(project.session, load(path, params={"a": str(a)}))
    apply_update(project.session, found)
    project.work()
    project.check()
    log = project.folder / "ran"
    ran = log.exists()
    log.unlink(missing_ok=True)
    return ran


def left(project):
    """Return what is at each path, but for what rekindle has and the spec."""
    paths = [path for path in project.folder.rglob("*") if path.parts[len(project.folder.parts)] != ".rekindle"]
    return {
        str(path.relative_to(project.folder)): path.readlink() if path.is_symlink() else path.read_text()
        for path in paths
        if (path.is_symlink() or path.is_file()) and path.suffix != ".yaml"
    }


@pytest.mark.parametrize("which", COMMANDS)
def test_they_are_restored_as_links(project, which):
    command, outputs = COMMANDS[which]
    assert update(project, command, outputs, 1)
    update(project, command, outputs, 2)
    both = left(project)
    for a in (1, 2, 1):
        assert not update(project, command, outputs, a)
        assert (project.folder / ("sl/l" if which == "within an output" else "sl")).is_symlink()
        assert left(project).keys() == both.keys()
        inner = "sl/l" if which == "within an output" else "sl/f" if "folder" in which else "sl"
        assert (project.folder / inner).read_text() == f"{a}\n"


def test_a_link_of_a_person_is_left_and_the_job_runs(project, tmp_path_factory):
    disk = tmp_path_factory.mktemp("disk") / "out"
    (project.folder / "out").symlink_to(disk)
    for a in (1, 2, 1, 2):
        assert update(project, "echo ${params.a} > out", "o: out", a)
        assert (project.folder / "out").readlink() == disk
        assert disk.read_text() == f"{a}\n"
