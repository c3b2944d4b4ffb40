"""`rekindle cache`: what it lists, removes, asks, refuses and verifies, on the command line and in Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_shell import Shell

from rekindle import BadValue, Client, UsageError

SPEC = """
name: sweep
defaults: {cache: true}
jobs:
  make:
    matrix: {i: [0, 1]}
    run: "head -c 2000000 /dev/zero | tr '\\\\0' ${matrix.i} > o${matrix.i}"
    outputs: {o: "o${matrix.i}"}
"""


@pytest.fixture
def swept(shell: Shell) -> Shell:
    shell.write(SPEC)
    assert shell("run", "spec.yaml").code == 0
    return shell


def poison(shell: Shell) -> str:
    """Flip a bit of a content; return its digest."""
    path = min((shell.folder / ".rekindle" / "cache" / "contents").glob("*/*"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return f"{path.parent.name}{path.name}"


def test_list_shows_attempts_and_the_size_beside_the_bound(swept: Shell) -> None:
    done = swept("cache", "list")
    assert "make[i=0]" in done.out
    assert done.out.endswith("2 contents, 3.8 MiB of at most 10.0 GiB; equal ones are stored once\n")
    document = swept("cache", "list", "-w", "sweep", "--json").json
    assert (document["contents"], document["bytes"], document["limit"]) == (2, 4_000_000, 10 << 30)
    assert [(one["name"], one["bytes"]) for one in document["attempts"]] == [
        ("make[i=0]", 2_000_000),
        ("make[i=1]", 2_000_000),
    ]
    lines = swept("cache", "list", "--jsonl", "--limit", "1").out.splitlines()
    assert json.loads(lines[0]) == document["attempts"][0]
    assert len(lines) == 1


def test_an_empty_cache_is_listed_and_verified(shell: Shell) -> None:
    shell.write(SPEC.replace("cache: true", "cache: false"))
    shell("run", "spec.yaml")
    assert shell("cache", "list").out.startswith("0 contents, ")
    assert shell("cache", "verify").code == 0
    assert shell("cache", "prune", "--max-size", "0B").out == "nothing to remove\n"


def test_prune_shows_what_goes_and_asks(swept: Shell) -> None:
    done = swept("cache", "prune", "--max-size", "2M", "--dry-run")
    assert "the outputs of 1 attempt: 1 content, 1.9 MiB; 1.9 MiB stay" in done.out
    refused = swept("cache", "prune", "--max-size", "2M")
    assert refused.code == 1
    assert "there is no terminal to ask on" in refused.err
    assert len(swept("cache", "list", "--json").json["attempts"]) == 2
    document = swept("cache", "prune", "--max-size", "2M", "--yes", "--json").json
    assert document["pruned"]
    assert [one["name"] for one in document["attempts"]] == ["make[i=0]"]
    assert swept("cache", "prune", "--older-than", "30d", "--yes").out == "nothing to remove\n"
    assert len(swept("cache", "list", "--json").json["attempts"]) == 1
    assert swept("cache", "prune", "--older-than", "0s", "--yes").code == 0
    assert swept("cache", "list", "--json").json["bytes"] == 0
    assert (swept.folder / "o0").exists()


def test_prune_without_a_rule_is_wrong_usage(swept: Shell) -> None:
    done = swept("cache", "prune", "--yes")
    assert done.code == 64
    assert "--older-than 30d, --max-size 20G, or both" in done.err
    bare = swept("cache", "prune", "--max-size", "20")
    assert bare.code == 64
    assert "--max-size" in bare.err
    assert swept("cache", "list", "-w", "nothing").code == 1


def test_verify_names_poisoned_contents_and_sets_them_aside(swept: Shell) -> None:
    digest = poison(swept)
    checked = swept("store", "check", "--deep")
    assert checked.code == 1
    assert f"the cached content {digest} has changed on the disk" in checked.out
    done = swept("cache", "verify")
    assert done.code == 1
    assert f"{digest[:10]} has changed on the disk, and was set aside: attempt " in done.out
    assert (swept.folder / ".rekindle" / "cache" / "poisoned" / digest).exists()
    again = swept("cache", "verify", "--json")
    assert again.code == 0
    assert again.json == {"sound": True, "contents": 1, "bytes": 2_000_000, "poisoned": [], "incomplete": []}
    assert "cache_poisoned" in swept("events", "list").out
    assert swept("store", "check", "--deep").code == 0


def test_a_bound_that_is_no_size_is_an_error(swept: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REKINDLE_CACHE_SIZE", "big")
    done = swept("cache", "list")
    assert done.code == 64
    assert "REKINDLE_CACHE_SIZE is 'big'" in done.err


def test_python_does_the_same(swept: Shell) -> None:
    with Client(Path(swept.folder) / ".rekindle") as client:
        found = client.cache.list("sweep")
        assert [one.name for one in found] == ["make[i=0]", "make[i=1]"]
        assert client.cache.verify().sound
        planned = client.cache.prune(max_size="2M", dry_run=True)
        assert (planned.pruned, [one.id for one in planned.attempts]) == (False, [found[0].id])
        assert client.cache.prune(max_size=2 << 20).pruned
        assert len(client.cache.list()) == 1
        with pytest.raises(UsageError):
            client.cache.prune()
        with pytest.raises(BadValue, match="max_size='20'"):
            client.cache.prune(max_size="20")
