"""rlaunch and qlaunch: selection, folders and output of launches."""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rekindle.cli.main import main
from rekindle.dialects.fireworks import rocket_launcher
from rekindle.dialects.fireworks.flow import define_flow
from rekindle.dialects.fireworks.flow_file import read_flow_file
from rekindle.dialects.fireworks.queries import select_fireworks
from rekindle.dialects.fireworks.rocket_launcher import FWorker, read_fworker
from rekindle.domain.errors import SpecError
from rekindle.domain.rerun.request import How
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries
from rekindle.engine.rerun import rerun
from rekindle.engine.session import Session, open_session
from rekindle.engine.submit.submit import submit
from rekindle.spec import load

LAUNCHER = r"launcher_\d{4}(-\d\d){5}-\d{6}"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Launchpad:
    """A folder with a store of fireworks, in which rlaunch runs."""

    folder: Path
    session: Session
    capture: pytest.CaptureFixture[str]

    def add(self, text: str) -> None:
        path = self.folder / "flow.yaml"
        path.write_text(textwrap.dedent(text))
        submit(self.session, define_flow(read_flow_file(path), str(self.folder)), new=True)

    def __call__(self, *words: str) -> Done:
        self.capture.readouterr()
        code = main(words)
        out, err = self.capture.readouterr()
        with self.session.store.read() as archive:
            assert archive.check() == []
        return Done(code, out, err)

    def states(self) -> dict[int, State]:
        ids = select_fireworks(self.session, {})
        return {row.job.id: row.job.state for row in job_queries.jobs(self.session, ids)}

    def completed(self) -> list[int]:
        return [job for job, state in self.states().items() if state is State.COMPLETED]

    def folders(self, firework: int) -> list[Path]:
        return [Path(one.folder or "") for one in job_queries.attempts(self.session, [firework])]

    def rerun(self, firework: int, workdir: str) -> None:
        proposal = rerun.plan(self.session, [([firework], How("failed-step", workdir=workdir))], {})  # type: ignore[arg-type]
        rerun.apply(self.session, proposal)


@pytest.fixture
def pad(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Launchpad]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REKINDLE_STORE", raising=False)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # main() replaces it
    with open_session() as session:
        yield Launchpad(tmp_path, session, capsys)


def chain(*scripts: str, **spec: object) -> str:
    """Return a workflow of fireworks in sequence."""
    fws = [
        {
            "fw_id": at,
            "name": f"f{at}",
            "spec": {"_tasks": [{"_fw_name": "ScriptTask", "script": [script], "use_shell": True}], **spec},
        }
        for at, script in enumerate(scripts, 1)
    ]
    links = {str(at): [at + 1] for at in range(1, len(scripts))}
    return json.dumps({"name": "chain", "fws": fws, "links": links})


def single(script: str, **spec: object) -> str:
    return chain(script, **spec)


def launchers(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if re.fullmatch(LAUNCHER, path.name))


def test_singleshot_launches_one_firework_in_the_folder_itself(pad: Launchpad) -> None:
    pad.add(chain("echo hello; pwd > one", "pwd > two"))
    done = pad("rlaunch", "singleshot")
    assert (done.code, pad.completed()) == (0, [1])
    assert (pad.folder / "one").read_text() == f"{pad.folder}\n"
    assert not (pad.folder / "two").exists()
    assert "INFO RUNNING fw_id: 1 in directory: " + str(pad.folder) in done.out
    assert "\nhello\n" in done.out
    assert pad("rlaunch", "-s", "singleshot").out == ""
    assert pad.completed() == [1, 2]
    assert pad("rlaunch", "-s", "singleshot").out.startswith("No FireWorks are ready to run and match query!")
    assert pad.folders(1) == pad.folders(2) == [pad.folder]


def test_rapidfire_launches_all_each_in_a_new_folder(pad: Launchpad) -> None:
    pad.add(chain("pwd > here", "pwd > here", "false"))
    done = pad("rlaunch", "rapidfire", "--local_redirect")
    assert done.code == 0  # a failed launch is FIZZLED, not an error of rlaunch
    assert list(pad.states().values()) == [State.COMPLETED, State.COMPLETED, State.FAILED]
    found = launchers(pad.folder)
    assert [(path / "here").read_text().strip() for path in found[:2]] == [str(path) for path in found[:2]]
    assert [pad.folders(at) for at in (1, 2, 3)] == [[path] for path in found]
    assert done.out.count("INFO Created new dir ") == 3
    described = json.loads((found[1] / "FW.json").read_text())
    assert (described["fw_id"], described["name"], described["spec"]["_tasks"][0]["script"]) == (
        2,
        "f2",
        ["pwd > here"],
    )
    assert (found[2] / "FW_job.out").exists()


