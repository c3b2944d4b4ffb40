"""`rekindle init --from make`, beside make itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cli_shell import Shell, commands_of

from rekindle.spec import load

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

REPORTS = """\
# reports of three cities
SHELL := /bin/sh
CITIES = rome oslo bern
OUT := out
EXTRA ?= -n
MEANS := $(CITIES:%=$(OUT)/%.mean)
SRC := $(wildcard data/*.csv)
VERSION := $(shell echo 1)
define note
echo first $(1)
echo second $(1)
endef

ifeq ($(FAST),1)
LINES = 1
else ifdef NOTHING
LINES = 9
else
LINES = 2
endif
export LINES_SHOWN := $(LINES)

.PHONY: all clean
all: $(MEANS) report.txt $(patsubst data/%.csv,$(OUT)/%.rows,$(SRC))

$(OUT)/%.mean: data/%.csv common.txt | $(OUT)
\t@echo mean of $* from $(<F) in $(@D)
\thead $(EXTRA) $(LINES) $< > $@  # keep
$(OUT)/%.rows: data/%.csv | $(OUT)
\twc -l < $< > $@; echo '$$HOME is not $(HOME_OF)' >> $@

$(OUT):
\tmkdir -p $@

report.txt: $(MEANS)
\t-grep -c nothing $^
\t-rm -f report.tmp
\tfor f in $^; do \\
\t  cat $$f >> report.tmp; \\
\tdone
\t$(call note,report)
\techo $$LINES_SHOWN >> report.tmp
\tmv report.tmp $@

version.txt:
\techo $(VERSION) > $@
clean:
\trm -rf $(OUT) report.txt
"""

PROGRAM = """\
CC ?= tcc
CFLAGS = -O1
OBJS = main.o twice.o
prog: $(OBJS)
\t$(CC) $(CFLAGS) -o $@ $(filter %.o,$^)
$(OBJS): common.h
twice.o: twice.c
a.txt b.txt: prog
\t./prog $@ > $@
all: a.txt b.txt
.DEFAULT_GOAL := all
"""

SOURCES = {
    "main.c": '#include <stdio.h>\n#include "common.h"\nint main(int n, char **v) { printf("%s", v[n - 1]); }\n',
    "twice.c": '#include "common.h"\nint twice(int x) { return 2 * x; }\n',
    "common.h": "int twice(int x);\n",
}


def reports(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    for city in ("rome", "oslo", "bern"):
        (folder / f"data/{city}.csv").write_text("".join(f"{city},{day}\n" for day in range(4)))
    (folder / "common.txt").touch()
    (folder / "Makefile").write_text(REPORTS)


def program(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in SOURCES.items():
        (folder / name).write_text(text)
    (folder / "Makefile").write_text(PROGRAM)


def plain(command: str) -> str:
    """A command as `make -n` prints it: without the prefixes, and with one space between words."""
    command = re.sub(r"^\((.*)\) \|\| true$|^(.*) \|\| true$", lambda one: one[1] or one[2], command, flags=re.DOTALL)
    return " ".join(command.split())


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and ".rekindle" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if path.name != "workflow.yaml"}


@needs_make
@pytest.mark.parametrize("project", [reports, program])
def test_the_converted_makefile_has_makes_commands_and_makes_its_files(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, project: object
) -> None:
    monkeypatch.delenv("MAKEFLAGS", raising=False)
    monkeypatch.delenv("CC", raising=False)
    assert callable(project)
    if project is program and shutil.which("cc") is None:
        pytest.skip("no C compiler is installed")
    for name in ("made", "converted"):
        project(shell.folder / name)
    dry = subprocess.run(["make", "-n"], cwd=shell.folder / "made", capture_output=True, text=True, check=True)
    subprocess.run(["make"], cwd=shell.folder / "made", capture_output=True, check=True)
    monkeypatch.chdir(shell.folder / "converted")
    done = shell("init", "--from", "make", "Makefile")
    assert done.code == 0, done.err
    commands = [plain(one) for some in commands_of(Path("workflow.yaml")).values() for one in some]
    printed = [plain(line) for line in re.split(r"(?<!\\)\n", dry.stdout) if line.strip()]
    assert sorted(commands) == sorted(printed)
    assert "warning" not in shell("spec", "check", "workflow.yaml").out
    assert shell("run", "workflow.yaml").code == 0
    assert files(shell.folder / "converted") == files(shell.folder / "made")
    assert shell("run", "workflow.yaml", "--json").json["ran"] is None


def convert(shell: Shell, text: str) -> str:
    """Convert a Makefile and return what init printed."""
    (shell.folder / "Makefile").write_text(text)
    done = shell("init", "--from", "make", "Makefile")
    assert done.code == 0, done.err
    return done.out


def test_what_is_not_converted_is_listed_with_its_line(shell: Shell) -> None:
    said = convert(
        shell,
        "include nowhere.mk\n"
        "NOW := $(shell date)\n"
        "all: a b c d e FORCE\n"
        "\ttrue $^\n"
        "a:\n\techo a > $@\n"
        "b:\n\techo $(NOW) > $@\n"
        "c: X = 1\n"
        "c:\n\techo $(X) > $@\n"
        "d:: a\n\techo d > $@\n"
        "e: missing.txt\n\tcp $< $@\n"
        "clean:\n\trm -f a b\n"
        "FORCE:\n"
        ".NOTPARALLEL:\n",
    )
    for line in (
        "Makefile:1: include nowhere.mk: there is no such file",
        "Makefile:7: b: $(shell …) is not evaluated",
        "Makefile:9: c: `X = 1`",
        "Makefile:12: d: rules with two colons",
        "Makefile:14: e: no rule makes missing.txt",
        "Makefile:3: all: FORCE makes it run each time",
        "Makefile:16: clean: the target all does not need it",
        "Makefile: .NOTPARALLEL: one job at a time",
    ):
        assert line in said
        assert f"#   {line}" in (shell.folder / "workflow.yaml").read_text()
    assert {"a", "e", "all"} == set(commands_of(shell.folder / "workflow.yaml"))


def test_nothing_of_a_makefile_is_run(shell: Shell) -> None:
    convert(shell, "A := $(shell touch ran)\nB != touch ran\n$(eval C = $(shell touch ran))\nall:\n\techo > all\n")
    assert not (shell.folder / "ran").exists()


def test_a_phony_target_without_recipe_joins_what_it_needs(shell: Shell) -> None:
    convert(shell, ".PHONY: prep check\ncheck: prep\n\ttrue\nprep: x y\nx:\n\techo > x\ny:\n\techo > y\n")
    definition = load(shell.folder / "workflow.yaml")
    names = [job.name for job in definition.jobs]
    edges = {(names[parent], names[child]) for parent, child in definition.edges}
    assert edges == {("x", "check"), ("y", "check")}
    assert not definition.templates[names.index("check")].outputs


def test_a_name_that_is_no_file_is_not_an_output(shell: Shell) -> None:
    said = convert(shell, "test: prog\n\techo ok\nprog:\n\techo > prog\n")
    assert "Makefile:1: test: taken as a name, not a file" in said
    assert shell("run", "workflow.yaml").code == 0


def test_one_run_of_a_grouped_rule_makes_all_its_files(shell: Shell) -> None:
    shell.write("x\n", "p.y")
    convert(shell, "all: p.tab.c p.tab.h\n\ttrue\n%.tab.c %.tab.h: %.y\n\tcp $< $*.tab.c; cp $< $*.tab.h\n")
    assert shell("run", "workflow.yaml").code == 0
    assert len(load(shell.folder / "workflow.yaml").jobs) == 2


def test_suffix_rules_and_static_patterns_are_followed(shell: Shell) -> None:
    shell.write("x\n", "a.in")
    shell.write("x\n", "b.src")
    convert(
        shell,
        "all: a.out b.bin\n\ttrue\n.SUFFIXES: .in .out\n.in.out:\n\tcp $< $@\nb.bin: %.bin: %.src\n\tcp $< $@ # $*\n",
    )
    assert commands_of(shell.folder / "workflow.yaml") == {
        "all": ["true"],
        "a.out": ["cp a.in a.out"],
        "b.bin": ["cp b.src b.bin # b"],
    }


CONDITIONS = """\
LIST = a,b
ifneq (,$(filter a%,$(LIST)))
FIRST = yes
endif
ifeq ($(shell date),x)
SECOND = wrong
else
SECOND = wrong
endif
ifeq "one" 'two'
THIRD = wrong
else ifndef NOWHERE
THIRD = yes
else
THIRD = wrong
endif
ifeq ($(LIST),a)
ifeq (1,1)
FOURTH = wrong
endif
else
FOURTH = yes
endif
all:
\techo $(FIRST) $(SECOND) $(THIRD) $(FOURTH) > all
"""


def test_conditionals_are_evaluated_and_one_that_cannot_be_takes_no_branch(shell: Shell) -> None:
    said = convert(shell, CONDITIONS)
    assert "Makefile:5: ifeq ($(shell date),x): $(shell …) is not evaluated" in said
    assert commands_of(shell.folder / "workflow.yaml") == {"all": ["echo yes  yes yes > all"]}


def test_a_chain_of_patterns_is_followed(shell: Shell) -> None:
    shell.write("x\n", "a.one")
    convert(shell, "a.three:\n%.three: %.two\n\tcp $< $@\n%.two: %.one\n\tcp $< $@\n")
    assert shell("run", "workflow.yaml").code == 0
    assert (shell.folder / "a.three").read_text() == "x\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A = 1\n",
        "all:\n",
        "all: all\n",
        "A = $(A)\nall:\n\techo $(A)\n",
        "all: $(\n",
        "\techo x\n",
        "define X\n",
        "endif\n",
        "a: b\nb: a\n",
    ],
)
def test_a_makefile_without_a_usable_recipe_is_refused(shell: Shell, text: str) -> None:
    (shell.folder / "Makefile").write_text(text)
    done = shell("init", "--from", "make", "Makefile")
    assert done.code == 1
    assert "nothing in Makefile could be converted" in done.err


def test_another_target_can_be_named(shell: Shell) -> None:
    (shell.folder / "Makefile").write_text("help:\n\techo a\nb: c\n\techo > b\nc:\n\techo > c\n")
    done = shell("init", "--from", "make", "Makefile", "--target", "b")
    assert "Makefile:1: help: the target b does not need it" in done.out
    assert set(commands_of(shell.folder / "workflow.yaml")) == {"b", "c"}
    assert shell("init", "--from", "make", "Makefile", "--target", "nobody", "-o", "x.yaml").code == 1
    assert shell("init", "--target", "b", "-o", "x.yaml").code == 64


def test_a_missing_file_is_listed_once(shell: Shell) -> None:
    said = convert(shell, "all: a b\n\ttrue\na b: gone.txt\n\tcp $< $@\n")
    assert said.count("no rule makes gone.txt") == 1


@pytest.mark.parametrize(
    "needs",
    ["$(shell ls *.py | sed 's/py/o/')", "$(shell ls; true)", "$(shell a:b) | $(shell c)", "$(shell date '+%H:%M')"],
)
def test_a_default_target_that_is_not_known_is_not_replaced_by_another(shell: Shell, needs: str) -> None:
    (shell.folder / "Makefile").write_text(f"all: {needs}\n\ttrue\nsub:\n\techo > sub\n%.o: %.py\n\tcp $< $@\n")
    done = shell("init", "--from", "make", "Makefile")
    assert (done.code, done.out) == (1, "")
    assert "$(shell …) is not evaluated" in done.err
    assert "not closed" not in done.err
    assert "all: the target is not known: " in done.err
    assert "Makefile:3: sub: whether the target all needs it is not known" in done.err
    assert "Makefile:5: %.o: whether the target all needs it is not known" in done.err
    assert shell("init", "--from", "make", "Makefile", "--target", "sub").code == 0


def test_separators_within_references_do_not_split_a_rule(shell: Shell) -> None:
    shell.write("x\n", "b.in")
    convert(
        shell,
        "all: $(subst ;,,$(subst |,,b;|)).out | $(patsubst a:b,c,a:b); true $@\n%.out: %.in\n\tcp $< $@\nc:\n\ttrue\n",
    )
    assert commands_of(shell.folder / "workflow.yaml") == {
        "all": ["true all"],
        "b.out": ["cp b.in b.out"],
        "c": ["true"],
    }


def test_a_pattern_rule_that_makes_nothing_is_listed(shell: Shell) -> None:
    said = convert(shell, "all:\n\techo > all\n%.o: %.py\n\tcp $< $@\n")
    assert "Makefile:3: %.o: the target all does not need it" in said
