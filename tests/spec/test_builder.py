"""Workflows built in Python."""

from __future__ import annotations

import functools
import subprocess
import sys
from datetime import date
from pathlib import Path

import msgspec
import pytest

from rekindle.domain.definition import Quarantine, Step
from rekindle.domain.errors import SpecError, UsageError
from rekindle.spec import JobHandle, Workflow, load

SAMPLES = Path(__file__).parent / "samples"
PLAIN = "texts, numbers, true, false, null, lists and mappings are"


def fit(alpha: float) -> float:
    """A function that a worker can import."""
    return alpha


class Model:
    """A class with functions."""

    @staticmethod
    def score() -> int:
        return 1

    def bound(self) -> None:
        """Cannot be found without its object."""


def problems_of(workflow: Workflow) -> list[str]:
    with pytest.raises(SpecError) as caught:
        workflow.definition()
    return [problem.render(caught.value.path) for problem in caught.value.problems]


def test_the_builder_and_the_file_give_the_same_definition() -> None:
    wf = Workflow(
        "sweep",
        project="alloys",
        params={"alpha": 0.1, "label": "1e3", "flags": ("fast", 2, True, None), "deep": {"er": 1e3}},
        env={"OMP_NUM_THREADS": "1", "LEVEL": "1"},
        directory=SAMPLES,
        workdir="project",
        defaults={
            "resources": {"cpus": 1, "memory": "512M", "time": "10m", "licences": {"matlab": 1, "ansys": 2}},
            "shell": "bash",
            "env": {"LEVEL": "2"},
        },
    )
    prepare = wf.job(
        "prepare",
        run="python prepare.py ${inputs.raw} ${outputs.data}",
        inputs={"raw": Path("data/raw.csv")},
        outputs={"data": Path("build/data.npz")},
    )
    wf.job(
        "train",
        matrix={"alpha": [0.1, 1.0], "seed": range(0, 10, 5)},
        zip={"kind": ["small", "large"], "size": [1, 200]},
        needs=[prepare],
        priority=5,
        inputs={"data": "./build//data.npz"},
        outputs={"model": "models/${matrix.alpha}-${matrix.seed}-${matrix.kind}.bin"},
        resources={"cpus": 0.5, "gpus": 1, "memory": "8G", "licences": {"ansys": 0, "abaqus": 3}},
        env={"LEVEL": "${matrix.seed}"},
        steps=[
            {"name": "fit", "run": "python train.py --alpha ${matrix.alpha} | tee log"},
            {
                "name": "metrics",
                "call": "mypkg.metrics:score",
                "args": {"seed": "${matrix.seed}", "of": ["${steps.fit.result.x}"]},
            },
            {"name": "plot", "run": ["python", "plot.py", "${steps.metrics.result}"]},
        ],
    )
    wf.job(
        "check",
        call="mypkg.checks:check",
        args={"alpha": "${params.alpha}"},
        matrix={"alpha": [0.1, 1.0]},
        needs="train[alpha=${matrix.alpha},*]",
        workdir="attempt",
        outputs={"log": "check.log"},
    )
    wf.job("report", run='python report.py "$HOME" $(date) ${HOME}', needs=("ch?ck", "tr*"))
    expected = msgspec.structs.replace(load(SAMPLES / "sweep.yaml"), source=None, source_digest=None)
    assert wf.definition() == expected


def test_a_function_becomes_its_module_and_name() -> None:
    wf = Workflow("a")
    wf.job("fit", call=fit, args={"alpha": 0.1})
    wf.job("two", steps=[{"name": "s", "call": Model.score}, {"name": "t", "call": functools.wraps}])
    fitted, two = wf.definition().templates
    assert fitted.steps == (Step("run", call=f"{__name__}:fit", args={"alpha": 0.1}),)
    assert [step.call for step in two.steps] == [f"{__name__}:Model.score", "functools:wraps"]


def test_functions_that_cannot_be_imported_are_refused() -> None:
    def nested() -> None: ...

    wf = Workflow("a")
    for function, message in [
        (lambda: 1, "a lambda has no name"),
        (nested, "nested is defined within a function"),
        (Model().bound, "finds another object"),
        (functools.partial(fit, 1), "is not a function that can be imported"),
    ]:
        with pytest.raises(UsageError, match=message) as caught:
            wf.job("x", call=function)
        assert "call=function, or call='module:function'" in caught.value.hint