def test_local_redirect_writes_output_into_the_folder(pad: Launchpad) -> None:
    pad.add(single("echo told; echo wrong >&2"))
    pad("rlaunch", "-s", "rapidfire", "--local_redirect")
    [folder] = launchers(pad.folder)
    assert (folder / "FW_job.out").read_text() == "told\n"
    assert (folder / "FW_job.error").read_text() == "wrong\n"


def test_impossible_launch_folder_fails_only_that_launch(pad: Launchpad) -> None:
    pad.add(single("true", _launch_dir="no\0where"))
    pad.add(single("true"))
    assert pad("rlaunch", "-s", "rapidfire").code == 0
    assert list(pad.states().values()) == [State.FAILED, State.COMPLETED]
    [attempt] = job_queries.attempts(pad.session, [1])
    assert attempt.failure is not None
    assert "folder" in attempt.failure.message


def test_other_jobs_of_the_store_are_left_alone(pad: Launchpad) -> None:
    pad.add(single("true"))
    (pad.folder / "spec.yaml").write_text("{name: native, jobs: {job: {run: 'touch ran'}}}")
    submit(pad.session, load(pad.folder / "spec.yaml"))
    pad("rlaunch", "rapidfire")
    assert pad.completed() == [1]
    assert not (pad.folder / "ran").exists()


