"""Selections as fields of forms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.domain.errors import BadSelection, NotFound, UnknownWord
from rekindle.engine.queries.selections import select
from rekindle.engine.session import Session, open_session
from rekindle.engine.submit.submit import submit
from rekindle.spec import load
from rekindle.web.selections import LONGEST_IDS, LONGEST_WORD, MOST_VALUES, selection_of

SPEC = """
name: sweep
jobs:
  train: {matrix: {k: {range: [0, 9]}}, run: "true"}
  report: {needs: [train], run: "true"}
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A store with ten jobs: 1 to 9 are ready, 10 waits."""
    folder: Path = tmp_path_factory.mktemp("selections")
    (folder / "spec.yaml").write_text(SPEC)
    with open_session(str(folder / ".rekindle"), create=True) as opened:
        submit(opened, load(folder / "spec.yaml"))
        yield opened


def selected(session: Session, form: str) -> list[int]:
    return select(session, selection_of(parse_qs(form)))


@pytest.mark.parametrize(
    ("form", "jobs"),
    [
        ("plus=1,3-4&w=1", [1, 3, 4]),
        ("plus=2&plus=9", [2, 9]),
        ("all=1&w=1", list(range(1, 11))),
        ("all=1&w=sweep&minus=2-9", [1, 10]),
        ("all=1&state=ready&minus=1,2&minus=4-9", [3]),
        ("all=1&w=1&state=ready&state=waiting&minus=1-8", [9, 10]),
        ("all=1&w=1&name=train*&filter=matrix.k>4&filter=matrix.k<7", [6, 7]),
        ('all=1&w=1&query={"matrix.k":{"$in":[0,8]}}', [1, 9]),
        ("all=1&w=1&filter=name~^re&minus=10", []),
        ("all=1&w=1&state=&name=&minus=", list(range(1, 11))),
    ],
)
def test_a_form_selects_these_jobs(session: Session, form: str, jobs: list[int]) -> None:
    assert selected(session, form) == jobs


@given(minus=st.lists(st.tuples(st.integers(1, 12), st.integers(0, 4)), max_size=6), ready=st.booleans())
def test_minus_leaves_out_exactly_its_ids(session: Session, minus: list[tuple[int, int]], ready: bool) -> None:
    ranges = ",".join(f"{first}-{first + more}" for first, more in minus)
    left_out = {job for first, more in minus for job in range(first, first + more + 1)}
    found = select(session, selection_of({"all": ["1"], "w": ["1"], "state": ["ready"] * ready, "minus": [ranges]}))
    assert found == [job for job in range(1, 10 if ready else 11) if job not in left_out]


@pytest.mark.parametrize(
    ("form", "named"),
    [
        ("", "nothing is selected"),
        ("w=1", "nothing is selected"),
        ("w=1&state=failed", "nothing is selected"),
        ("all=1", "nothing is selected"),
        ("all=1&minus=4", "nothing is selected"),
        ("all=1&w=1&plus=4", "`plus`"),
        ("plus=4&state=failed", "`state`"),
        ("plus=4&minus=4", "`minus`"),
        ("plus=4-x", "'4-x'"),
        ("all=1&w=1&minus=9-4", "9-4"),
        ("all=1&w=1&filter=colour=red", "'colour'"),
        ("all=1&w=1&filter=name~([", r"\(\["),
        ("all=1&w=1&error=([", r"\(\["),
        ("all=1&w=1&query={", "not JSON"),
        ("all=1&w=1&state=fizzled", "fizzled"),
        ("all=1&w=1&signature=xyz", "'xyz'"),
        (f"all=1&w=1&name={'x' * (LONGEST_WORD + 1)}", "`name` is longer"),
        (f"plus={'1,' * LONGEST_IDS}", "`plus` is longer"),
        (f"all=1&w=1{'&filter=id=1' * (MOST_VALUES + 1)}", "`filter` is given more"),
        ("plus=1-99999999999", "1-99999999999"),
    ],
)
def test_a_bad_form_is_refused_and_the_field_is_named(form: str, named: str) -> None:
    with pytest.raises((BadSelection, UnknownWord), match=named):
        selection_of(parse_qs(form))


@pytest.mark.parametrize("form", ["plus=11&w=1", "plus=1&w=2", "all=1&w=2", "all=1&w=1&name=trai"])
def test_what_does_not_exist_is_named(session: Session, form: str) -> None:
    with pytest.raises(NotFound):
        selected(session, form)


@pytest.mark.parametrize("depth", [10, 30, 100, 300, 950, 9000])
@pytest.mark.parametrize("around", [('{"$not":', "}"), ('{"$and":[', "]}"), ('{"$or":[{"state":"failed"},', "]}")])
def test_a_nested_query_is_answered_or_refused(session: Session, depth: int, around: tuple[str, str]) -> None:
    opens, closes = around
    query = opens * (depth // len(closes)) + json.dumps({"state": "ready"}) + closes * (depth // len(closes))
    form = {"all": ["1"], "w": ["1"], "query": [query[:LONGEST_WORD]]}
    if depth <= 30:
        assert len(select(session, selection_of(form))) in (1, 9)
    else:
        with pytest.raises(BadSelection, match=r"nested too deeply|not JSON"):
            selection_of(form)
