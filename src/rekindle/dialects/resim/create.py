"""`resim batches create` and `resim test-suites run`: create a batch from experiences and a build."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from rekindle.dialects.command_session import open_store
from rekindle.dialects.resim.batches import BatchRequest, read_batch
from rekindle.dialects.resim.options import parameters, split
from rekindle.domain.errors import BadValue, NotFound, Refused, UsageError
from rekindle.engine.queries import selections, workflow_queries
from rekindle.engine.submit.submit import submit

Command = TypeVar("Command", bound=Callable[..., Any])

FILES = ("resim.yaml", "resim.yml", "resim.json", "resim.toml")
_ACCOUNTS = ("GITHUB_ACTOR", "GITHUB_TRIGGERING_ACTOR", "GITLAB_USER_LOGIN")

_SHARED = (
    click.option("--project", required=True, metavar="NAME", help="The project to associate with the batch."),
    click.option("--build-id", required=True, metavar="ID", help="The build that runs: its ID or name in the file."),
    click.option(
        "--experiences-config",
        "config",
        type=click.Path(path_type=Path),
        envvar="RESIM_EXPERIENCES_CONFIG",
        metavar="FILE",
        help="The file of experiences, test suites and builds. [default: resim.yaml in this folder]",
    ),
    click.option(
        "--parameter",
        multiple=True,
        metavar="NAME=VALUE",
        help="A parameter of the build. Repeat, or separate with commas.",
    ),
    click.option(
        "--allowable-failure-percent",
        type=int,
        default=0,
        metavar="P",
        help="The batch succeeds if at most this percentage of its tests fail. [default: 0]",
    ),
    click.option("--batch-name", metavar="NAME", help="The batch's name. It need not be unique."),
    click.option("--account", default="", metavar="NAME", help="The account of the batch. Stored with it."),
    click.option("--pool-labels", multiple=True, metavar="LABELS", help="Stored with the batch; otherwise ignored."),
    click.option("--github", is_flag=True, help="Print batch_id=ID and nothing else."),
    click.option("--sync-metrics-config", is_flag=True, expose_value=False, help="Ignored: the file is always read."),
    click.option("--metrics-config-path", multiple=True, metavar="PATH", expose_value=False, help="Ignored."),
    click.option("--metrics-templates-path", metavar="PATH", expose_value=False, help="Ignored."),
)


def _shared_options(command: Command) -> Command:
    decorated: Any = command
    for decorate in reversed(_SHARED):
        decorated = decorate(decorated)
    return decorated  # type: ignore[no-any-return]


@click.command()
@_shared_options
@click.option("--experiences", multiple=True, metavar="LIST", help="Names or IDs of experiences, separated by commas.")
@click.option("--experience-ids", multiple=True, metavar="LIST", help="IDs of experiences, separated by commas.")
@click.option("--experience-tags", multiple=True, metavar="LIST", help="Tags of experiences, separated by commas.")
@click.option("--experience-tag-names", multiple=True, metavar="LIST", help="Same as --experience-tags.")
@click.option(
    "--experience-tag-ids", multiple=True, metavar="LIST", help="Same as --experience-tags: tags have no IDs."
)
@click.option("--test-suite", metavar="NAME", help="The experiences of a test suite of the file.")
@click.option("--metrics-build-id", metavar="ID", help="The metrics build: its ID or name in the file.")
@click.option("--metrics-set", metavar="NAME", help="Same as --metrics-build-id.")
def create(
    experiences: tuple[str, ...],
    experience_ids: tuple[str, ...],
    experience_tags: tuple[str, ...],
    experience_tag_names: tuple[str, ...],
    experience_tag_ids: tuple[str, ...],
    test_suite: str | None,
    metrics_build_id: str | None,
    metrics_set: str | None,
    **shared: Any,
) -> None:
    """Create a batch: a test for each experience, and batch metrics over all tests.

    No test runs yet: run them with `supervise`, `wait` or `rekindle work`.

    \b
    Example:
      rekindle resim batches create --project car --build-id planner-7 --experience-tags nightly
      rekindle resim batches create --project car --build-id planner-7 --experiences merge,turn --parameter speed=30
      rekindle resim batches create --project car --build-id planner-7 --test-suite nightly --metrics-build-id scores-2
    """
    if experience_tag_ids and experience_tag_names:
        raise UsageError("--experience-tag-names and --experience-tag-ids are mutually exclusive", hint="leave one out")
    if metrics_build_id and metrics_set and metrics_build_id != metrics_set:
        raise UsageError("--metrics-build-id and --metrics-set name two builds", hint="leave one out")
    _create(
        experiences=split([*experiences, *experience_ids]),
        tags=split([*experience_tags, *experience_tag_names, *experience_tag_ids]),
        test_suite=test_suite,
        metrics_build=metrics_build_id or metrics_set,
        **shared,
    )


@click.command()
@_shared_options
@click.option("--test-suite", required=True, metavar="NAME", help="The test suite: its name or ID in the file.")
@click.option("--metrics-build-override", metavar="ID", help="Use this metrics build instead of the suite's.")
@click.option(
    *("--metrics-set-name-override", "--metrics-set-override", "metrics_set_override"),
    metavar="NAME",
    help="Same as --metrics-build-override.",
)
@click.option("--ignore-metrics-set", is_flag=True, expose_value=False, help="Ignored: there are no pools.")
@click.option("--revision", metavar="N", help="Refused: the file has only its current revision.")
def run(
    test_suite: str,
    metrics_build_override: str | None,
    metrics_set_override: str | None,
    revision: str | None,
    **shared: Any,
) -> None:
    """Create a batch from a test suite of the file.

    \b
    Example:
      rekindle resim test-suites run --project car --test-suite nightly --build-id planner-7
    """
    if revision is not None:
        raise Refused("--revision: a test suite has only its current revision", hint="leave it out")
    metrics = metrics_build_override or metrics_set_override
    _create(experiences=[], tags=[], test_suite=test_suite, metrics_build=metrics, **shared)


def _create(
    *,
    project: str,
    build_id: str,
    config: Path | None,
    parameter: tuple[str, ...],
    allowable_failure_percent: int,
    batch_name: str | None,
    account: str,
    pool_labels: tuple[str, ...],
    github: bool,
    experiences: Sequence[str],
    tags: Sequence[str],
    test_suite: str | None,
    metrics_build: str | None,
) -> None:
    from rekindle.dialects.resim.batch_definition import define_batch, select_experiences
    from rekindle.dialects.resim.experiences import find_suite, read_experience_file

    if not (experiences or tags or test_suite):
        raise UsageError("no experience is selected", hint="--experiences LIST, --experience-tags LIST or --test-suite")
    if not 0 <= allowable_failure_percent <= 100:
        raise BadValue(f"--allowable-failure-percent {allowable_failure_percent}: it is between 0 and 100", hint="0")
    labels = split(pool_labels)
    if "resim" in labels:
        raise BadValue("--pool-labels: resim is a reserved label", hint="choose another")
    if not github:
        click.echo("Creating a batch...")
    file = read_experience_file(config or _default_config())
    request = BatchRequest(
        config=file.path.name,
        build=build_id,
        metrics_build=metrics_build or (find_suite(file, test_suite).metrics_build if test_suite else None),
        test_suite=test_suite,
        parameters=parameters(parameter),
        allowable_failure_percent=allowable_failure_percent,
        account=account or next(filter(None, map(os.environ.get, _ACCOUNTS)), ""),
        pool_labels=tuple(labels),
    )
    selected = select_experiences(file, experiences=experiences, tags=tags, suite=test_suite)
    definition = define_batch(file, request, _check_name(batch_name), project, selected)
    with open_store(create=True) as session:
        known = {one.name for one in workflow_queries.workflows(session, archived=True)}
        name = definition.name or unused_name(known, random.SystemRandom().choice)
        done = submit(session, definition, name=name, new=True)
        status = read_batch(session, selections.find_workflow(session, str(done.workflow))).status
    if github:
        click.echo(f"batch_id={done.workflow}")
        return
    click.echo("Created batch successfully!")
    click.echo(f"Batch ID: {done.workflow}\nBatch name: {done.name}\nStatus: {status}")


def _check_name(name: str | None) -> str:
    """Return a valid workflow name, or an empty text if none is given."""
    given = (name or "").strip()
    if given.isdecimal() or not given.isprintable():
        raise BadValue(
            f"--batch-name: {name!r:.60} cannot be a name", hint="not digits alone (those are IDs), one line"
        )
    return given


def _default_config() -> Path:
    file = next((path for path in map(Path, FILES) if path.is_file()), None)
    if file is None:
        raise NotFound(f"there is no {FILES[0]} in this folder", hint="--experiences-config FILE")
    return file


_WORDS = (
    "brave calm careful cheerful curious eager gentle happy keen lively merry patient proud quiet quick steady",
    "amber azure bronze coral crimson emerald gold indigo ivory jade lilac ochre pearl ruby silver teal",
    "badger crane dolphin falcon fox heron ibex lynx marten newt otter puffin raven seal starling wren",
)
_MAX_TRIES = 100


def unused_name(known: Collection[str], pick: Callable[[Sequence[str]], str]) -> str:
    """Return a name such as `merry-indigo-otter` that is not in `known`, if one is found."""
    name = ""
    for _ in range(_MAX_TRIES):
        name = "-".join(pick(words.split()) for words in _WORDS)
        if name not in known:
            break
    return name
