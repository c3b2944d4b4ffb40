"""Loading spec files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3

from rekindle.domain.definition import Definition, Resources, Step
from rekindle.domain.errors import SpecError
from rekindle.spec import load

SAMPLES = Path(__file__).parent / "samples"
Load = Callable[..., Definition]


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """Load a text as a spec file, YAML by default."""

    def _read(text: str, suffix: str = ".yaml", **params: str) -> Definition:
        path = tmp_path / f"spec{suffix}"
        path.write_text(text)
        return load(path, params=params)

    return _read


def edges_of(definition: Definition) -> set[tuple[str, str]]:
    return {(definition.jobs[parent].name, definition.jobs[child].name) for parent, child in definition.edges}


def test_a_spec_with_every_key() -> None:
    path = SAMPLES / "sweep.yaml"
    sweep = load(path)
    assert (sweep.name, sweep.project, sweep.directory) == ("sweep", "alloys", str(SAMPLES.resolve()))
    assert sweep.source == str(path.resolve())
    assert sweep.source_digest == blake3(path.read_bytes()).hexdigest()
    assert sweep.params == {"alpha": 0.1, "label": "1e3", "flags": ["fast", 2, True, None], "deep": {"er": 1000.0}}
    prepare, train, check, report = sweep.templates
    assert prepare.steps == (Step("run", "python prepare.py ${inputs.raw} ${outputs.data}", shell="bash"),)
    assert prepare.resources == Resources(1.0, 512 * 2**20, 0, 600.0, (("ansys", 2), ("matlab", 1)))
    assert prepare.env == {"OMP_NUM_THREADS": "1", "LEVEL": "2"}
    assert train.resources == Resources(0.5, 8 * 2**30, 1, 600.0, (("abaqus", 3), ("matlab", 1)))
    assert train.env == {"OMP_NUM_THREADS": "1", "LEVEL": "${matrix.seed}"}
    assert train.outputs == {"model": "models/${matrix.alpha}-${matrix.seed}-${matrix.kind}.bin"}
    assert train.priority == 5
    assert [(step.name, step.call, step.shell) for step in train.steps] == [
        ("fit", None, "bash"),
        ("metrics", "mypkg.metrics:score", None),
        ("plot", None, None),
    ]
    assert train.steps[2].run == ("python", "plot.py", "${steps.metrics.result}")
    assert train.steps[1].args == {"seed": "${matrix.seed}", "of": ["${steps.fit.result.x}"]}
    assert (check.workdir, report.workdir, check.steps[0].name) == ("attempt", "project", "run")
    assert [job.name for job in sweep.jobs][:4] == [
        "prepare",
        "train[alpha=0.1,seed=0,kind=small,size=1]",
        "train[alpha=0.1,seed=0,kind=large,size=200]",
        "train[alpha=0.1,seed=5,kind=small,size=1]",
    ]
    assert sweep.jobs[2].binding == {"alpha": 0.1, "seed": 0, "kind": "large", "size": 200}
    assert len(sweep.jobs) == 1 + 8 + 2 + 1
    edges = edges_of(sweep)
    assert len(edges) == len(sweep.edges) == 8 + 8 + 8 + 2
    assert ("train[alpha=1.0,seed=5,kind=small,size=1]", "check[alpha=1.0]") in edges
    assert ("train[alpha=1.0,seed=5,kind=small,size=1]", "check[alpha=0.1]") not in edges


@pytest.mark.parametrize("suffix", ["json", "toml"])
def test_json_and_toml_give_the_same_definition(suffix: str) -> None:
    def facts(name: str) -> Definition:
        return msgspec.structs.replace(load(SAMPLES / name), source=None, source_digest=None)

    expected = facts("sweep.yaml")
    if suffix == "toml":  # which has no null
        expected = msgspec.structs.replace(expected, params={**expected.params, "flags": ["fast", 2, True]})
    assert facts(f"sweep.{suffix}") == expected


def test_any_other_suffix_is_read_as_yaml(read: Load) -> None:
    assert read("name: a\njobs: {x: {run: 'true'}}", ".spec").name == "a"


def test_plain_scalars_follow_yaml_1_2(read: Load) -> None:
    text = """
    name: words
    params: {a: yes, b: 0o17, c: 1:30, d: 1e3, e: 2024-01-01, f: 010, g: 0x1F, h: ~, i: "12", j: .5, k: "", l: 1_000,
             m: !!str 12, n: !!float 1, o: "${HOME}", p: +7, q: off}
    jobs: {x: {run: 'true'}}
    """
    assert read(text).params == {
        "a": "yes",
        "b": 15,
        "c": "1:30",
        "d": 1000.0,
        "e": "2024-01-01",
        "f": 10,
        "g": 31,
        "h": None,
        "i": "12",
        "j": 0.5,
        "k": "",
        "l": "1_000",
        "m": "12",
        "n": 1.0,
        "o": "${HOME}",
        "p": 7,
        "q": "off",
    }


def test_variables_and_argument_words_keep_their_text(read: Load) -> None:
    job = read("name: a\nenv: {V: 1.10, W: true, E: ''}\njobs: {x: {run: [sleep, 0.50, yes]}}").templates[0]
    assert job.env == {"V": "1.10", "W": "true", "E": ""}
    assert job.steps[0].run == ("sleep", "0.50", "yes")


def test_aliases_and_merge_keys(read: Load) -> None:
    text = """
    name: a
    jobs:
      one: &one
        run: echo one
        resources: &small {cpus: 2, memory: 1G}
      two:
        <<: *one
        run: echo two
      three: {run: echo three, resources: {<<: [*small, {gpus: 3, cpus: 7}], memory: 2G}}
    """
    one, two, three = read(text).templates
    assert (two.resources, two.steps[0].run) == (one.resources, "echo two")
    assert three.resources == Resources(cpus=2.0, memory=2 * 2**30, gpus=3)


def test_param_values_are_yaml_scalars_or_json(read: Load) -> None:
    text = "name: a\nparams: {a: 1, b: x, c: [], d: 0, e: x, f: 1}\njobs: {x: {run: 'echo ${params.a}'}}"
    given = {"a": "0.2", "b": '"1"', "c": "[1, {}]", "d": "text with spaces", "e": "", "f": "{not json"}
    assert read(text, **given).params == {
        "a": 0.2,
        "b": "1",
        "c": [1, {}],
        "d": "text with spaces",
        "e": None,
        "f": "{not json",
    }


def test_a_matrix_may_come_from_parameters(read: Load) -> None:
    text = """
    name: a
    params: {alphas: [0.1, 0.2], n: 2}
    jobs: {x: {run: 'true', matrix: {alpha: "${params.alphas}", i: {range: [0, "${params.n}"]}, k: ["n${params.n}"]}}}
    """
    assert len(read(text).jobs) == 4
    assert read(text, n="1", alphas="[5]").jobs[0].name == "x[alpha=5,i=0,k=n1]"


def test_needs_by_entry_instance_glob_and_template(read: Load) -> None:
    text = """
    name: a
    jobs:
      a: {run: 'true', matrix: {i: [1, 2]}}
      b: {run: 'true', needs: a}
      c: {run: 'true', needs: ["a[i=2]"]}
      d: {run: 'true', needs: ["a*", a]}
      e: {run: 'true', matrix: {i: [1, 2]}, needs: ["a[i=${matrix.i}]"]}
      f: {run: 'true', needs: "*"}
    """
    edges = edges_of(read(text))
    assert {parent for parent, child in edges if child == "b"} == {"a[i=1]", "a[i=2]"}
    assert {parent for parent, child in edges if child == "c"} == {"a[i=2]"}
    assert {parent for parent, child in edges if child == "e[i=2]"} == {"a[i=2]"}
    assert {parent for parent, child in edges if child == "f"} == {
        *("a[i=1]", "a[i=2]", "b", "c", "d", "e[i=1]", "e[i=2]")
    }


def test_brackets_in_globs_are_literal_and_an_exact_name_comes_first(read: Load) -> None:
    text = """
    name: a
    jobs:
      a: {run: 'true', matrix: {i: ["*.png", "x.png"]}}
      b: {run: 'true', needs: ["a[i=*.png]"]}
      c: {run: 'true', needs: ["a[i=?.png]"]}
    """
    edges = edges_of(read(text))
    assert {parent for parent, child in edges if child == "b"} == {"a[i=*.png]"}
    assert {parent for parent, child in edges if child == "c"} == {"a[i=*.png]", "a[i=x.png]"}


def test_files_make_edges(read: Load) -> None:
    text = """
    name: a
    jobs:
      w: {run: 'true', matrix: {i: [1, 2]}, outputs: {o: "build/${matrix.i}", all: "${job.name}.log"}}
      r: {run: 'true', matrix: {i: [1, 2]}, inputs: {o: "./x/../build//${matrix.i}"}}
      one: {run: 'true', inputs: {o: build/1, absent: nowhere}}
      log: {run: 'true', inputs: {log: "w[i=2].log"}}
      update: {run: 'true', inputs: {db: data.db}, outputs: {db: data.db}}
      own: {run: 'true', workdir: attempt, matrix: {i: [1, 2]}, outputs: {x: out.txt}}
      other: {run: 'true', inputs: {x: out.txt}}
    """
    assert edges_of(read(text)) == {
        ("w[i=1]", "r[i=1]"),
        ("w[i=2]", "r[i=2]"),
        ("w[i=1]", "one"),
        ("w[i=2]", "log"),
    }


def test_a_need_and_a_file_between_two_jobs_make_one_edge(read: Load) -> None:
    text = "name: a\njobs: {a: {run: x, outputs: {o: o}}, b: {run: x, inputs: {o: o, p: ./o}, needs: [a, a, 'a*']}}"
    assert read(text).edges == [(0, 1)]


def test_a_hundred_thousand_jobs_from_one_matrix(read: Load) -> None:
    text = """
    name: big
    jobs:
      prepare: {run: 'true', outputs: {o: build/o}}
      train:
        matrix: {a: {range: [0, 1000]}, b: {range: [0, 100]}}
        inputs: {o: build/o}
        run: echo ${matrix.a} ${matrix.b}
      report: {run: 'true', needs: ["train*"]}
    """
    big = read(text)
    assert (len(big.jobs), len(big.templates), len(big.edges)) == (100_002, 3, 200_000)
    assert big.jobs[100_000].name == "train[a=999,b=99]"
    assert big.jobs[100_000].binding == {"a": 999, "b": 99}
    assert len({job.name for job in big.jobs}) == 100_002


def test_the_folder_is_that_of_the_spec_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "real" / "spec.yaml").write_text("name: a\njobs: {x: {run: 'true'}}")
    (tmp_path / "here" / "link.yaml").symlink_to(tmp_path / "real" / "spec.yaml")
    found = load(tmp_path / "here" / "link.yaml")
    assert (found.directory, found.source) == (
        str((tmp_path / "here").resolve()),
        str((tmp_path / "here").resolve() / "link.yaml"),
    )


def test_a_missing_spec_file_is_reported_with_nearby_specs(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text("")
    with pytest.raises(SpecError, match=r"swep.yaml: there is no such file \(in .* there are: sweep.yaml\)"):
        load(tmp_path / "swep.yaml")
    with pytest.raises(SpecError, match="is a folder, not a spec file"):
        load(tmp_path)
    with pytest.raises(SpecError, match="there is no such file"):
        load(tmp_path / "gone" / "spec.yaml")
    with pytest.raises(SpecError, match="cannot be read"):
        load(Path("nul\0.yaml"))


def test_files_are_compared_by_content_by_default(read: Load) -> None:
    plain, own = read(
        "name: a\njobs:\n  x: {run: x, inputs: {a: b}}\n"
        "  y:\n    run: x\n    inputs: {a: b, c: {path: 'd-${params.p}', by: mtime}}\n"
        "    outputs: {e: {path: f, by: mtime, over: 1G}, g: {path: h, by: content}}\n"
        "params: {p: 1}\n"
    ).templates
    assert plain.by_mtime == {}
    assert own.inputs == {"a": "b", "c": "d-${params.p}"}
    assert own.outputs == {"e": "f", "g": "h"}
    assert own.by_mtime == {"c": 0, "e": 2**30}


def test_inputs_may_be_optional(read: Load) -> None:
    (x,) = read(
        "name: a\njobs:\n  x:\n    run: x\n    inputs: {b: {path: b, optional: true}, a: {path: a/*, optional: true},"
        " c: {path: c, optional: false}, d: d}\n"
    ).templates
    assert x.optional == ("a", "b")
    assert x.inputs == {"b": "b", "a": "a/*", "c": "c", "d": "d"}


def test_default_file_settings_apply_to_files_without_their_own(read: Load) -> None:
    (x,) = read(
        "name: a\ndefaults: {files: {by: mtime, over: 1M}}\njobs:\n  x:\n    run: x\n"
        "    inputs: {a: a, b: {path: b, by: content}, c: {path: c, by: mtime}, d: {path: d, over: 2M}}\n"
        "    outputs: {e: e}\n"
    ).templates
    assert x.by_mtime == {"a": 2**20, "c": 0, "d": 2**21, "e": 2**20}


def test_aggregate_and_when_are_read(read: Load) -> None:
    definition = read("name: a\njobs: {x: {run: x, aggregate: true, when: completed}, y: {run: y, aggregate: false}}")
    assert [one.aggregate for one in definition.templates] == [True, False]
    assert [one.when for one in definition.templates] == ["completed", "completed"]
    [template] = read("name: a\njobs: {x: {run: x, when: finished}}").templates
    assert template.when == "finished"


def test_files_with_settings_make_edges(read: Load) -> None:
    definition = read(
        "name: a\njobs:\n  x: {run: x, outputs: {o: {path: f, by: mtime}}}\n  y: {run: y, inputs: {i: {path: f}}}\n"
    )
    assert edges_of(definition) == {("x", "y")}
