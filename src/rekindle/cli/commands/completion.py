"""`rekindle completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    \b
    Example:
      rekindle completion bash > ~/.local/share/bash-completion/completions/rekindle
      rekindle completion zsh > ~/.zfunc/_rekindle
      rekindle completion fish > ~/.config/fish/completions/rekindle.fish
    """
    root = click.get_current_context().find_root().command
    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(root, {}, "rekindle", "_REKINDLE_COMPLETE").source())
