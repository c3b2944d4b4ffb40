"""A parameter that a revision changes is reported with both values, which show their types."""

from __future__ import annotations

from cli_shell import Shell

CHANGES = (
    ("1", '"1"', '1 -> "1"'),
    ("1", "1.0", "1 -> 1.0"),
    ("true", '"true"', 'true -> "true"'),
    ("1", "true", "1 -> true"),
    ("null", '"null"', 'null -> "null"'),
    ("null", '""', 'null -> ""'),
    ("a", "' a'", 'a -> " a"'),
    ("[1, x]", '["1", x]', '[1, "x"] -> ["1", "x"]'),
    ("hello", "world wide", "hello -> world wide"),
    ("x", "'-> y -> z'", 'x -> "-> y -> z"'),
)


def test_a_change_shows_types_wherever_it_is_reported(shell: Shell) -> None:
    def spec(side: int) -> str:
        params = "".join(f"  p{at}: {change[side]}\n" for at, change in enumerate(CHANGES))
        jobs = "".join(
            f"  j{at}: {{run: 'echo ${{params.p{at}}} > {at}', inputs: {{i: in}}}}\n" for at in range(len(CHANGES))
        )
        return f"name: s\nparams:\n{params}jobs:\n{jobs}"

    shell.write("", "in")
    shell.write(spec(0))
    assert shell("run", "spec.yaml").code == 0
    shell.write(spec(1))
    previews = [("submit", "spec.yaml", "--dry-run"), ("workflows", "diff", "s")]
    previews.append(("rerun", "j0", "--submit", "spec.yaml", "--dry-run"))
    for words in previews:
        shown = shell(*words).out
        for at, change in enumerate(CHANGES):
            assert f"  params.p{at}: {change[2]}\n" in shown
    done = shell("submit", "spec.yaml")
    assert "no job changed" not in done.err
    assert 'revision 2: params.p0: 1 -> "1", params.p1: 1 -> 1.0, ' in done.err
    assert "and 5 more; 10 jobs use them\n" in done.err
    why, diff = shell("why", "-w", "s").out, shell("workflows", "diff", "s").out
    for at, change in enumerate(CHANGES):
        assert f"parameter p{at} changed: {change[2]}\n" in why
        assert f"  params.p{at}: {change[2]}\n" in diff


def test_a_parameter_that_comes_or_goes_is_not_set_which_is_not_null(shell: Shell) -> None:
    spec = "{name: s, params: {a: 1, n: null}, jobs: {j: {run: 'true'}}}"
    shell.write(spec)
    shell("submit", "spec.yaml")
    shell.write(spec.replace("n: null", "m: null"))
    done = shell("submit", "spec.yaml")
    assert "params.n: null -> (not set), params.m: (not set) -> null; no job uses them" in done.err
    shell.write(spec.replace("a: 1, n: null", "m: null"))
    document = shell("submit", "spec.yaml", "--json").json
    assert document["params"] == [{"name": "a", "before": 1, "after": None, "not_set": "after"}]
    assert document["using"] == 0


def test_what_changes_beside_parameters_is_reported_with_them(shell: Shell) -> None:
    spec = """\
    name: s
    params: {k: 1, l: {x: 1, y: 1}}
    jobs:
      sim: {matrix: {seed: [0, 1]}, run: 'echo ${params.k}'}
      part: {run: 'echo ${params.l.x}'}
      all: {needs: ['sim*'], run: 'true'}
    """
    shell.write(spec)
    shell("submit", "spec.yaml")
    shell.write(spec.replace("[0, 1]", "[0, 1, 2]").replace("k: 1", "k: 5").replace("y: 1", "y: 2"))
    done = shell("submit", "spec.yaml")
    assert "revision 2: 1 added, 1 needs others, 5 jobs; params.k: 1 -> 5, params.l: " in done.err
    assert '{"x": 1, "y": 1} -> {"x": 1, "y": 2}; 3 jobs use them\n' in done.err
    shell.write(spec.replace("[0, 1]", "[0, 1, 2]").replace("k: 1", "k: 5").replace("y: 1", "y: 2") + "    # touched")
    assert "revision 3: no job changed, 5 jobs\n" in shell("submit", "spec.yaml").err


def test_param_on_the_command_line_is_reported_like_one_of_the_file(shell: Shell) -> None:
    shell.write("{name: s, params: {k: 1}, jobs: {j: {run: 'echo ${params.k}'}}}")
    shell("submit", "spec.yaml")
    assert "revision 2: params.k: 1 -> 2; 1 job uses it\n" in shell("submit", "spec.yaml", "--param", "k=2").err


def test_a_matrix_value_of_another_type_is_shown_as_such(shell: Shell) -> None:
    spec = "{name: s, jobs: {m: {matrix: {v: [1]}, run: 'echo ${matrix.v} > o', inputs: {i: in}, outputs: {o: o}}}}"
    shell.write("", "in")
    shell.write(spec)
    shell("run", "spec.yaml")
    shell.write(spec.replace("[1]", '["1"]'))
    assert 'matrix.v: 1 -> "1"' in shell("submit", "spec.yaml", "--dry-run").out
    shell("submit", "spec.yaml")
    assert 'parameter matrix.v changed: 1 -> "1"' in shell("why", "-w", "s").out
