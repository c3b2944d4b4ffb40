"""What the sdist and the wheel contain, and that each build of the same files gives the same bytes."""

from __future__ import annotations

import email
import email.message
import os
import re
import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from installed import ROOT, build_in, readme

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IN_SDIST = {
    *(".ci", "benchmarks", "demo", "docs", "examples", "scripts", "src", "tests"),
    *("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "constraints.txt"),
    *(".gitignore", "PKG-INFO", "pyproject.toml"),
}
SUFFIXES_IN_WHEEL = {
    *(".css", ".html", ".js", ".py", ".sql", ".svg", ".tcss", ".yaml"),
    *(".bash", ".fish", ".tsv", ".zsh"),  # completion in shells
}
NAMES_IN_WHEEL = {"py.typed", "LICENSE.htmx"}  # files with other suffixes
RELATIVE_LINK = re.compile(r"""(?:\]\(|\b(?:src|srcset|href)=")(?!https://|#)[^)"\s]*""")


def source_files(under: str = ".") -> set[str]:
    """Return the files of the checkout that git does not ignore."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", under]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()}


def wheel_in(folder: Path) -> Path:
    [wheel] = folder.glob("*.whl")
    return wheel


def sdist_in(folder: Path) -> Path:
    [sdist] = folder.glob("*.tar.gz")
    return sdist


@pytest.fixture
def in_wheel(built: Path) -> set[str]:
    with zipfile.ZipFile(wheel_in(built / "dist")) as wheel:
        return set(wheel.namelist())


@pytest.fixture
def metadata(built: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel_in(built / "dist")) as wheel:
        [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_string(wheel.read(name).decode())


def test_the_wheel_has_the_files_of_the_package_and_no_others(in_wheel: set[str]) -> None:
    package = {name for name in in_wheel if name.startswith("rekindle/")}
    assert package == {name.removeprefix("src/") for name in source_files("src/rekindle")}
    assert {name.split("/")[0].partition("-")[0] for name in in_wheel - package} == {"rekindle"}
    assert all(".dist-info/" in name for name in in_wheel - package)
    odd = [name for name in package if Path(name).suffix not in SUFFIXES_IN_WHEEL]
    assert [name for name in odd if Path(name).name not in NAMES_IN_WHEEL] == []


def test_the_public_fakes_are_in_the_wheel(in_wheel: set[str]) -> None:
    """`rekindle.testing` is for tests of users' own executors."""
    assert {"rekindle/testing/__init__.py", "rekindle/testing/placements.py"} <= in_wheel


def test_the_sdist_has_the_files_of_the_repository_and_no_others(built: Path) -> None:
    with tarfile.open(sdist_in(built / "dist")) as sdist:
        names = {member.name.partition("/")[2] for member in sdist.getmembers()}
    assert {name.split("/")[0] for name in names} == IN_SDIST
    wanted = {name for name in source_files() if name.split("/")[0] in IN_SDIST}
    assert names == wanted | {"PKG-INFO"}


def test_the_checkout_has_no_file_that_the_sdist_leaves_out() -> None:
    """A file that a tool or a test has left at the top is committed by mistake."""
    assert {name.split("/")[0] for name in source_files()} <= IN_SDIST


def test_each_build_of_the_same_files_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    """Also from another folder, with other times and other permissions."""
    copy = tmp_path / "another"
    for name in source_files():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
        (copy / name).chmod(0o600 | (ROOT / name).stat().st_mode & 0o100)
        os.utime(copy / name, (1, 1))
    second = build_in(tmp_path / "dist", copy, built / "tools")
    for found in (wheel_in, sdist_in):
        assert found(second).read_bytes() == found(built / "dist").read_bytes(), found(second).name


def test_licences_of_vendored_files_are_installed(in_wheel: set[str], metadata: email.message.Message) -> None:
    vendored = {path.name for path in (ROOT / "src/rekindle/web/static/vendor").glob("LICENSE*")}
    assert vendored
    installed = {Path(name).name for name in in_wheel if ".dist-info/licenses/" in name}
    assert installed == {"LICENSE"} | vendored
    assert metadata["License-Expression"] == "Apache-2.0 AND 0BSD"


def test_the_long_description_has_no_relative_link(metadata: email.message.Message) -> None:
    assert RELATIVE_LINK.findall(readme()), "README links to files of the repository"
    assert RELATIVE_LINK.findall(metadata.get_payload()) == []


def test_each_link_to_the_repository_leads_to_a_file(metadata: email.message.Message) -> None:
    links = re.findall(rf"{PROJECT['urls']['Source']}/(?:blob|raw)/main/([^)#\"\s]*)", metadata.get_payload())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_project_urls_begin_with_one_address(metadata: email.message.Message) -> None:
    urls = dict(entry.split(", ", 1) for entry in metadata.get_all("Project-URL", []))
    assert {"Homepage", "Documentation", "Changelog", "Source", "Issues"} == urls.keys()
    assert {url for url in urls.values() if not url.startswith(urls["Source"])} == set()


def test_each_extra_is_in_the_metadata(metadata: email.message.Message) -> None:
    assert set(metadata.get_all("Provides-Extra", [])) == PROJECT["optional-dependencies"].keys()
