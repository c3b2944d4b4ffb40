"""`matrix` with `exclude` and `include`, values of any text, ranges, free keys and composed names."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

NAMES = {
    "": "",
    "-O2": "-O2",
    "a b": "a b",
    "a,b": '"a,b"',
    "[z]": '"[z]"',
    "a\tb": r'"a\tb"',
    "a\nb": r'"a\nb"',
    " a": '" a"',
    '"a"': r'"\"a\""',
    "a=b": "a=b",
    "\u2028": r'"\u2028"',
    "it's": "it's",
    "$HOME": "$HOME",
}


def names(shell):
    return [job["name"] for job in shell("jobs", "list", "--json").json["jobs"]]


def submitted(shell, matrix, rest="run: 'true'"):
    shell.write(f"name: m\njobs:\n  build:\n    matrix: {matrix}\n    {rest}\n")
    done = shell("submit", "spec.yaml")
    return names(shell) if done.code == 0 else done.err


def test_excluded_combinations_are_left_out_and_included_ones_added(shell):
    found = submitted(
        shell,
        "{os: [linux, mac], py: [3.8, 3.9], exclude: [{os: mac, py: 3.8}],"
        " include: [{os: win, extra: 1}, {os: linux, extra: 2}, {py: 3.9, more: 5}, {os: win, py: 3.9, more: 7}]}",
        "run: echo ${matrix.os}/${matrix.py}/${matrix.extra}/${matrix.more}",
    )
    assert found == [
        "build[os=linux,py=3.8]",
        "build[os=linux,py=3.9]",
        "build[os=mac,py=3.9]",
        "build[os=win,extra=1]",
        "build[os=win,py=3.9,more=7]",
    ]
    assert shell("work").code == 0
    said = [shell("logs", str(job)).out for job in range(1, 6)]
    assert said == ["linux/3.8/2/\n", "linux/3.9/2/5\n", "mac/3.9//5\n", "win//1/\n", "win/3.9//7\n"]


def test_included_combinations_follow_the_example_of_github(shell):
    found = submitted(
        shell,
        "{fruit: [apple, pear], animal: [cat, dog], include: [{color: green}, {color: pink, animal: cat},"
        " {fruit: apple, shape: circle}, {fruit: banana}, {fruit: banana, animal: cat}]}",
        "run: echo ${matrix.color} ${matrix.shape}",
    )
    assert found[-2:] == ["build[fruit=banana]", "build[fruit=banana,animal=cat]"]
    jobs = shell("jobs", "list", "--json").json["jobs"]
    assert {job["name"]: {key: job["matrix"].get(key) for key in ("color", "shape")} for job in jobs[:4]} == {
        "build[fruit=apple,animal=cat]": {"color": "pink", "shape": "circle"},
        "build[fruit=apple,animal=dog]": {"color": "green", "shape": "circle"},
        "build[fruit=pear,animal=cat]": {"color": "pink", "shape": None},
        "build[fruit=pear,animal=dog]": {"color": "green", "shape": None},
    }


def test_the_example_of_the_documentation_makes_the_jobs_that_it_names(shell):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "matrix.md").read_text()
    example, text = page.split("```yaml\n")[1].split("```", 1)
    shell.write(f"name: m\n{example}")
    assert shell("submit", "spec.yaml").code == 0
    assert [name for name in names(shell) if f"`{name}`" in text.split("##")[0]] == names(shell)
    assert len(names(shell)) == 4


def test_a_value_that_a_combination_lacks_is_null_for_a_call(shell):
    (shell.folder / "calls.py").write_text("def show(x):\n    print(repr(x))\n")
    rest = "call: calls:show\n    args: {x: '${matrix.extra}'}"
    submitted(shell, "{a: [1, 2], include: [{a: 2, extra: 0.5}]}", rest)
    assert shell("work").code == 0
    assert [shell("logs", str(job)).out for job in (1, 2)] == ["None\n", "0.5\n"]


def test_a_matrix_may_only_include(shell):
    assert submitted(shell, "{include: [{a: 1, b: x}, {a: 2}]}") == ["build[a=1,b=x]", "build[a=2]"]


def test_rows_of_zip_are_crossed_excluded_and_included(shell):
    matrix = "{m: [1, 2], exclude: [{m: 1, k: x}, {s: 6, k: y}], include: [{k: x, more: 1}]}"
    found = submitted(shell, matrix, "zip: {s: [5, 6, 6], k: [x, y, x]}\n    run: echo ${matrix.more}")
    assert found == ["build[m=2,s=5,k=x]", "build[m=2,s=6,k=x]"]
    assert shell("jobs", "list", "--json").json["jobs"][0]["matrix"]["more"] == 1


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        ("{os: [a, b], exclude: [{oss: a}]}", "`exclude` names 'oss', which is not a key of this matrix (did you mean"),
        ("{os: [lin, mac], exclude: [{os: mca}]}", "`exclude` matches no combination: none has os=mca (did you mean"),
        ("{os: [a], exclude: [{os: a}]}", "`exclude` leaves no combination"),
        ("{exclude: [a, b]}", "a key of a matrix cannot have the name `exclude`"),
        ("{include: {range: [0, 3]}}", "a key of a matrix cannot have the name `include`"),
        ("{os: [a], include: [{}]}", "a combination of `include` must map keys to values, and is empty"),
        ("{os: [a], include: [{os: b}, {os: b}]}", "two jobs of 'build' are named 'build[os=b]'"),
        ("{zip: {os: [a, b]}}", "`zip` belongs beside `matrix`, not inside it"),
        ("{exclude: []}", "`matrix` has no values"),
        ("{a: [null]}", 'quote it: "" is the empty text'),
        ("{a: [true, 'true']}", "two jobs would have one name"),
    ],
)
def test_a_matrix_that_is_wrong_is_refused_with_its_place(shell, matrix, said):
    found = submitted(shell, matrix)
    assert said in found
    assert "\n  spec.yaml:" in found


@pytest.mark.parametrize("value", NAMES)
def test_a_text_of_any_kind_has_a_name_and_is_passed_as_one_word(shell, value):
    found = submitted(
        shell, json.dumps({"flags": [value, "other"]}), "run: [sh, -c, 'printf %s \"$1\"', sh, '${matrix.flags}']"
    )
    assert found == [f"build[flags={NAMES[value]}]", "build[flags=other]"]
    assert shell("jobs", "list", "-n", found[0], "--json").json["jobs"][0]["matrix"] == {"flags": value}
    assert shell("work").code == 0
    assert shell("logs", found[0]).out == value
    assert shell("why", found[0]).code == 0


def test_an_empty_value_is_an_empty_word_of_a_command(shell):
    submitted(shell, '{flags: ["", "a b"]}', "run: printf '<%s>' ${matrix.flags} end")
    assert shell("work").code == 0
    assert [shell("logs", str(job)).out for job in (1, 2)] == ["<><end>", "<a b><end>"]


def test_a_need_names_a_job_by_the_value_or_by_its_name(shell):
    shell.write(
        """\
        name: m
        jobs:
          cut: {run: "true", matrix: {flags: ["", "a,b"]}}
          fit: {run: "true", matrix: {flags: ["", "a,b"]}, needs: ["cut[flags=${matrix.flags}]"]}
          one: {run: "true", needs: ['cut[flags="a,b"]', 'cut[flags=]']}
        """
    )
    assert shell("submit", "spec.yaml").code == 0
    needs = [[one["id"] for one in shell("jobs", "show", str(job), "--json").json["needs"]] for job in (3, 4, 5)]
    assert needs == [[1], [2], [1, 2]]


def test_another_order_of_keys_or_of_what_is_excluded_renames_no_job(shell):
    first = submitted(shell, "{os: [l, m], py: [1, 2], exclude: [{os: m, py: 1}, {os: l, py: 1}]}")
    assert shell("work").code == 0
    again = submitted(shell, "{exclude: [{py: 1, os: l}, {os: m, py: 1}], py: [2, 1], os: [m, l]}")
    assert sorted(again) == sorted(first)
    differing = shell("workflows", "diff", "m", "1", "2", "--json").json
    assert [differing[key] for key in ("added", "retired", "changed")] == [[], [], []]
    assert {job["state"] for job in shell("jobs", "list", "--json").json["jobs"]} == {"completed"}
    wider = submitted(shell, "{py: [2, 3, 1], os: [m, l], exclude: [{py: 1}]}")
    assert sorted(wider) == [f"build[os={os},py={py}]" for os in "lm" for py in (2, 3)]


def test_each_takes_the_numbers_of_a_range(shell):
    shell.write("name: r\nparams: {n: 7}\njobs:\n  r: {run: 'echo ${item}', each: {range: [1, '${params.n}', 2]}}\n")
    assert shell("run", "spec.yaml").code == 0
    steps = shell("attempts", "list", "--json").json["attempts"][0]["steps"]
    assert steps[0]["subtasks"]["completed"] == 3
    shell.write("name: b\njobs:\n  r: {run: 'echo ${item}', each: {range: [0.5, 3]}}\n")
    assert "the range of `each` must be two or three whole numbers" in shell("submit", "spec.yaml").err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.yaml", "x-base: &b {env: {A: '1'}}\nname: x\njobs: {a: {<<: *b, run: 'echo $A'}}\n"),
        ("s.json", '{"x-base": {"a": [1]}, "name": "x", "jobs": {"a": {"run": "echo 1"}}}'),
        ("s.toml", "name = 'x'\nx-base = 1\n[jobs.a]\nrun = 'echo 1'\n"),
    ],
)
def test_a_key_that_begins_with_x_is_free(shell, name, text):
    shell.write(text, name)
    assert shell("run", name).code == 0
    assert shell("logs", "a").out == "1\n"
    shell.write(text.replace("x-base", "x-other"), name)
    assert shell("why", "a", "--json").json["jobs"][0]["verdict"] != "stale"
    assert "no job changed" in shell("submit", name).err
    shell.write(text.replace("x-base", "xbase"), name)
    assert "no key 'xbase'" in shell("submit", name).err


def test_decomposed_names_are_composed_and_paths_are_not(shell):
    decomposed = unicodedata.normalize("NFD", "é")
    (shell.folder / f"{decomposed}.txt").write_text("here")
    text = """\
        name: wé
        params: {pé: 1}
        jobs:
          jé:
            inputs: {fé: é.txt}
            run: [sh, -c, 'cat "$1"; echo $2', sh, '${inputs.fé}', '${params.pé}']
          k: {run: "true", needs: [jé], matrix: {mé: [é]}}
        """.replace("é", decomposed)
    shell.write(text)
    assert shell("run", "spec.yaml", "--param", f"p{decomposed}=2").code == 0
    assert names(shell) == ["jé", "k[mé=é]"]
    assert shell("logs", f"j{decomposed}", "-w", f"w{decomposed}").out == "here2\n"
    assert shell("jobs", "list", "-n", f"k[m{decomposed}=é]", "--json").json["jobs"][0]["id"] == 2
    assert shell("jobs", "list", "-f", f"matrix.m{decomposed}~.", "--json").json["jobs"][0]["id"] == 2
    assert shell("rerun", "1", "--set", f"p{decomposed}=3", "--yes", "--work").code == 0
    assert shell("logs", "jé").out == "here3\n"


def test_two_names_that_differ_only_in_how_they_are_composed_are_refused(shell):
    shell.write("name: w\njobs:\n  é: {run: x}\n  é: {run: x}\n".replace("é", "e\u0301", 1))
    assert "spec.yaml:4:3: the job 'é' is there already" in shell("submit", "spec.yaml").err


def test_a_free_key_elsewhere_than_at_the_top_is_refused_with_a_hint(shell):
    shell.write("name: w\njobs: {a: {run: x, x-mine: 1}}\n")
    assert "is allowed only at the top level of a spec" in shell("submit", "spec.yaml").err
