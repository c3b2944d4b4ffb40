"""The keys of `resources:` and of the rules of `retry:`, for the table in `spec_keys`."""

from __future__ import annotations

from rekindle.spec.value_schemas import (
    BOOLEAN,
    CAUSE,
    CODE,
    COUNT,
    DURATION,
    FACTOR,
    NAMES,
    SIZE,
    TEXT,
    TEXTS,
    SpecKey,
    one_or_more,
)

RESOURCE_KEYS = (
    SpecKey(
        *("cpus", ("resources",), "number above 0", "1"),
        "Processors, or a fraction of one.",
        "cpus: 4",
        {"type": "number", "exclusiveMinimum": 0},
    ),
    SpecKey(
        *("memory", ("resources",), "size", "no request"),
        "Memory. A job that exceeds it ends with the cause `oom`.",
        "memory: 8G",
        SIZE,
    ),
    SpecKey(*("gpus", ("resources",), "whole number", "0"), "Number of GPUs.", "gpus: 1", COUNT),
    SpecKey(
        *("time", ("resources",), "duration", "no limit"),
        "Limit of wall time. A job that exceeds it ends with the cause `timeout`.",
        "time: 1h30m",
        DURATION,
    ),
    SpecKey(
        *("licences", ("resources",), "mapping of names to whole numbers", "none"),
        "Licences. `--licence NAME=N` gives a runner N of them.",
        "licences: {matlab: 1}",
        {"type": "object", "propertyNames": NAMES, "additionalProperties": COUNT},
    ),
    SpecKey(
        *("options", ("resources",), "text, or a list of texts", "none"),
        "Options for the engine of a batch executor, such as those of sbatch.",
        'options: ["--partition=gpu"]',
        TEXTS,
    ),
)

RETRY_KEYS = (
    SpecKey(
        *("max", ("retry",), "whole number", "none: required"),
        "Retries at most, since a user last reset the job.",
        "max: 2",
        {"type": "integer", "minimum": 0, "maximum": 10000},
        required=True,
    ),
    SpecKey(
        *("on", ("retry",), "a cause, or a list of causes", "every cause"),
        "The rule applies only to failures with these causes.",
        "on: [lost, timeout]",
        one_or_more(CAUSE),
    ),
    SpecKey(
        *("exit_codes", ("retry",), "whole number, or a list", "every exit code"),
        "The rule applies only to these exit codes.",
        "exit_codes: [75, 111]",
        one_or_more(CODE),
    ),
    SpecKey(
        *("error", ("retry",), "regular expression", "every error"),
        "The rule applies only if the error's text matches.",
        'error: "connection (reset|refused)"',
        TEXT,
    ),
    SpecKey(
        *("delay", ("retry",), "duration", "0s"),
        "Time before the first retry.",
        "delay: 30s",
        DURATION,
    ),
    SpecKey(
        *("backoff", ("retry",), "number from 1 to 1000", "1"),
        "The factor from each delay to the next.",
        "backoff: 2",
        {"type": "number", "minimum": 1, "maximum": 1000},
    ),
    SpecKey(
        *("max_delay", ("retry",), "duration", "no limit"),
        "The longest delay.",
        "max_delay: 10m",
        DURATION,
    ),
    SpecKey(
        *("jitter", ("retry",), "number from 0 to 1", "0"),
        "The share of the delay by which it varies at random, up or down.",
        "jitter: 0.1",
        {"type": "number", "minimum": 0, "maximum": 1},
    ),
    SpecKey(
        *("memory", ("retry",), "size, or a factor such as `x1.5`", "unchanged"),
        "Memory of the retry: an amount, or a multiple of the failed attempt's.",
        "memory: x1.5",
        {"anyOf": [SIZE, FACTOR]},
    ),
    SpecKey(
        *("time", ("retry",), "duration, or a factor such as `x2`", "unchanged"),
        "Time limit of the retry: an amount, or a multiple of the failed attempt's.",
        "time: x2",
        {"anyOf": [DURATION, FACTOR]},
    ),
    SpecKey(
        *("max_memory", ("retry",), "size", "no limit"),
        "With `memory`: the most memory that a retry gets.",
        "max_memory: 64G",
        SIZE,
    ),
    SpecKey(
        *("max_time", ("retry",), "duration", "no limit"),
        "With `time`: the longest time limit that a retry gets.",
        "max_time: 8h",
        DURATION,
    ),
    SpecKey(
        *("other_host", ("retry",), "true or false", "false"),
        "Do not retry on the host of the failure while another host has a runner.",
        "other_host: true",
        BOOLEAN,
    ),
    SpecKey(
        *("from", ("retry",), "`beginning` or `failed-step`", "beginning"),
        "Where the retry starts.",
        "from: failed-step",
        {"enum": ["beginning", "failed-step"]},
    ),
)
