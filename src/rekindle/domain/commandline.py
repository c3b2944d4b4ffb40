"""What a step's `run:` becomes: the argument vector of a program, with a shell only where one is needed.

A list is the argument vector. A text means what `/bin/sh` would make of it. Where it is nothing but words and quotes,
and the first word is a program, the shell would only split it: that is done here, and no shell is started.

A substituted value is one word wherever it stands, an empty one too, and is never read as shell syntax. It may begin
with `-`; programs that take that for an option have `--`. Where quoting cannot keep it whole, because the text has
quotes of its own around it or because a second reading of the text follows, only harmless values are taken.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rekindle.domain import shelltext
from rekindle.domain.errors import BadValue
from rekindle.domain.shelltext import MARK, Place
from rekindle.domain.substitution import Reference, lookup, parse
from rekindle.domain.substitution import word as written
