"""Users' own Firetasks run unchanged: those of an installed package, and those of FireWorks' tutorials."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rekindle.cli.main import main
from rekindle.dialects.fireworks.flow import define_flow
from rekindle.dialects.fireworks.flow_file import read_flow
from rekindle.domain.models import Attempt
from rekindle.domain.selection import Selection
from rekindle.domain.states import Cause, State
from rekindle.engine.queries import job_queries, selections
from rekindle.engine.queries.job_queries import workdirs
from rekindle.engine.queries.logs import log_files
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.work import work
from rekindle.engine.session import Session, open_session
from rekindle.engine.submit.submit import submit

pytest.importorskip("fireworks")

FOUNDRY = '''
"""Firetasks of a foundry."""

import datetime
from pathlib import Path

from fireworks import FiretaskBase, Firework, FWAction, Workflow, explicit_serialize


class Melt(FiretaskBase):
    _fw_name = "Melt"
    required_params = ["metal"]
    optional_params = ["degrees"]

    def run_task(self, fw_spec):
        with open("melted.txt", "a") as file:
            print(self["metal"], file=file)
        return FWAction(stored_data={"at": self.get("degrees")}, update_spec={"melt": {"metal": self["metal"]}})


@explicit_serialize
class Cast(FiretaskBase):
    required_params = ["moulds"]

    def run_task(self, fw_spec):
        print("casting", fw_spec["melt"]["metal"])
        mould = Path(self["moulds"], fw_spec["mould"])
        if not mould.exists():
            raise LookupError(f"no mould for {fw_spec['melt']['metal']}: {mould.name}")
        polish = Firework(Polish(cast=mould.read_text()), name="polish")
        return FWAction(
            stored_data={"cast": mould.read_text(), "melted": Path("melted.txt").read_text()},
            mod_spec=[{"_push": {"casts": mould.name}}],
            additions=[Workflow([polish])],
        )


class Polish(FiretaskBase):
    def run_task(self, fw_spec):
        started = self.get("started")
        return FWAction(stored_data={"polished": self["cast"], "date": isinstance(started, datetime.datetime)})


@explicit_serialize
class Ask(FiretaskBase):
    def run_task(self, fw_spec):
        name = self.launchpad.get_fw_dict_by_id(self.fw_id)["name"]
        asked = {"fw_id": self.fw_id, "name": name, "fworker": self.fworker.name, "env": fw_spec["_fw_env"]}
        return FWAction(stored_data=asked)


@explicit_serialize
class Leave(FiretaskBase):
    def run_task(self, fw_spec):
        raise SystemExit(0)
'''


class Foundry:
    """A project with fireworks of these tasks."""

    def __init__(self, folder: Path, session: Session) -> None:
        self.folder, self._session = folder, session

    def add(self, *tasks: dict[str, Any], **spec: Any) -> int:
        """Submit a firework. Returns its id."""
        flow = read_flow({"name": "cast", "spec": {**spec, "_tasks": list(tasks)}})
        submitted = submit(self._session, define_flow(flow, str(self.folder)), new=True)
        return selections.select(self._session, Selection(workflow=str(submitted.workflow)))[0]

    def work(self) -> None:
        work(self._session, WorkOptions(slots=1))

    def resume(self, job: int) -> None:
        """Rerun from the failed task, in a copy of its folder."""
        store = str(self.folder / ".rekindle")
        assert main(["--store", store, "lpad", "rerun_fws", "-i", str(job), "--task-level", "--copy-data"]) == 0
        self.work()

    def state(self, job: int) -> State:
        return job_queries.jobs(self._session, [job])[0].job.state

    def attempts(self, job: int) -> list[Attempt]:
        return list(job_queries.attempts(self._session, [job]))

    def did(self, job: int) -> list[Any]:
        """Return the results of the newest attempt's tasks."""
        return [json.loads(step.result or "{}") for step in self.attempts(job)[-1].steps]

    def message(self, job: int) -> str:
        """Return the failure of the newest attempt."""
        failure = self.attempts(job)[-1].failure
        assert failure is not None
        return failure.message

    def printed(self, job: int, stream: str) -> str:
        """Return the output of the newest attempt."""
        return "".join(Path(file.path).read_text() for file in log_files(self._session, job) if file.stream == stream)

    def folder_of(self, job: int) -> Path:
        """Return the folder of the newest attempt."""
        (attempt,) = self.attempts(job)
        return Path(workdirs(self._session, [attempt])[attempt.id] or "")

    def added_by(self, job: int) -> list[int]:
        """Return the other jobs of its workflow."""
        workflow = job_queries.jobs(self._session, [job])[0].job.workflow
        return [one for one in selections.select(self._session, Selection(workflow=str(workflow))) if one != job]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an installed package of Firetasks."""
    folder = tmp_path_factory.mktemp("wheels")
    wheel = folder / "foundry-1.0-py3-none-any.whl"
    about = "Metadata-Version: 2.1\nName: foundry\nVersion: 1.0\nRequires-Dist: FireWorks\n"
    files = {
        "foundry/__init__.py": "",
        "foundry/firetasks/__init__.py": "",
        "foundry/firetasks/casting.py": FOUNDRY,
        "foundry/firetasks/broken.py": "import a_package_that_is_not_there\n",
        "foundry-1.0.dist-info/METADATA": about,
        "foundry-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        record = "foundry-1.0.dist-info/RECORD"
        archive.writestr(record, "".join(f"{name},,\n" for name in (*files, record)))
    target = folder / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", target, wheel]
    subprocess.run(pip, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    return target


@pytest.fixture(scope="module")
def foundry(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foundry]:
    """A project whose FW_config.yaml names the package."""
    folder = tmp_path_factory.mktemp("project")
    config = "ADD_USER_PACKAGES: [foundry]\nFW_NAME_UPDATES: {Old Melt: Melt}\nPRINT_FW_YAML: true\n"
    (folder / "FW_config.yaml").write_text(config)
    (folder / "moulds").mkdir()
    known = [str(installed), *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as patch, open_session(str(folder / ".rekindle"), create=True) as session:
        patch.setenv("PYTHONPATH", os.pathsep.join(known))
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("REKINDLE_FWORKER", '{"name": "oven", "env": {"scratch": "/s"}}')
        patch.delenv("FW_CONFIG_FILE", raising=False)
        patch.delenv("REKINDLE_STORE", raising=False)
        patch.setattr(sys, "excepthook", sys.excepthook)  # main() replaces it
        yield Foundry(folder, session)


def test_a_firetask_of_an_installed_package_runs_fails_and_resumes(foundry: Foundry) -> None:
    melt = {"_fw_name": "Melt", "metal": "tin", "degrees": 232}
    cast = {"_fw_name": "{{foundry.firetasks.casting.Cast}}", "moulds": str(foundry.folder / "moulds")}
    job = foundry.add(melt, cast, mould="bell")
    foundry.work()
    failed = foundry.attempts(job)[-1]
    assert foundry.state(job) is State.FAILED
    assert failed.cause is Cause.EXCEPTION
    assert failed.failure is not None
    assert failed.failure.type == "LookupError"
    assert failed.failure.message == "no mould for tin: bell"
    assert "foundry/firetasks/casting.py" in failed.failure.traceback
    assert "rekindle" not in failed.failure.traceback

    (foundry.folder / "moulds" / "bell").write_text("a bell")
    foundry.resume(job)
    assert foundry.state(job) is State.COMPLETED
    melted, done = foundry.did(job)
    assert melted == {"stored_data": {"at": 232}, "update_spec": {"melt": {"metal": "tin"}}}
    assert done["stored_data"] == {"cast": "a bell", "melted": "tin\n"}, "the first task has run once"
    assert done["mod_spec"] == [{"_push": {"casts": "bell"}}]
    assert len(foundry.attempts(job)) == 2

    (polish,) = foundry.added_by(job)
    assert foundry.state(polish) is State.COMPLETED
    assert foundry.did(polish) == [{"stored_data": {"polished": "a bell", "date": False}}]


LOUD = "echo kneading; echo 'no flour left' >&2; exit 3"


@pytest.fixture(scope="module")
def ran(foundry: Foundry) -> dict[str, int]:
    """Fireworks that ran once, by purpose."""
    of_foundry = "{{foundry.firetasks.casting.%s}}"
    hello = "{{fireworks.examples.custom_firetasks.hello_world.hello_world_task.HelloTask}}"
    fireworks: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
        "dotted": ([{"_fw_name": "foundry.firetasks.casting.Melt", "metal": "zinc"}], {}),
        "colon": ([{"_fw_name": "foundry.firetasks.casting:Melt", "metal": "zinc"}], {}),
        "renamed": ([{"_fw_name": "Old Melt", "metal": "zinc"}], {}),
        "unnamed": ([{"_fw_name": "foundry::Polish", "cast": "x", "started": "2024-01-02T03:04:05"}], {}),
        "asking": ([{"_fw_name": of_foundry % "Ask"}], {"_add_launchpad_and_fw_id": True, "_add_fworker": True}),
        "adding": ([{"_fw_name": "Addition Task"}], {"input_array": [1, 2]}),
        "hello": ([{"_fw_name": hello}], {}),
        "leaving": ([{"_fw_name": of_foundry % "Leave"}, {"_fw_name": "Melt", "metal": "lead"}], {}),
        "unknown": ([{"_fw_name": "Melting"}], {}),
        "lacking": ([{"_fw_name": "Melt"}], {}),
        "loud": ([{"_fw_name": "ScriptTask", "script": LOUD, "store_stdout": True}], {}),
    }
    ids = {name: foundry.add(*tasks, **spec) for name, (tasks, spec) in fireworks.items()}
    foundry.work()
    return ids


@pytest.mark.parametrize("name", ["dotted", "colon", "renamed"])
def test_a_firetask_goes_by_its_module_or_its_name(name: str, foundry: Foundry, ran: dict[str, int]) -> None:
    assert foundry.did(ran[name])[0]["update_spec"] == {"melt": {"metal": "zinc"}}


def test_a_firetask_without_a_name_goes_by_its_package_and_class(foundry: Foundry, ran: dict[str, int]) -> None:
    assert foundry.did(ran["unnamed"]) == [{"stored_data": {"polished": "x", "date": True}}], "dates are dates"


def test_firetask_gets_its_id_and_fworker(foundry: Foundry, ran: dict[str, int]) -> None:
    told = {"fw_id": ran["asking"], "name": "cast", "fworker": "oven", "env": {"scratch": "/s"}}
    assert foundry.did(ran["asking"]) == [{"stored_data": told}]


def test_the_tutorials_firetasks_run(foundry: Foundry, ran: dict[str, int]) -> None:
    assert foundry.did(ran["adding"])[0]["stored_data"] == {"sum": 3}
    assert foundry.printed(ran["hello"], "stdout") == "Hello, world!\n"


def test_the_firework_is_in_its_launchs_folder_as_the_configuration_says(foundry: Foundry, ran: dict[str, int]) -> None:
    folder = foundry.folder_of(ran["adding"])
    for text in ((folder / "FW.json").read_text(), (folder / "FW.yaml").read_text()):
        written = yaml.safe_load(text)
        assert written["spec"] == {"_tasks": [{"_fw_name": "Addition Task"}], "input_array": [1, 2]}
        assert (written["fw_id"], written["name"]) == (ran["adding"], "cast")


def test_a_firetask_that_exits_has_failed(foundry: Foundry, ran: dict[str, int]) -> None:
    assert foundry.message(ran["leaving"]) == "foundry.firetasks.casting.Leave called sys.exit(0)"
    assert len(foundry.attempts(ran["leaving"])[-1].steps) == 1


def test_unknown_firetask_lists_the_searched_packages(foundry: Foundry, ran: dict[str, int]) -> None:
    message = foundry.message(ran["unknown"])
    assert message.startswith("there is no Firetask 'Melting'; looked in foundry, fw_tutorials")
    assert f"ADD_USER_PACKAGES of {foundry.folder / 'FW_config.yaml'}" in message


def test_missing_parameter_is_reported_by_the_firetask(foundry: Foundry, ran: dict[str, int]) -> None:
    assert "Required parameter metal not specified" in foundry.message(ran["lacking"])


def test_what_a_failing_script_prints_is_in_its_log_and_in_its_error(foundry: Foundry, ran: dict[str, int]) -> None:
    assert foundry.printed(ran["loud"], "stdout") == "kneading\n"
    assert foundry.printed(ran["loud"], "stderr") == "no flour left\n"
    failure = foundry.attempts(ran["loud"])[-1].failure
    assert failure is not None
    assert failure.message == "ScriptTask fizzled! Return code: [3]: no flour left"
    assert "stderr: no flour left\nstdout: kneading\n" in failure.traceback
    assert failure.stderr == "no flour left\n"
