"""`rekindle init --from snakemake`. What the converted rules do was compared with Snakemake 9."""

from __future__ import annotations

import pytest
from cli_shell import Shell, commands_of

from rekindle.spec import load

CONFIG = """\
samples: {A: data/A.fastq, B: data/B.fastq, C: data/C.fastq}
rate: 0.001
"""

INCLUDED = """\
rule stats:
    input: "sorted/{sample}.bam"
    output: "stats/{sample}.{kind}.txt"
    params: kind=lambda wc: wc.kind.upper()
    shell: "wc -l < {input} | sed 's/^/{params.kind} /' > {output}"
"""

SNAKEFILE = '''\
configfile: "config.yaml"
import os

SAMPLES = list(config["samples"])
KINDS = ["lines", "words"]

wildcard_constraints:
    sample="[A-Z]+"

include: "rules/stats.smk"

def get_fastq(wildcards):
    """Return where the reads are."""
    return config["samples"][wildcards.sample]

rule all:
    input:
        "calls/all.vcf",
        expand("stats/{sample}.{kind}.txt", sample=SAMPLES, kind=KINDS)

rule map_reads:
    input:
        ref="data/genome.fa",
        reads=get_fastq
    output:
        temp("mapped/{sample}.bam")
    params:
        rg=r"@RG\\tID:{sample}"
    log:
        "logs/map/{sample}.log"
    threads: 1
    resources: mem_mb=lambda wc, attempt: attempt * 200, runtime=10
    retries: 2
    shell:
        "(cat {input.ref} {input.reads} && echo '{params.rg}' "
        "&& echo {threads}) > {output} 2> {log}"

rule sort_bam:
    input:
        "mapped/{sample}.bam"
    output:
        "sorted/{sample}.bam"
    shell:
        """
        sort -r {input} | awk '{{print NR, $0}}' > {output}
        """

rule call:
    input:
        fa="data/genome.fa",
        bam=expand("sorted/{sample}.bam", sample=SAMPLES)
    output:
        "calls/all.vcf", touch("calls/done")
    params:
        rate=config["rate"]
    priority: 3
    shell:
        "cat {input.fa} {input.bam} > {output[0]}; echo rate {params.rate} >> calls/all.vcf; "
        "X=1; echo ${{X}} >> {output[0]}"
'''


def write(shell: Shell, text: str, **files: str) -> None:
    (shell.folder / "Snakefile").write_text(text)
    for name, content in files.items():
        path = shell.folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.fixture
def pipeline(shell: Shell) -> Shell:
    """A folder with a Snakefile, its config, an included file, and data."""
    reads = {f"data__{name}_dot_fastq": f"{name}1\n{name}2\n" for name in "ABC"}
    write(shell, SNAKEFILE, config_dot_yaml=CONFIG, rules__stats_dot_smk=INCLUDED, data__genome_dot_fa="ref\n", **reads)
    return shell


def test_rules_become_entries_and_wildcards_a_matrix(pipeline: Shell) -> None:
    done = pipeline("init", "--from", "snakemake", "Snakefile")
    assert done.code == 0, done.err
    definition = load(pipeline.folder / "workflow.yaml")
    assert [one.name for one in definition.templates] == ["stats", "map_reads", "sort_bam", "call"]
    assert len(definition.jobs) == 13
    assert [job.binding for job in definition.jobs if job.name.startswith("sort_bam")] == [
        {"sample": name} for name in "ABC"
    ]
    mapped = definition.templates[1]
    assert mapped.inputs == {"ref": "data/genome.fa", "reads": "${matrix.reads}"}
    assert (mapped.resources.memory, mapped.resources.time, mapped.retry[0].max) == (200 * 2**20, 600, 2)
    assert definition.templates[3].priority == 3
    text = (pipeline.folder / "workflow.yaml").read_text()
    assert "    matrix: {sample: [A, B, C]}\n" in text
    assert "  # Snakefile:21\n  map_reads:\n" in text
    assert "  # rules/stats.smk:1\n  stats:\n" in text


