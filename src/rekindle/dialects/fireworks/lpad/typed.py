"""How lpad's commands read their words: `-i 1 2 3` as well as `-i 1,2,3`, and long options cut short."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import click

_IDS = re.compile(r"[0-9]+(?:-[0-9]+)?(?:,[0-9]*(?:-[0-9]+)?)*,?")


class Several(click.Option):
    """An option that takes all words that follow it: up to the next option, or as long as they are `ids`."""

    def __init__(self, *args: Any, ids: bool = False, **kwargs: Any) -> None:
        kwargs["multiple"] = True
        super().__init__(*args, **kwargs)
        self.ids = ids

    def takes(self, word: str) -> bool:
        """Whether another word is its."""
        return bool(_IDS.fullmatch(word)) if self.ids else not word.startswith("-")


class Command(click.Command):
    """A command of lpad."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, with the words as it needs them."""
        return super().parse_args(ctx, list(_spread(args, self.params)))


def _spread(words: Sequence[str], params: Sequence[click.Parameter]) -> Iterator[str]:
    """The words with each option before each of its values, and its whole name. Where a command also takes a word of
    its own that has not come yet, an option takes one only: the next is that word."""
    options = {name: one for one in params if isinstance(one, click.Option) for name in one.opts}
    awaited = sum(isinstance(one, click.Argument) and one.nargs != -1 for one in params)
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            yield from (word, *left)
            return
        name, equals, value = word.partition("=")
        name = _whole(name, options)
        option = options.get(name)
        if option is None:
            awaited -= not word.startswith("-")
            yield word
            continue
        yield name + equals + value
        if option.is_flag or (not equals and not left):
            continue
        if not equals:
            yield left.pop(0)
        while left and isinstance(option, Several) and awaited <= 0 and option.takes(left[0]):
            yield from (name, left.pop(0))


def _whole(name: str, options: dict[str, click.Option]) -> str:
    """A long option's whole name, where only one begins so."""
    if name in options or not name.startswith("--") or name == "--":
        return name
    found = [known for known in options if known.startswith(name)]
    same = {id(options[known]) for known in found}
    return found[0] if len(same) == 1 else name
