"""Ziggy's definition files: what is read from them, and every problem at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from xml_sample import OVERRIDES, XmlPipeline

from rekindle.dialects.ziggy.configuration import read_configuration
from rekindle.domain.errors import SpecError


def problems(*files: Path) -> list[str]:
    """Return the problems of definition files as they are printed, with the names of the files only."""
    with pytest.raises(SpecError) as raised:
        read_configuration(files, "definitions")
    return [one.render("definitions").replace(f"{files[0].parent}/", "") for one in raised.value.problems]


def write(folder: Path, name: str, text: str, root: str = "pipelineDefinition") -> Path:
    path = folder / name
    path.write_text(f"<{root}>\n{text}\n</{root}>\n")
    return path


def test_the_sample_is_read_from_several_files(sample: XmlPipeline) -> None:
    files = sorted((sample.folder / "etc/ziggy.d").glob("*.xml"))
    configuration = read_configuration(files, "definitions")
    pipeline = configuration.pipelines["sample"]
    assert list(pipeline.nodes) == ["data-receipt", "permuter", "flip", "averaging"]
    averaging = pipeline.nodes["averaging"]
    assert averaging.single_subtask
    assert averaging.program == "image_steps.py"
    assert averaging.varying == ("dataset",)
    assert [one.name for one in averaging.inputs] == ["left-right tiles", "up-down tiles"]
    assert pipeline.nodes["permuter"].models[0].name == "color gains"
    parameters = configuration.parameter_sets["Algorithm Parameters"]
    assert {one.name: one.value for one in parameters.values()} == {
        "throw exception subtask 0": False,
        "produce output subtask 1": True,
        "dummy array parameter": [1, 2, 3],
        "execution pause seconds": 0,
    }


def test_a_partial_set_replaces_some_values_of_another_file(sample: XmlPipeline) -> None:
    words = ["--configType", "pipeline", "--pipeline", "sample"]
    assert "throw_exception_subtask_0 = false" in sample.console("config", *words).out
    shown = sample.console("config", *words, "--definitions", OVERRIDES).out
    assert "throw_exception_subtask_0 = true" in shown
    assert "dummy_array_parameter = [1, 2, 3]" in shown


def test_every_problem_of_every_file_is_reported_with_its_line(tmp_path: Path) -> None:
    one = write(
        tmp_path,
        "pd.xml",
        """\
<step name="flip"/>
<pipeline name="p" rootNodeNames="flip, flop">
  <node name="flip" childNodeName="x" singleSubtask="maybe">
    <inputDataFileType name="raw"/><inputDataFileType name="rew"/>
    <modelType name="m"/>
  </node>
  <node name="turn"/>
</pipeline>
<module name="flip"/>""",
    )
    two = write(
        tmp_path,
        "pt.xml",
        """\
<dataFileType name="raw" location="set/L0" fileNameRegexp="(a"/>
<dataFileType name="raw" location="set" fileNameRegexp="a"/>
<dataFileType name="far" location="nowhere" fileNameRegexp="a"/>
<dataFileType name="no pattern" location="set"/>
<datastoreNode name="set" isRegexp="true" nodes="L1"/>
<modelType type="m" fileNameRegex="m" versionNumberGroup="1"/>""",
    )
    three = write(
        tmp_path,
        "pl.xml",
        """\