def test_the_commands_are_those_of_snakemake(pipeline: Shell) -> None:
    pipeline("init", "--from", "snakemake", "Snakefile")
    commands = commands_of(pipeline.folder / "workflow.yaml")
    start = "set -euo pipefail\nmkdir -p "
    mapped = f"{start}mapped logs/map\n"
    assert commands["map_reads[sample=B,reads=data/B.fastq]"] == [
        f"{mapped}(cat data/genome.fa data/B.fastq && echo '@RG\\tID:B' && echo 1) > mapped/B.bam 2> logs/map/B.log"
    ]
    assert commands["sort_bam[sample=C]"] == [
        f"{start}sorted\nsort -r mapped/C.bam | awk '{{print NR, $0}}' > sorted/C.bam"
    ]
    assert commands["stats[sample=A,kind=words,params_kind=WORDS]"] == [
        f"{start}stats\nwc -l < sorted/A.bam | sed 's/^/WORDS /' > stats/A.words.txt"
    ]
    joined = (
        "cat data/genome.fa sorted/A.bam sorted/B.bam sorted/C.bam > calls/all.vcf; echo rate 0.001 >> calls/all.vcf"
    )
    assert commands["call"] == [f"{start}calls\n{joined}; X=1; echo ${{X}} >> calls/all.vcf\ntouch calls/done"]


def test_the_converted_pipeline_runs(pipeline: Shell) -> None:
    pipeline("init", "--from", "snakemake", "Snakefile")
    checked = pipeline("spec", "check", "workflow.yaml").out
    assert checked == f"workflow.yaml: valid: {pipeline.folder.name}, 13 jobs of 4 entries, 12 edges\n"
    assert pipeline("run", "workflow.yaml").code == 0
    parts = [f"1 {name}2\n2 {name}1\n" for name in "ABC"]
    lines = (pipeline.folder / "calls/all.vcf").read_text().splitlines()
    assert lines[0] == "ref"
    assert lines[-2:] == ["rate 0.001", "1"]
    assert all(part.split()[1] in " ".join(lines) for part in parts)
    assert (pipeline.folder / "stats/C.lines.txt").read_text() == "LINES 5\n"


def test_what_is_not_converted_is_listed_with_its_line(pipeline: Shell) -> None:
    more = """
rule plot:
    input: "calls/all.vcf"
    output: "plots/quals.svg"
    script: "scripts/plot.py"

rule unused:
    output: "unused/{x}.txt"
    conda: "env.yaml"
    shell: "touch {output}"

if config["rate"] > 1:
    rule never:
        output: "never"
        shell: "touch never"

onsuccess:
    print("done")
"""
    text = SNAKEFILE.replace(
        '        "calls/all.vcf",\n        expand', '        "calls/all.vcf", "plots/quals.svg",\n        expand'
    )
    text = text.replace("    retries: 2\n", '    retries: 2\n    conda: "bwa.yaml"\n    benchmark: "b/{sample}"\n')
    write(pipeline, text + more)
    line = {word: number for number, row in enumerate((text + more).splitlines(), 1) for word in [row.split(":")[0]]}
    said = pipeline("init", "--from", "snakemake", "Snakefile").out
    for place, words in (
        ("rule map_reads", "rule map_reads: `conda`: the environment is not made"),
        ("rule map_reads", "rule map_reads: `benchmark`"),
        ("rule map_reads", "rule map_reads: `temp`: the file is kept"),
        ("rule map_reads", "rule map_reads: the resource mem_mb: it grows with the attempt"),
        ("rule plot", "rule plot: a script with Snakemake's object"),
        ("rule unused", "rule unused: the target all does not need it"),
        ('if config["rate"] > 1', "Python code around rules is not run"),
        ("onsuccess", "onsuccess: see `on:`"),
    ):
        assert f"Snakefile:{line[place]}: {words}" in said
        assert f"#   Snakefile:{line[place]}: {words}" in (pipeline.folder / "workflow.yaml").read_text()


def convert(shell: Shell, text: str, **files: str) -> tuple[dict[str, list[str]], str]:
    """Convert a Snakefile. Return its commands without their first lines, and what init printed."""
    write(shell, text, **files)
    (shell.folder / "workflow.yaml").unlink(missing_ok=True)
    done = shell("init", "--from", "snakemake", "Snakefile")
    assert done.code == 0, done.err
    found = commands_of(shell.folder / "workflow.yaml")
    return {name: [one.removeprefix("set -euo pipefail\n") for one in some] for name, some in found.items()}, done.out


