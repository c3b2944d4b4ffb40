"""Completion of the command line: in the real shells, and what it offers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_shell import Shell
from interactive_shells import InteractiveShell

from rekindle.cli.command_table import CONVERTERS
from rekindle.cli.completion import SHELLS, Answer, complete
from rekindle.cli.completion_values import VALUES
from rekindle.domain.selection import FIELDS
from rekindle.engine.session import open_session
from rekindle.store.completions import MOST

sys.path.append(str(Path(__file__).parents[2] / "scripts"))
from completion_table import TABLE, lines

SWEEP = """\
name: sweep
params: {rate: 1}
jobs:
  prepare: {run: "true"}
  train:
    needs: [prepare]
    matrix: {alpha: [0.1, 1.0], seed: [0, 1]}
    steps: [{name: fit, run: "test ${matrix.seed} = 0"}, {name: score, run: "true"}]
  report: {needs: ["train*"], run: "true"}
"""


@pytest.fixture(scope="session")
def sweep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep that ran and was rerun, a saved plan and an empty folder."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "sweep.yaml").write_text(SWEEP)
    program = str(Path(sys.executable).parent / "rekindle")

    def run(*words: str) -> int:
        command = [program, "--store", ".rekindle", *words]
        return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode

    assert run("run", "sweep.yaml") == 2
    assert run("rerun", "-s", "failed", "--note", "again", "--yes") == 0
    (folder / "plan.json").touch()
    (folder / "folder").mkdir()
    return folder


@pytest.fixture
def sweep(sweep_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory is the folder of the sweep."""
    monkeypatch.chdir(sweep_folder)
    monkeypatch.delenv("REKINDLE_STORE", raising=False)
    return sweep_folder


@pytest.fixture(scope="module", params=["bash", "zsh", "fish"])
def terminal(request: pytest.FixtureRequest, sweep_folder: Path) -> Iterator[InteractiveShell]:
    """Each shell, in the folder of the sweep."""
    shell = InteractiveShell(request.param, sweep_folder)
    yield shell
    shell.close()


def words(*typed: str) -> list[str]:
    """Return the words that complete the last one, each after the part that stays."""
    answer = complete(typed[:-1], typed[-1])
    assert answer.kind == "words"
    return [answer.before + one.word for one in answer.words]


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("rekindle supe", "rekindle|supervise|"),
        ("rekindle rerun --dow", "rekindle|rerun|--downstream|"),
        ("rekindle rerun --downstream=n", "rekindle|rerun|--downstream=none|"),
        ("rekindle run sw", "rekindle|run|sweep.yaml|"),
        ("rekindle apply pl", "rekindle|apply|plan.json|"),
        ("rekindle rerun --save-plan=pl", "rekindle|rerun|--save-plan=plan.json|"),
        ("rekindle store copy fol", "rekindle|store|copy|folder"),
        ("rekindle rerun -w sw", "rekindle|rerun|-w|sweep|"),
        ("rekindle rerun -s failed,ca", "rekindle|rerun|-s|failed,canceled|"),
        ("rekindle rerun -f state=fa", "rekindle|rerun|-f|state=failed|"),
        ("rekindle rerun -f stat", "rekindle|rerun|-f|state=|"),
        ("rekindle rerun 'pre", "rekindle|rerun|prepare|"),
        (r"rekindle rerun train\[alpha=1.0,seed=0", "rekindle|rerun|train[alpha=1.0,seed=0]|"),
        ("rekindle rerun 'train[alpha=1.0,seed=0", "rekindle|rerun|train[alpha=1.0,seed=0]|"),
        ("rekindle rerun nothing", "rekindle|rerun|nothing|"),
    ],
)
def test_a_tab_completes_the_word(terminal: InteractiveShell, typed: str, line: str) -> None:
    assert terminal.complete(typed).replace("/|", "|").startswith(line)


def test_tabs_list_what_may_follow(terminal: InteractiveShell) -> None:
    terminal.offered("rekindle rerun tr", "seed=0", "seed=1")


def test_an_interrupt_while_a_word_is_completed_shows_no_traceback(terminal: InteractiveShell) -> None:
    assert "Traceback" not in terminal.interrupt("rekindle rerun tr")