def test_a_spec_says_where_it_is_launched(pad: Launchpad, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", str(pad.folder / "scratch"))
    pad.add(chain("pwd > here", "pwd > here", _launch_dir="$SCRATCH/shared"))
    pad("rlaunch", "rapidfire")
    shared = pad.folder / "scratch" / "shared"
    assert pad.folders(1) == pad.folders(2) == [shared]
    assert (shared / "here").exists()
    assert launchers(pad.folder) == []


def test_singleshot_by_id_reports_a_firework_that_is_not_ready(pad: Launchpad) -> None:
    for _ in range(3):
        pad.add(single("true", _category="other"))
    assert pad("rlaunch", "-s", "singleshot", "-f", "2").code == 0
    assert pad.completed() == [2]
    again = pad("rlaunch", "singleshot", "-f", "2")
    assert (again.code, "firework 2 is COMPLETED" in again.err) == (0, True)
    absent = pad("rlaunch", "singleshot", "-f", "99")
    assert (absent.code, "there is no firework 99" in absent.err) == (1, True)
    assert pad.completed() == [2]


def test_rapidfire_launches_at_most_nlaunches(pad: Launchpad) -> None:
    for _ in range(5):
        pad.add(single("true"))
    pad("rlaunch", "-s", "rapidfire", "--nlaunches", "2")
    assert len(pad.completed()) == 2
    pad("rlaunch", "-s", "rapidfire", "--nlaunches", "infinite", "--max_loops", "1", "--sleep", "1")
    assert len(pad.completed()) == 5


def test_loops_end_when_nothing_is_left(pad: Launchpad) -> None:
    pad.add(chain("true", "true"))
    assert pad("rlaunch", "-s", "rapidfire", "--max_loops", "0").code == 0
    assert pad.completed() == []
    pad("rlaunch", "-s", "rapidfire", "--max_loops", "9", "--sleep", "60")
    assert pad.completed() == [1, 2]


def test_nothing_is_launched_after_the_timeout(pad: Launchpad) -> None:
    pad.add(single("true"))
    assert pad("rlaunch", "-s", "rapidfire", "--max_loops", "1", "--timeout", "0").code == 0
    assert pad.completed() == []


@pytest.mark.parametrize("command", [("rlaunch", "-s", "multi"), ("mlaunch", "-s")], ids=" ".join)
def test_multi_launches_several_at_once(pad: Launchpad, command: tuple[str, ...]) -> None:
    wait = "touch {}; for _ in $(seq 600); do test -e {} && exit 0; sleep 0.05; done; exit 1"
    here, there = pad.folder / "a", pad.folder / "b"
    pad.add(single(wait.format(here, there)))
    pad.add(single(wait.format(there, here)))
    assert pad(*command, "2", "--nlaunches", "1").code == 0
    assert pad.completed() == [1, 2]


FWORKER = """
name: big machine
category: [large, huge]
query: '{"spec.size": {"$gt": 3}}'
env: {exe: /opt/solver}
"""


def test_fworker_launches_its_category_and_is_passed_to_launches(pad: Launchpad) -> None:
    tell = "import json, os; json.dump(json.loads(os.environ['REKINDLE_FWORKER']), open('told', 'w'))"
    script = f'python3 -c "{tell}"'
    pad.add(single(script, _category="large", size=4))
    pad.add(single("true", _category="large", size=2))
    pad.add(single("true", _category="small", size=4))
    pad.add(single("true", size=4))
    pad.add(single("true", _category="huge", size=9, _fworker="another"))
    pad.add(single("true", _category="huge", size=9, _fworker="big machine"))
    (pad.folder / "my_fworker.yaml").write_text(FWORKER)
    pad("rlaunch", "-s", "rapidfire")
    assert pad.completed() == [1, 6]
    told = json.loads((pad.folders(1)[0] / "told").read_text())
    assert (told["name"], told["env"]) == ("big machine", {"exe": "/opt/solver"})
    assert "REKINDLE_FWORKER" not in os.environ
    assert select_fireworks(pad.session, {"fworker.name": "big machine"}, launches=True) == [1, 6]
    (pad.folder / "plain.yaml").write_text("name: plain\ncategory: __none__\n")
    pad("rlaunch", "-s", "-w", "plain.yaml", "rapidfire")
    assert pad.completed() == [1, 4, 6]


def test_tasks_find_the_env_of_the_fworker_in_their_specs(pad: Launchpad) -> None:
    task = {"_fw_name": "PyTask", "func": "builtins.dict", "kwargs": {}, "inputs": ["_fw_env"], "outputs": ["env"]}
    pad.add(json.dumps({"fws": [{"fw_id": 1, "spec": {"_tasks": [task]}}], "links": {}}))
    rocket_launcher.launch_one(pad.session, FWorker(env={"exe": "x"}), pad.folder)
    [attempt] = job_queries.attempts(pad.session, [1])
    assert attempt.state is State.COMPLETED, attempt.failure
    assert json.loads(attempt.result or "")["update_spec"]["env"] == {"exe": "x"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "mapping"),
        ("", "the file is empty"),
        ("{name: a, category: {b: c}}", "`category` must be a text"),
        ("{name: a, query: '{'}", "`query` is not JSON"),
        ("{name: a, query: '[1]'}", "`query` must be a JSON object"),
        ("{name: a, query: {sppec.size: 1}}", "no field 'sppec.size'"),
        ("{name: a, env: 3}", "`env`"),
    ],
)
def test_invalid_fworker_file_is_reported_with_places(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "my_fworker.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        read_fworker(path)
    assert said in "".join(problem.message for problem in caught.value.problems)


def test_failed_task_resumes_in_a_copy_or_the_same_folder(pad: Launchpad) -> None:
    flow = {
        "fws": [
            {
                "fw_id": 1,
                "spec": {
                    "_tasks": [
                        {"_fw_name": "ScriptTask", "script": "echo 1 >> kept", "use_shell": True},
                        {"_fw_name": "ScriptTask", "script": f"test -e {pad.folder}/fixed", "use_shell": True},
                    ]
                },
            }
        ],
        "links": {},
    }
    pad.add(json.dumps(flow))
    pad("rlaunch", "-s", "rapidfire")
    pad.rerun(1, "copy")
    assert "INFO Created new dir" in pad("rlaunch", "rapidfire").out
    first, second = pad.folders(1)
    assert first != second
    assert (second / "kept").read_text() == "1\n"
    pad.rerun(1, "same")
    (pad.folder / "fixed").touch()
    done = pad("rlaunch", "rapidfire")
    assert f"RUNNING fw_id: 1 in directory: {second}" in done.out
    assert "Created new dir" not in done.out
    assert pad.folders(1) == [first, second, second]
    assert pad.completed() == [1]
    assert launchers(pad.folder) == [first, second]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("rlaunch", "singleshot", "--offline"), 1, "no launch is set up there"),
        (("rlaunch", "singleshot", "--pdb"), 1, "--pdb"),
        (("rlaunch", "rapidfire", "--nlaunches", "some"), 64, "--nlaunches some"),
        (("rlaunch", "-w", "nowhere.yaml", "rapidfire"), 1, "nowhere.yaml"),
        (("rlaunch", "-l", "nowhere.yaml", "rapidfire"), 1, "nowhere.yaml"),
        (("rlaunch", "-c", "nowhere", "rapidfire"), 1, "nowhere"),
        (("rlaunch", "--loglvl", "LOUD", "rapidfire"), 64, "LOUD"),
        (("rlaunch", "multi", "0"), 64, "NUM_JOBS"),
        (("rlaunch",), 64, "Usage"),
        (("qlaunch", "singleshot", "-f", "1"), 1, "my_qadapter.yaml"),
        (("qlaunch", "-r", "-q", "a.yaml", "rapidfire", "-m", "3", "--nlaunches", "infinite"), 1, "a.yaml"),
    ],
)
def test_unsupported_launches_are_refused(pad: Launchpad, words: tuple[str, ...], code: int, said: str) -> None:
    pad.add(single("true"))
    done = pad(*words)
    assert (done.code, said in done.err) == (code, True), done
    assert pad.completed() == []


