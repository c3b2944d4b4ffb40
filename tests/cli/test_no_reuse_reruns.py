"""Which jobs below a rerun or restarted job run although an earlier attempt could complete them."""

from __future__ import annotations

from cli_shell import Shell

SPEC = """
name: s
jobs:
  make: {run: "cp raw.txt data.txt", inputs: {raw: raw.txt}, outputs: {data: data.txt}}
  count: {run: "cp data.txt n.txt", inputs: {data: data.txt}, outputs: {n: n.txt}}
"""


def was_reused(shell: Shell) -> bool:
    """Return whether the newest attempt of `count` was reused."""
    found: list[dict[str, object]] = shell("attempts", "list", "count", "--live", "--json").json["attempts"]
    assert len(found) == 1
    return found[0]["reused_from"] is not None


def test_jobs_below_a_rerun_one_run(shell: Shell) -> None:
    (shell.folder / "raw.txt").write_text("1\n")
    shell.write(SPEC)
    assert shell("run", "spec.yaml").code == 0
    assert shell("rerun", "make", "--yes", "--work").code == 0
    assert not was_reused(shell)


def test_restart_runs_jobs_with_no_reuse(shell: Shell) -> None:
    shell.write(SPEC + "defaults: {cache: true}\n")
    raw = shell.folder / "raw.txt"
    for text in ("1\n", "2\n"):
        raw.write_text(text)
        assert shell("run", "spec.yaml", "--yes").code == 0
    raw.write_text("1\n")
    assert shell("restart", "--yes", "--work").code == 0
    assert was_reused(shell)
    raw.write_text("2\n")
    assert shell("restart", "--yes", "--work", "--no-reuse").code == 0
    assert not was_reused(shell)


def test_no_reuse_of_a_restart_needs_work(shell: Shell) -> None:
    refused = shell("restart", "--no-reuse", "--yes")
    assert (refused.code, "--no-reuse needs --work" in refused.err) == (64, True)