<parameterSet name="s">
<parameter name="n" value="one" type="int"/><parameter name="k" value="1" type="number"/>
</parameterSet>
<parameterSet name="t" partial="true"/>""",
    )
    assert problems(one, two, three) == [
        "pd.xml:3:1: <pipeline name=\"p\">: there is no node 'flop' (did you mean `flip`?)",
        'pd.xml:4:3: <node name="flip">: has an unknown attribute childNodeName (did you mean `childNodeNames`?)',
        'pd.xml:4:3: <node name="flip">: singleSubtask is true or false, not maybe',
        "pd.xml:5:36: <inputDataFileType name=\"rew\">: there is no data file type 'rew' (did you mean `raw`?)",
        'pd.xml:8:3: <node name="turn">: no root node leads to it (see rootNodeNames and childNodeNames)',
        "pd.xml:8:3: <node name=\"turn\">: there is no step 'turn' (known: flip)",
        'pd.xml:10:1: <module name="flip">: is not known in <pipelineDefinition> (Ziggy 0.11 calls it <step>)',
        "pl.xml:3:1: <parameter name=\"n\">: 'one' is no int",
        (
            "pl.xml:3:45: <parameter name=\"k\">: the type 'number' is not known (types are boolean, int, integer, "
            "long, short, byte, float, double, string, each also with array)"
        ),
        'pl.xml:5:1: <parameterSet name="t">: there is no whole set of this name (known: s)',
        (
            "pt.xml:2:1: <dataFileType name=\"raw\">: fileNameRegexp: '(a' is not a regular expression: missing ), "
            "unterminated subpattern at position 0 (put \\ before ( [ { * + ? . to mean them)"
        ),
        "pt.xml:2:1: <dataFileType name=\"raw\">: there is no datastoreNode 'L0'",
        'pt.xml:3:1: <dataFileType name="raw">: is defined twice (each name is defined once, in one of the files)',
        "pt.xml:4:1: <dataFileType name=\"far\">: there is no datastoreNode 'nowhere' (known: set)",
        'pt.xml:5:1: <dataFileType name="no pattern">: has no fileNameRegexp',
        "pt.xml:6:1: <datastoreNode name=\"set\">: there is no datastoreNode 'L1' (known: set)",
        "pt.xml:6:1: <datastoreNode name=\"set\">: there is no datastoreRegexp 'set'",
        'pt.xml:7:1: <modelType type="m">: versionNumberGroup is 1, and fileNameRegex has 0 groups',
    ]


def test_problems_in_the_files_are_printed_and_nothing_starts(sample: XmlPipeline) -> None:
    sample.replace("pd-tiles.xml", 'name="permuted tiles"', 'name="permuted"')
    sample.replace("pl-tiles.xml", 'value="0"', 'value="none"')
    err = sample.console("start", "sample", expect=1).err
    assert "\n  etc/ziggy.d/pd-tiles.xml:20:7: <outputDataFileType" in err
    assert "there is no data file type 'permuted' (did you mean `permuted tiles`?)" in err
    assert "\n  etc/ziggy.d/pl-tiles.xml:7:5: <parameter" in err
    assert "3 problems, nothing was done" in err
    assert not (sample.folder / ".rekindle").exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('<!DOCTYPE a [<!ENTITY b "bb">]><pipelineDefinition/>', ": a DOCTYPE is refused (take it out"),
        ('<!DOCTYPE a SYSTEM "http://localhost/a.dtd"><pipelineDefinition/>', ": a DOCTYPE is refused (take it out"),
        ("<pipelineDefinition>&b;</pipelineDefinition>", "bad.xml:1:21: not XML: undefined entity"),
        ("<pipelineDefinition>\n<step</pipelineDefinition>", "bad.xml:2:6: not XML: not well-formed"),
        ("", "bad.xml:1:1: not XML: no element found"),
        ('<?xml version="1.0" encoding="nothing"?><pipelineDefinition/>', "bad.xml:1:1: not XML: unknown encoding"),
        ("<pipelineDefinition>" + "<node>" * 80, "nested more than 64 deep"),
        ("<pipelineDefinition>text</pipelineDefinition>", "<pipelineDefinition> has a text: text"),
        ("<parameterLibrary/>", "<parameterLibrary>: is no <pipelineDefinition>"),
    ],
)
def test_what_is_no_definition_is_refused_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "bad.xml"
    path.write_text(text)
    (found,) = problems(path)
    assert problem in found


def test_nodes_of_the_datastore_are_nested_or_named(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "pt.xml",
        """\
<datastoreRegexp name="camera" value="cam-[0-9]"/>
<datastoreNode name="mission" nodes="camera, calibrated"/>
<datastoreNode name="camera" isRegexp="true" nodes="calibrated"><datastoreNode name="raw"/></datastoreNode>
<datastoreNode name="calibrated"/>
<dataFileType name="a" location="mission/camera/raw" fileNameRegexp="a"/>
<dataFileType name="b" location="mission/camera/calibrated" fileNameRegexp="b"/>
<dataFileType name="c" location="mission/camera$cam-3/raw" fileNameRegexp="c"/>
<step name="s"/>
<pipeline name="p" rootNodeNames="s"><node name="s">
<inputDataFileType name="a"/><inputDataFileType name="b"/><outputDataFileType name="c"/></node></pipeline>""",
    )
    node = read_configuration([path], "").pipelines["p"].nodes["s"]
    assert [
        "/".join(level.pattern or level.name for level in one.location) for one in (*node.inputs, *node.outputs)
    ] == [
        "mission/cam-[0-9]/raw",
        "mission/cam-[0-9]/calibrated",
        "mission/cam-3/raw",
    ]


def test_one_folder_of_a_level_must_match_its_pattern(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "pt.xml",
        """\
