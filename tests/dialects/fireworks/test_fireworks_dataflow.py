"""FireWorks' dataflow tasks pass data from firework to firework."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rekindle.dialects.fireworks.flow import define_flow
from rekindle.dialects.fireworks.flow_file import read_flow
from rekindle.domain.selection import Selection
from rekindle.domain.states import State
from rekindle.engine.queries import job_queries, selections
from rekindle.engine.results import WorkOptions
from rekindle.engine.running.work import work
from rekindle.engine.session import open_session
from rekindle.engine.submit.submit import submit

SQUARES = {"_fw_name": "PyTask", "func": "math.prod", "inputs": ["numbers"], "outputs": ["products"]}
COUNTED = {
    "command": ["wc", "-c"],
    "report": {"source": {"type": "path", "value": "report.txt"}, "target": {"type": "stdin"}},
    "count": {"source": {"type": "stdout"}, "target": {"type": "data", "value": ""}},
}
WORKFLOW: dict[str, Any] = {
    "name": "products",
    "fws": [
        {
            "fw_id": 1,
            "name": "part",
            "spec": {
                "_tasks": [
                    {
                        "_fw_name": "FileWriteTask",
                        "files_to_write": [{"filename": "n.json", "contents": "[1,2,3,4,5]"}],
                    },
                    {"_fw_name": "ImportDataTask", "filename": "n.json", "mapstring": "numbers"},
                    {"_fw_name": "ForeachTask", "split": "numbers", "number of chunks": 2, "task": SQUARES},
                ]
            },
        },
        {
            "fw_id": 2,
            "name": "join",
            "spec": {
                "lattice": "fcc",
                "_tasks": [
                    {"_fw_name": "PyTask", "func": "sorted", "inputs": ["products"], "outputs": ["sorted"]},
                    {"_fw_name": "JoinDictTask", "inputs": ["sorted", "lattice"], "output": "all"},
                    {"_fw_name": "JoinListTask", "inputs": ["lattice", "sorted"], "output": "list"},
                ],
            },
        },
        {
            "fw_id": 3,
            "name": "report",
            "spec": {
                "_tasks": [
                    {"_fw_name": "ScriptTask", "script": "cat > report.txt", "stdin_key": "lattice"},
                    {
                        "_fw_name": "CommandLineTask",
                        "command_spec": COUNTED,
                        "inputs": ["report"],
                        "outputs": ["count"],
                    },
                    {"_fw_name": "PyTask", "func": "repr", "inputs": ["list"], "stored_data_varname": "told"},
                ],
                "lattice": "bcc",
            },
        },
    ],
    "links": {"1": [2], "2": [3]},
}


def test_foreach_splits_a_list_and_join_merges_the_results(tmp_path: Path) -> None:
    with open_session(str(tmp_path / ".rekindle"), create=True) as session:
        submit(session, define_flow(read_flow(WORKFLOW), str(tmp_path)), new=True)
        work(session, WorkOptions(slots=2))
        rows = job_queries.jobs(session, selections.select(session, Selection(everything=True)))
        assert [row.job.state for row in rows] == [State.COMPLETED] * 5
        ids = {row.job.name: row.job.id for row in rows}
        did = {
            name: [json.loads(step.result or "{}") for step in job_queries.attempts(session, [job])[-1].steps]
            for name, job in ids.items()
        }
    chunks = sorted((did[name] for name in did if name.startswith("ForeachTask")), key=str)
    assert chunks == [[{"mod_spec": [{"_push": {"products": 20}}]}], [{"mod_spec": [{"_push": {"products": 6}}]}]]
    joined = did["join"]
    assert joined[0] == {"update_spec": {"sorted": [6, 20]}}
    assert joined[1] == {"update_spec": {"all": {"sorted": [6, 20], "lattice": "fcc"}}}
    assert joined[2]["update_spec"] == {"list": ["fcc", [6, 20]]}
    reported = did["report"]
    assert reported[1] == {"update_spec": {"count": {"type": "data", "value": "3"}}}
    assert reported[2] == {"stored_data": {"told": "['fcc', [6, 20]]"}}
