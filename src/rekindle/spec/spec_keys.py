"""The keys of spec files: where each is allowed, its type, default, meaning, an example and its JSON Schema.

The readers check specs; this table describes them. `tests/spec/test_spec_schema.py` fails if a key that a reader knows
is not here, and `spec/spec_schema.py` makes the JSON Schema from it. Import it only where keys are described.
"""

from __future__ import annotations

from rekindle.spec.attempt_keys import RESOURCE_KEYS, RETRY_KEYS
from rekindle.spec.value_schemas import (
    BOOLEAN,
    COMBINATIONS,
    COUNT,
    DURATION,
    FILL,
    MATRIX_VALUES,
    NAMES,
    SCALAR,
    SIZE,
    TEXT,
    TEXTS,
    VARIABLES,
    SpecKey,
    declared,
)

PLACES = {
    "spec": "the top level of a spec",
    "defaults": "`defaults:`, the values for all jobs that do not set a key",
    "job": "an entry of `jobs:`",
    "step": "an entry of `steps:`",
    "each": "`each:` as a mapping",
    "matrix": "`matrix:` of a job",
    "range": "a range of whole numbers",
    "input": "an input as a mapping",
    "output": "an output as a mapping",
    "files": "`files:` of `defaults:`",
    "resources": "`resources:`",
    "retry": "a rule of `retry:`",
    "quarantine": "`quarantine:`",
    "manual": "`manual:`",
    "on": "`on:`, the hooks of a workflow",
}
"""The mappings of a spec that have keys, with a description for each."""

_JOB, _DEFAULTS = ("job",), ("defaults",)
_JOB_OR_DEFAULTS = ("job", "defaults")
_WORK = ("job", "step")

_SPEC_KEYS = (
    SpecKey(
        *("name", ("spec",), "text", "none: required"),
        "The workflow's name. A store knows the workflow by it.",
        "name: sweep",
        {"type": ["string", "number"], "not": {"pattern": "^[0-9]*$"}},
        required=True,
    ),
    SpecKey(
        *("project", ("spec",), "text", "none"),
        "A label that groups workflows.",
        "project: optics",
        TEXT,
    ),
    SpecKey(
        *("params", ("spec",), "mapping of names to any values", "no parameters"),
        "Parameters, used as `${params.NAME}`. `--param NAME=VALUE` replaces a value for one submission.",
        "params: {alpha: 0.1, seeds: [1, 2, 3]}",
        {"type": "object", "propertyNames": NAMES},
    ),
    SpecKey(
        *("defaults", ("spec",), "mapping", "none"),
        "Values for keys that a job does not set.",
        "defaults: {resources: {memory: 2G}, retry: {max: 1, on: lost}}",
        {"$ref": "#/$defs/defaults"},
    ),
    SpecKey(
        *("jobs", ("spec",), "mapping of names to jobs", "none: required"),
        "The jobs, by name. An entry with `matrix` or `zip` makes a job for each combination of values.",
        'jobs: {prepare: {run: "python prepare.py"}}',
        {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": r"^(?![0-9]+$)[^\s.\-/\\\[\]{}()*?,:;$\"'][^\s/\\\[\]{}()*?,:;$\"']*$"},
            "additionalProperties": {"$ref": "#/$defs/job"},
        },
        required=True,
    ),
    SpecKey(
        *("on", ("spec",), "mapping", "none"),
        "Hooks: commands that run, or URLs that get a signed request, at the end of a run of the workflow.",
        "on: {failed: ./notify.sh, finished: https://ci.example.org/hook}",
        {"$ref": "#/$defs/on"},
    ),
    SpecKey(
        *("x-…", ("spec",), "any value", "ignored"),
        "Ignored: a place for YAML anchors that several jobs use.",
        "x-small: {memory: 500M}",
        {},
    ),
)

