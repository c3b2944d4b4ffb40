"""The page of a file: which attempts made it and which used it."""

from __future__ import annotations

from playwright.sync_api import expect
from served import NARROW, WIDE, ServedProject, Visitor

SPEC = """
name: one
jobs:
  make:
    run: "cp raw%_.txt 'da!ta.txt'; mkdir -p out; echo 1 > out/inner.txt"
    inputs: {raw: "raw%_.txt"}
    outputs: {data: "da!ta.txt", out: out}
  use: {run: "cat 'da!ta.txt'", inputs: {data: "da!ta.txt"}}
  again: {run: "cat 'da!ta.txt'", inputs: {other: "da!ta.txt"}}
  inner: {run: "true", inputs: {inner: out/inner.txt}}
  apart: {run: "true", inputs: {raw: rawx.txt}}
"""


def test_a_file_leads_to_its_makers_and_users(project: ServedProject, visitor: Visitor) -> None:
    project.write("raw%_.txt", "1")
    project.write("rawx.txt", "1")
    project.spec(SPEC)
    project.rekindle("run", "spec.yaml")
    project.write("raw%_.txt", "2")
    project.rekindle("rerun", "make", "--downstream", "none", "--yes", "--work")
    project.serve()
    visitor.log_in()
    page = visitor.open("/jobs/2")
    page.get_by_role("link", name="da!ta.txt").click()
    made, used = page.get_by_role("region", name="Made by"), page.get_by_role("region", name="Used by")
    expect(made.locator("tbody tr")).to_have_count(2)
    expect(made.locator("tbody tr").nth(0)).to_contain_text("other content")
    expect(made.locator("tbody tr").nth(1)).to_contain_text("the same content")
    expect(made.locator("tbody tr").nth(1)).to_contain_text("archived")
    expect(used.locator("tbody tr")).to_have_count(2)
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        assert visitor.serious() == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    made.get_by_role("link", name="make").first.click()
    page.get_by_role("link", name="raw%_.txt").click()
    expect(used.locator("tbody tr")).to_have_count(2)
    expect(page.get_by_text("No attempt recorded it as an output.")).to_be_visible()
    visitor.open("/jobs/4")
    page.get_by_role("link", name="out/inner.txt").click()
    expect(made).to_contain_text("within a folder that it made")


def test_a_file_is_named_by_what_an_attempt_recorded(project: ServedProject, visitor: Visitor) -> None:
    project.spec('{name: one, jobs: {a: {run: "true", outputs: {}}, b: {run: "exit 1"}}}')
    project.run("run", "spec.yaml")
    project.serve()
    visitor.log_in()
    for query in ("job=1&name=/etc/passwd", "job=1&name=..%2f..%2fetc%2fpasswd", "job=9&name=x", "name=x", "job=1"):
        answer = visitor.page.goto(f"{project.url}/files?{query}")
        assert answer is not None
        assert answer.status == 404
