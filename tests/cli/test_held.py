"""Commands report held jobs, and how to release them."""

from __future__ import annotations

from cli_shell import Shell


def test_work_and_status_say_what_is_held_and_how_it_is_let_go(shell: Shell) -> None:
    shell.write("name: w\njobs: {a: {run: 'true'}, b: {run: 'true'}, c: {needs: [a], run: 'true'}}\n")
    shell("submit", "spec.yaml")
    shell("hold", "a", "--reason", "reset")
    shell("hold", "b", "--reason", "licence")
    done = shell("work")
    assert (done.code, "ran: nothing" in done.err) == (0, True)
    assert "1 job is held: reset    let go: rekindle restart\n" in done.err
    assert "1 job is held: licence    let go: rekindle release -f held=true\n" in done.err
    status = shell("status", "--json").json["workflows"][0]
    assert (status["state"], status["held"]) == ("held", {"licence": 1, "reset": 1})
    assert "no runner is alive" not in shell("status").out
    assert "held: reset    let go: rekindle restart -w 1" in shell("status").out
    shell("release", "-f", "held=true")
    assert shell("work", "--json").json["held"] == {}
    assert shell("status", "--json").json["workflows"][0]["state"] == "completed"
