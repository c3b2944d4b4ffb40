"""A workflow has one source file: a spec from another file replaces it only on request."""

from __future__ import annotations

import shutil

import pytest
from cli_shell import Shell

from made_once import made_once
from rekindle import Workflow
from rekindle.domain.errors import SubmitRefused

ONE = "{name: weather, jobs: {a: {run: 'true'}, b: {run: 'true'}}}"
OTHER = "{name: weather, jobs: {c: {run: 'true'}}}"


@pytest.fixture
@made_once
def weather(shell: Shell) -> Shell:
    """A workflow of two jobs that has run, and another file of its name beside it."""
    shell.write(ONE, "weather.yaml")
    shell.write(OTHER, "b.yaml")
    assert shell("run", "weather.yaml").code == 0
    return shell


def jobs(shell: Shell, *words: str) -> list[str]:
    return [job["name"] for job in shell("jobs", "list", "--json", *words).json["jobs"]]


@pytest.mark.parametrize(
    "words",
    [
        ("submit", "b.yaml"),
        ("run", "b.yaml"),
        ("run", "b.yaml", "--dry-run"),
        ("submit", "b.yaml", "--json"),
        ("rerun", "a", "--submit", "b.yaml", "--yes"),
        ("rerun", "a", "--submit", "b.yaml", "--dry-run"),
    ],
)
def test_another_file_of_the_same_name_is_refused(weather: Shell, words: tuple[str, ...]) -> None:
    done = weather(*words)
    assert done.code == 1
    assert f"from the file {weather.folder}/weather.yaml" in done.err
    assert f"from the file {weather.folder}/b.yaml" in done.err
    assert "--as NAME" in done.err
    assert "--revise" in done.err
    assert jobs(weather) == ["a", "b"]


def test_a_name_that_is_given_with_as_counts(weather: Shell) -> None:
    weather.write(OTHER.replace("weather", "climate"), "c.yaml")
    assert weather("run", "c.yaml", "--as", "weather").code == 1
    assert weather("run", "c.yaml").code == 0
    assert weather("run", "b.yaml", "--as", "other").code == 0
    assert weather("run", "b.yaml", "--new").code == 0
    assert weather("submit", "b.yaml", "--new", "--revise").code == 64
    assert jobs(weather, "-w", "1") == ["a", "b"]


def test_revise_makes_another_file_the_next_revision_and_the_workflow_s_file(weather: Shell) -> None:
    seen = weather("submit", "b.yaml", "--revise", "--dry-run")
    assert (seen.code, jobs(weather)) == (0, ["a", "b"])
    done = weather("run", "b.yaml", "--revise")
    assert done.code == 0
    assert f"came from {weather.folder}/weather.yaml\n" in done.err
    assert jobs(weather) == ["c"]
    assert weather("submit", "weather.yaml").code == 1
    assert weather("submit", "b.yaml", "--json").json["unchanged"] is True
    weather.write(OTHER + "\n# touched", "b.yaml")
    assert "differs from revision 2" in weather("status").out
    assert "differs from revision 2" in weather("why", "c").err
    assert "differs from revision 2" in weather("rerun", "c", "--dry-run").err


def test_rerun_takes_revise_with_a_spec_only(weather: Shell) -> None:
    weather.write("{name: weather, jobs: {a: {run: 'true'}}}", "b.yaml")
    assert weather("rerun", "a", "--submit", "b.yaml", "--revise", "--yes").code == 0
    assert jobs(weather) == ["a"]
    refused = weather("rerun", "a", "--revise", "--yes")
    assert (refused.code, "--submit SPEC --revise" in refused.err) == (64, True)


def test_a_file_that_was_renamed_goes_on_as_the_next_revision(weather: Shell) -> None:
    (weather.folder / "weather.yaml").rename(weather.folder / "w.yaml")
    assert "the spec file is gone" in weather("status").out
    done = weather("submit", "w.yaml", "--json")
    assert (done.json["unchanged"], done.json["replaces"]) == (True, f"{weather.folder}/weather.yaml")
    assert weather("status", "--json").json["workflows"][0]["source"] == f"{weather.folder}/w.yaml"
    assert weather("submit", "w.yaml", "--json").json["replaces"] is None
    (weather.folder / "w.yaml").unlink()
    told = weather("submit", "b.yaml")
    assert (told.code, "w.yaml, which is gone" in told.err, jobs(weather)) == (0, True, ["c"])


def test_a_copy_with_the_same_bytes_is_another_file_and_a_link_is_not(weather: Shell) -> None:
    shutil.copy(weather.folder / "weather.yaml", weather.folder / "copy.yaml")
    (weather.folder / "link.yaml").symlink_to("weather.yaml")
    assert weather("submit", "copy.yaml").code == 1
    assert weather("submit", "link.yaml").code == 0
    assert weather("submit", "./weather.yaml").code == 0


def test_a_workflow_made_in_python_and_one_from_a_file_do_not_replace_each_other(weather: Shell) -> None:
    made = Workflow("weather", directory=weather.folder)
    made.job("d", run="true")
    with pytest.raises(SubmitRefused, match=r"from the file .*weather\.yaml, and this one is from Python"):
        made.submit()
    assert made.submit(revise=True).added == ("d",)
    made.job("e", run="true")
    assert made.submit().added == ("e",)
    refused = weather("submit", "weather.yaml")
    assert (refused.code, "from Python, and this one is from the file" in refused.err) == (1, True)
    assert weather("submit", "weather.yaml", "--revise").code == 0
