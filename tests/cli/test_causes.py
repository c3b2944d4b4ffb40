"""The cause of a failed attempt, the meaning of its exit code or signal, and the evidence."""

from __future__ import annotations

import pytest
from cli_shell import Shell

from made_once import made_once

HOLD = "kept = bytearray(b'x') * (200 << 20)\\nimport time; time.sleep(1.5)"

SPEC = f"""
name: ends
jobs:
  greedy: {{run: [python3, -c, "{HOLD}"], resources: {{memory: 64M}}}}
  slow: {{run: sleep 600, resources: {{time: 200ms}}}}
  killed: {{run: [sh, -c, "kill -9 $$"]}}
"""


@pytest.fixture
@made_once
def ends(shell: Shell) -> Shell:
    shell.write(SPEC)
    assert shell("run", "spec.yaml", "-j", "2").code == 2
    return shell


def test_an_attempt_over_its_limits_tells_the_limit_and_what_it_took(ends: Shell) -> None:
    (greedy,) = ends("attempts", "list", "greedy", "--json").json["attempts"]
    assert (greedy["state"], greedy["cause"], greedy["signal"]) == ("failed", "oom", 9)
    assert greedy["evidence"]["limit_bytes"] == 64 << 20
    assert greedy["max_rss_bytes"] >= greedy["evidence"]["peak_bytes"] > 64 << 20
    assert greedy["evidence"]["at"].endswith("Z")
    (slow,) = ends("attempts", "list", "slow", "--json").json["attempts"]
    assert slow["cause"] == "timeout"
    assert slow["evidence"]["limit_seconds"] == 0.2
    assert slow["evidence"]["elapsed_seconds"] >= 0.2
    (killed,) = ends("attempts", "list", "killed", "--json").json["attempts"]
    assert (killed["cause"], killed["signal"], killed["evidence"]) == ("signal", 9, None)
    assert ends("jobs", "show", "slow", "--json").json["evidence"] == slow["evidence"]


@pytest.mark.parametrize("words", [("jobs", "show", "greedy"), ("attempts", "show", "1")], ids=" ".join)
def test_evidence_is_shown_in_words(ends: Shell, words: tuple[str, ...]) -> None:
    told = ends(*words)
    assert told.code == 0
    assert "oom: killed because memory ran out" in told.out
    assert "evidence: limit 64.0 MiB, peak " in told.out
    assert "seen a sample of what its processes held" in told.out


def test_a_signal_is_told_by_its_name(ends: Shell) -> None:
    killed = ends("jobs", "show", "killed").out
    assert "signal SIGKILL: killed (SIGKILL): by another process, or out of memory" in killed
    assert "evidence: limit 0.2 s, elapsed 0." in ends("jobs", "show", "slow").out


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (126, "cannot be executed"),
        (127, "not found"),
        (130, "Ctrl-C"),
        (134, "SIGABRT"),
        (137, "SIGKILL"),
        (139, "SIGSEGV"),
        (143, "SIGTERM"),
        (152, "SIGXCPU"),
    ],
)
def test_a_return_code_is_told_with_what_it_usually_means(shell: Shell, code: int, words: str) -> None:
    shell.write(f"name: code\njobs: {{one: {{run: [sh, -c, exit {code}]}}}}\n")
    assert shell("run", "spec.yaml").code == 2
    assert words in shell("attempts", "show", "1").out


def test_with_more_memory_it_completes(ends: Shell) -> None:
    assert ends("rerun", "greedy", "--memory", "x8", "--yes", "--work").code == 0
    last = ends("attempts", "list", "greedy", "--json").json["attempts"][-1]
    assert (last["state"], last["modified"]) == ("completed", True)
