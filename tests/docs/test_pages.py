"""Tutorials, READMEs and pages that say so: each command, typed at 80 columns, prints what the page shows.

With `--write` (`make pages`), a page that differs gets what was printed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from console_blocks import ROOT, TYPED, begin, blocks, check_page, executed_pages

PAGES = {str(page.relative_to(ROOT)): page for page in executed_pages()}
ELSEWHERE = "examples/ziggy/README.md"  # begins in a clone; tests/dialects/ziggy runs its pipelines
CONSOLE = "docs/tutorials/console.md"  # tests/web/test_console_tutorial.py types it, and clicks in a browser


@pytest.mark.parametrize("name", sorted(PAGES.keys() - {ELSEWHERE, CONSOLE}))
def test_each_command_prints_what_the_page_shows(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder_name, requirement = begin(PAGES[name])
    folder = tmp_path / (folder_name or "work")
    environment = {**os.environ, **required(requirement, request)}
    if name.startswith("examples/"):
        shutil.copytree(PAGES[name].parent, folder)
    else:
        folder.mkdir()
    check_page(PAGES[name], folder, environment, write=request.config.getoption("--write"))


def required(requirement: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the variables of a requirement of a page. Skip the test if the requirement is not met."""
    if requirement == "slurm":
        return dict(request.getfixturevalue("slurm").environment)
    if requirement == "sklearn":
        pytest.importorskip("sklearn", reason="scikit-learn comes with the extra demo")
    elif requirement and shutil.which(requirement) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{requirement} is not installed")
    return {}


def test_each_tutorial_and_example_has_commands() -> None:
    expected = {*ROOT.glob("docs/tutorials/*.md"), *ROOT.glob("examples/*/README.md"), ROOT / "README.md"}
    assert expected - set(PAGES.values()) == {ROOT / "docs/tutorials/index.md"}
    assert all(TYPED.search(block) for page in PAGES.values() for block in blocks(page, "console"))


PAGE = """# A page
```yaml
# one.yaml
name: one
```

```console
$ mkdir -p deep; cd deep; word=kept
$ echo $word; pwd; false
kept
/home/user/work/deep
$ echo $?; cat ../one.yaml |
> grep name
1
name: one
```
"""


def test_a_page_is_typed_in_one_shell(tmp_path: Path) -> None:
    folder, page = tmp_path / "work", tmp_path / "page.md"
    folder.mkdir()
    page.write_text(PAGE)
    check_page(page, folder)


def test_a_page_that_shows_something_else_fails_and_can_be_written(tmp_path: Path) -> None:
    folder, page = tmp_path / "work", tmp_path / "page.md"
    folder.mkdir()
    page.write_text(PAGE.replace("kept\n/home", "lost\n/home"))
    with pytest.raises(pytest.fail.Exception, match="make pages"):
        check_page(page, folder)
    check_page(page, folder, write=True)
    assert page.read_text() == PAGE


def test_a_page_wider_than_80_columns_fails(tmp_path: Path) -> None:
    folder, page = tmp_path / "work", tmp_path / "page.md"
    folder.mkdir()
    page.write_text("```console\n$ printf 'x%80s' x\n```\n")
    with pytest.raises(AssertionError, match="80 columns"):
        check_page(page, folder, write=True)


def test_a_command_that_serves_needs_a_test_of_its_own(tmp_path: Path) -> None:
    folder, page = tmp_path / "work", tmp_path / "page.md"
    folder.mkdir()
    page.write_text("```console\n$ serve it\nserving\n^C\n$ echo next\nnext\n```\n")
    check_page(page, folder, serve=lambda line: {"serve it": "serving\n"}[line])
    with pytest.raises(AssertionError, match="no test does what the page says"):
        check_page(page, folder)
