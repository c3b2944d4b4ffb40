"""The wheel in a clean environment, with each supported Python, and with each extra alone."""

from __future__ import annotations

import pty
import re
import shutil
import subprocess
import tomllib
import urllib.request
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from installed import ROOT, Installed

from project_folder import until

Install = Callable[..., Installed]

CLASSIFIERS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
SUPPORTED = [found[1] for name in CLASSIFIERS if (found := re.search(r":: (3\.\d+)$", name))]

IMPORT_ALL = """
import importlib, pkgutil, rekindle
missing = set()
for module in pkgutil.walk_packages(rekindle.__path__, "rekindle."):
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        missing.add(error.name.partition(".")[0])
print(*sorted(missing))
"""

# What extras bring; without them these modules are not imported, and everything else is.
OF_EXTRAS = {
    *(
        "cloudpickle",
        "distributed",
        "fireworks",
        "h11",
        "jinja2",
        "markupsafe",
        "mcp_types",
        "pandas",
        "psycopg",
        "pyarrow",
        "pymongo",
        "pytest",
    ),
    *("rich", "starlette", "textual", "uvicorn"),
}

ONE = "{name: one, jobs: {only: {run: echo hi}}}"

DIGITS = """
name: digits
jobs: {fit: {run: python3 fit.py}}
"""
FIT = """
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier

print(RidgeClassifier().fit(*load_digits(return_X_y=True)).classes_)
"""

OWN_FIRETASK = """
from fireworks import FiretaskBase, Firework, FWAction, explicit_serialize

from rekindle.dialects.fireworks import LaunchPad


@explicit_serialize
class Melt(FiretaskBase):
    def run_task(self, fw_spec):
        return FWAction(stored_data={"melted": fw_spec["metal"]})


if __name__ == "__main__":
    import foundry

    LaunchPad().add_wf(Firework(foundry.Melt(), spec={"metal": "tin"}))
"""


@cache
def interpreter(version: str) -> str | None:
    """Return the path of an interpreter that runs: one on PATH, else one of pyenv's."""
    found = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}")]
    for path in map(str, filter(None, found)):
        if subprocess.run([path, "-c", "import venv, sqlite3"], capture_output=True, check=False).returncode == 0:
            return path
    return None


def python_of(version: str) -> str:
    return interpreter(version) or pytest.skip(f"no python{version} on PATH or of pyenv")


@pytest.mark.parametrize("version", SUPPORTED)
def test_the_first_minutes_work_with_the_installed_wheel(install: Install, version: str) -> None:
    """README's example without a warning of Python: run, see what failed, plan, rerun, undo, rerun, run again."""
    project = install(python=python_of(version))
    assert project.python("--version").startswith(f"Python {version}.")
    project.env["PYTHONWARNINGS"] = "error"
    project.write_readme_files()
    assert "1 failed" in project.rekindle("run", "weather.yaml", expect=2).stderr
    assert "ValueError" in project.rekindle("failures").stdout
    script = project.folder / "mean.py"
    script.write_text(script.read_text().replace("int(word)", "float(word)"))
    assert "2 jobs run again" in project.rekindle("rerun", "-s", "failed", "--dry-run").stdout
    project.rekindle("rerun", "-s", "failed", "--yes")
    assert project.states()["mean[city=rome]"] == "ready"
    project.rekindle("undo")
    assert project.states()["mean[city=rome]"] == "failed"
    project.rekindle("rerun", "-s", "failed", "--yes", "--work")
    assert set(project.states().values()) == {"completed"}
    assert "21.5" in project.rekindle("logs", "report").stdout
    assert len(project.attempts()) == len(project.states()) + 1
    project.rekindle("run", "weather.yaml", "--yes")
    assert "nothing to run" in project.rekindle("run", "weather.yaml").stderr

    missing = project.python("-W", "error", "-c", IMPORT_ALL).split()
    assert set(missing) <= OF_EXTRAS
    assert "Client" in project.python("-W", "error", "-c", "import rekindle; print(*dir(rekindle), rekindle.Client)")


def test_without_an_extra_the_message_says_how_to_install_it(install: Install) -> None:
    project = install()
    project.write("one.yaml", ONE)
    project.rekindle("run", "one.yaml")
    for extra, words in {
        "web": ("serve", "--port", "0"),
        "tui": ("top",),
        "mcp": ("mcp",),
        "postgres": ("--store", "postgresql://localhost/none", "status"),
        "dask": ("run", "one.yaml", "--executor", "dask", "--address", "tcp://127.0.0.1:1"),
    }.items():
        assert f"hint: pip install 'rekindle[{extra}]'" in project.rekindle(*words, expect=1).stderr


def test_with_the_web_extra_the_console_answers(install: Install) -> None:
    project = install("[web]")
    project.write("one.yaml", ONE)
    project.rekindle("run", "one.yaml")
    output = project.folder / "serve.txt"
    with open(output, "wb") as file:
        project.start("serve", "--port", "0", stdout=file, stderr=file)
    link = until(lambda: re.search(r"open (http://\S+)", output.read_text()), "it serves")
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with opener.open(link[1], timeout=60) as page:
        assert page.status == 200
        assert "one" in page.read().decode()


def test_with_the_tui_extra_top_shows_the_jobs(install: Install) -> None:
    project = install("[tui]")
    project.write("one.yaml", ONE)
    project.rekindle("run", "one.yaml")
    own, terminal = pty.openpty()
    with open(own, "r+b", buffering=0) as screen, open(terminal, "wb", buffering=0) as other:
        env = project.env | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        top = subprocess.Popen(
            [*project.command, "top"], cwd=project.folder, env=env, stdin=other, stdout=other, stderr=other
        )
        project.started.append(top)
        shown = b""
        while b"only" not in shown:
            shown += screen.read(1 << 16)
        screen.write(b"q")
        while b"\x1b[?1049l" not in shown:  # the screen is put back
            shown += screen.read(1 << 16)
        assert top.wait(timeout=60) == 0


def test_with_the_postgres_extra_a_store_is_on_a_server(install: Install, postgres_server: str) -> None:
    project = install("[postgres]")
    project.env["REKINDLE_STORE"] = postgres_server
    project.write("one.yaml", ONE)
    project.rekindle("run", "one.yaml")
    assert project.states() == {"only": "completed"}


@pytest.mark.soak
def test_with_the_dask_extra_jobs_run_on_a_cluster(install: Install, dask: str) -> None:
    project = install("[dask]")
    project.write("one.yaml", ONE)
    project.rekindle("run", "one.yaml", "--executor", "dask", "--address", dask)
    assert project.states() == {"only": "completed"}


@pytest.mark.soak
def test_with_the_fireworks_extra_own_firetasks_run(install: Install) -> None:
    project = install("[fireworks]")
    project.env["PYTHONPATH"] = "."
    project.write("foundry.py", OWN_FIRETASK)
    project.python("foundry.py")
    project.rekindle("rlaunch", "singleshot")
    assert "tin" in project.rekindle("lpad", "get_fws", "-d", "all").stdout


@pytest.mark.soak
def test_with_the_demo_extra_jobs_use_scikit_learn(install: Install) -> None:
    project = install("[demo]")
    project.write("digits.yaml", DIGITS)
    project.write("fit.py", FIT)
    project.rekindle("run", "digits.yaml")
    assert "[0 1 2 3 4 5 6 7 8 9]" in project.rekindle("logs", "fit").stdout
