"""`rekindle init`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from rekindle.cli.options import json_option
from rekindle.cli.showing import shapes
from rekindle.domain.errors import Refused
from rekindle.engine.session import STORE_FOLDER, STORE_VARIABLE, open_session
from rekindle.files.modes import is_shared, set_modes
from rekindle.store.opening import folder_of
from rekindle.store.sqlite import FILE


@click.command()
@click.option(
    "--shared", is_flag=True, help="Let the folder's group read and write the store, as REKINDLE_SHARED=group."
)
@json_option
def init(shared: bool, as_json: bool) -> None:
    """Make a store here, private or shared with a group.

    The store is `.rekindle` in the working directory, or what --store or $REKINDLE_STORE names. A private store (the
    default) is open to nobody but its user: folders 0700, files 0600. In a shared store folders are 2770 and files
    0660, whoever makes them and whatever the umask. The group is that of the store's folder: `chgrp -R GROUP .rekindle`
    changes it. Files that jobs write keep the user's umask. A store that exists is kept; with --shared it becomes
    shared.

    \b
    Example:
      rekindle init
      rekindle init --shared
    """
    url = click.get_current_context().find_root().params.get("store") or os.environ.get(STORE_VARIABLE)
    folder = folder_of(url or str(Path.cwd() / STORE_FOLDER))
    made = not (folder / FILE).exists()
    with open_session(str(folder), shared=shared):
        pass
    if shared and not is_shared(folder):
        set_modes(folder, shared=True)
        if not is_shared(folder):
            raise Refused(
                f"the store {folder} cannot be shared: its permissions cannot be changed",
                hint=f"its owner can: rekindle --store {folder} init --shared",
            )
    is_group = is_shared(folder)
    if as_json:
        shapes.emit({"store": str(folder), "made": made, "shared": is_group})
        return
    access = f"shared with the group {_group_of(folder)}" if is_group else "private to its user"
    click.echo(f"{'made a store' if made else 'there is a store'}: {folder}, {access}")


def _group_of(folder: Path) -> str:
    """Return the name of a folder's group, or its number where the group has no name here."""
    try:
        return folder.group()
    except KeyError:
        return str(folder.stat().st_gid)