JOBS = [f"train[alpha={alpha},seed={seed}]" for alpha in ("0.1", "1.0") for seed in (0, 1)]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("jobs li", ["list"]),
        ("init --from ", [*CONVERTERS]),
        ("init --from ma", ["make"]),
        ("rerun tr", ["train", *JOBS]),
        ("rerun prepare rep", ["report"]),
        ("rerun train[alpha=1.0", JOBS[2:]),
        ("rerun -n report -w sweep ", ["report", "prepare", "train", *JOBS]),
        ("rerun -s ", ["waiting", "ready", "queued", "running", "completed", "failed", "canceled"]),
        ("rerun -s failed,r", ["failed,ready", "failed,running"]),
        ("rerun -f ver", ["verdict="]),
        ("rerun -f verdict=b", ["verdict=blocker"]),
        ("rerun -f cause!=ti", ["cause!=timeout"]),
        ("rerun -f held=", ["held=true", "held=false"]),
        ("rerun -f name=rep", ["name=report"]),
        ("rerun train --from ", ["beginning", "failed-step", "fit", "score"]),
        ("rerun prepare --from ", ["beginning", "failed-step", "run"]),
        ("rerun --from-attempt 1", ["1"]),
        ("rerun --set ", ["rate="]),
        ("rerun --downstream ", ["all", "changed", "none"]),
        ("rerun --changed=", ["--changed=stale", "--changed=all"]),
        ("rerun --changed rep", ["report"]),
        ("logs train --step s", ["score"]),
        ("undo ", ["1"]),
        ("reruns show ", ["1"]),
        ("attempts show ", ["5", "4", "3", "2", "1"]),
        ("attempts diff 1 4", ["4"]),
        ("rerun -i 1,6", ["1,6"]),
        ("workflows show ", ["sweep"]),
        ("workflows diff sweep ", ["1"]),
        ("supervise ", ["sweep"]),
        ("supervise sweep --on error,b", ["error,blocker"]),
        ("supervise sweep --on-cause t", ["timeout"]),
        ("supervise sweep --group-by ", ["host", "signature", "cause", "template", "matrix."]),
        ("restart sw", ["sweep"]),
        ("run x --executor ", ["dask", "local", "slurm"]),
        ("run x --fail-on b", ["blocker"]),
        ("token new --scope read,", ["read,rerun", "read,submit", "read,pilot"]),
        ("rerun -- -", []),
        ("hold --reason ", []),
        ("nonsense tr", []),
    ],
)
def test_values_are_completed(sweep: Path, typed: str, found: list[str]) -> None:
    assert sweep.is_dir()
    assert sorted(words(*typed.split(" "))) == sorted(found)


def test_signatures_are_completed_with_their_messages(sweep: Path) -> None:
    assert sweep.is_dir()
    [(signature, remark)] = complete(["rerun", "--signature"], "").words
    assert (len(signature), remark) == (12, "exit code 1")


@pytest.mark.parametrize("typed", ["run ", "submit s", "rerun --submit ", "apply ", "report sweep -o ", "lpad add "])
def test_files_are_left_to_the_shell(typed: str) -> None:
    assert complete(typed.split(" ")[:-1], typed.split(" ")[-1]) == Answer("files")


def test_the_store_is_the_one_that_is_typed(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert words("--store", f"{sweep}/.rekindle", "rerun", "rep") == ["report"]
    assert words("rerun", "rep", f"--store={sweep}/.rekindle", "rep") == ["report"]


def test_a_matrix_too_long_to_list_is_completed_to_its_template(shell: Shell) -> None:
    shell.write(f"name: s\njobs: {{sim: {{matrix: {{i: {{range: [0, {MOST + 1}]}}}}, run: 'true'}}}}")
    assert shell("submit", "spec.yaml").code == 0
    assert words("rerun", "s") == ["sim"]
    assert len(words("rerun", "sim[")) == MOST
    assert sorted(words("rerun", "sim[i=10")) == ["sim[i=100]", "sim[i=10]"]


def test_a_completion_changes_nothing(sweep: Path) -> None:
    store = sweep / ".rekindle"
    before = (store / "store.db").read_bytes()
    with open_session(str(store)) as session:
        version = session.store.data_version()
        assert words("rerun", "rep") == ["report"]
        assert session.store.data_version() == version
    assert (store / "store.db").read_bytes() == before


def tabbed(folder: Path, *typed: str) -> subprocess.CompletedProcess[str]:
    """Complete the last word in a process of its own, as zsh's script does."""
    command = [sys.executable, "-m", "rekindle", *typed]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "_REKINDLE_COMPLETE": "zsh"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("store", ["postgresql://nobody@127.0.0.1:1/none", "/nowhere", "sqlite://bad", "damaged"])
def test_an_error_says_nothing(tmp_path: Path, store: str) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "store.db").write_bytes(b"x" * 5000)
    done = tabbed(tmp_path, "--store", store, "rerun", "")
    assert (done.stdout, done.stderr) == ("", "")


def test_completion_imports_no_command(sweep: Path) -> None:
    code = (
        "import sys; from rekindle.cli.completion import complete; "
        "assert complete(['rerun'], 'rep').words; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=sweep, capture_output=True, text=True, check=True)
    names = set(done.stdout.split())
    assert names & {"click", "rich", "yaml", "regex", "psutil", "psycopg", "asyncio", "subprocess"} == set()
    ours = {name.split(".")[1] for name in names if name.startswith("rekindle.")}
    assert ours <= {"cli", "domain", "engine", "files", "journal", "store", "streams"}


def test_the_table_of_commands_is_up_to_date() -> None:
    assert TABLE.read_text().splitlines() == lines(), "run `make tables`"


def test_each_kind_of_value_in_the_table_is_known() -> None:
    kinds = {row.split("\t")[2].rstrip("…") for row in TABLE.read_text().splitlines() if row.startswith("\t")}
    words = {kind for kind in kinds if "|" not in kind and kind.isidentifier()} - {"files", "folders", "auto"}
    assert words <= set(VALUES)


def test_each_field_of_a_filter_is_offered() -> None:
    assert {f"{name}=" for name in FIELDS} <= set(words("rerun", "-f", ""))


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(shell: Shell, name: str) -> None:
    assert shell("completion", name).out == (SHELLS / f"rekindle.{name}").read_text()


def test_a_workflow_or_else_a_file_is_supervised(sweep: Path) -> None:
    assert complete(["supervise"], "sw").words
    assert complete(["supervise"], str(sweep)).kind == "files"