_WORK_KEYS = (
    SpecKey(
        *("run", ("job", "step", "each"), "text, or a list of words", "one of `run`, `call` and `steps` is required"),
        "The command. A text runs in a shell if it needs one; a list is a program with its arguments. In `each`, "
        "the command prints one item on each line.",
        'run: "python train.py --alpha ${params.alpha}"',
        {"anyOf": [TEXT, {"type": "array", "minItems": 1, "items": SCALAR}]},
    ),
    SpecKey(
        *("call", ("job", "step", "each"), "`module:function`, or the source of a function", "none"),
        "The Python function to call instead of a command. In `each`, the function returns the list of items.",
        "call: mypkg.metrics:score",
        {"type": "string", "pattern": r"^([^\s:.\-][^\s:\-]*:[^\s:.\-][^\s:\-]*|\s*(@|def |async def )[\s\S]*)$"},
    ),
    SpecKey(
        *("args", ("job", "step", "each"), "mapping of argument names to any values", "none"),
        "Keyword arguments of `call`. Texts within can contain `${…}`.",
        "args: {alpha: 0.1, tags: [fast]}",
        {"type": "object", "propertyNames": {"pattern": r"^[^\s\d./\-][^\s./\-]*$"}},
    ),
    SpecKey(
        *("steps", _JOB, "list of steps", "none"),
        "Several steps, run in order. `rerun --from STEP` starts at one of them.",
        'steps: [{name: fit, run: "python fit.py"}, {name: score, run: "python score.py"}]',
        {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/step"}},
    ),
    SpecKey(
        *("name", ("step",), "text", "none: required"),
        "The step's name, unique within its job.",
        "name: fit",
        {"type": ["string", "number"], "not": {"enum": ["beginning", "failed-step"]}},
        required=True,
    ),
    SpecKey(
        *("shell", ("job", "step", "each", "defaults"), "text", "/bin/sh, where a shell is needed"),
        "The shell of a `run` that is a text: a name or path.",
        "shell: bash",
        TEXT,
    ),
    SpecKey(
        *("each", _WORK, "pattern, list or mapping", "none: the step runs once"),
        "Run the step once for each item, as `${item}`: files that match a pattern, a list, a range, or what a "
        "command prints or a function returns. Each item is a subtask, and only failed ones run again.",
        'each: "slices/*.png"',
        {"anyOf": [TEXT, {"type": "array"}, {"$ref": "#/$defs/each"}]},
    ),
    SpecKey(
        *("range", ("each", "range"), "list of two or three whole numbers", "none"),
        "Whole numbers from a start to before a stop, with an optional step.",
        "range: [0, 10]",
        {"type": "array", "minItems": 2, "maxItems": 3, "items": {"anyOf": [{"type": "integer"}, FILL]}},
    ),
    SpecKey(
        *("max_failed", _WORK, "whole number", "0"),
        "With `each`: up to this many items may fail, and the step still completes, as partial.",
        "max_failed: 2",
        COUNT,
    ),
    SpecKey(
        *("resubmit", _WORK, "whole number", "0"),
        "With `each`: how often failed items run again within the attempt.",
        "resubmit: 1",
        COUNT,
    ),
    SpecKey(
        *("parallel", _WORK, "whole number", "one for each whole cpu of the job"),
        "With `each`: how many items run at once.",
        "parallel: 4",
        {"type": "integer", "minimum": 1},
    ),
)

_GRAPH_KEYS = (
    SpecKey(
        *("inputs", _JOB, "mapping of names to paths", "none"),
        "Files, directories or patterns that the job reads, as `${inputs.NAME}`; relative to the spec's folder. The "
        "job needs the jobs that write them, and is stale when one changes.",
        "inputs: {raw: data/raw.csv, slices: {path: slices, by: mtime}}",
        declared("input"),
    ),
    SpecKey(
        *("outputs", _JOB, "mapping of names to paths", "none"),
        "Files or directories that the job writes, as `${outputs.NAME}`. A job that does not write one has failed.",
        "outputs: {model: models/best.json}",
        declared("output"),
    ),
    SpecKey(
        *("path", ("input", "output"), "text", "none: required"),
        "The path of the file; of an input, also a pattern with `*`, `**` or `?`.",
        "path: data/raw.csv",
        TEXT,
        required=True,
    ),
    SpecKey(
        *("by", ("input", "output", "files"), "`content` or `mtime`", "content"),
        "How a file is compared with its earlier version: by content, or by size and modification time.",
        "by: mtime",
        {"enum": ["content", "mtime"]},
    ),
    SpecKey(
        *("over", ("input", "output", "files"), "size", "0: all files"),
        "With `by: mtime`: smaller files are compared by content.",
        "over: 1G",
        SIZE,
    ),
    SpecKey(
        *("optional", ("input",), "true or false", "false"),
        "The job runs although the input is missing.",
        "optional: true",
        BOOLEAN,
    ),
    SpecKey(
        *("temp", ("output",), "true or false", "false"),
        "The output is removed once all jobs that need its job are done.",
        "temp: true",
        BOOLEAN,
    ),
    SpecKey(
        *("needs", _JOB, "text, or a list of texts", "none; inputs add needs"),
        "Jobs that must complete first: names, names with matrix values, or patterns with `*` and `?`.",
        'needs: [prepare, "train*"]',
        TEXTS,
    ),
    SpecKey(
        *("matrix", _JOB, "mapping of names to lists or ranges", "none: one job"),
        "Make a job for each combination of values, used as `${matrix.NAME}`.",
        "matrix: {alpha: [0.1, 0.2], seed: {range: [0, 5]}}",
        {"$ref": "#/$defs/matrix"},
    ),
    SpecKey(
        *("NAME", ("matrix",), "list of values, or a range", "none"),
        "The values of one axis. The last axis varies fastest in the order of jobs.",
        "seed: [1, 2, 3]",
        MATRIX_VALUES,
    ),
    SpecKey(
        *("exclude", ("matrix",), "list of mappings", "none"),
        "Combinations that are left out. A part of a combination leaves out all that contain it.",
        "exclude: [{os: mac, py: 3.8}]",
        COMBINATIONS,
    ),
    SpecKey(
        *("include", ("matrix",), "list of mappings", "none"),
        "Combinations that are added, or values that are added to matching combinations.",
        "include: [{os: linux, py: 3.13, extra: true}]",
        COMBINATIONS,
    ),
    SpecKey(
        *("zip", _JOB, "mapping of names to lists of one length", "none"),
        "Like `matrix`, but the lists are combined row by row.",
        "zip: {city: [rome, oslo], code: [RM, OS]}",
        {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"not": {"enum": ["exclude", "include"]}},
            "additionalProperties": MATRIX_VALUES,
        },
    ),
    SpecKey(
        *("aggregate", _JOB, "true or false", "false"),
        "The job runs again whenever a job that it needs has run again.",
        "aggregate: true",
        BOOLEAN,
    ),
    SpecKey(
        *("when", _JOB, "`completed` or `finished`", "completed"),
        "`finished`: the job also runs after jobs that it needs have failed or were canceled.",
        "when: finished",
        {"enum": ["completed", "finished"]},
    ),
)

