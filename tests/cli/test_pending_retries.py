"""Jobs that have failed and wait for the delay of their retry: a rerun starts them now."""

from __future__ import annotations

from cli_shell import Shell

SPEC = """
name: w
jobs:
  slow: {run: test -e mended.txt, retry: {max: 3, on: [exit], delay: 1h}}
"""


def test_a_rerun_starts_a_job_whose_retry_waits(shell: Shell) -> None:
    shell.write(SPEC)
    ran = shell("run", "spec.yaml", "--wait-timeout", "2s")
    assert "1 attempt failed, of jobs that are retried\n" in ran.err
    assert "retry 1 of 3 starts at" in shell("why", "slow").out
    assert shell("rerun", "slow", "--yes").code == 0
    assert "starts at" not in shell("why", "slow").out
    assert shell("undo").code == 0
    assert "retry 1 of 3 starts at" in shell("why", "slow").out, "undo restores the delay"
    shell.write("", "mended.txt")
    done = shell("rerun", "slow", "--yes", "--work")
    assert (done.code, "ran: 1 completed" in done.err) == (0, True)