def test_problems_name_the_job_and_the_key() -> None:
    wf = Workflow("sweep", params={"alpha": 1})
    a = wf.job("prepare", run="echo ${params.alhpa}", resources={"cpus": -1}, matrix={"x": [1, 1], "y": [{1}]})
    wf.job("train", run="true", needs=[a, "prepar"], args={1: 2})
    assert [problem.removeprefix("workflow 'sweep': ") for problem in problems_of(wf)] == [
        "jobs.prepare.matrix.x.1: 'x' has the value 1 twice (two jobs would have one name)",
        f"jobs.prepare.matrix.y.0: set is not plain data: {{1}} ({PLAIN})",
        "jobs.prepare.resources.cpus: `cpus` must be above 0 and finite, and is -1",
        "jobs.prepare.run: ${params.alhpa}: there is no parameter 'alhpa' (did you mean `alpha`?)",
        "jobs.train.args.1: the key 1 is not a text",
        "jobs.train.args: `args` belongs to `call` (write a command's words into `run`)",
        "jobs.train.needs.1: there is no job 'prepar' (did you mean `prepare`?)",
    ]


def test_a_duplicate_job_name_is_refused() -> None:
    wf = Workflow("sweep")
    assert wf.job("a", run="true") == JobHandle("a")
    with pytest.raises(UsageError, match="has a job 'a' already"):
        wf.job("a", run="true")


def test_a_workflow_without_jobs_is_reported() -> None:
    assert problems_of(Workflow("a"))[0].startswith("workflow 'a': jobs: `jobs` is empty")


def test_the_default_folder_is_that_of_the_calling_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Workflow("a").directory == str(Path(__file__).resolve().parent)
    assert Workflow("a", directory="x").directory == str(tmp_path.resolve() / "x")
    typed = "from rekindle.spec.builder import Workflow; print(Workflow('a').directory)"
    made = subprocess.run([sys.executable, "-c", typed], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == str(tmp_path.resolve())


SCRIPT = """
from rekindle.spec.builder import Workflow

def fit():
    pass

if __name__ == "__main__":
    wf = Workflow("a", **{arguments})
    wf.job("x", call=fit)
    print(wf.definition().templates[0].steps[0].call, wf.definition().directory)
"""


def run_script(tmp_path: Path, *argv: str, arguments: str = "{}", name: str = "my_script.py") -> str:
    (tmp_path / name).write_text(SCRIPT.replace("{arguments}", arguments))
    made = subprocess.run([sys.executable, *argv], cwd=tmp_path, capture_output=True, text=True, check=False)
    return made.stdout or made.stderr


def test_a_function_of_the_running_script_is_named_by_the_script(tmp_path: Path) -> None:
    assert run_script(tmp_path, "my_script.py") == f"my_script:fit {tmp_path.resolve()}\n"
    assert run_script(tmp_path, "-m", "my_script") == f"my_script:fit {tmp_path.resolve()}\n"


def test_a_function_of_a_script_that_cannot_be_imported_is_refused(tmp_path: Path) -> None:
    assert "is not in the project's folder" in run_script(tmp_path, "my_script.py", arguments="{'directory': '/'}")
    assert "my-script.py cannot be imported by its name" in run_script(tmp_path, "my-script.py", name="my-script.py")


def test_the_builder_takes_file_settings_and_aggregates() -> None:
    wf = Workflow("a", directory=SAMPLES, defaults={"files": {"by": "mtime", "over": "1M"}})
    wf.job("x", run="x", inputs={"a": {"path": Path("b"), "by": "content"}, "c": "d"}, aggregate=True, when="completed")
    (template,) = wf.definition().templates
    assert (template.inputs, template.by_mtime, template.aggregate) == ({"a": "b", "c": "d"}, {"c": 2**20}, True)
    wf.job("y", run="y", inputs={"a": {"path": "b", "by": "contents"}})
    assert problems_of(wf)[0].startswith(
        "workflow 'a': jobs.y.inputs.a.by: `by` must be content or mtime, and is 'contents'"
    )


class Array:
    """Like a numpy array or scalar: `tolist` returns plain data."""

    def __init__(self, plain: object) -> None:
        self._plain = plain

    def tolist(self) -> object:
        return self._plain


def test_numpy_like_arrays_and_scalars_are_plain_data() -> None:
    wf = Workflow("sweep")
    matrix = {"a": Array([1, 2]), "b": [Array(0.5)], "exclude": [{"a": Array(1)}], "include": [{"a": 7}]}
    wf.job("fit", run="true", matrix=matrix)
    assert [job.name for job in wf.definition().jobs] == ["fit[a=2,b=0.5]", "fit[a=7]"]


def test_data_that_is_not_plain_is_reported_once() -> None:
    wf = Workflow("sweep")
    wf.job("fit", run="true", matrix={"a": Array({1})})
    assert problems_of(wf) == [f"workflow 'sweep': jobs.fit.matrix.a: set is not plain data: {{1}} ({PLAIN})"]


def test_a_date_is_taken_as_in_a_file():
    wf = Workflow("dated")
    wf.job("a", run="true", quarantine={"until": date(2030, 1, 31), "why": "slow"})
    [template] = wf.definition().templates
    assert template.quarantine == Quarantine(date(2030, 1, 31), "slow")