_SETTING_KEYS = (
    SpecKey(
        *("workdir", ("spec", "defaults", "job"), "`project` or `attempt`", "project"),
        "Where steps run: in the spec's folder, or in a new folder for each attempt.",
        "workdir: attempt",
        {"enum": ["project", "attempt"]},
    ),
    SpecKey(
        *("env", ("spec", "defaults", "job"), "mapping of names to texts", "none"),
        "Environment variables of all steps. Values can contain `${…}`.",
        'env: {OMP_NUM_THREADS: "1"}',
        VARIABLES,
    ),
    SpecKey(
        *("priority", _JOB_OR_DEFAULTS, "whole number", "0"),
        "Ready jobs with a higher priority start first.",
        "priority: 10",
        {"type": "integer"},
    ),
    SpecKey(
        *("resources", _JOB_OR_DEFAULTS, "mapping", "1 cpu, no limits"),
        "What one attempt needs. A runner starts a job only while this is free.",
        "resources: {cpus: 4, memory: 8G, time: 1h30m}",
        {"$ref": "#/$defs/resources"},
    ),
    SpecKey(
        *("retry", _JOB_OR_DEFAULTS, "a rule, or a list of rules", "no retries"),
        "When and how a failed job runs again by itself. The first rule that matches the failure applies.",
        "retry: {max: 2, on: [lost, timeout], delay: 30s}",
        {"anyOf": [{"$ref": "#/$defs/retry"}, {"type": "array", "items": {"$ref": "#/$defs/retry"}}]},
    ),
    SpecKey(
        *("grace", _JOB_OR_DEFAULTS, "duration", "2s"),
        "Time between SIGTERM and SIGKILL when a job is canceled or its time is up.",
        "grace: 30s",
        DURATION,
    ),
    SpecKey(
        *("files", _DEFAULTS, "mapping", "by content"),
        "How the declared files of all jobs are compared.",
        "files: {by: mtime, over: 1G}",
        {"$ref": "#/$defs/files"},
    ),
    SpecKey(
        *("stale_on", ("spec", "defaults", "job"), "`environment`, alone or in a list", "none"),
        "Further differences that make a job stale. By default a changed environment is only a warning.",
        "stale_on: [environment]",
        {"anyOf": [{"enum": ["environment"]}, {"type": "array", "items": {"enum": ["environment"]}}]},
    ),
    SpecKey(
        *("implicit_inputs", ("spec", "defaults", "job"), "true or false", "true"),
        "Compare the files that are named in commands, as if they were inputs.",
        "implicit_inputs: false",
        BOOLEAN,
    ),
    SpecKey(
        *("leave_running", _JOB_OR_DEFAULTS, "true or false", "false"),
        "Leave processes running that a completed attempt has started in the background.",
        "leave_running: true",
        BOOLEAN,
    ),
    SpecKey(
        *("pure", _JOB_OR_DEFAULTS, "true or false", "true for jobs with outputs, else false"),
        "Whether the result depends only on what is compared. `false`: run the job also where an earlier attempt of "
        "any workflow could complete it. `true`: reuse them also without declared outputs, and in another environment.",
        "pure: false",
        BOOLEAN,
    ),
    SpecKey(
        *("definition", _JOB_OR_DEFAULTS, "`latest` or `pinned`", "latest"),
        "What a rerun of the job runs: the definition of the latest revision, or that of its earlier attempt. A job "
        "that is pinned is not stale when its definition changes. `rerun --definition` decides for one rerun.",
        "definition: pinned",
        {"enum": ["latest", "pinned"]},
    ),
    SpecKey(
        *("partial", _JOB_OR_DEFAULTS, "`keep` or `aside`", "keep"),
        "What happens to the outputs of an attempt that fails: they stay, or are moved into the attempt's folder.",
        "partial: aside",
        {"enum": ["keep", "aside"]},
    ),
    SpecKey(
        *("labels", _JOB_OR_DEFAULTS, "mapping of names to texts", "none"),
        "Labels to filter by, as in `jobs list -f labels.team=optics`. Running a job does not depend on them.",
        "labels: {team: optics}",
        {"type": "object", "propertyNames": NAMES, "additionalProperties": SCALAR},
    ),
    SpecKey(
        *("quarantine", _JOB_OR_DEFAULTS, "mapping", "none"),
        "A job that is known to fail: until a date its failures are counted and reported, and do not fail the batch.",
        "quarantine: {until: 2030-01-31, why: fails on slow machines}",
        {"$ref": "#/$defs/quarantine"},
    ),
    SpecKey(
        *("manual", _JOB_OR_DEFAULTS, "mapping", "none"),
        "Whether an attempt that has started may be followed by another one. No rerun, retry or restart runs a job "
        "again whose rerun is forbidden.",
        "manual: {rerun: forbidden, reason: it pays the invoices}",
        {"$ref": "#/$defs/manual"},
    ),
    SpecKey(
        *("on_unknown_failure", _JOB_OR_DEFAULTS, "`hold` or `continue`", "continue"),
        "`hold`: a failure with a signature that no attempt of the store had before waits for a person, who releases "
        "or reruns the job. No retry, judge or `supervise` touches it meanwhile.",
        "on_unknown_failure: hold",
        {"enum": ["hold", "continue"]},
    ),
    SpecKey(
        *("judge", _JOB_OR_DEFAULTS, "command, or false", "none"),
        "A command that decides about a failure that `retry` leaves: the attempt is on its stdin as `attempts show "
        "--json` prints it; it prints `retry`, `fail` or `hold`, and a reason. A list is a program with its arguments; "
        "`false` lifts the one of `defaults`.",
        "judge: ./judge.py",
        {"anyOf": [TEXT, {"type": "array", "minItems": 1, "items": SCALAR}, {"const": False}]},
    ),
    SpecKey(
        *("cache", _JOB_OR_DEFAULTS, "true or false", "false"),
        "Keep the outputs of completed attempts in the content store, so that they can be put back instead of made "
        "again. `REKINDLE_CACHE_SIZE` bounds it.",
        "cache: true",
        BOOLEAN,
    ),
)

