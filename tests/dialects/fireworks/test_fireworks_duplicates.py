"""Duplicates: launches that fireworks share, reruns of all of them together, and users' duplicate finders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flow_folder import Flows, fw, in_folder, py, wf
from lpad_folder import Lpad

from rekindle.dialects.fireworks import LaunchPad

EXACT = {"_fw_name": "DupeFinderExact"}

FINDERS = """\
class BySize:
    def verify(self, spec1, spec2):
        return spec1["size"] == spec2.get("size")

class Colour:
    def query(self, spec):
        return {"spec.colour": spec["colour"]}

class ByQuery(Colour):
    def verify(self, spec1, spec2):
        raise NotImplementedError

class Breaks:
    def verify(self, spec1, spec2):
        raise LookupError("no sizes")

class Neither:
    pass
"""


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flows:
    """A store beside a module of duplicate finders."""
    in_folder(tmp_path, monkeypatch)
    (tmp_path / "dupe_finders.py").write_text(FINDERS)
    return Flows(tmp_path)


def timed(number: int, finder: Any = EXACT, **spec: Any) -> dict[str, Any]:
    """A firework whose result differs each time it runs."""
    return fw(number, py("time.time_ns", outputs=["at"]), name=f"t{number}", _dupefinder=finder, **spec)


def run(flows: Flows) -> int:
    """Run everything that is ready, several at once."""
    return flows("work", "-j", "3")


def seen(flows: Flows, number: int) -> Any:
    """Return the value that the live launch of a firework has."""
    action = LaunchPad(store=flows.url).get_fw_dict_by_id(number)["launches"][-1]["action"]
    return action["update_spec"]["at"]


@pytest.fixture
def shared(flows: Flows) -> tuple[Flows, list[int]]:
    """Three fireworks of two workflows that share a launch, and one with another spec."""
    two = flows.add(wf(timed(1), timed(2), fw(3, py("builtins.print"), name="below"), links={2: [3]}, name="two"))
    assert run(flows) == 0
    other = flows.add(wf(timed(1), timed(2, size=2), name="other"))
    assert run(flows) == 0
    ids = [two[1], two[2], two[3], other[1], other[2]]
    assert len({seen(flows, ids[at]) for at in (0, 1, 3)}) == 1
    assert seen(flows, ids[4]) != seen(flows, ids[0])
    return flows, ids


def test_fireworks_that_share_a_launch_are_rerun_together(shared: Any, lpad: Lpad) -> None:
    flows, (first, second, below, far, alone) = shared
    before = seen(flows, first)
    told = lpad.ok("rerun_fws", "-i", second, "--dry-run")
    assert told.out.splitlines() == [
        f"Would also rerun duplicate fw_id: {first}",
        f"Would also rerun duplicate fw_id: {far}",
        "Would set 1 FWs to rerun",
    ]
    assert flows.state(first) == "COMPLETED"
    told = lpad.ok("rerun_fws", "-i", second)
    assert told.out.splitlines() == [
        f"Also rerunning duplicate fw_id: {first}",
        f"Also rerunning duplicate fw_id: {far}",
        "Finished setting 1 FWs to rerun",
    ]
    assert [flows.state(one) for one in (first, second, below, far, alone)] == [
        *("READY", "READY", "WAITING", "READY", "COMPLETED")
    ]
    assert run(flows) == 0
    assert len({before, *(seen(flows, one) for one in (first, second, far))}) == 2


def test_one_undo_reverts_the_rerun_of_all_duplicates(shared: Any, lpad: Lpad) -> None:
    flows, (first, second, _, far, _) = shared
    before = seen(flows, first)
    lpad.ok("rerun_fws", "-i", far)
    jobs = {one["id"]: one["reasons"] for one in json.loads(lpad.rekindle("reruns", "show", "1", "--json").out)["jobs"]}
    shares = {"kind": "duplicate", "job": far, "name": flows.job(far).name}
    assert [shares in jobs[one] for one in (first, second, far)] == [True, True, False]
    assert f"shares the result of {flows.job(far).name}" in lpad.rekindle("reruns", "show", "1").out
    assert lpad.rekindle("undo", "1").code == 0
    assert [flows.state(one) for one in (first, second, far)] == ["COMPLETED"] * 3
    assert {seen(flows, one) for one in (first, second, far)} == {before}


def test_a_script_gets_the_ids_of_all_that_are_rerun(shared: Any) -> None:
    flows, (first, second, _, far, alone) = shared
    pad = LaunchPad(store=flows.url)
    assert pad.rerun_fw(alone) == [alone]
    assert pad.rerun_fw(second, rerun_duplicates=False) == [second]
    assert run(flows) == 0
    assert seen(flows, second) != seen(flows, first)  # it ran, though others have its spec
    assert pad.rerun_fw(far) == [far, first]


def test_a_defused_firework_is_rerun_with_its_duplicates(shared: Any, lpad: Lpad) -> None:
    flows, (first, second, _, far, _) = shared
    pad = LaunchPad(store=flows.url)
    pad.defuse_fw(first, rerun_duplicates=False)
    assert [flows.state(one) for one in (first, second, far)] == ["DEFUSED", "COMPLETED", "COMPLETED"]
    lpad.ok("defuse_fws", "-i", second)
    assert [flows.state(one) for one in (first, second, far)] == ["DEFUSED", "DEFUSED", "READY"]


def test_a_duplicate_that_is_held_is_named_and_left(shared: Any, lpad: Lpad) -> None:
    flows, (first, second, _, far, _) = shared
    lpad.rekindle("workflows", "archive", "other")
    told = lpad.ok("rerun_fws", "-i", first)
    assert f"left as it is: {far} {flows.job(far).name}: its workflow is archived" in told.err
    assert told.out.splitlines() == [f"Also rerunning duplicate fw_id: {second}", "Finished setting 1 FWs to rerun"]


def test_a_duplicate_waits_for_the_launch_that_began_before_it(flows: Flows) -> None:
    tasks = (py("time.sleep", 0.7), py("time.time_ns", outputs=["at"]))
    ids = flows.add(wf(*(fw(number, *tasks, _dupefinder=EXACT) for number in (1, 2, 3))))
    assert run(flows) == 0
    assert len({seen(flows, one) for one in ids.values()}) == 1
    assert len({one.started for number in ids.values() for one in flows.launches(number)}) == 3


def test_a_duplicate_of_what_fizzles_runs_itself(flows: Flows) -> None:
    tasks = (py("time.sleep", 0.3), py("flow_functions.note", str(flows.folder / "ran")), py("builtins.int", "x"))
    ids = flows.add(wf(*(fw(number, *tasks, _dupefinder=EXACT) for number in (1, 2))))
    assert run(flows) == 2
    assert [flows.state(one) for one in ids.values()] == ["FIZZLED", "FIZZLED"]
    assert (flows.folder / "ran").read_text() == "ran\nran\n"


@pytest.mark.parametrize(
    ("name", "specs", "distinct"),
    [
        ("{{dupe_finders.BySize}}", [{"size": 1}, {"size": 2}, {"size": 1, "more": 0}], 2),
        ("dupe_finders:Colour", [{"colour": "red"}, {"colour": "blue"}, {"colour": "red"}], 2),
        ("{{dupe_finders.ByQuery}}", [{"colour": "red"}, {"colour": "blue"}, {"colour": "blue"}], 2),
    ],
)
def test_a_users_duplicate_finder_decides(flows: Flows, name: str, specs: Any, distinct: int) -> None:
    finder = {"_fw_name": name}
    chained = [timed(at, finder, **spec) for at, spec in enumerate(specs, 1)]
    ids = flows.add(wf(*chained, links={1: [2], 2: [3]}))
    assert run(flows) == 0
    assert len({seen(flows, one) for one in ids.values()}) == distinct


def test_the_first_of_those_that_share_a_launch_needs_no_finder(flows: Flows) -> None:
    plain = fw(1, py("time.time_ns", outputs=["at"]), size=1)
    ids = flows.add(wf(plain, timed(2, {"_fw_name": "{{dupe_finders.BySize}}"}, size=1), links={1: [2]}))
    assert run(flows) == 0
    assert seen(flows, ids[1]) == seen(flows, ids[2])
    pad = LaunchPad(store=flows.url)
    assert pad.rerun_fw(ids[2]) == [ids[2], ids[1]]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{{dupe_finders.Missing}}", "there is no duplicate finder 'dupe_finders.Missing'"),
        ("{{dupe_finders.Neither}}", "there is no duplicate finder 'dupe_finders.Neither'"),
        ("{{no_such_module.Mine}}", "there is no duplicate finder 'no_such_module.Mine'"),
        ("Mine", "there is no duplicate finder 'Mine'"),
        ("{{own.DupeFinderExact}}", "there is no duplicate finder 'own.DupeFinderExact'"),
    ],
)
def test_an_unknown_duplicate_finder_is_refused_at_add(flows: Flows, lpad: Lpad, name: str, said: str) -> None:
    document = wf(timed(1), timed(2, {"_fw_name": name}))
    (flows.folder / "w.json").write_text(json.dumps(document))
    done = lpad("add", "w.json")
    assert done.code == 1
    assert f"the firework 2 has the `_dupefinder` {name.strip('{}')!r}: {said}" in done.err
    with pytest.raises(Exception, match="duplicate finder"):
        LaunchPad(store=flows.url).add_wf(document)
    assert LaunchPad(store=flows.url).get_fw_ids() == []


def test_a_duplicate_finder_that_is_written_later_is_found(flows: Flows) -> None:
    pad, document = LaunchPad(store=flows.url), wf(timed(1, {"_fw_name": "{{later.Finder}}"}))
    with pytest.raises(Exception, match=r"there is no duplicate finder 'later.Finder'"):
        pad.add_wf(document)
    (flows.folder / "later.py").write_text("class Finder:\n    def verify(self, one, other):\n        return False\n")
    assert pad.add_wf(document) == {1: 1}
    assert run(flows) == 0


def test_an_exception_of_a_users_duplicate_finder_fizzles_the_firework(flows: Flows) -> None:
    ids = flows.add(wf(timed(1), timed(2, {"_fw_name": "{{dupe_finders.Breaks}}"}), links={1: [2]}))
    assert run(flows) == 2
    (launch,) = flows.launches(ids[2])
    assert launch.failure is not None
    assert (launch.failure.type, launch.failure.message) == ("LookupError", "no sizes")