def test_launch_folders_of_one_moment_are_unique(tmp_path: Path, ready: Callable[[int], object]) -> None:
    from rekindle.dialects.fireworks.rocket_launcher import LaunchFolders

    places = LaunchFolders(str(tmp_path))
    paths = {places(ready(job), job, 1_700_000_000.5).path for job in range(1, 400)}  # type: ignore[arg-type]
    assert len(paths) == 399
    assert all(re.fullmatch(LAUNCHER, Path(path).name) for path in paths)


@pytest.fixture
def ready() -> Callable[[int], object]:
    from rekindle.domain.models import ReadyJob
    from rekindle.domain.next_attempt import NextAttempt

    return lambda job: ReadyJob(job, 1, "j", 1, 1, "{}", 0, 0, 1, NextAttempt())


@pytest.mark.parametrize(
    ("spec", "here", "take", "shared"),
    [
        ({}, False, None, False),
        ({}, True, None, True),
        ({}, True, ("copy", "/elsewhere"), False),
        ({}, True, ("copy", "HERE"), True),
        ({"_launch_dir": "launcher_of_mine"}, False, None, True),
        ({"_launch_dir": "~nobody-there/x"}, False, None, True),
        ({"_launch_dir": "launcher_of_mine"}, True, ("copy", "/elsewhere"), False),
    ],
)
def test_copies_get_new_folders_and_named_folders_are_shared(
    tmp_path: Path, spec: dict[str, str], here: bool, take: tuple[str, str] | None, shared: bool
) -> None:
    from rekindle.dialects.fireworks.rocket_launcher import LaunchFolders
    from rekindle.domain.models import ReadyJob
    from rekindle.domain.next_attempt import NextAttempt

    how, folder = take or (None, None)
    binding = json.dumps({"spec": spec})
    taken = NextAttempt(take=how, folder=folder and folder.replace("HERE", str(tmp_path)))
    job = ReadyJob(1, 1, "j", 1, 1, binding, 0, 0, 1, taken)
    place = LaunchFolders(str(tmp_path), here)(job, 1, 0.0)
    assert place.shared is shared
    assert bool(re.fullmatch(LAUNCHER, Path(place.path).name)) is not shared


ADAPTER = "_fw_name: CommonAdapter\n_fw_q_type: SLURM\n"


@pytest.mark.parametrize(
    ("adapter", "code", "said"),
    [
        (ADAPTER, 1, "`rekindle store copy`"),
        ("_fw_name: CommonAdapter\n_fw_q_type: PBS\n", 64, "is for PBS"),
        (f"{ADAPTER}nodes: 2\n", 64, "nodes: 2 cannot be used here"),
        (f"{ADAPTER}walltme: 1\n", 64, "walltme cannot be used here"),
        (f"{ADAPTER}walltime: soon\n", 1, "`rekindle store copy`"),
        ("[", 64, "is not YAML"),
        ("text", 64, "is not a queue adapter"),
    ],
)
def test_queue_adapters_that_cannot_be_used_are_refused(pad: Launchpad, adapter: str, code: int, said: str) -> None:
    pad.add(single("true"))
    (pad.folder / "my_qadapter.yaml").write_text(adapter)
    done = pad("qlaunch", "rapidfire")
    assert (done.code, said in done.err) == (code, True), done
