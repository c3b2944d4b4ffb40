"""Placements are found by name: those of rekindle first, then the entry points of other packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from entry_points import installed

from rekindle.domain.errors import ExecutorError, UnknownWord, UsageError
from rekindle.executors.placements import find_placement

MODULE = """
class Tower:
    name = "tower"
    def __init__(self, address):
        self.address = address
"""


def test_an_entry_point_of_another_package_is_called_with_the_address(tmp_path: Path) -> None:
    (tmp_path / "tower_placement.py").write_text(MODULE)
    with installed(tmp_path, "tower", "tower_placement:Tower"):
        placement = find_placement("tower", "tower.example:99")
        assert (placement.name, placement.address) == ("tower", "tower.example:99")  # type: ignore[attr-defined]
        assert find_placement("tower", None).address is None  # type: ignore[attr-defined]


def test_an_unknown_name_is_refused_with_the_names_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "tower_placement.py").write_text(MODULE)
    with installed(tmp_path, "tower", "tower_placement:Tower"), pytest.raises(UnknownWord, match="'twoer'") as unknown:
        find_placement("twoer", None)
    assert unknown.value.hint == "executors here: dask, local, slurm, tower"


def test_a_built_in_name_precedes_an_entry_point(tmp_path: Path) -> None:
    (tmp_path / "tower_placement.py").write_text(MODULE)
    with installed(tmp_path, "dask", "tower_placement:Tower"), pytest.raises(UsageError, match="needs the address"):
        find_placement("dask", None)


@pytest.mark.parametrize(
    ("value", "why"), [("tower_placement:Spire", "Spire"), ("no_such_module_here:Tower", "no_such_module_here")]
)
def test_an_entry_point_that_cannot_be_loaded_names_its_package(tmp_path: Path, value: str, why: str) -> None:
    (tmp_path / "tower_placement.py").write_text(MODULE)
    with installed(tmp_path, "tower", value), pytest.raises(ExecutorError, match="rekindle-tower") as error:
        find_placement("tower", None)
    assert value in error.value.message
    assert why in error.value.message


def test_without_its_extra_dask_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "rekindle.executors.dask", raising=False)
    monkeypatch.delitem(sys.modules, "rekindle.executors.dask_elements", raising=False)
    with pytest.raises(ExecutorError, match="distributed, which is not installed") as missing:
        find_placement("dask", "tcp://127.0.0.1:8786")
    assert missing.value.hint == "pip install 'rekindle[dask]'"


def test_pytest_is_imported_by_the_contract_suite_alone() -> None:
    program = """
import pkgutil, sys
from importlib import import_module
import rekindle
for found in pkgutil.walk_packages(rekindle.__path__, "rekindle."):
    if found.name not in ("rekindle.testing.placements", "rekindle.__main__", "rekindle.worker.__main__"):
        try:
            import_module(found.name)
        except ModuleNotFoundError as error:
            assert not str(error.name).startswith("rekindle"), error
assert "pytest" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