_HOOK_SCHEMA = {"anyOf": [TEXT, {"type": "array", "minItems": 1, "items": SCALAR}]}

_POLICY_KEYS = (
    SpecKey(
        *("until", ("quarantine",), "date", "none: required"),
        "The last day of the quarantine, in UTC. From the next day on, failures count as usual.",
        "until: 2030-01-31",
        {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
        required=True,
    ),
    SpecKey(
        *("why", ("quarantine",), "text", "none: required"),
        "The reason, for reports.",
        "why: fails on slow machines",
        TEXT,
        required=True,
    ),
    SpecKey(
        *("rerun", ("manual",), "`forbidden` or `allowed`", "none: required"),
        "`forbidden`: the job runs at most once. `allowed` lifts what `defaults` forbid.",
        "rerun: forbidden",
        {"enum": ["forbidden", "allowed"]},
        required=True,
    ),
    SpecKey(
        *("reason", ("manual",), "text", "none: required with `forbidden`"),
        "The reason, which each refusal names.",
        "reason: it pays the invoices",
        TEXT,
    ),
    *(
        SpecKey(
            *(event, ("on",), "command or URL", "none"),
            f"{about} A list is a program with its arguments; `http://` or `https://` begins a URL.",
            f"{event}: {example}",
            _HOOK_SCHEMA,
        )
        for event, about, example in (
            ("failed", "When a run ends with failed jobs.", "./notify.sh"),
            ("stopped", "When a run is stopped: canceled, timed out, or ended by a guard.", "./notify.sh"),
            ("finished", "When a run ends, however it ends.", "https://ci.example.org/hook"),
        )
    ),
)

KEYS: tuple[SpecKey, ...] = (
    *_SPEC_KEYS,
    *_WORK_KEYS,
    *_GRAPH_KEYS,
    *_SETTING_KEYS,
    *RESOURCE_KEYS,
    *RETRY_KEYS,
    *_POLICY_KEYS,
)
"""All keys, in the order of the reference page."""


def keys_of(place: str) -> list[SpecKey]:
    """Return the keys that are allowed at a place."""
    return [key for key in KEYS if place in key.places]
