"""`resim batches create` and `resim test-suites run`: experiences and a build become a batch."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from rekindle.dialects.opening import opened
from rekindle.dialects.resim.asked import Asked
from rekindle.dialects.resim.naming import pseudo_unique_name
from rekindle.dialects.resim.options import parameters, split
from rekindle.dialects.resim.words import read_batch
from rekindle.domain.errors import BadValue, NotFound, Refused, UsageError
from rekindle.engine.looking import look
from rekindle.engine.submitting.submit import submit

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
        "--parameter", multiple=True, metavar="NAME=VALUE", help="What the build is told; repeat it, or use commas."
    ),
    click.option(
        "--allowable-failure-percent",
        type=int,
        default=0,
        metavar="P",
        help="So many percent of the tests may have an error, and the batch has succeeded. [default: 0]",
    ),
    click.option("--batch-name", metavar="NAME", help="A name for the batch; it need not be unique."),
    click.option("--account", default="", metavar="NAME", help="Whom the batch is for; kept with it."),
    click.option("--pool-labels", multiple=True, metavar="LABELS", help="Kept with the batch; without effect here."),
    click.option("--github", is_flag=True, help="Print batch_id=ID and nothing else."),
)


def _shared_options(command: Command) -> Command:
    decorated: Any = command
    for decorate in reversed(_SHARED):
        decorated = decorate(decorated)
    return decorated  # type: ignore[no-any-return]


@click.command()
@_shared_options
@click.option("--experiences", multiple=True, metavar="LIST", help="Names or IDs of experiences, with commas.")
@click.option("--experience-ids", multiple=True, metavar="LIST", help="IDs of experiences, with commas.")
@click.option("--experience-tags", multiple=True, metavar="LIST", help="Tags of experiences, with commas.")
@click.option("--experience-tag-names", multiple=True, metavar="LIST", help="The same.")
@click.option("--experience-tag-ids", multiple=True, metavar="LIST", help="The same: tags have no IDs here.")
@click.option("--test-suite", metavar="NAME", help="The experiences of a test suite of the file.")
@click.option("--metrics-build-id", metavar="ID", help="The metrics build: its ID or name in the file.")
@click.option("--metrics-set", metavar="NAME", help="The same.")
@click.option("--sync-metrics-config", is_flag=True, help="Without effect: the file is read anyway.")
@click.option("--metrics-config-path", metavar="PATH", help="Without effect.")
@click.option("--metrics-templates-path", metavar="PATH", help="Without effect.")
def create(
    experiences: tuple[str, ...],
    experience_ids: tuple[str, ...],
    experience_tags: tuple[str, ...],
    experience_tag_names: tuple[str, ...],
    experience_tag_ids: tuple[str, ...],
    test_suite: str | None,
    metrics_build_id: str | None,
    metrics_set: str | None,
    sync_metrics_config: bool,
    metrics_config_path: str | None,
    metrics_templates_path: str | None,
    **shared: Any,
) -> None:
    """Create a batch: a test for each experience, and batch metrics over them all.

    Nothing runs yet: `supervise`, `wait` and `rekindle work` run it.

    \b
    Example:
      rekindle resim batches create --project car --build-id planner-7 --experience-tags nightly
      rekindle resim batches create --project car --build-id planner-7 --experiences merge,turn --parameter speed=30
      rekindle resim batches create --project car --build-id planner-7 --test-suite nightly --metrics-build-id scores-2
    """
    del sync_metrics_config, metrics_config_path, metrics_templates_path
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
@click.option("--metrics-build-override", metavar="ID", help="Another metrics build than the suite's.")
@click.option("--metrics-set-override", metavar="NAME", help="The same.")
@click.option("--revision", metavar="N", help="Refused: the file has one revision, that of now.")
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
        raise Refused("--revision: a test suite is what the file says now", hint="leave it out")
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
    from rekindle.dialects.resim.configured import find_suite, read_configured
    from rekindle.dialects.resim.defining import choose, define

    if not (experiences or tags or test_suite):
        raise UsageError("no experience is chosen", hint="--experiences LIST, --experience-tags LIST or --test-suite")
    if not 0 <= allowable_failure_percent <= 100:
        raise BadValue(f"--allowable-failure-percent {allowable_failure_percent}: it is between 0 and 100", hint="0")
    labels = split(pool_labels)
    if "resim" in labels:
        raise BadValue("--pool-labels: resim is a reserved label", hint="choose another")
    if not github:
        click.echo("Creating a batch...")
    found = read_configured(config or _default_config())
    asked = Asked(
        config=found.path.name,
        build=build_id,
        metrics_build=metrics_build or (find_suite(found, test_suite).metrics_build if test_suite else None),
        test_suite=test_suite,
        parameters=parameters(parameter),
        allowable_failure_percent=allowable_failure_percent,
        account=account or next(filter(None, map(os.environ.get, _ACCOUNTS)), ""),
        pool_labels=tuple(labels),
    )
    chosen = choose(found, experiences=experiences, tags=tags, suite=test_suite)
    definition = define(found, asked, _checked(batch_name), project, chosen)
    with opened(create=True) as session:
        known = {one.name for one in look.workflows(session, archived=True)}
        name = definition.name or pseudo_unique_name(known, random.SystemRandom().choice)
        done = submit(session, definition, name=name, new=True)
        status = read_batch(session, look.find_workflow(session, str(done.workflow))).status
    if github:
        click.echo(f"batch_id={done.workflow}")
        return
    click.echo("Created batch successfully!")
    click.echo(f"Batch ID: {done.workflow}\nBatch name: {done.name}\nStatus: {status}")


def _checked(name: str | None) -> str:
    """A name that a workflow can have; none where none is given."""
    given = (name or "").strip()
    if given.isdecimal() or not given.isprintable():
        raise BadValue(
            f"--batch-name: {name!r:.60} cannot be a name", hint="not digits alone (those are IDs), one line"
        )
    return given


def _default_config() -> Path:
    found = next((path for path in map(Path, FILES) if path.is_file()), None)
    if found is None:
        raise NotFound(f"there is no {FILES[0]} in this folder", hint="--experiences-config FILE")
    return found
