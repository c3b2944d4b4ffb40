"""Parse XML files into elements that know their places, and collect the problems of several files.

expat reads no file or address that a document names, and entities can be declared in a DOCTYPE only. A DOCTYPE is
refused where it begins, so no entity can be expanded: the standard library is enough.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

import msgspec

from rekindle.domain.errors import RekindleError, SpecError, SpecProblem
from rekindle.spec.loading import read_bytes

MAX_FILE_SIZE = 64 << 20
"""Bytes."""

MAX_DEPTH = 64


class Element(msgspec.Struct, frozen=True):
    """An element with its attributes and place."""

    tag: str
    attributes: dict[str, str]
    file: str
    line: int
    column: int
    children: list[Element]

    def get(self, name: str) -> str:
        """Return an attribute without surrounding blanks, or an empty text."""
        return self.attributes.get(name, "").strip()

    def names(self, attribute: str) -> list[str]:
        """Return the names of a comma-separated attribute."""
        return [name for one in self.get(attribute).split(",") if (name := one.strip())]

    def __str__(self) -> str:
        key = "type" if self.tag == "modelType" and "type" in self.attributes else "name"
        return f'<{self.tag} {key}="{self.get(key)}">' if key in self.attributes else f"<{self.tag}>"


def word(name: str) -> str:
    """Return a name without blanks and signs: `throw exception subtask 0` is `throw_exception_subtask_0`."""
    return re.sub(r"[^\w-]+", "_", name)


class XmlProblems:
    """Collects the problems of several files."""

    def __init__(self, where: str) -> None:
        """`where` names the files together."""
        self.where = where
        self._found: dict[SpecProblem, None] = {}

    def add(self, element: Element, message: str, hint: str = "") -> None:
        """Add a problem of an element."""
        problem = SpecProblem(element.line, element.column, f"{element}: {message}", hint, element.file)
        self._found[problem] = None

    def add_all(self, problems: Sequence[SpecProblem], file: str) -> None:
        """Add the problems of a file."""
        for one in problems:
            self._found[one._replace(file=file)] = None

    def raise_any(self) -> None:
        """Raise SpecError with all problems, if there are any."""
        if self._found:
            raise SpecError(self.where, list(self._found))


class _BadXml(RekindleError):
    """A document that is refused while it is parsed."""


class _Builder:
    """Builds the elements of one document."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.parser = expat.ParserCreate()
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.root: Element | None = None
        self._open: list[Element] = []

    def _refuse_doctype(self, *_: object) -> NoReturn:
        raise _BadXml("a DOCTYPE is refused", hint="take it out: entities are not read")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise _BadXml(f"elements are nested more than {MAX_DEPTH} deep")
        parser = self.parser
        element = Element(
            tag, attributes, self.file, parser.CurrentLineNumber, parser.CurrentColumnNumber + 1, children=[]
        )
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def _end(self, _: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        if text.strip():
            raise _BadXml(f"{self._open[-1]} has a text: {text.strip():.40}", hint="values are attributes")


def parse_xml(path: Path) -> Element:
    """Return the root element of a file. Raise SpecError if it cannot be read."""
    content = read_bytes(path)
    if len(content) > MAX_FILE_SIZE:
        raise SpecError(str(path), [SpecProblem(0, 0, f"has more than {MAX_FILE_SIZE >> 20} MiB")])
    builder = _Builder(str(path))
    try:
        builder.parser.Parse(content, True)
    except expat.ExpatError as error:
        problem = SpecProblem(error.lineno, error.offset + 1, f"not XML: {expat.ErrorString(error.code)}")
        raise SpecError(str(path), [problem]) from None
    except _BadXml as error:
        parser = builder.parser
        place = parser.CurrentLineNumber, parser.CurrentColumnNumber + 1
        raise SpecError(str(path), [SpecProblem(*place, error.message, error.hint)]) from None
    except (ValueError, LookupError) as error:  # an encoding that Python does not know
        raise SpecError(str(path), [SpecProblem(1, 1, f"not XML: {error}")]) from None
    assert builder.root is not None, "expat reports a document without an element"
    return builder.root
