"""Read the experience file: the file of `resim experiences sync`, with the builds that run the experiences.

builds:
  - {id: planner-7, run: "$RESIM_CONFIG_DIR/planner $RESIM_EXPERIENCE_LOCATION > track.csv"}
metrics_builds:
  - {id: scores-2, run: "python3 $RESIM_CONFIG_DIR/score.py", batch: "python3 $RESIM_CONFIG_DIR/report.py"}
experiences:
  - {name: merge, description: joins a motorway, locations: [scenes/merge], tags: [nightly]}
managed_test_suites:
  - {name: nightly, experiences: [merge]}
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from blake3 import blake3

from rekindle.domain.errors import NotFound
from rekindle.domain.texts.display import did_you_mean
from rekindle.spec.loading import read_bytes, read_tree
from rekindle.spec.nodes import ListNode, MappingNode, Node, Problems, ScalarNode, SourcePlace, describe
from rekindle.spec.values import VARIABLE_NAME, check_keys, table, text, whole_number

_TOP_KEYS = ("builds", "metrics_builds", "experiences")
_SUITE_LISTS = ("managed_test_suites", "test_suites")
_IGNORED_KEYS = ("managed_experience_tags", "removable_tags")
_EXPERIENCE_KEYS = ("name", "experience_id", "locations", "tags", "environment_variables", "container_timeout_seconds")
_IGNORED_EXPERIENCE_KEYS = ("description", "systems", "profile", "cache_exempt")
_SUITE_KEYS = ("name", "id", "experiences", "metrics_build")
_IGNORED_SUITE_KEYS = ("description", "system", "show_on_summary")
BUILD_KEYS = ("run", "shell", "env", "outputs", "resources", "retry", "grace")
"""Keys of a build besides `id` and `name`. They mean the same as in a spec file."""
METRICS_KEYS = ("run", "batch", "shell", "env")


class Experience(msgspec.Struct, frozen=True):
    """The input of a test."""

    name: str
    id: str
    locations: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    timeout: int | None = None  # time limit of a test, in seconds


class Suite(msgspec.Struct, frozen=True):
    """A named list of experiences."""

    name: str
    id: str
    experiences: tuple[str, ...]
    metrics_build: str | None = None


class Build(msgspec.Struct, frozen=True):
    """A build, found by id or name. `entry` is its entry in the file."""

    name: str
    id: str
    entry: MappingNode


class ExperienceFile(msgspec.Struct, frozen=True):
    """The content of the file, in its order."""

    path: Path
    digest: str
    problems: Problems
    experiences: Sequence[Experience]
    suites: Sequence[Suite]
    builds: Sequence[Build]
    metrics_builds: Sequence[Build]


def read_experience_file(path: Path) -> ExperienceFile:
    """Read and check the file (YAML, JSON, TOML). Raise SpecError with every problem, each with its place."""
    content = read_bytes(path)
    problems = Problems(str(path))
    top = table(read_tree(content, path.suffix, problems), "the file", problems) or MappingNode(SourcePlace())
    check_keys(top, (*_TOP_KEYS, *_SUITE_LISTS, *_IGNORED_KEYS), "the file", problems)
    experiences = list(_experiences(top, problems))
    names = {one.name for one in experiences} | {one.id for one in experiences}
    found = ExperienceFile(
        path=path.resolve(),
        digest=blake3(content).hexdigest(),
        problems=problems,
        experiences=experiences,
        suites=list(_suites(top, names, problems)),
        builds=list(_builds(top, "builds", BUILD_KEYS, problems)),
        metrics_builds=list(_builds(top, "metrics_builds", METRICS_KEYS, problems)),
    )
    problems.raise_any()
    return found


def find_build(known: Sequence[Build], key: str, option: str) -> Build:
    """Return the build of that id or name. Raise NotFound with the nearest id."""
    found = next((one for one in known if key in (one.id, one.name)), None)
    if found is None:
        kind = "builds" if option == "--build-id" else "metrics_builds"
        hint = did_you_mean(key, [one.id for one in known]) if known else f"list it under `{kind}:`"
        raise NotFound(f"{option}: the file has no such build: {key}", hint=hint)
    return found


def find_suite(found: ExperienceFile, key: str) -> Suite:
    """Return the suite of that name or id. Raise NotFound with the nearest name."""
    suite = next((one for one in found.suites if key in (one.name, one.id)), None)
    if suite is None:
        hint = did_you_mean(key, [one.name for one in found.suites]) or "list it under `managed_test_suites:`"
        raise NotFound(f"no such test suite: {key}", hint=hint)
    return suite


def _experiences(top: MappingNode, problems: Problems) -> Iterator[Experience]:
    seen: set[str] = set()
    for one, name in _named_tables(top, "experiences", (*_EXPERIENCE_KEYS, *_IGNORED_EXPERIENCE_KEYS), problems):
        given = one.get("experience_id")
        blank = isinstance(given, ScalarNode) and not given.text.strip("~ ")
        identity = (None if blank else text(given, "`experience_id`", problems)) or name
        for key in {name, identity} & seen:
            problems.add(one.place, f"there is an experience {key!r:.60} already", "names and ids must be unique")
        seen |= {name, identity}
        yield Experience(
            name,
            identity,
            tuple(_texts(one.get("locations"), "`locations`", problems)),
            tuple(_texts(one.get("tags"), "`tags`", problems)),
            dict(_variables(one.get("environment_variables"), problems)),
            whole_number(one.get("container_timeout_seconds"), "`container_timeout_seconds`", problems, least=1),
        )


def _suites(top: MappingNode, known: Collection[str], problems: Problems) -> Iterator[Suite]:
    for key in _SUITE_LISTS:
        for one, name in _named_tables(top, key, (*_SUITE_KEYS, *_IGNORED_SUITE_KEYS), problems):
            experiences = tuple(_texts(one.get("experiences"), "`experiences`", problems))
            for missing in [each for each in experiences if each not in known]:
                hint = did_you_mean(missing, known)
                problems.add(one.place, f"the suite {name!r} names an unknown experience: {missing}", hint)
            metrics = text(one.get("metrics_build"), "`metrics_build`", problems)
            yield Suite(name, text(one.get("id"), "`id`", problems) or name, experiences, metrics)


def _builds(top: MappingNode, key: str, keys: Sequence[str], problems: Problems) -> Iterator[Build]:
    for one in _tables(top.get(key), f"`{key}`", problems):
        check_keys(one, ("id", "name", *keys), f"an entry of `{key}`", problems)
        identity = text(one.get("id"), "`id`", problems)
        name = text(one.get("name"), "`name`", problems)
        if identity is None and name is None:
            problems.add(one.place, f"an entry of `{key}` has neither `id` nor `name`", "--build-id names it")
            continue
        if not any(word in one.entries for word in ("run", "batch")):
            problems.add(one.place, f"the build {identity or name!r} runs nothing", "as in `run: ./planner`")
        yield Build(name or identity or "", identity or name or "", one)


def _named_tables(
    top: MappingNode, key: str, keys: Sequence[str], problems: Problems
) -> Iterator[tuple[MappingNode, str]]:
    for one in _tables(top.get(key), f"`{key}`", problems):
        check_keys(one, keys, f"an entry of `{key}`", problems)
        name = text(one.get("name"), "`name`", problems)
        if "name" not in one.entries:
            problems.add(one.place, f"an entry of `{key}` has no `name`")
        if name is not None and not name.isprintable():
            problems.add(one.place, f"{name!r:.60} cannot be a name", "one line")
        elif name is not None:
            yield one, name


def _tables(node: Node | None, what: str, problems: Problems) -> Iterator[MappingNode]:
    for item in _list_items(node, what, problems):
        found = table(item, f"an entry of {what}", problems)
        if found is not None:
            yield found


def _texts(node: Node | None, what: str, problems: Problems) -> Iterator[str]:
    for item in _list_items(node, what, problems):
        found = text(item, f"an entry of {what}", problems)
        if found is not None:
            yield found


def _variables(node: Node | None, problems: Problems) -> Iterator[tuple[str, str]]:
    """Yield the variables of `[{name: SPEED, value: fast}]`."""
    for one in _tables(node, "`environment_variables`", problems):
        check_keys(one, ("name", "value"), "a variable", problems)
        name = text(one.get("name"), "`name`", problems) or ""
        value = one.get("value")
        if not VARIABLE_NAME.matches(name):
            problems.add(one.place, f"{name!r:.60} cannot be the name of a variable", VARIABLE_NAME.rule)
        elif not isinstance(value, ScalarNode) or value.value is None or "\0" in value.text:
            problems.add(one.place, f"the variable {name} has no text as `value`")
        else:
            yield name, value.text


def _list_items(node: Node | None, what: str, problems: Problems) -> Sequence[Node]:
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        return ()
    if isinstance(node, ListNode):
        return node.items
    problems.add(node.place, f"{what} must be a list, and is {describe(node)}")
    return ()
