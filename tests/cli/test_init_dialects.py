"""`rekindle init --from torc` and `--from fireworks`."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_shell import Shell, commands_of

from rekindle.spec import load

TORC = """\
name: sims
description: three simulations
parameters: {seed: "1:3"}
files:
  - {name: raw, path: raw.csv}
  - {name: "o_{seed}", path: "out_{seed}.txt", use_parameters: [seed]}
user_data:
  - {name: cfg, data: {a: 1}}
resource_requirements:
  - {name: small, num_cpus: 1, memory: 100m, runtime: PT10M, num_nodes: 2}
failure_handlers:
  - {name: again, rules: [{exit_codes: [75], max_retries: 2}]}
slurm_schedulers:
  - {name: s, account: x}
jobs:
  - name: "sim_{seed}"
    command: "head -n {seed} ${files.input.raw} > ${files.output.o_{seed}}; echo ${X:-1} $TORC_JOB_NAME"
    use_parameters: [seed]
    resource_requirements: small
    failure_handler: again
  - {name: first, command: "echo 1 > first.txt", output_user_data: [cfg]}
  - {name: all, command: "cat out_*.txt > all.txt", depends_on_regexes: ["^sim_"], input_user_data: [cfg]}
actions:
  - {trigger_type: on_workflow_complete, action_type: run_commands, commands: ["cp all.txt done.txt"]}
  - {trigger_type: on_workflow_start, action_type: schedule_nodes, scheduler: s}
"""


def test_a_torc_spec_becomes_jobs_with_the_same_commands(shell: Shell) -> None:
    shell.write(TORC, "torc.yaml")
    shell.write("1\n2\n3\n", "raw.csv")
    done = shell("init", "--from", "torc", "torc.yaml")
    assert done.code == 0, done.err
    for said in ("torc.yaml:13: `slurm_schedulers`", "torc.yaml:8: user data cfg", "`num_nodes`", "schedules nodes"):
        assert said in done.out
    definition = load(shell.folder / "workflow.yaml")
    needs = {(definition.jobs[parent].name, definition.jobs[child].name) for parent, child in definition.edges}
    assert {("sim_1", "all"), ("first", "all"), ("all", "action_1_on_workflow_complete")} <= needs
    assert definition.templates[0].resources.time == 600
    assert definition.templates[0].retry[0].exit_codes == (75,)
    commands = commands_of(shell.folder / "workflow.yaml")
    assert commands["sim_2"] == ["head -n 2 raw.csv > out_2.txt; echo ${X:-1} $TORC_JOB_NAME"]
    assert shell("run", "workflow.yaml").code == 0
    assert (shell.folder / "done.txt").read_text() == "1\n1\n2\n1\n2\n3\n"
    assert shell("logs", "sim_2").out == "1 sim_2\n"


def test_a_converted_torc_spec_makes_the_files_that_torc_makes(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {}
    for way in ("torc", "converted"):
        folder = shell.folder / way
        folder.mkdir()
        monkeypatch.chdir(folder)
        (folder / "raw.csv").write_text("1\n2\n3\n")
        (folder / "torc.yaml").write_text(
            TORC.replace(", output_user_data: [cfg]", "").replace(", input_user_data: [cfg]", "")
        )
        if way == "torc":
            assert shell("torc", "run", "torc.yaml").code == 0
        else:
            assert shell("init", "--from", "torc", "torc.yaml").code == 0
            assert shell("run", "workflow.yaml").code == 0
        made[way] = {path.name: path.read_text() for path in folder.glob("*.txt")}
    assert len(made["torc"]) == 6
    assert made["torc"] == made["converted"]


FIREWORKS = """\
name: relax
metadata: {team: optics}
fws:
- fw_id: 1
  name: write input
  spec:
    _tasks:
    - {_fw_name: FileWriteTask, files_to_write: [{filename: in.txt, contents: "a\\nb ${x} 'q'\\n"}], dest: HERE}
    - {_fw_name: ScriptTask, script: ["cp HERE/in.txt x", "wc -l < x > HERE/n.txt"]}
    - {_fw_name: FileTransferTask, mode: copy, files: [{src: x, dest: HERE/copy.txt}]}
    - {_fw_name: FileDeleteTask, files_to_delete: [x]}
- fw_id: 2
  name: run
  spec:
    _priority: 5
    structure: Si
    _tasks:
    - {_fw_name: PyTask, func: os.makedirs, args: [HERE/made], kwargs: {exist_ok: true}}
    - {_fw_name: "{{fireworks.PyTask}}", func: os.symlink, kwargs: {src: made, dst: HERE/link}}
- fw_id: 3
  name: report
  spec:
    _allow_fizzled_parents: true
    _launch_dir: HERE
    _tasks:
    - {_fw_name: ScriptTask, script: 'cat n.txt > report.txt; echo said', stdout_file: o.txt, shell_exe: /bin/bash}
    EXTRA
links: {1: [2], 2: [3]}
"""


def flow(folder: Path, extra: str = "") -> str:
    return FIREWORKS.replace("HERE", str(folder)).replace("EXTRA", extra)


def test_a_fireworks_workflow_becomes_jobs(shell: Shell) -> None:
    shell.write(flow(shell.folder), "fw.yaml")
    done = shell("init", "--from", "fireworks", "fw.yaml")
    assert done.code == 0, done.err
    assert "fw.yaml: `metadata`" in done.out
    assert "fw.yaml:12: run: `structure`" in done.out
    definition = load(shell.folder / "workflow.yaml")
    assert [job.name for job in definition.jobs] == ["write-input", "run", "report"]
    assert definition.edges == [(0, 1), (1, 2)]
    assert [one.when for one in definition.templates] == ["completed", "completed", "finished"]
    assert (definition.templates[1].priority, definition.templates[1].workdir) == (5, "attempt")
    assert shell("run", "workflow.yaml").code == 0
    assert (shell.folder / "in.txt").read_text() == "a\nb ${x} 'q'\n"
    assert (shell.folder / "copy.txt").read_text() == "a\nb ${x} 'q'\n"
    assert (shell.folder / "report.txt").read_text() == "2\n"
    assert (shell.folder / "o.txt").read_text() == "said\n"
    assert (shell.folder / "link").resolve() == shell.folder / "made"


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("{_fw_name: TemplateWriterTask, template_file: a, output_file: b, context: {}}", "no counterpart"),
        ("{_fw_name: my.own.Task, a: 1}", "no counterpart"),
        ("{_fw_name: ScriptTask, script: a, stdin_key: k}", "its option `stdin_key`"),
        ("{_fw_name: ScriptTask, script: a, fizzle_bad_rc: false}", "`fizzle_bad_rc: false`"),
        ("{_fw_name: PyTask, func: os.getcwd, outputs: [a]}", "its option `outputs`"),
        ("{_fw_name: FileWriteTask, files_to_write: [{filename: a}]}", "its parameters are not those"),
        ("{_fw_name: FileTransferTask, mode: rtransfer, files: [a], dest: b}", "its mode 'rtransfer'"),
    ],
)
def test_a_task_without_counterpart_is_a_step_that_fails_and_says_so(shell: Shell, task: str, reason: str) -> None:
    shell.write(flow(shell.folder, f"- {task}"), "fw.yaml")
    done = shell("init", "--from", "fireworks", "fw.yaml")
    assert done.code == 0
    line = flow(shell.folder).splitlines().index("- fw_id: 3") + 1
    assert f"fw.yaml:{line}: report: task 2" in done.out
    assert reason in done.out
    assert shell("run", "workflow.yaml").code == 2
    assert "was not converted" in shell("logs", "report", "--stderr").out