<datastoreRegexp name="camera" value="cam-[0-9]"/>
<datastoreNode name="camera" isRegexp="true"/><datastoreNode name="all"/>
<dataFileType name="a" location="camera$cam-x" fileNameRegexp="a"/>
<dataFileType name="b" location="all$cam-1" fileNameRegexp="b"/>""",
    )
    assert problems(path) == [
        "pt.xml:4:1: <dataFileType name=\"a\">: 'cam-x' is no folder of the level camera",
        "pt.xml:5:1: <dataFileType name=\"b\">: 'cam-1' is no folder of the level all",
    ]


def test_names_that_differ_in_blanks_only_are_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "pd.xml",
        """\
<datastoreRegexp name="a b" value="x"/><datastoreRegexp name="a_b" value="x"/>
<datastoreNode name="a b" isRegexp="true" nodes="a_b"/><datastoreNode name="a_b" isRegexp="true"/>
<dataFileType name="in" location="a b/a_b" fileNameRegexp="a"/>
<step name="s t"/><step name="s_t"/>
<parameterSet name="p q"><parameter name="x y" value="1"/><parameter name="x_y" value="1"/></parameterSet>
<parameterSet name="p_q"/>
<pipeline name="p" rootNodeNames="s t">
<node name="s t"><inputDataFileType name="in"/></node>
<node name="s_t"/>
</pipeline>""",
    )
    assert problems(path) == [
        (
            'pd.xml:6:59: <parameter name="x_y">: is there twice in its set (names that differ only in blanks and '
            "signs are one)"
        ),
        (
            'pd.xml:7:1: <parameterSet name="p_q">: is defined twice (a file that changes some values says '
            'partial="true")'
        ),
        'pd.xml:9:1: <node name="s t">: two of its levels differ only in blanks and signs (a b, a_b)',
        ('pd.xml:10:1: <node name="s_t">: is there twice (a node has the name of its step, and each step one node)'),
    ]


def test_circles_and_outputs_that_vary_more_than_inputs_are_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "pd.xml",
        """\
<datastoreRegexp name="set" value="s."/><datastoreNode name="set" isRegexp="true"/><datastoreNode name="all"/>
<dataFileType name="in" location="all" fileNameRegexp="a"/><dataFileType name="out" location="set" fileNameRegexp="a"/>
<step name="a" inputsClass="org.example.MyInputs"/><step name="b" uowGenerator="org.example.MyGenerator"/>
<pipeline name="p" rootNodeNames="a">
<node name="a" childNodeNames="b"><inputDataFileType name="in"/><outputDataFileType name="out"/></node>
<node name="b" childNodeNames="a" uowGenerator="org.example.MyGenerator"/>
</pipeline>""",
    )
    assert problems(path) == [
        (
            'pd.xml:4:1: <step name="a">: inputsClass is a Java class, which does not run here (take it out; a program '
            "reads and writes the files of its folder)"
        ),
        (
            'pd.xml:4:52: <step name="b">: the unit of work generator MyGenerator is not here (known are '
            "DatastoreDirectoryUnitOfWorkGenerator, DataReceiptUnitOfWorkGenerator, SingleUnitOfWorkGenerator)"
        ),
        'pd.xml:6:1: <node name="a">: follows itself: childNodeNames make a circle',
        "pd.xml:6:1: <node name=\"a\">: its output 'out' varies by set, and no input does",
        'pd.xml:7:1: <node name="b">: follows itself: childNodeNames make a circle',
        ('pd.xml:7:1: <node name="b">: has an unknown attribute uowGenerator (Ziggy 0.11 has it at the <step>)'),
    ]


def test_events_and_remote_environments_are_read_and_named(delivered: XmlPipeline) -> None:
    delivered.define(
        "pe.xml",
        '<pipelineEvent name="new data" pipelineName="sample" enableOnClusterStart="true" directory="events"/>\n'
        '<remoteEnvironment name="site" batchSystem="pbs" costUnit="SBUs"><architecture name="a" cores="8"/>'
        '<queue name="q" maxWallTimeHours="2"/></remoteEnvironment>',
    )
    err = delivered.console("start", "sample").err
    assert '<pipelineEvent name="new data"> is not used here' in err
    assert '<remoteEnvironment name="site"> is not used here' in err
    delivered.replace("pe.xml", 'pipelineName="sample"', 'pipelineName="simple"')
    assert "there is no pipeline 'simple'" in delivered.console("start", "sample", expect=1).err