EXPRESSIONS = [
    ('expand("{a}-{b}", a=["x", "y"], b=range(2))', "x-0 x-1 y-0 y-1"),
    ('expand("{a}-{b}", zip, a=["x", "y"], b=[1, 2])', "x-1 y-2"),
    ('expand(["{a}.1", "{a}.2"], a="xy".split("x"))', ".1 y.1 .2 y.2"),
    ('[f"{n:02d}.txt" for n in range(3) if n != 1]', "00.txt 02.txt"),
    ('["a" + str(n) for n in (1, 2)] + ["b"]', "a1 a2 b"),
    ('["{}.{}".format("x", 1)]', "x.1"),
    ('["%s-%d" % ("x", 3)]', "x-3"),
    ('sorted({"b", "a"})', "a b"),
    ('multiext("x", ".1", ".2")', "x.1 x.2"),
    ('glob_wildcards("in/{name}.csv").name', "one two"),
    ('os.path.join("d", "e.txt")', "d/e.txt"),
    ('CONFIG.get("x", "none")', "none"),
    ('"yes" if len(CONFIG) == 0 else "no"', "yes"),
    ('open("secret").read()', None),
    ('__import__("os").system("touch ran")', None),
    ('"a" * 10**9', None),
    ("().__class__.__bases__", None),
    ('"{0.__class__}".format("x")', None),
]


@pytest.mark.parametrize(("expression", "value"), EXPRESSIONS)
def test_expressions_are_evaluated_without_python(shell: Shell, expression: str, value: str | None) -> None:
    rule = 'rule a:\n    output: "o"\n    params: VALUE\n    shell: "echo {params} > o"\n'
    text = f"CONFIG = {{}}\nVALUE = {expression}\n{rule}"
    files = {"in__one_dot_csv": "", "in__two_dot_csv": "", "secret": "s"}
    if value is None:
        write(shell, text, **files)
        done = shell("init", "--from", "snakemake", "Snakefile")
        assert "Snakefile:2: VALUE: " in done.err
        assert "rule a: the value of VALUE is not known" in done.err
    else:
        commands, _ = convert(shell, text, **files)
        assert commands["a"] == [f"echo {value} > o"]
    assert not (shell.folder / "ran").exists()


def test_wildcards_are_found_as_snakemake_finds_them(shell: Shell) -> None:
    commands, _ = convert(
        shell,
        """
rule all:
    input: "x/a.b.csv", "x/a.b.7.num", "deep/1/2.out"
rule csv:
    output: "{dir}/{name}.csv"
    shell: "echo {wildcards.dir} {wildcards.name} > {output}"
rule num:
    output: "{name}.{n,[0-9]+}.num"
    shell: "echo {wildcards.name} {wildcards[n]} > {output}"
rule deep:
    input: rules.csv.output[0].replace("{dir}", "x").replace("{name}", "a.b")
    output: "deep/{i}/{j}.out"
    shell: "cat {input:q} > {output}"
""",
    )
    assert [one for some in commands.values() for one in some] == [
        "mkdir -p x\necho x a.b > x/a.b.csv",
        "mkdir -p x\necho x/a.b 7 > x/a.b.7.num",
        "mkdir -p deep/1\ncat x/a.b.csv > deep/1/2.out",
    ]


def test_jobs_that_differ_in_more_than_wildcards_are_written_one_by_one(shell: Shell) -> None:
    commands, _ = convert(
        shell,
        """
PARTS = {"a": ["1", "2"], "b": ["3"]}
rule all:
    input: expand("{s}.out", s=PARTS)
rule part:
    output: "{p}.part"
    shell: "echo {wildcards.p} > {output}"
rule join:
    input: lambda wc: expand("{p}.part", p=PARTS[wc.s])
    output: "{s}.out"
    shell: "cat {input} > {output}"
""",
    )
    assert commands["join-a"] == ["cat 1.part 2.part > a.out"]
    assert commands["join-b"] == ["cat 3.part > b.out"]
    assert shell("run", "workflow.yaml").code == 0


def test_functions_with_conditions_and_numbers_become_columns(shell: Shell) -> None:
    commands, said = convert(
        shell,
        """
def length(wc):
    if wc.s == "a":
        return 10
    return 20
if 1 < 2:
    NAMES = ["a", "b"]
else:
    NAMES = []
rule all:
    input: expand("{s}.out", s=NAMES)
rule make:
    output: "{s}.out"
    params: n=length
    threads: workflow.cores
    shell: "echo {params.n} > {output}"
""",
    )
    assert commands["make[s=a,n=10]"] == ["echo 10 > a.out"]
    assert commands["make[s=b,n=20]"] == ["echo 20 > b.out"]
    assert "Snakefile:12: rule make: threads: the value of workflow is not known" in said


