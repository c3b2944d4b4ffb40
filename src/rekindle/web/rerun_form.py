"""The form of the rerun dialog: a selection, a mode for each job, and the options of the rerun."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec
from msgspec.structs import replace
from starlette.exceptions import HTTPException

from rekindle.domain.errors import BadValue
from rekindle.domain.overrides import Overrides, pairs
from rekindle.domain.rerun.request import FROM_BEGINNING, Downstream, How, RequestMode, how_to_json, mode_of
from rekindle.domain.subtasks import SubtaskChoice, format_ranges, parse_subtasks
from rekindle.presentation.rerun_modes import KEEP
from rekindle.spec.yaml_reader import typed_value
from rekindle.web.forms import one_of
from rekindle.web.selections import selection_of

if TYPE_CHECKING:
    from rekindle.domain.selection import Selection
    from rekindle.web.access import Principal

MOST_MODES = 200
"""The most jobs that get a mode each; more have one mode for all."""

LONGEST_NOTE = 1_000

_MODE = "mode-"


class RerunForm(msgspec.Struct, frozen=True):
    """What a user has chosen. `digest`: of the plan that the user sees."""

    words: str  # the selection, as the query string of its fields
    mode: str = KEEP
    modes: Mapping[int, str] = msgspec.field(default_factory=dict)  # of single jobs
    downstream: Downstream = "changed"
    subtasks: SubtaskChoice | None = None
    overrides: Overrides | None = None
    keep_modified: bool = True
    keep_outputs: bool = True
    cancel_running: bool = False
    canary: int | None = None
    note: str | None = None
    digest: str = ""

    @property
    def selection(self) -> Selection:
        """The selected jobs. Raise BadSelection or UnknownWord, naming the invalid field."""
        return selection_of(self._fields)

    @property
    def _fields(self) -> dict[str, list[str]]:
        try:
            return parse_qs(self.words, max_num_fields=100)
        except ValueError:
            raise BadValue("the selection has too many fields") from None

    def how(self, mode: How) -> How:
        """Return the options of a mode together with those of the form. A repeated attempt takes no other options."""
        if mode_of(mode) is RequestMode.REPEAT:
            return mode
        return replace(
            mode,
            downstream=self.downstream,
            subtasks=self.subtasks or mode.subtasks if mode.start != FROM_BEGINNING else None,
            keep_modified=self.keep_modified,
            keep_outputs=self.keep_outputs,
            cancel_running=self.cancel_running,
        )

    def request(self, modes: Mapping[int, str]) -> dict[str, Any]:
        """Return the request as it is recorded, with the modes of the jobs by name."""
        jobs: dict[str, list[int]] = {}
        for job, mode in modes.items():
            jobs.setdefault(mode, []).append(job)
        asked = how_to_json(self.how(How(overrides=self.overrides)))
        del asked["from"]
        by_mode = {mode: format_ranges(ids) for mode, ids in jobs.items()} if self.modes else {}
        how = {"mode": by_mode or self.mode, **asked} | ({} if self.canary is None else {"canary": self.canary})
        fields = {_WORDS.get(key, key): values for key, values in self._fields.items() if key != "all"}
        return {"selection": fields, "how": how}


_WORDS = {"w": "workflow", "plus": "jobs", "minus": "without", "state": "states", "name": "names"}


def read_form(fields: dict[str, list[str]], principal: Principal) -> RerunForm:
    """Return the form of these fields. Raise HTTPException 403 for parameters or variables without the scope `submit`,
    and BadValue or UsageError for an invalid value."""
    given = {key: one_of(fields, key).strip() for key in fields}
    lines = {key: [line.strip() for line in given.get(key, "").splitlines() if line.strip()] for key in ("set", "env")}
    if any(lines.values()) and "submit" not in principal.scopes:
        raise HTTPException(403, NO_SUBMIT)
    modes = {key.removeprefix(_MODE): value for key, value in given.items() if key.startswith(_MODE) and value}
    if len(modes) > MOST_MODES or not all(job.isdecimal() and len(job) < 19 for job in modes):
        raise BadValue(f"at most {MOST_MODES} jobs have a mode each", hint="choose one mode for all")
    return RerunForm(
        words=given.get("selection", ""),
        mode=given.get("mode") or KEEP,
        modes={int(job): mode for job, mode in modes.items()},
        downstream=_downstream(given.get("downstream", "changed")),
        subtasks=parse_subtasks(given["subtasks"], "Subtasks") if given.get("subtasks") else None,
        overrides=_overrides(given, lines),
        keep_modified="keep_modified" in given,
        keep_outputs="keep_outputs" in given and not given.get("canary"),  # the rest of a group runs by itself later
        cancel_running="cancel_running" in given,
        canary=_number(given, "canary"),
        note=_note(given.get("note", "")),
        digest=given.get("digest", ""),
    )


NO_SUBMIT = (
    "parameters and variables become part of commands, so setting them needs a token with the scope submit: "
    "it is as powerful as a shell"
)


def _overrides(given: Mapping[str, str], lines: Mapping[str, list[str]]) -> Overrides | None:
    params = {name: typed_value(text) for name, text in pairs("Parameters", lines["set"]).items()}
    cpus = given.get("cpus")
    try:
        number = float(cpus) if cpus else None
    except ValueError:
        raise BadValue(f"cpus is a number, not {cpus!r}", hint="for instance 2") from None
    asked = Overrides(
        params, pairs("Variables", lines["env"]), given.get("memory") or None, given.get("time") or None, number
    )
    return None if asked == Overrides() else asked


def _downstream(word: str) -> Downstream:
    known: tuple[Downstream, ...] = ("all", "changed", "none")
    found = next((one for one in known if one == word), None)
    if found is None:
        raise BadValue(f"downstream cannot be {word!r}", hint=", ".join(known))
    return found


def _number(given: Mapping[str, str], key: str) -> int | None:
    text = given.get(key, "")
    if not text:
        return None
    if not text.isdecimal() or not int(text[:9]) > 0:
        raise BadValue(f"{key} is a number from 1, not {text!r}")
    return int(text[:9])


def _note(text: str) -> str | None:
    if len(text) > LONGEST_NOTE:
        raise BadValue(f"the note is longer than {LONGEST_NOTE:,} characters")
    return text or None
