"""Long lists: pages, whole lists in constant memory, and the raw error beside the signature."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from cli_shell import Shell

SPEC = """
name: w
jobs:
  read:
    matrix: {n: {range: [0, 130]}}
    run: ["true"]
  bad:
    matrix: {n: {range: [0, 3]}}
    run: "echo \\"ValueError: could not convert string to float: '2${matrix.n}.5'\\" >&2; exit 1"
"""

REKINDLE = [sys.executable, "-c", "import sys; from rekindle.cli.main import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def listed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 130 jobs that have not run, three that have failed, and three that have not run."""
    folder = tmp_path_factory.mktemp("lists")
    (folder / "spec.yaml").write_text(SPEC)
    store = ["--store", ".rekindle"]
    for words in (["submit", "spec.yaml"], ["hold", "read*"], ["work", "-j", "1"], ["cancel", "7"], ["release", "8"]):
        subprocess.run([*REKINDLE, *store, *words], cwd=folder, check=False, capture_output=True, timeout=60)
    return folder


@pytest.fixture
def listed(shell: Shell, listed_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(listed_folder)
    shell.folder = listed_folder
    return shell


def on_a_terminal(folder: Path, *words: str) -> str:
    """Return the output of a command on a terminal of 80 columns."""
    above, below = pty.openpty()
    env = {**os.environ, "COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}
    with subprocess.Popen([*REKINDLE, *words], cwd=folder, stdout=below, stderr=below, env=env) as process:
        os.close(below)
        printed = b""
        while True:
            try:
                read = os.read(above, 65536)
            except OSError:  # the end: EIO
                break
            if not read:
                break
            printed += read
        process.wait(60)
    os.close(above)
    return printed.decode().replace("\r\n", "\n")


LISTS = ("jobs list", "attempts list", "reruns list", "events list", "workflows list", "failures", "flaky", "status")


@pytest.mark.parametrize("command", [*LISTS, "why --all", "attempts show 1"])
@pytest.mark.parametrize("bad", ["--limit=-1", "--limit=x", "--offset=-1", "--offset=1.5"])
def test_a_limit_or_offset_that_is_no_count_is_a_wrong_command_line(listed: Shell, command: str, bad: str) -> None:
    done = listed(*command.split(), bad)
    assert (done.code, done.out) == (64, "")
    assert bad.partition("=")[2] in done.err


@pytest.mark.parametrize("command", [*LISTS, "why --all"])
def test_pages_put_together_are_the_whole_list(listed: Shell, command: str) -> None:
    words = [*command.split(), "--json"]
    (whole,) = listed(*words).json.values()
    size = max(1, len(whole) // 3)
    pages: list[object] = []
    for offset in range(0, len(whole) + size, size):
        (page,) = listed(*words, "--limit", str(size), "--offset", str(offset)).json.values()
        assert len(page) <= size
        pages = [*page, *pages] if command == "events list" else [*pages, *page]
    assert pages == whole
    (every,) = listed(*words, "--limit", "0").json.values()
    assert every == whole


def test_the_newest_events_are_limited_to_and_shown_oldest_first(listed: Shell) -> None:
    whole = [one["id"] for one in listed("events", "list", "--json").json["events"]]
    assert [one["id"] for one in listed("events", "list", "--limit", "2", "--json").json["events"]] == whole[-2:]


@pytest.mark.parametrize(
    "words", [["-n", "read*"], ["read*"], ["--error", "."], ["-q", '{"name": {"$regex": "read"}}'], ["-f", "name~read"]]
)
def test_a_selection_is_paged_whoever_decides_on_it(listed: Shell, words: list[str]) -> None:
    whole = [one["id"] for one in listed("jobs", "list", *words, "--json").json["jobs"]]
    page = listed("jobs", "list", *words, "--limit", "2", "--offset", "1", "--json").json["jobs"]
    assert len(whole) >= 3
    assert [one["id"] for one in page] == whole[1:3]


def test_a_terminal_gets_a_page_and_the_command_for_the_next(listed: Shell) -> None:
    printed = on_a_terminal(listed.folder, "jobs", "list", "-w", "w")
    assert len(printed.splitlines()) == 1 + 100 + 1
    last = "showing 1-100 of 133 jobs; --limit 0 shows all; next: rekindle jobs list -w w --offset 100"
    assert printed.splitlines()[-1] == last
    rest = on_a_terminal(listed.folder, "jobs", "list", "-w", "w", "--offset", "100")
    assert len(rest.splitlines()) == 1 + 33 + 1
    assert rest.splitlines()[-1] == "showing 101-133 of 133 jobs; --limit 0 shows all"
    assert len(on_a_terminal(listed.folder, "jobs", "list", "-w", "w", "--limit", "0").splitlines()) == 134


def test_the_next_page_of_a_page_is_named_with_its_limit(listed: Shell) -> None:
    done = listed("jobs", "list", "read*", "--limit", "5", "--offset=10")
    assert len(done.out.splitlines()) == 6
    assert "showing 11-15 of 130 jobs; --limit 0 shows all" in done.err
    assert "next: rekindle jobs list 'read*' --limit 5 --offset 15" in done.err
    beyond = listed("jobs", "list", "--offset", "500")
    assert (beyond.code, beyond.out) == (0, "")
    assert beyond.err == "no row after the first 500: there are 133 jobs\n"


def test_a_pipe_gets_the_whole_list_and_nothing_on_stderr(listed: Shell) -> None:
    done = listed("jobs", "list")
    assert (len(done.out.splitlines()), done.err) == (134, "")


def test_subtasks_are_paged(shell: Shell) -> None:
    shell.write("name: f\njobs:\n  f: {steps: [{name: s, each: [a, b, c, d], run: 'true'}]}\n")
    shell("run", "spec.yaml")
    page = shell("attempts", "show", "1", "--limit", "2", "--offset", "1", "--json").json["subtasks"]
    assert [one["index"] for one in page] == [1, 2]
    assert "… and 3 more" in shell("attempts", "show", "1", "--limit", "1").out
    assert "more" not in shell("attempts", "show", "1", "--limit", "0").out


def test_a_list_of_many_jobs_is_one_document_in_bounded_memory(tmp_path: Path) -> None:
    """60,000 jobs took 320 MB when the document was built before it was written, and take 60 MB."""
    (tmp_path / "big.yaml").write_text(
        "name: big\njobs:\n  b:\n    matrix: {i: {range: [0, 300]}, j: {range: [0, 200]}}\n    run: ['true']\n"
    )
    subprocess.run([*REKINDLE, "--store", "s", "submit", "big.yaml"], cwd=tmp_path, check=True, capture_output=True)
    listing = "import re, sys; from rekindle.cli.main import main; code = main(sys.argv[1:])\n"
    listing += "print(code, re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1], file=sys.stderr)"
    command = [sys.executable, "-c", listing, "--store", "s", "jobs", "list", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    code, used = map(int, done.stderr.split())
    assert code == 0
    assert [job["id"] for job in json.loads(done.stdout)["jobs"]] == list(range(1, 60_001))
    assert used < 120_000, f"{used} KiB"


def test_a_reader_that_goes_away_ends_a_long_list_quietly(listed: Shell) -> None:
    command = f"{sys.executable} -c 'import sys; from rekindle.cli.main import main; sys.exit(main())' jobs list --json"
    done = subprocess.run(
        ["sh", "-c", f"{command} | head -n 1"],
        cwd=listed.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith('{"jobs": [{"id":1,')
    assert len(done.stdout.splitlines()) == 1


def test_failures_show_the_newest_raw_message_beside_the_signature(listed: Shell) -> None:
    (group,) = listed("failures", "--json").json["failures"]
    assert group["message"] == "could not convert string to float: '#'"
    assert group["newest_message"] == "could not convert string to float: '22.5'"
    raw = "ValueError: could not convert string to float: '22.5'"
    listed_out = listed("failures").out
    assert "'#'" not in listed_out
    assert "e.g. ValueError: could" in listed_out.splitlines()[1]
    assert "'22.5'" in listed_out.splitlines()[1]
    assert f"e.g. {raw}" in listed("why", "-s", "failed").out
    assert listed("why", "bad[n=1]", "--json").json["jobs"][0]["error"] == raw.replace("22.5", "21.5")
    for words in (["status"], ["attempts", "list"]):
        assert "'22.5'" in listed(*words).out, words
        assert "'#'" not in listed(*words).out, words


def test_a_live_line_says_what_the_job_it_names_said(shell: Shell) -> None:
    shell.write(
        """
        name: l
        jobs:
          bad: {matrix: {n: [7, 9]}, run: 'echo "cannot allocate 30${matrix.n} bytes" >&2; exit 1'}
        """
    )
    err = shell("run", "spec.yaml", "-j", "1").err
    said = [line for line in err.splitlines() if line.startswith("failed bad[n=")]
    for line in said:
        assert line in ("failed bad[n=7]: cannot allocate 307 bytes", "failed bad[n=9]: cannot allocate 309 bytes")
    assert "e.g. cannot allocate 309 bytes" in err
    assert "#" not in err


def test_a_narrow_terminal_keeps_names_before_ids_and_times(shell: Shell) -> None:
    name = "train[alpha=0.125,beta=0.5,seed=3]"
    shell.write(
        "name: n\njobs:\n  train:\n    matrix: {alpha: [0.125], beta: [0.5], seed: {range: [0, 4]}}\n"
        "    run: \"echo 'diverged at step 31 of 4000, loss 17.25 and no way to go on' >&2; exit 1\"\n"
    )
    shell("run", "spec.yaml")
    for words in (["attempts", "list"], ["jobs", "list"]):
        text = shell(*words).out
        assert name in text, text
        assert max(map(len, text.splitlines())) <= 80
    assert shell("failures").out.splitlines()[1].endswith("  train[*]")
    assert shell("failures", "-v").out.splitlines()[1].endswith("  1-4")


@pytest.mark.parametrize(
    "words",
    [
        ("attempts", "list", "--limit", "99999999999999999999"),
        ("jobs", "list", "--offset=99999999999999999999"),
        ("attempts", "show", "99999999999999999999"),
        ("reruns", "show", "99999999999999999999"),
        ("undo", "99999999999999999999"),
        ("jobs", "list", "-w", "99999999999999999999"),
        ("jobs", "list", "-f", "id=99999999999999999999"),
    ],
)
def test_a_number_that_no_store_can_hold_is_a_wrong_command_line(shell: Shell, words: tuple[str, ...]) -> None:
    shell.write("name: w\njobs: {a: {run: 'true'}}\n")
    shell("run", "spec.yaml", "-j", "1")
    said = shell(*words)
    assert said.code == 64
    assert "99999999999999999999: the number is too large" in said.err
    assert words[-2] not in ("--limit", "-w") or words[-2] in said.err