def test_a_snakefile_in_a_folder_is_converted_for_the_working_directory(shell: Shell) -> None:
    files = {
        "config_dot_yaml": "names: [a, b]\n",
        "workflow__rules__x_dot_smk": 'rule x:\n    output: "{n}.x"\n    shell: "echo > {output}"\n',
    }
    write(shell, "", **files)
    text = (
        'configfile: "config.yaml"\ninclude: "rules/x.smk"\nrule all:\n    input: expand("{n}.x", n=config["names"])\n'
    )
    (shell.folder / "workflow/Snakefile").write_text(text)
    done = shell("init", "--from", "snakemake", "workflow/Snakefile")
    assert "2 jobs from Snakefile" in done.out
    assert shell("run", "workflow.yaml").code == 0
    assert (shell.folder / "b.x").exists()


def test_paths_with_braces_and_shell_variables_stay_as_they_are(shell: Shell) -> None:
    commands, _ = convert(
        shell,
        'rule a:\n    output: "o"\n'
        "    shell: \"x=${{Y.z:-1}}; awk '{{print $1}}' <<< ${{params.x}} $${{X}} > {output}\"\n",
    )
    assert commands["a"] == ["x=${Y.z:-1}; awk '{print $1}' <<< ${params.x} $${X} > o"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('rule a:\n    output: "o"\n    run:\n        open("o", "w")\n', "Python code in `run:`"),
        ('rule a:\n    output: "{x}"\n    shell: "true"\n', "a rule with wildcards is no target"),
        ('rule a:\n    output: f(1)\n    shell: "true"\n', "f(…) is not called"),
        ('rule a:\n    output: "o"\n    shell: "echo {nothing}"\n', "the field {nothing}"),
        ('rule a:\n    output: "o"\n    shell: "echo {"\n', "a wrong field"),
        ('rule a:\n    output: "o"\n    wrapper: "v1/bio/bwa"\n', "a wrapper"),
        ('rule a:\n    output: "o"\n    threads: many\n    shell: "x {threads}"\n', "the value of many is not known"),
        ('rule a:\n    output: "o"\n    shell: 1 +\n', "not understood"),
        ('rule a:\n    output: "o"\n    shell:\n', "not understood"),
        (
            'rule all:\n    input: "1"\nrule a:\n    output: "{x,[}"\n    shell: "true"\n',
            "the regular expression of a wildcard",
        ),
        ('rule a:\n    output: "o"\n    retries:\n    shell: "true"\n', "not understood"),
        ("x = 1\n", ""),
        ("", ""),
    ],
)
def test_a_snakefile_without_a_usable_rule_is_refused_with_the_reason(shell: Shell, text: str, reason: str) -> None:
    write(shell, text)
    done = shell("init", "--from", "snakemake", "Snakefile")
    assert done.code == 1
    assert reason in done.err
    assert "nothing in Snakefile could be converted" in done.err


@pytest.mark.parametrize("text", ["rule a:\n    input: (\n", "rule a:\n        x\n    y\n", '"""', "\x00"])
def test_a_file_that_is_no_snakefile_is_refused(shell: Shell, text: str) -> None:
    write(shell, text)
    done = shell("init", "--from", "snakemake", "Snakefile")
    assert done.code == 1
    assert "Snakefile" in done.err
    assert "unexpected" not in done.err


@pytest.mark.parametrize(("target", "names"), [("b", ["b"]), ("x.c", ["c[n=x]"]), ("nobody", [])])
def test_another_target_can_be_named(shell: Shell, target: str, names: list[str]) -> None:
    rules = "".join(
        f'rule {name}:\n    output: "{path}"\n    shell: "echo > {{output}}"\n'
        for name, path in (("a", "a"), ("b", "b"), ("c", "{n}.c"))
    )
    write(shell, rules)
    done = shell("init", "--from", "snakemake", "Snakefile", "--target", target)
    assert done.code == (0 if names else 1)
    if names:
        assert list(commands_of(shell.folder / "workflow.yaml")) == names
        assert f"rule a: the target {target} does not need it" in done.out


@pytest.mark.parametrize(
    "section", ["input: open('list').read().split()", "input: 'x'\n    output: open('list').read()"]
)
def test_rules_below_an_unknown_target_are_not_called_needless(shell: Shell, section: str) -> None:
    write(
        shell,
        f"rule all:\n    {section}\n\n"
        "rule x:\n    output: 'x'\n    shell: 'touch x'\n\nrule y:\n    output: 'y'\n    shell: 'touch y'\n",
    )
    done = shell("init", "--from", "snakemake", "Snakefile")
    assert done.code == 1
    assert "does not need it" not in done.err
    assert "rule y: whether the target all needs it is not known" in done.err
    assert shell("init", "--from", "snakemake", "Snakefile", "--target", "x").code == 0
