"""Find the files that a command names: its programs, the files among its arguments, and the files it writes.

The functions here only parse texts. The caller finds out whether a file exists, and in which folder.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from posixpath import basename, join, normpath
from typing import Literal

import msgspec

from rekindle.domain.texts.regexes import lazy_regex
from rekindle.domain.texts.shellscripts import (
    LATER,
    is_document,
    known_variables,
    read_script,
    unmark_word,
    word_glob,
)

FileRole = Literal["program", "source", "other", "written", "appended"]
"""The role of a word in its command: a program or the script of an interpreter; a file with the suffix of a source
file; any other word; a file that the command writes, from its beginning or at its end."""

WRITTEN: tuple[FileRole, ...] = ("written", "appended")
"""The roles of files that the command writes."""


class NamedFile(msgspec.Struct, frozen=True):
    """A word of a command that may name a file. `paths` are relative to the working directory; the first existing file
    is used. `first`: no other command of the attempt runs before. `awaited`: the command may depend on the absence of
    the file. `globs`: the paths as patterns, if the shell reads the word as one."""

    word: str
    paths: tuple[str, ...]
    role: FileRole
    first: bool = False
    awaited: bool = False
    globs: tuple[str, ...] = ()


SOURCE_SUFFIXES = frozenset(
    """
    py pyw pyx sh bash zsh ksh csh tcsh fish r rmd qmd jl pl pm t rb js mjs cjs ts mts cts jsx tsx lua awk gawk sed sql
    m mlx c h cc cpp cxx c++ hh hpp hxx cu cuh f f77 f90 f95 f03 f08 for php tcl tk exp ipynb smk nf wdl cwl java kt kts
    scala sc go rs swift cs fs hs ml mli ex exs erl clj groovy gradle mk mak cmake do sas sps stan bugs jags gp gnuplot
    plt ps1 bat cmd nim zig v vhd vhdl sv dart ahk vbs applescript el lisp scm rkt pro asm
    """.split()  # noqa: SIM905 - a hundred quoted words would be harder to read
)
"""Suffixes of source files, in lower case and without the dot."""

_NAME = lazy_regex(r"(?!.*://)(?:.*/)?[^/]*\.[A-Za-z][A-Za-z0-9]{0,4}")
_SPLIT = lazy_regex(r"(?:-[0iv]*S|--split-string=?)(.*)", re.DOTALL)  # an option of env: a command as one word
_FOLDER_OPTION = lazy_regex(r"(?:-C|--chdir=?|--directory=?)(.*)", re.DOTALL)
_MAKE_OPTIONS = lazy_regex(r"-[bdehikmnpqrRsStvwBL]+([fC].*)", re.DOTALL)  # combined options; the last is -f or -C
_SYSTEM = ("/bin/", "/usr/", "/sbin/")
_WORDS_OF_CODE = lazy_regex(r"[\w./-]+")
_ASSIGNMENT = lazy_regex(r"([A-Za-z_]\w*)\+?=(.*)", re.DOTALL)
_NUMBER = lazy_regex(r"[0-9.,:]+(?:e[+-]?[0-9]+)?|[-+]")
_MOST_WORDS = 50_000  # words of a text; the rest is ignored

_SHELLS = frozenset({"sh", "ash", "bash", "dash", "ksh", "ksh93", "mksh", "zsh", "rbash", "busybox"})
_KEYWORDS = frozenset({"if", "then", "else", "elif", "while", "until", "do", "{", "!", "coproc"})
_EXPORTS = frozenset({"export", "readonly", "local", "declare", "typeset"})
_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")


class _Interpreter(msgspec.Struct, frozen=True):
    """How to parse the command line of an interpreter up to its script."""

    code: str = ""  # options of one letter whose value is code: no script follows
    values: str = ""  # options of one letter that take a value, joined or as the next word
    long_code: tuple[str, ...] = ()
    long_values: tuple[str, ...] = ()
    files: tuple[str, ...] = ()  # options whose value is a file of code
    subcommands: tuple[str, ...] = ()  # words before the script


_PYTHON = _Interpreter("c", "WXQ", long_values=("--check-hash-based-pycs",))
_SHELL = _Interpreter("", "oO", files=("--rcfile", "--init-file"))
_R = _Interpreter("e", "g", files=("-f", "--file"), subcommands=("CMD", "BATCH"))
_NODE = _Interpreter(
    "ep",
    "rC",
    ("--eval", "--print"),
    ("--import", "--loader", "--env-file"),
    ("-r", "--require", "--import"),
    ("run", "exec"),
)
_INTERPRETERS: tuple[tuple[str, _Interpreter], ...] = (
    (r"python[0-9.]*|pypy[0-9.]*|ipython[0-9.]*|pythonw?", _PYTHON),
    (r"Rscript|littler|r", _Interpreter("e", "")),
    (r"R", _R),
    (r"julia[0-9.]*", _Interpreter("eE", "CJptL", ("--eval", "--print"), ("--threads", "--procs"), ("-L", "--load"))),
    (r"perl[0-9.]*", _Interpreter("eE", "I")),
    (r"ruby[0-9.]*", _Interpreter("e", "rICE")),
    (r"node|nodejs|deno|bun|ts-node|tsx", _NODE),
    (r"php[0-9.]*", _Interpreter("rBRE", "dczS", files=("-f", "--file"))),
    (r"lua[0-9.]*|luajit[0-9.]*", _Interpreter("", "el")),
    (r"octave(?:-cli)?[0-9.]*", _Interpreter("", "p", ("--eval",), ("--path",))),
    (r"tclsh[0-9.]*|wish[0-9.]*|expect", _Interpreter("c", "", files=("-f",))),
    (r"java", _Interpreter("", "", (), ("-cp", "-classpath", "--class-path"), ("-jar",))),
    (r"gnuplot|guile|racket|groovy|scala|elixir|escript|ocaml|runghc|runhaskell|sage|stata|sas", _Interpreter("e", "")),
)
_INTERPRETER = lazy_regex("|".join(f"(?P<i{at}>{names})" for at, (names, _) in enumerate(_INTERPRETERS)))

_FROM_FILE = lazy_regex(r"[gmn]?awk|gsed|sed|g?make|bmake|ninja|snakemake|just|bc|psql|mysql|sqlite3")
_FILE_OPTIONS = ("-f", "--file", "--makefile", "--snakefile")
_FILE_OPTION = lazy_regex(r"(?:-f|--?file=|--makefile=|--snakefile=)(.+)|-f|--file|--makefile|--snakefile", re.DOTALL)
_WRITERS = frozenset({"tee", "touch", "truncate", "rm", "rmdir", "mkdir", "unlink"})

_PREFIXES: Mapping[str, tuple[tuple[str, ...], int]] = {
    # name: (options that take the next word, words before the command)
    "env": (("-u", "--unset", "-C", "--chdir"), 0),
    "nice": (("-n", "--adjustment"), 0),
    "time": (("-f", "-o", "--format", "--output"), 0),
    "timeout": (("-k", "-s", "--kill-after", "--signal"), 1),
    "nohup": ((), 0),
    "setsid": ((), 0),
    "stdbuf": (("-i", "-o", "-e"), 0),
    "ionice": (("-c", "-n"), 0),
    "chrt": ((), 1),
    "taskset": ((), 1),
    "numactl": (("-N", "-m", "-C", "-i"), 0),
    "exec": (("-a",), 0),
    "command": ((), 0),
    "builtin": ((), 0),
    "sudo": (("-u", "-g", "-h", "-p", "-C", "-D", "-r", "-t", "-U"), 0),
    "xargs": (("-I", "-n", "-P", "-L", "-d", "-a", "-s", "-E", "--max-args", "--max-procs", "--arg-file"), 0),
    "parallel": (("-j", "--jobs", "-a", "--arg-file", "-N", "-I"), 0),
    "srun": (("-n", "-N", "-c", "-p", "-t", "-J", "-o", "-e", "-A", "-w", "-i", "-q", "-C", "-G", "--mem"), 0),
    "mpirun": (("-n", "-np", "-c", "-H", "-host", "-hostfile", "-machinefile", "-x", "--map-by", "--bind-to", "-N"), 0),
    "strace": (("-o", "-e", "-p", "-s"), 0),
    "ltrace": (("-o", "-e"), 0),
    "valgrind": ((), 0),
    "perf": (("-o", "-e"), 1),
    "flock": (("-w", "-E"), 1),
    "watch": (("-n",), 0),
    "xvfb-run": (("-s", "-n", "-e"), 0),
    "conda": (("-n", "-p", "--name"), 1),
    "uv": (("--with", "--python", "-p"), 1),
    "poetry": ((), 1),
    "pipenv": ((), 1),
    "coverage": (("--rcfile", "--source", "--omit", "--include"), 1),
    "singularity": (("-B", "--bind"), 2),
    "apptainer": (("-B", "--bind"), 2),
    "chronic": ((), 0),
    "unbuffer": ((), 0),
    "torchrun": ((), 0),
    "accelerate": ((), 1),
}
_ALIASES = {"mpiexec": "mpirun", "mpiexec.hydra": "mpirun", "mamba": "conda", "micromamba": "conda", "doas": "sudo"}
_NEEDS_RUN = {"conda": "run", "uv": "run", "poetry": "run", "pipenv": "run", "coverage": "run", "accelerate": "launch"}


def named_files(
    argv: Sequence[str], environment: Mapping[str, str], search: str = "", *, first: bool = True
) -> tuple[NamedFile, ...]:
    """Return the files that a command may name. `argv` is its argument vector, in which LATER stands for an unknown
    part; `environment` has the variables that a shell would expand; `search` is a PATH whose programs may be files of
    the project; `first`: no other command of the attempt runs before."""
    values = {pair for word in argv for pair in known_variables(word, environment)}
    return _named_files(tuple(argv), tuple(sorted(values)), search, first)


@lru_cache(maxsize=4096)
def _named_files(
    argv: tuple[str, ...], values: tuple[tuple[str, str], ...], search: str, first: bool
) -> tuple[NamedFile, ...]:
    finder = _Finder(dict(values), [folder for folder in search.split(":") if folder], first)
    finder.command(argv, ())
    return tuple(finder.found.values())


class _Finder:
    """Collects the files that the commands of a text name, in order."""

    def __init__(self, variables: dict[str, str], search: Sequence[str], first: bool) -> None:
        self.variables = {**variables, "PWD": "."}
        self._search = search
        self.found: dict[tuple[str, FileRole], NamedFile] = {}
        self._folder = ""  # the folder after `cd`; "": the working directory
        self._outer: list[tuple[str, dict[str, str]]] = []
        self._first = first
        self._words = 0

    def enter(self) -> None:
        self._outer.append((self._folder, dict(self.variables)))

    def leave(self) -> None:
        self._folder, self.variables = self._outer.pop()

    def command(self, words: Sequence[str], redirections: Sequence[tuple[str, str]]) -> None:
        """Process a simple command."""
        self._words += len(words)
        if self._words > _MOST_WORDS:
            return
        for operator, word in redirections:
            if operator == "<":
                self._argument(word)
            elif operator != "<<<" and not re.fullmatch(r"[0-9]+-?|-", word):
                self._add(word, "appended" if operator.endswith(">>") else "written")
        rest = list(words)
        while rest and rest[0] in _KEYWORDS:
            del rest[0]
        if rest and (rest[0] in ("case", "[[") or rest[-1] == "]]"):
            rest = [unmark_word(word) for word in rest]  # patterns here match texts, not files
        if rest and rest[0] in ("for", "select", "case", "function"):
            for word in rest[1:]:
                self._argument(word)
            return
        self._assign(rest)
        if rest:
            self._run(rest)
            self._first = False

    def _assign(self, words: list[str]) -> None:
        """Process the assignments before a command and remove them from `words`."""
        alone = all(_ASSIGNMENT.fullmatch(word) for word in words)
        while words and (found := _ASSIGNMENT.fullmatch(words[0])):
            del words[0]
            value = unmark_word(found[2])
            self._argument(value)
            if found[1] == "PATH":
                own = [folder for folder in value.split(":") if folder and LATER not in folder]
                self._search = [*own, *self._search]
            if alone:
                self._set(found[1], value)

    def _set(self, name: str, value: str) -> None:
        if LATER in value or is_document(value):
            self.variables.pop(name, None)
        else:
            self.variables[name] = value

    def _run(self, words: list[str]) -> None:
        """Process a command without its assignments."""
        program, arguments = words[0], words[1:]
        name = basename(program)
        self._program(program)
        if name in ("cd", "pushd"):
            self._change_folder([word for word in arguments if not word.startswith("-")])
        elif name in ("source", "."):
            for word in arguments[:1]:
                self._script(word)
            self._arguments(arguments[1:])
        elif name in _EXPORTS:
            for word in arguments:
                if found := _ASSIGNMENT.fullmatch(word):
                    self._set(found[1], unmark_word(found[2]))
            self._arguments(arguments)
        elif name in ("eval", "trap"):
            read_script(unmark_word(" ".join(arguments) if name == "eval" else "".join(arguments[:1])), self)
        elif name in _SHELLS:
            self._shell(arguments)
        elif (found := _INTERPRETER.fullmatch(name)) and found.lastgroup:
            self._interpreted(_INTERPRETERS[int(found.lastgroup[1:])][1], arguments, name)
        elif _FROM_FILE.fullmatch(name):
            self._from_file(name, arguments)
        elif _ALIASES.get(name, name) in _PREFIXES:
            self._prefix(_ALIASES.get(name, name), arguments)
        elif name in _WRITERS:
            appends = name == "tee" and any(re.fullmatch("-[a-z]*a[a-z]*|--append", word) for word in arguments)
            for word in arguments:
                self._add(word, "appended" if appends else "written")
        else:
            self._arguments(arguments)

    def _change_folder(self, words: Sequence[str]) -> None:
        if words and self._folder != LATER:
            self._folder = LATER if LATER in words[0] else normpath(join(self._folder, words[0]))
            if self._folder == ".":
                self._folder = ""

    def _prefix(self, name: str, arguments: list[str]) -> None:
        """Process a command that starts another one."""
        if name in _NEEDS_RUN and arguments[:1] != [_NEEDS_RUN[name]]:
            self._arguments(arguments)
            return
        valued, positional = _PREFIXES[name]
        at = 0
        while at < len(arguments):
            word = arguments[at]
            if _starts_command(word):
                break
            if name == "env" and (found := _SPLIT.fullmatch(word)):
                text, *more = [one for one in map(unmark_word, (found[1], *arguments[at + 1 :])) if one]
                read_script(f"{text} {shlex.join(more)}", self)
                return
            if word.startswith("-") and len(word) > 1:
                if name == "env" and (found := _FOLDER_OPTION.fullmatch(word)):
                    self._change_folder([found[1] or "".join(arguments[at + 1 : at + 2])])
                at += 2 if word in valued else 1
            elif name == "env" and _ASSIGNMENT.fullmatch(word):
                at += 1
            elif positional:
                positional -= 1
                at += 1
            else:
                break
        later = next((found for found in range(at, len(arguments)) if _starts_command(arguments[found])), at)
        if not (at < len(arguments) and "/" in arguments[at]) and name in ("srun", "mpirun", "parallel", "sudo"):
            at = later  # an unknown option took a value
        self._arguments(arguments[:at])
        if at < len(arguments):
            self._run(arguments[at:])

    def _shell(self, arguments: list[str]) -> None:
        for at, word in enumerate(arguments):
            if re.fullmatch(r"-[A-Za-z]*c[A-Za-z]*", word):
                code = next((found for found in range(at + 1, len(arguments)) if arguments[found][:1] not in "-+"), 0)
                if code:
                    self.enter()
                    read_script(unmark_word(arguments[code]), self)
                    self.leave()
                    self._arguments(arguments[code + 1 :])
                return
            if not word.startswith(("-", "+")):
                break
        self._interpreted(_SHELL, arguments, "sh")

    def _interpreted(self, kind: _Interpreter, arguments: list[str], name: str) -> None:
        """Process the script of an interpreter, and its arguments."""
        at = 0
        while at < len(arguments):
            word = arguments[at]
            option, _, value = word.partition("=")
            if word == "--":
                at += 1
                break
            if word == "-" or word in kind.long_code:
                self._code("".join(arguments[at + 1 : at + 2]) if word != "-" else "")
                self._arguments(arguments[at + 2 if word != "-" else at + 1 :])
                return
            if option in kind.files:
                self._script(value or "".join(arguments[at + 1 : at + 2]))
                if word != "-r":
                    self._arguments(arguments[at + (1 if value else 2) :])
                    return
                at += 2
            elif word in kind.long_values:
                at += 2
            elif word.startswith(("-", "+")):
                end = self._cluster(kind, arguments, at, name)
                if end is None:
                    return
                at = end
            elif word in kind.subcommands:
                at += 1
            else:
                break
        if at < len(arguments):
            self._script(arguments[at])
            self._arguments(arguments[at + 1 :])

    def _cluster(self, kind: _Interpreter, arguments: list[str], at: int, name: str) -> int | None:
        """Skip one-letter options; None: no script follows them."""
        word = arguments[at]
        if word.startswith("--"):
            return at + 1
        for place, letter in enumerate(word[1:], 2):
            if letter == "m" and kind is _PYTHON:
                module = word[place:] or "".join(arguments[at + 1 : at + 2])
                self._module(module)
                self._arguments(arguments[at + (1 if word[place:] else 2) :])
                return None
            if letter in kind.code:
                self._code(word[place:] or "".join(arguments[at + 1 : at + 2]))
                self._arguments(arguments[at + (1 if word[place:] else 2) :])
                return None
            if letter in kind.values:
                return at + (1 if word[place:] else 2)
            if name.startswith("perl") and letter in "il0MmFx":  # its value is the rest of the word
                break
        return at + 1

    def _module(self, module: str) -> None:
        """Process `python -m a.b`: a module of the project or of a package."""
        if re.fullmatch(r"[\w.]+", module):
            path = module.replace(".", "/")
            self._add(module, "program", (f"{path}.py", f"{path}/__main__.py"))

    def _script(self, word: str) -> None:
        self._add(word, "program", (word, join(word, "__main__.py")) if not is_source(word) else (word,))

    def _program(self, word: str) -> None:
        word = unmark_word(word)  # patterns here belong to `case`
        if "/" in word:
            if not word.startswith(_SYSTEM):
                self._add(word, "program")
        elif self._search:
            self._add(word, "program", tuple(join(folder, word) for folder in self._search), awaited=False)
        elif is_source(word):
            self._add(word, "source")

    def _code(self, text: str) -> None:
        """Process code on the command line: the files it names, if they exist."""
        for word in _WORDS_OF_CODE.findall(text):
            if is_source(word):
                self._add(word, "source", awaited=False)

    def _from_file(self, name: str, arguments: list[str]) -> None:
        """Process the programs after `-f`, and the default files of make and snakemake."""
        named, folder, before = False, "", ""
        for word in arguments:
            if name in ("make", "gmake") and (several := _MAKE_OPTIONS.fullmatch(word)):
                word = f"-{several[1]}"
            found = _FILE_OPTION.fullmatch(word)
            if before in _FILE_OPTIONS or (found and found[1]):
                self._script(join(folder, found[1] if found and found[1] else word))
                named = True
            elif before in ("-C", "--directory"):
                folder = word
            elif moved := _FOLDER_OPTION.fullmatch(word):
                folder = moved[1] or folder
            elif not found:
                self._argument(word)
            before = word if before not in _FILE_OPTIONS else ""
        if named:
            return
        if name in ("make", "gmake"):
            self._add(join(folder, "Makefile"), "program", tuple(join(folder, one) for one in _MAKEFILES))
        elif name == "snakemake":
            self._add("Snakefile", "program", ("Snakefile", "workflow/Snakefile"))

    def _arguments(self, words: Sequence[str]) -> None:
        for word in words:
            self._argument(word)

    def _argument(self, word: str) -> None:
        for part in _parts(word):
            if not _NUMBER.fullmatch(part):
                self._add(part, "source" if is_source(part) else "other")

    def _add(self, word: str, role: FileRole, paths: tuple[str, ...] = (), *, awaited: bool | None = None) -> None:
        if not word or word.startswith("-") or not _may_be_path(word):
            return
        if role == "program" and word_glob(word) is not None:
            role = "other"
        places = paths or (word,)
        if self._folder == LATER:  # the working directory is uncertain
            if role in WRITTEN:
                return
            awaited = False
        elif self._folder:
            within = tuple(join(self._folder, place) for place in places)
            places = within if role in WRITTEN else (*within, *places)
            word = join(self._folder, word)
        known = self.found.get((word, role))
        literal = tuple(map(unmark_word, places))
        if known is None or known.paths != literal:
            name = unmark_word(word)
            if awaited is None:
                awaited = role in ("program", "source") or (role == "other" and _NAME.fullmatch(name) is not None)
            globs = tuple(glob for place in places if (glob := word_glob(place)) is not None)
            self.found[word, role] = NamedFile(name, literal, role, self._first, awaited, globs)


def _may_be_path(word: str) -> bool:
    """Return whether Linux can have a file of this name: a path has less than 4,096 characters, a name at most 255. A
    line break is possible in a name, but is the mark of a text."""
    return len(word) < 4096 and "\n" not in word and max(map(len, word.split("/"))) <= 255


def _parts(word: str) -> Iterator[str]:
    """Yield the parts of an argument that may be a path: the argument itself, the part after `=` or `@`, and the part
    after a one-letter option. A shell reads no pattern in a part."""
    if not word.startswith("-"):
        yield word
    word = unmark_word(word)
    if word.startswith("--") or not word.startswith("-"):
        _, sign, value = word.partition("=")
        if sign and value:
            yield from _parts(value)
        if word.startswith("@") and len(word) > 1:
            yield word[1:]
        if "::" in word and "://" not in word:  # a test in a file
            yield word.partition("::")[0]
    elif "=" in word:
        yield from _parts(word.partition("=")[2])
    elif len(word) > 2:
        yield word[2:]


def is_source(word: str) -> bool:
    """Return whether a path has the suffix of a source file."""
    stem, dot, suffix = basename(word).rpartition(".")
    return bool(dot and stem) and suffix.lower() in SOURCE_SUFFIXES


def _starts_command(word: str) -> bool:
    name = basename(word)
    known = name in _SHELLS or _ALIASES.get(name, name) in _PREFIXES
    return known or bool(_INTERPRETER.fullmatch(name) or _FROM_FILE.fullmatch(name))
